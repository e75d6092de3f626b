package ticket

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-dev/slipway/dataplane/auth"
)

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestTheNewestKeySigns(t *testing.T) {
	g, _ := newGate(t, nil, entry("old", 1, -48*time.Hour), entry("now", 2, -time.Hour), entry("next", 3, time.Hour))
	for at, want := range map[time.Duration]string{0: "now", -2 * time.Hour: "old", time.Hour: "next", 59 * time.Minute: "now"} {
		if k, ok := g.keys.signer(noon.Add(at)); !ok || k.id != want {
			t.Errorf("at %s: %q signs, want %q", at, k.id, want)
		}
	}
	if _, err := g.Mint(usual(), "alice", noon.Add(-72*time.Hour)); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("before every key: %v", err)
	}
	// Two that begin at once: every replica takes the same.
	g, _ = newGate(t, nil, entry("y", 1, 0), entry("z", 2, 0), entry("x", 3, 0))
	for range 20 {
		if k, _ := g.keys.signer(noon.Add(time.Second)); k.id != "z" {
			t.Fatalf("%q signs", k.id)
		}
	}
}

// A rotation, as the operator does it: no ticket ends before its time.
func TestKeysRotate(t *testing.T) {
	var out bytes.Buffer
	g, path := newGate(t, slog.New(slog.NewTextHandler(&out, nil)), entry("old", 1, -time.Hour))
	first := mint(t, g, usual())
	reload := func(entries ...keyEntry) {
		t.Helper()
		writeKeys(t, path, entries...)
		if err := g.keys.reload(); err != nil {
			t.Fatal(err)
		}
	}
	good := func(text string) bool {
		_, err := g.Authenticate(with("Bearer " + text))
		return err == nil
	}
	reload(entry("old", 1, -time.Hour), entry("new", 2, -time.Minute))
	second := mint(t, g, usual())
	if !good(first) || !good(second) {
		t.Error("a ticket ended with the rotation")
	}
	reload(entry("new", 2, -time.Minute))
	if good(first) || !good(second) {
		t.Errorf("without its key the first is good: %v; with its key the second: %v", good(first), good(second))
	}
	// A key that may not sign yet verifies: another replica's clock may be ahead.
	reload(entry("new", 2, time.Minute), entry("old", 1, -time.Hour))
	if !good(second) {
		t.Error("a key verifies from its time on only")
	}
	if strings.Count(out.String(), "ticket keys were read") != 3 {
		t.Errorf("the log is\n%s", out.String())
	}
	wantNoSecrets(t, out.String(), first, second)
}

// wantNoSecrets fails where a log has a key or a part of a ticket.
func wantNoSecrets(t *testing.T, text string, tickets ...string) {
	t.Helper()
	for seed := range byte(10) {
		if encoded := base64.StdEncoding.EncodeToString(secret(seed)); strings.Contains(text, encoded[:12]) || bytes.Contains([]byte(text), secret(seed)) && seed > 1 {
			t.Errorf("a key is in\n%s", text)
		}
	}
	for _, ticket := range tickets {
		wantNothingOf(t, ticket, text)
	}
}

// brokenFiles are files of which no key is taken. Each has the key of seed 1
// or a text in its place.
func brokenFiles() map[string]string {
	k := base64.StdEncoding.EncodeToString(secret(1))
	one := func(fields string) string { return `{"keys":[{` + fields + `}]}` }
	return map[string]string{
		"empty":               "",
		"no keys":             `{"keys":[]}`,
		"null":                "null",
		"an array":            `["` + k + `"]`,
		"cut off":             `{"keys":[{"id":"a","key":"` + k,
		"something after it":  one(`"id":"a","key":"`+k+`","notBefore":"2026-01-01T00:00:00Z"`) + "{}",
		"a field more":        one(`"id":"a","key":"` + k + `","notBefore":"2026-01-01T00:00:00Z","` + k + `":1`),
		"a field twice":       one(`"id":"a","key":"` + k + `","key":"` + k + `","notBefore":"2026-01-01T00:00:00Z"`),
		"a field in capitals": one(`"ID":"a","key":"` + k + `","notBefore":"2026-01-01T00:00:00Z"`),
		"no id":               one(`"key":"` + k + `","notBefore":"2026-01-01T00:00:00Z"`),
		"a long id":           one(`"id":"` + strings.Repeat("a", maxKeyID+1) + `","key":"` + k + `","notBefore":"2026-01-01T00:00:00Z"`),
		"no key":              one(`"id":"a","notBefore":"2026-01-01T00:00:00Z"`),
		"a short key":         one(`"id":"a","key":"` + base64.StdEncoding.EncodeToString(secret(1)[:31]) + `","notBefore":"2026-01-01T00:00:00Z"`),
		"a long key":          one(`"id":"a","key":"` + base64.StdEncoding.EncodeToString(append(secret(1), 1)) + `","notBefore":"2026-01-01T00:00:00Z"`),
		"a key in URL form":   one(`"id":"a","key":"` + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 32)) + `","notBefore":"2026-01-01T00:00:00Z"`),
		"a key as a number":   one(`"id":"a","key":1234567890123,"notBefore":"2026-01-01T00:00:00Z"`),
		"no time":             one(`"id":"a","key":"` + k + `"`),
		"a key as the time":   one(`"id":"a","key":"` + k + `","notBefore":"` + k + `"`),
		"an id twice":         `{"keys":[{"id":"a","key":"` + k + `","notBefore":"2026-01-01T00:00:00Z"},{"id":"a","key":"` + k + `","notBefore":"2026-01-02T00:00:00Z"}]}`,
		"too many":            `{"keys":[` + strings.Repeat(`{"id":"a"},`, maxKeys) + `{"id":"b"}]}`,
		"too long":            one(`"id":"a","key":"`+k+`","notBefore":"2026-01-01T00:00:00Z"`) + strings.Repeat(" ", maxKeyFile),
	}
}

func TestABrokenFileKeepsTheOldKeys(t *testing.T) {
	for name, content := range brokenFiles() {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			g, path := newGate(t, slog.New(slog.NewTextHandler(&out, nil)), entry("a", 1, -time.Hour))
			text := mint(t, g, usual())
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := g.keys.reload(); err != nil {
					t.Fatal(err)
				}
			}
			if strings.Count(out.String(), "ticket keys are broken") != 1 {
				t.Errorf("it is not logged once:\n%s", out.String())
			}
			wantNoSecrets(t, out.String(), text)
			if _, err := g.Authenticate(with("Bearer " + text)); err != nil {
				t.Errorf("the old key is gone: %v", err)
			}
			if _, err := OpenKeys(path, nil); err == nil {
				t.Error("a dataplane would start with it")
			}
		})
	}
}

func TestAMissingFileIsRefused(t *testing.T) {
	if _, err := OpenKeys(filepath.Join(t.TempDir(), "tickets"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Kubelet swaps the directory behind a symlink, and the file may be away for a while.
func TestRunFollowsTheFile(t *testing.T) {
	dir := t.TempDir()
	publish := func(version string, e keyEntry) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		writeKeys(t, filepath.Join(dir, version, "tickets"), e)
		swap := filepath.Join(dir, "..swap")
		if err := os.Symlink(version, swap); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(swap, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..v1", entry("v1", 1, -time.Hour))
	if err := os.Symlink("..data/tickets", filepath.Join(dir, "tickets")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	keys, err := OpenKeys(filepath.Join(dir, "tickets"), slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	listed := func(id string) bool { _, ok := keys.find(id); return ok }
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { defer close(stopped); keys.Run(ctx) }()
		pass := func() { time.Sleep(reloadInterval); synctest.Wait() }

		publish("..v2", entry("v2", 2, -time.Hour))
		pass()
		if !listed("v2") || listed("v1") {
			t.Error("a swap was not seen")
		}
		if err := os.Remove(filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		pass()
		pass()
		if !listed("v2") || strings.Count(out.String(), "can't be read") != 1 {
			t.Errorf("the file is away: listed %v, log\n%s", listed("v2"), out.String())
		}
		publish("..v3", entry("v3", 3, -time.Hour))
		pass()
		if !listed("v3") {
			t.Error("it is not read when it is back")
		}
		cancel()
		<-stopped
	})
}
