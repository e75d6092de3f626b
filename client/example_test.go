package client_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/slipway-dev/slipway/client"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
)

// TestExample is the example of the package, with a dataplane that it can reach.
func TestExample(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	config, ctx := w.config(), t.Context()
	path := t.TempDir() + "/model.gguf"
	if err := os.WriteFile(path, bytes.Repeat([]byte("weights "), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}

	upload := func() error {
		c, err := client.New(config)
		if err != nil {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		source, err := client.File(file)
		if err != nil {
			return err
		}
		// The key finds the session again after this process has died: all that names this file.
		key := fmt.Sprintf("llama/model.gguf %d", source.Size())
		spec := client.Spec{
			Key: "llama/model.gguf", SizeBytes: source.Size(), ChunkSizeBytes: 1 << 16, Completion: "Explicit",
		}
		session, _, err := c.Create(ctx, key, spec, func(st client.Status) {
			slog.Info("waiting for admission", "reason", st.Waiting.Reason)
		})
		if err != nil {
			return err
		}
		_, err = session.Send(ctx, source, client.SendOptions{Progress: func(p client.Progress) {
			slog.Debug("sending", "held", p.HeldBytes, "of", p.SizeBytes)
		}})
		if err != nil {
			return err
		}
		content, err := session.Download(ctx, path+".back", client.DownloadOptions{})
		if err != nil {
			return err
		}
		slog.Info("read back", "digest", content.Digest)
		return nil
	}

	for range 2 { // the second time there is nothing left to do but to read
		if err := upload(); err != nil {
			t.Fatal(err)
		}
	}
}
