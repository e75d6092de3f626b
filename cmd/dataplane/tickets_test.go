package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
)

func ticketKeys(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tickets")
	content := `{"keys":[{"id":"a","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","notBefore":"2026-01-01T00:00:00Z"}]}`
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTicketsAreMadeAndTaken(t *testing.T) {
	d, err := newDataplane(t, volumeWith(t), "--ticket-keys="+ticketKeys(t), "--allowed-origins=https://console.example.com")
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- d.serve(ctx) }()
	defer func() {
		cancel()
		if err := receive(t, "the end", stopped); err != nil {
			t.Error(err)
		}
	}()

	base := d.endpoint() + "/v1/namespaces/ml/uploadsessions/a"
	status, body := ask(t, http.MethodPost, base+"/tickets", nil)
	var made chunkapi.NewTicket
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusCreated || !strings.HasPrefix(made.Ticket, "slt_") {
		t.Fatalf("got %d %s, %v", status, body, err)
	}
	for ticket, want := range map[string]int{made.Ticket: http.StatusCreated, made.Ticket + "A": http.StatusUnauthorized} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, base+"/chunks/0", strings.NewReader("0123"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+ticket)
		r.Header.Set("Origin", "https://console.example.com")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want || response.Header.Get("Access-Control-Allow-Origin") != "https://console.example.com" {
			t.Errorf("status %d, want %d: %v %s", response.StatusCode, want, response.Header, answer)
		}
	}
}

func TestWithoutKeysThereAreNoTickets(t *testing.T) {
	var c chunkapi.Config
	var none tickets
	none.join(&c)
	if c.Tickets != nil || c.Gate != nil {
		t.Errorf("got %+v", c)
	}
	if _, err := newDataplane(t, t.TempDir(), "--ticket-keys="+filepath.Join(t.TempDir(), "missing")); err == nil || !strings.Contains(err.Error(), "--ticket-keys") {
		t.Errorf("a file that is missing: %v", err)
	}
}

func TestOrigins(t *testing.T) {
	for value, good := range map[string]bool{
		"": true, "https://console.example.com": true, "http://localhost:3000,https://[::1]:8443,": true,
		"*": false, "https://*.example.com": false, "https://console.example.com/": false, "https://Console.example.com": false,
		"console.example.com": false, "ftp://console.example.com": false, "https://": false, "null": false, "https://alice@console.example.com": false,
		"https://a.example.com,https://b.example.com/x": false,
	} {
		if _, err := parse(t, "--allowed-origins="+value); (err == nil) != good {
			t.Errorf("%q: %v", value, err)
		}
	}
}
