package main

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-dev/slipway/telemetry"
)

// TestItSaysThatItIsInsecure, louder than all else, before it serves anybody.
func TestItSaysThatItIsInsecure(t *testing.T) {
	o, err := parse(t, "--root="+t.TempDir(), "--listen=127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.healthAddress = "127.0.0.1:0"
	said := make(lines, 100)
	d, err := open(o, nowhere, telemetry.Traces{}, slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- d.serve(ctx) }()
	ask(t, http.MethodGet, d.endpoint()+"/", nil) // is answered once it serves
	for line := ""; !strings.Contains(line, "INSECURE"); {
		select {
		case line = <-said:
		default:
			t.Fatal("it serves, and has not said so")
		}
		if strings.Contains(line, "INSECURE") && (!strings.Contains(line, "level=WARN") || !strings.Contains(line, d.chunks.Addr().String())) {
			t.Errorf("it says %q", line)
		}
	}
	stop()
	if err := receive(t, "end", stopped); err != nil {
		t.Error(err)
	}
}

// lines are what was logged. Beyond what they hold nothing is kept.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}
