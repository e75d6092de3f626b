package client_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/slipway-dev/slipway/client"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func wantCode(t *testing.T, what string, err error, code client.Code) {
	t.Helper()
	if p := (*client.Problem)(nil); !errors.As(err, &p) || p.Code != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func TestObjectsByTheirKeys(t *testing.T) {
	for _, size := range []int{0, 1, 3 << 20} {
		w := newWorld(t, chunkapi.Config{Store: upload.Name{Namespace: "ml", Name: "models"}})
		c := w.client()
		data := random(1, size)
		w.published(c, "a", data)
		const key = "models/a"
		store := c.Store("models")
		info, err := store.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if info.SizeBytes != int64(size) || info.Digest != digestOf(data) || info.ETag == "" {
			t.Errorf("of %d bytes it tells %+v", size, info)
		}
		var got bytes.Buffer
		if _, err := store.Copy(t.Context(), key, &got); err != nil || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("%d of %d bytes were read: %v", got.Len(), size, err)
		}
		wantCode(t, "removing another", store.Remove(t.Context(), key, `"another"`), client.CodePreconditionFailed)
		for range 2 { // the second time as where the first reply was lost
			if err := store.Remove(t.Context(), key, info.ETag); err != nil {
				t.Error(err)
			}
		}
		_, err = store.Stat(t.Context(), key)
		wantCode(t, "what is gone", err, client.CodeUnknownObject)
		_, err = store.Stat(t.Context(), "a/../b")
		wantCode(t, "a path that is not clean", err, "not-found")
		_, err = store.Stat(t.Context(), ".slipway/.lock")
		wantCode(t, "a key that can't be", err, client.CodeInvalidKey)
	}
}
