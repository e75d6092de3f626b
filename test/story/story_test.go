package story

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-dev/slipway/test/controlplane"
)

const repository = "../.."

// binaries builds the manager and the dataplane as they ship.
func binaries(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", bin, "./cmd/...")
	build.Dir = repository
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// The demo, with a file that is at hand.
func TestStory(t *testing.T) {
	bin := binaries(t)
	var out bytes.Buffer
	err := Tell(t.Context(), Options{
		Root: repository, Binaries: bin, File: filepath.Join(bin, "dataplane"), Out: &out,
	})
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"every acknowledged one among them", "401 unauthenticated", "422 digest-mismatch", "409 chunk-conflict", "409 key-exists", "KeyExists", "Published",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the story does not say %q", want)
		}
	}
}

// beginSmall begins a story about a small file, and ends it with the test.
func beginSmall(t *testing.T, size int, chunkSize int64) (*teller, *bytes.Buffer) {
	t.Helper()
	bin := binaries(t)
	file := filepath.Join(t.TempDir(), "small")
	if err := os.WriteFile(file, bytes.Repeat([]byte("slipway\n"), size/8), 0o600); err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	teller, err := begin(context.WithoutCancel(t.Context()), Options{Root: repository, Binaries: bin, File: file, ChunkSize: chunkSize, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := teller.end(); err != nil {
			t.Error(err)
		}
	})
	return teller, out
}

// Promise 7: a whole small upload costs at most six writes to the API server,
// its creation and its event among them, counted in the API server's own audit log.
func TestASmallUploadCostsSixWrites(t *testing.T) {
	const most, chunks, chunkSize = 6, 8, 64 << 10
	teller, out := beginSmall(t, chunks*chunkSize, chunkSize)
	if err := uploadSmall(t.Context(), teller); err != nil {
		t.Fatalf("%v\n%s\nmanager:\n%s\ndataplane:\n%s", err, out, teller.manager.tail(), teller.dataplane.tail())
	}

	writes, err := teller.plane.Writes(t.Context(), controlplane.Filter{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	var counted []string
	for _, w := range writes {
		ofSession := w.Resource == "uploadsessions" && w.Name == sessionName
		ofEvent := w.Resource == "events" && strings.HasPrefix(w.Name, sessionName+".")
		// An event that is created has no name in the log; all in this namespace are counted.
		if ofSession || ofEvent || w.Resource == "events" && w.Name == "" {
			counted = append(counted, fmt.Sprintf("%s %s/%s by %s", w.Verb, w.Resource, w.Subresource, w.User))
		}
	}
	t.Logf("%d writes:\n%s", len(counted), strings.Join(counted, "\n"))
	if len(counted) > most {
		t.Errorf("%d writes, at most %d are allowed", len(counted), most)
	}
	if len(counted) < 4 { // the creation, the finalizer, the admission, the result: or nothing was counted
		t.Errorf("only %d writes were seen: the count is wrong", len(counted))
	}
}

func uploadSmall(ctx context.Context, t *teller) error {
	if err := t.apply(ctx); err != nil {
		return err
	}
	u := t.uploader(sessionName, func(int, int64) {})
	if _, err := u.Send(ctx); err != nil {
		return err
	}
	if _, err := u.Complete(ctx); err != nil {
		return err
	}
	if _, err := t.show(ctx, "wait", "--for=condition=Succeeded", "upl/"+sessionName, "--timeout=30s"); err != nil {
		return err
	}
	return t.showEvents(ctx)
}
