package chunkapi

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// tickInSeconds makes everything that is published one that was written in the same second, as where
// the clock of the volume ticks so slowly.
func (w *world) tickInSeconds() {
	written := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	tick := func() {
		staged, err := filepath.Glob(filepath.Join(w.root, session.ReservedElement, "*.replica", "*", "data"))
		if err != nil {
			w.t.Error(err)
		}
		for _, data := range staged {
			if err := os.Chtimes(data, written, written); err != nil && !os.IsNotExist(err) {
				w.t.Error(err)
			}
		}
	}
	w.volume.publish.Store(&tick)
}

// Of two sessions that replace one key with objects of one size at one time each serves its own
// object, in part or whole, or says that it was replaced.
func TestASessionServesItsOwnObjectOnly(t *testing.T) {
	w := newWorld(t, options{})
	w.tickInSeconds()
	const size = 1000
	for round := range 30 {
		names := []string{fmt.Sprintf("a%d", round), fmt.Sprintf("b%d", round)}
		objects := map[string][]byte{names[0]: noise(byte(2*round), size), names[1]: noise(byte(2*round+1), size)}
		tags := map[string]string{}
		var mu sync.Mutex
		var publishing sync.WaitGroup
		for _, name := range names {
			w.accepted(name, size, size, func(g *upload.Grant) { g.Key, g.Replace = "models/shared", true })
			publishing.Go(func() {
				for _, a := range []answer{
					w.put(name, 0, objects[name]),
					w.do(http.MethodPost, base(name)+"/complete", nil),
				} {
					if a.StatusCode/100 != 2 {
						t.Errorf("%s: status %d: %s", name, a.StatusCode, a.body)
					}
				}
				// What it has of the object by now goes on below.
				if a := w.do(http.MethodGet, base(name)+"/content", nil, "Range", "bytes=0-499"); a.StatusCode == http.StatusPartialContent {
					mu.Lock()
					defer mu.Unlock()
					tags[name] = a.Header.Get("ETag")
				}
			})
		}
		publishing.Wait()
		served := 0
		for _, name := range names {
			a := w.do(http.MethodGet, base(name)+"/content", nil)
			switch {
			case a.StatusCode == http.StatusGone:
			case a.StatusCode == http.StatusOK && bytes.Equal(a.body, objects[name]):
				served++
			default:
				t.Fatalf("%s answers %d with %d bytes", name, a.StatusCode, len(a.body))
			}
			if tags[name] == "" {
				continue
			}
			rest := w.do(http.MethodGet, base(name)+"/content", nil, "Range", "bytes=500-", "If-Range", tags[name])
			if rest.StatusCode == http.StatusPartialContent && !bytes.Equal(rest.body, objects[name][500:]) {
				t.Fatalf("%s goes on with another's bytes", name)
			}
		}
		if served != 1 {
			t.Fatalf("%d of the pair serve the object, want 1", served)
		}
	}
}

// A time is no proof that an object is the same: another session of the name may have published in the same second.
func TestATimeIsNotEnoughToGoOnWithAnObject(t *testing.T) {
	w := newWorld(t, options{})
	w.accepted("obj", 10, 10)
	w.put("obj", 0, noise(1, 10)).want(t, http.StatusCreated)
	w.do(http.MethodPost, base("obj")+"/complete", nil).want(t, http.StatusOK)
	whole := w.do(http.MethodGet, base("obj")+"/content", nil).want(t, http.StatusOK)
	for _, test := range []struct {
		ifRange string
		want    int
	}{
		{whole.Header.Get("ETag"), http.StatusPartialContent},
		{whole.Header.Get("Last-Modified"), http.StatusOK},
		{"W/" + whole.Header.Get("ETag"), http.StatusOK},
		{`"another"`, http.StatusOK},
	} {
		w.do(http.MethodGet, base("obj")+"/content", nil, "Range", "bytes=5-", "If-Range", test.ifRange).want(t, test.want)
	}
}
