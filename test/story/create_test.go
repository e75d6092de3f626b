package story

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/uploader"
)

// created is what a client needs of the reply to its creation of a session.
type created struct {
	chunkapi.Status
	code int // of the reply itself
}

// create asks the dataplane for a session, again with the same key while it is queued.
func (t *teller) create(ctx context.Context, key, spec string) (*created, error) {
	for {
		c, err := t.createOnce(ctx, key, spec)
		if err != nil || c.State != chunkapi.StateQueued {
			return c, err
		}
	}
}

func (t *teller) createOnce(ctx context.Context, key, spec string) (*created, error) {
	url := fmt.Sprintf("%s/v1/namespaces/%s/uploadsessions", t.endpoint, namespace)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(spec))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", `"`+key+`"`)
	c := &created{}
	c.code, err = t.caller.Call(request, c, http.StatusCreated, http.StatusOK)
	return c, err
}

// A client that knows nothing but HTTP: it creates its session, of which it
// never hears because the dataplane is killed; asks again, and finds it; uploads;
// and asks once more, and gets the result.
func TestCreateOverHTTP(t *testing.T) {
	const chunks, chunkSize = 8, 64 << 10
	teller, out := beginSmall(t, chunks*chunkSize, chunkSize)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := createOverHTTP(ctx, teller); err != nil {
		t.Fatalf("%v\n%s\nmanager:\n%s\ndataplane:\n%s", err, out, teller.manager.tail(), teller.dataplane.tail())
	}
}

func createOverHTTP(ctx context.Context, t *teller) error {
	first, err := t.createAndCrash(ctx)
	if err != nil {
		return err
	}
	spec := t.spec()
	made, err := t.create(ctx, "1", spec)
	switch {
	case err != nil:
		return err
	case made.code != http.StatusOK || "uploadsession.uploads.slipway.dev/"+made.Name != first || made.State != chunkapi.StateActive:
		return fmt.Errorf("found %+v, want %s", made, first)
	}
	u := t.uploader(made.Name, func(int, int64) {})
	if _, err := u.Send(ctx); err != nil {
		return err
	}
	if _, err := u.Complete(ctx); err != nil {
		return err
	}
	again, err := t.create(ctx, "1", spec)
	switch {
	case err != nil:
		return err
	case again.code != http.StatusOK || again.UID != made.UID || again.State != chunkapi.StatePublished || again.Result == nil || string(again.Result.Digest) != t.sum:
		return fmt.Errorf("the same again gives %+v, want the result of %+v", again, made)
	}
	var no *uploader.Refusal
	if _, err := t.create(ctx, "1", strings.Replace(spec, "made/", "other/", 1)); !errors.As(err, &no) || no.Code != chunkapi.CodeIdempotencyKeyReused {
		return fmt.Errorf("another spec with the key: %w", err)
	}
	owner, err := t.kubectl(ctx, "get", "upl", made.Name, "-o", "jsonpath={.spec.owner}")
	if err == nil && owner != "system:serviceaccount:"+namespace+":"+uploaderName {
		err = fmt.Errorf("the owner is %q", owner)
	}
	return err
}

func (t *teller) spec() string {
	return fmt.Sprintf(`{"key": "made/%s", "sizeBytes": %d, "chunkSizeBytes": %d, "digest": %q}`, t.base(), t.size, t.ChunkSize, t.sum)
}

// createAndCrash kills the dataplane while it keeps a client waiting for a
// session to be admitted, starts it again, and returns the session as kubectl names it.
func (t *teller) createAndCrash(ctx context.Context) (string, error) {
	const quota = `{"apiVersion": "uploads.slipway.dev/v1alpha1", "kind": "UploadQuota", "metadata": {"name": "none"}, "spec": {"hard": {"activeSessions": 0}}}`
	file := filepath.Join(t.dir, "quota.json")
	if err := os.WriteFile(file, []byte(quota), 0o600); err != nil {
		return "", err
	}
	if _, err := t.show(ctx, "apply", "--filename", file); err != nil {
		return "", err
	}
	replied := make(chan error, 1)
	go func() {
		_, err := t.create(ctx, "1", t.spec())
		replied <- err
	}()
	var name string
	for name == "" {
		out, err := t.kubectl(ctx, "get", "upl", "--ignore-not-found", "-o", "name")
		if err != nil {
			return "", err
		}
		name = strings.TrimSpace(out)
	}
	if _, err := t.show(ctx, "wait", "--for=condition=Admitted=False", name, "--timeout=30s"); err != nil {
		return "", err
	}
	if err := t.dataplane.kill(); err != nil {
		return "", err
	}
	if err := <-replied; err == nil || errors.As(err, new(*uploader.Refusal)) {
		return "", fmt.Errorf("the client whose dataplane was killed got a reply: %w", err)
	}
	if _, err := t.show(ctx, "delete", "upq", "none"); err != nil {
		return "", err
	}
	return name, t.dataplane.start(ctx)
}
