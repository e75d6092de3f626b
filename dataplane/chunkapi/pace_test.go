package chunkapi

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/fair"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// hasty is a pace that nobody keeps for whom the server waits.
func hasty() fair.Rule { return fair.Rule{BytesPerSecond: 1 << 50, Over: time.Millisecond} }

// TestTricklersGiveWay: two sessions hold every slot with a byte, and a third one sends its chunk all the same.
func TestTricklersGiveWay(t *testing.T) { eachProtocol(t, testTricklersGiveWay) }

func testTricklersGiveWay(t *testing.T, http2 bool) {
	w := newWorld(t, patient(Config{MaxConcurrentChunks: 2, MaxConcurrentChunksPerSession: 1, Pace: hasty()}).over(http2))
	held := []wire{hold(w, w.accepted("a", 4, 4)), hold(w, w.accepted("b", 4, 4))}
	w.accepted("c", 4, 4)
	w.put("c", 0, []byte("0123")).want(t, http.StatusCreated)

	// One of the two slots was taken back, and the other one goes on now that nobody waits.
	names, ended := []string{"a", "b"}, 0
	for i, c := range held {
		if w.meta(upload.Name{Namespace: "ml", Name: names[i]}).InFlight == 0 {
			ended++
			got := c.receive(http.MethodPut)
			got.want(t, http.StatusServiceUnavailable)
			if p := got.problem(t); p.Code != CodeTooSlow || got.Header.Get("Retry-After") == "" {
				t.Errorf("got %s", got.body)
			}
			w.put(names[i], 0, []byte("xxyy")).want(t, http.StatusCreated) // nothing of it counted
			continue
		}
		c.write([]byte("yy"))
		c.receive(http.MethodPut).want(t, http.StatusCreated)
	}
	if ended != 1 {
		t.Errorf("%d of two were ended for the sake of one", ended)
	}
}

// TestNobodyGivesWayToTheirOwn: chunks of one session that wait for its share end none of it.
func TestNobodyGivesWayToTheirOwn(t *testing.T) {
	bounds := bounds{slots: 4, slotsPerSession: 1, waiters: 10, waitersPerSession: 5}
	turns := newTurns(bounds)
	join := func(id string) *turn {
		u, crowd := turns.join(session.ID(id))
		if crowd != nil {
			t.Fatal(crowd)
		}
		return u
	}
	holder, second := join("a"), join("a")
	if n := turns.wanted(second); n != 0 {
		t.Errorf("%d slots are wanted while three are free", n)
	}
	for _, id := range []string{"b", "c", "d"} {
		join(id)
	}
	if n := turns.wanted(second); n != 0 {
		t.Errorf("%d slots are wanted by who waits for its own", n)
	}
	other, another := join("e"), join("e")
	join("f")
	if n := turns.wanted(other); n != 2 || turns.wanted(another) != n {
		t.Errorf("%d slots are wanted by two sessions", n)
	}
	if n := turns.wanted(holder); n != 0 {
		t.Errorf("%d slots are wanted by who has one", n)
	}
}

// TestReadersGiveWay: whoever takes none of an object that they read does not keep others from it.
func TestReadersGiveWay(t *testing.T) { eachProtocol(t, testReadersGiveWay) }

func testReadersGiveWay(t *testing.T, http2 bool) {
	w := newWorld(t, patient(Config{MaxReaders: 1, Pace: hasty()}).over(http2))
	object := bytes.Repeat([]byte("0123456789abcdef"), 1<<21) // more than kernels hold
	publish(w, "obj", object)
	publish(w, "other", []byte("0123"))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+base("obj")+"/content", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	eventually(t, "the other object is read", func() bool { // a slow machine may have to try again
		got := w.do(http.MethodGet, base("other")+"/content", nil)
		return got.StatusCode == http.StatusOK && string(got.body) == "0123"
	})
	had, err := io.ReadAll(slow.Body)
	if err == nil || len(had) >= len(object) || !bytes.HasPrefix(object, had) {
		t.Errorf("the slow one has %d of %d bytes, %v", len(had), len(object), err)
	}
	rest := w.do(http.MethodGet, base("obj")+"/content", nil, "Range", "bytes=1000-")
	rest.want(t, http.StatusPartialContent)
	if !bytes.Equal(rest.body, object[1000:]) {
		t.Error("the rest is another")
	}
}

// takeCreating takes so many slots of requests to create.
func (w *world) takeCreating(n int) {
	w.t.Helper()
	for range n {
		if _, ok := w.creating.Take(w.t.Context(), "", func() {}); !ok {
			w.t.Fatal("no slot is free")
		}
	}
}

// TestSpecsThatTrickleGiveWay: whoever sends a spec byte by byte keeps nobody from creating a session.
func TestSpecsThatTrickleGiveWay(t *testing.T) { eachProtocol(t, testSpecsThatTrickleGiveWay) }

func testSpecsThatTrickleGiveWay(t *testing.T, http2 bool) {
	w := newWorld(t, patient(Config{Pace: hasty()}).over(http2))
	w.creates(made(), nil)
	w.takeCreating(maxConcurrentCreates - 1)
	c := w.open()
	c.send(http.MethodPost, "/v1/namespaces/ml/uploadsessions", len(anySpec), []byte(anySpec[:1]), "Content-Type", "application/json")
	eventually(t, "all slots are taken", func() bool { return w.creating.Taken() == maxConcurrentCreates })
	eventually(t, "another session is created", func() bool { // a slow machine may have to try again
		return w.post(strings.NewReader(anySpec)).StatusCode == http.StatusCreated
	})
	got := c.receive(http.MethodPost)
	got.want(t, http.StatusRequestTimeout)
	if p := got.problem(t); p.Code != CodeRequestTimeout {
		t.Errorf("got %s", got.body)
	}
}
