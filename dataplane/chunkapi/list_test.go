package chunkapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/sinktest"
)

const allObjects = "/v1/namespaces/ml/uploadstores/models/objects"

// plant puts an empty file on the volume that no session published, unless something is in the way.
func (w *world) plant(key string) bool {
	path := filepath.Join(w.root, filepath.FromSlash(key))
	return os.MkdirAll(filepath.Dir(path), 0o755) == nil && os.WriteFile(path, nil, 0o600) == nil
}

func (w *world) list(query url.Values) objectList {
	w.t.Helper()
	a := w.do(http.MethodGet, allObjects+"?"+query.Encode(), nil)
	a.want(w.t, http.StatusOK)
	var got objectList
	if err := json.Unmarshal(a.body, &got); err != nil {
		w.t.Fatal(err)
	}
	return got
}

func TestObjectsAreListedAsTheyAreServed(t *testing.T) {
	w := newWorld(t, ofModels)
	if a := w.do(http.MethodGet, allObjects, nil); string(a.body) != `{"objects":[],"prefixes":[]}`+"\n" {
		t.Errorf("an empty store lists %s", a.body)
	}
	publish(w, "obj", []byte("0123456789"))
	w.plant("models/plain")
	w.accepted("staged", 10, 4)
	got := w.list(nil)
	if len(got.Objects) != 2 || got.Continue != "" {
		t.Fatalf("listed is %+v", got)
	}
	for i, want := range []listedObject{
		{Key: "models/obj", SizeBytes: 10, Digest: digestOf([]byte("0123456789")), Published: true},
		{Key: "models/plain"},
	} {
		served := w.do(http.MethodHead, objects+want.Key, nil)
		modified := got.Objects[i].ModifiedTime
		want.ETag, want.ModifiedTime = served.Header.Get("ETag"), modified
		if got.Objects[i] != want || modified.Format(http.TimeFormat) != served.Header.Get("Last-Modified") {
			t.Errorf("listed is %+v, want %+v, written %s", got.Objects[i], want, served.Header.Get("Last-Modified"))
		}
	}
	if p := w.do(http.MethodPut, allObjects, nil).problem(t); p.Code != CodeMethodNotAllowed {
		t.Errorf("another method gets %+v", p)
	}
}

// Page by page a random tree is what it is, whatever the prefix and the limit.
func TestPagesOfRandomTrees(t *testing.T) {
	elements := []string{"a", "b", "a-", "a0", "aa", "a b", "a&b=c", "ä", "%2f", "+"}
	for seed := range uint64(5) {
		random := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // a test
		w := newWorld(t, ofModels)
		var keys []string
		for range 80 {
			key := elements[random.IntN(len(elements))]
			for range random.IntN(4) {
				key += "/" + elements[random.IntN(len(elements))]
			}
			if w.plant(key) {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		for range 20 {
			prefix := keys[random.IntN(len(keys))]
			prefix = prefix[:random.IntN(len(prefix)+1)]
			if session.CheckPrefix(prefix) != nil {
				continue // it ends within a character
			}
			grouped := random.IntN(2) == 0
			query := url.Values{"prefix": {prefix}, "limit": {fmt.Sprint(1 + random.IntN(20))}}
			if grouped {
				query.Set("delimiter", "/")
			}
			var all []string
			for {
				got := w.list(query)
				page := slices.Clone(got.Prefixes)
				for _, one := range got.Objects {
					page = append(page, one.Key)
				}
				slices.Sort(page)
				all = append(all, page...)
				if got.Continue == "" {
					break
				}
				if query.Get("continue") == got.Continue {
					t.Fatalf("%v leads back to itself", query)
				}
				query.Set("continue", got.Continue)
			}
			if want := sinktest.Reference(keys, prefix, grouped); !slices.Equal(all, want) {
				t.Errorf("seed %d: %v lists %q, want %q", seed, query, all, want)
			}
		}
	}
}

func TestBadListQueries(t *testing.T) {
	w := newWorld(t, ofModels)
	for _, key := range []string{"a/b", "a/c", "b/c"} {
		w.plant(key)
	}
	token := w.list(url.Values{"prefix": {"a/"}, "limit": {"1"}}).Continue
	if token == "" {
		t.Fatal("there is no second page")
	}
	w.do(http.MethodGet, allObjects+"?prefix=a/&limit=1000&continue="+token, nil).want(t, http.StatusOK)
	elsewhere := base64.RawURLEncoding.EncodeToString(append(binding(session.ListQuery{Prefix: "a/"}), "b"...))
	long := formatContinue(session.ListQuery{Prefix: "a/"}, "a/"+strings.Repeat("x", 2000))
	for _, query := range []string{
		"limit=0", "limit=-1", "limit=1001", "limit=01", "limit=x", "limit=1e2", "limit=%2b1", "limit=99999999999999999999",
		"delimiter=-", "delimiter=//", "prefix=/", "prefix=a//", "prefix=..%2f",
		"prefix=.slipway%2f", "prefix=%00", "prefix=%ff",
		"prefix=" + strings.Repeat("a", 256), "prefix=a&prefix=b", "limit=1&limit=1", "Prefix=a", "start=a", "a;b", "%zz",
		"continue=x", "continue=" + token, "prefix=a&continue=" + token, "prefix=a/&delimiter=/&continue=" + token,
		"prefix=a/&continue=" + token + "=", "prefix=a/&continue=" + elsewhere, "prefix=a/&continue=" + long,
	} {
		p := w.do(http.MethodGet, allObjects+"?"+query, nil).problem(t)
		if p.Code != CodeInvalidQuery || p.Status != http.StatusBadRequest || p.Detail == "" {
			t.Errorf("%s gets %+v", query, p)
		}
	}
}

// What is removed or put there between two pages makes none fail, and nothing comes twice.
func TestPagesWhileTheVolumeChanges(t *testing.T) {
	w := newWorld(t, ofModels)
	for _, key := range []string{"a/b", "a/c", "b", "c"} {
		w.plant(key)
	}
	query := url.Values{"limit": {"2"}}
	query.Set("continue", w.list(query).Continue)
	if err := os.RemoveAll(filepath.Join(w.root, "a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.root, "b")); err != nil {
		t.Fatal(err)
	}
	w.plant("a")
	w.plant("bb")
	got := w.list(query)
	if len(got.Objects) != 2 || got.Objects[0].Key != "bb" || got.Objects[1].Key != "c" || got.Continue != "" {
		t.Errorf("the second page is %+v", got)
	}
}

// No more list at once than may, each in a reader's place, and whoever goes away gives both places back.
func TestListingsAreBounded(t *testing.T) {
	w := newWorld(t, ofModels)
	begun := make(chan struct{}, maxListings)
	hold := func(ctx context.Context) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	w.volume.list.Store(&hold)
	handler, ok := w.handler.(*api)
	if !ok {
		t.Fatalf("the handler is a %T", w.handler)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, maxListings)
	for range maxListings {
		go func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+allObjects, http.NoBody)
			if err == nil {
				var resp *http.Response
				if resp, err = w.client.Do(r); err == nil {
					err = resp.Body.Close()
				}
			}
			ended <- err
		}()
	}
	for range maxListings {
		<-begun
	}
	if n := handler.readers.Taken(); n != maxListings {
		t.Errorf("%d readers are counted", n)
	}
	if p := w.do(http.MethodGet, allObjects, nil).problem(t); p.Code != CodeBusy {
		t.Errorf("one too many gets %+v", p)
	}
	cancel()
	for range maxListings {
		if err := <-ended; err == nil {
			t.Error("a listing that nobody waits for ended well")
		}
	}
	eventually(t, "the places are free", func() bool {
		return handler.listing.Taken() == 0 && handler.readers.Taken() == 0
	})
}

// FuzzListQuery: a query is refused or one that the sink takes, and a continue token is what it was.
func FuzzListQuery(f *testing.F) {
	for _, seed := range []string{
		"", "prefix=a/&delimiter=/&limit=5", "continue=AQ", "prefix=%2e%2e/", "limit=0", "a=b", "prefix=a&prefix=b", "%",
		"prefix=a&continue=" + formatContinue(session.ListQuery{Prefix: "a"}, "a/b"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseListQuery(raw)
		if err != nil {
			if refused := (*refusal)(nil); !errors.As(err, &refused) || refused.kind.code != CodeInvalidQuery {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		if err := q.Check(); err != nil {
			t.Errorf("%q is %+v: %v", raw, q, err)
		}
		if !strings.HasPrefix(q.From, q.Prefix) && q.From != "" {
			t.Errorf("%q goes on at %q", raw, q.From)
		}
		next := q.Prefix + "x"
		if from, ok := parseContinue(q, formatContinue(q, next)); len(next) <= maxNext && (!ok || from != next) {
			t.Errorf("%q: to go on at %q becomes %q", raw, next, from)
		}
	})
}
