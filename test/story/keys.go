package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// keys is the folder that stands for the Secret as a Pod mounts it.
func (s *stack) keys() string { return filepath.Join(s.dir, "keys") }

// mounted are the entries of the Secret that a Pod of the store mounts, and as what; they
// are those of config/samples/sidecar.
var mounted = map[string]string{
	storeName + ".crt":     "tls.crt",
	storeName + ".key":     "tls.key",
	storeName + ".tickets": "tickets",
	"ca.crt":               "ca.crt",
}

// mountKeys does what the kubelet does for a Pod: it waits for the Secret and
// writes its entries into files.
func (s *stack) mountKeys(ctx context.Context) error {
	if err := os.Mkdir(s.keys(), 0o700); err != nil {
		return err
	}
	entries, err := s.awaitKeys(ctx)
	if err != nil {
		return err
	}
	for entry, file := range mounted {
		if err := os.WriteFile(filepath.Join(s.keys(), file), entries[entry], 0o600); err != nil {
			return err
		}
	}
	return nil
}

// awaitKeys returns the Secret's entries once all are there.
func (s *stack) awaitKeys(ctx context.Context) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		out, err := s.kubectl(ctx, "get", "secret", "slipway-dataplane", "--ignore-not-found", "--output=json")
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, out)
		}
		var secret struct {
			Data map[string][]byte `json:"data"`
		}
		if out != "" {
			if err := json.Unmarshal([]byte(out), &secret); err != nil {
				return nil, err
			}
		}
		missing := 0
		for entry := range mounted {
			if len(secret.Data[entry]) == 0 {
				missing++
			}
		}
		if missing == 0 {
			return secret.Data, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(errors.New("the operator makes no keys for the store"), ctx.Err())
		}
	}
}
