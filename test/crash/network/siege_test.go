package network

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

// What the besieged dataplane has room for. Tricklers take all slots of both kinds, which are not all connections.
const (
	chunkSlots  = 4
	connections = 32
	readerSlots = connections / 2 // as docs/protocol.md says
)

// unserved is how long an honest client may be without success, however often it comes again. A slot is taken back
// after 5 seconds at the earliest, and turns go round the sessions; the rest is for a machine that is busy. Where
// nobody is ended it is longer than that by any measure.
const unserved = 2 * time.Minute

// Those who hold what they get with a few bytes a second, and those who have no credentials, lock nobody out: beside
// as many of both as there is room for, uploads go on and are published, what is published is read, and who asks how
// far it is learns it.
func TestTricklersAndStrangersLockNobodyOut(t *testing.T) {
	p := newPlace(t,
		fmt.Sprintf("--max-concurrent-chunks=%d", chunkSlots), fmt.Sprintf("--max-connections=%d", connections),
		"--ticket-keys="+ticketKeys(t)) // so that there is a ticket that does not hold
	read := p.published(t, "read", 2)
	senders, readers := tricklingSenders(t, p), tricklingReaders(t, p)
	strangers := strangersTo(t, p, read)

	ctx, lift := context.WithCancel(t.Context())
	defer lift()
	senders.come(ctx, 2*chunkSlots)
	readers.come(ctx, readerSlots)
	eventually(t, "tricklers to hold all slots", func() bool {
		return senders.holding.Load() == chunkSlots && readers.holding.Load() == readerSlots
	})
	strangers.come(ctx, connections)

	until := time.Now().Add(rig.Duration(t, 0)) // one of each, where it is short
	honest := concurrently(t)
	for name, once := range map[string]func(*testing.T, int){
		"uploads":       func(t *testing.T, n int) { p.published(t, fmt.Sprintf("a%d", n), 2) },
		"other uploads": func(t *testing.T, n int) { p.published(t, fmt.Sprintf("b%d", n), 2) },
		"reads":         func(t *testing.T, _ int) { p.reads(t, read) },
		"asks":          func(t *testing.T, _ int) { p.asks(t, read) },
	} {
		honest.run(name, func(t *testing.T) {
			for n := 0; n == 0 || time.Now().Before(until) && p.Oracle.Err() == nil; n++ {
				once(t, n)
			}
		})
	}
	honest.wait()
	for _, hostile := range []*hostile{senders, readers, strangers} {
		eventually(t, hostile.figure, func() bool { return hostile.ended.Load() > 0 })
	}
	lift()
	for _, hostile := range []*hostile{senders, readers, strangers} {
		hostile.running.Wait()
		rig.Count(hostile.figure, int(hostile.ended.Load()))
	}
	p.end()
}

// eventually waits for what happens by itself.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(unserved); !is(); time.Sleep(10 * time.Millisecond) {
		if t.Context().Err() != nil || time.Now().After(late) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// ticketKeys is a file of keys with which no ticket is ever signed.
func ticketKeys(t *testing.T) string {
	t.Helper()
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	keys := fmt.Sprintf(`{"keys":[{"id":"a","key":%q,"notBefore":"2020-01-01T00:00:00Z"}]}`, key)
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// admitted is a session of so many chunks of which nothing is sent.
func (p *place) admitted(t *testing.T, name string, chunks int64) *rig.Session {
	t.Helper()
	s := &rig.Session{Name: name, Key: "objects/" + name, Size: chunks * chunkSize, ChunkSize: chunkSize}
	p.Oracle.Add(s)
	if err := p.Admit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// published is a session that was uploaded, as an honest client does it.
func (p *place) published(t *testing.T, name string, chunks int64) *rig.Session {
	t.Helper()
	s := p.admitted(t, name, chunks)
	for index := range s.Chunks() {
		p.insists(t, fmt.Sprintf("chunk %d of %s", index, name), func() rig.Reply {
			return p.Send(t.Context(), s, index, 0, true)
		})
	}
	p.insists(t, "to complete "+name, func() rig.Reply { return p.Complete(t.Context(), s, nil, false) })
	return s
}

// reads reads what is published.
func (p *place) reads(t *testing.T, s *rig.Session) {
	t.Helper()
	reply := p.insists(t, "to read "+s.Name, func() rig.Reply {
		return p.Dataplane.Do(t.Context(), s, rig.Request{Method: http.MethodGet, Path: "/content"})
	})
	if err := s.CheckObject(reply.Body); err != nil {
		p.Oracle.Violate(s, "it was read: %v", err)
	}
}

// asks asks how far a session is, ten times a second at most.
func (p *place) asks(t *testing.T, s *rig.Session) {
	t.Helper()
	p.insists(t, "to ask for "+s.Name, func() rig.Reply {
		_, reply := p.Dataplane.Status(t.Context(), s)
		return reply
	})
	time.Sleep(100 * time.Millisecond)
}

// insists sends a request until it is served, as an honest client does: it comes again when it was told to.
func (p *place) insists(t *testing.T, what string, send func() rig.Reply) rig.Reply {
	t.Helper()
	for began := time.Now(); ; {
		reply := send()
		took := time.Since(began)
		rig.Most("longest_wait_ms", int(took.Milliseconds()))
		switch {
		case reply.OK() && reply.Err == nil:
			return reply
		case p.Oracle.Err() != nil || t.Context().Err() != nil:
			t.FailNow() // the violation is told of in the end
		case took > unserved:
			p.Oracle.Violate(nil, "%s was not served in %s, and got %s", what, took, reply)
			t.FailNow()
		case reply.Err == nil && reply.Code != chunkapi.CodeBusy:
			p.Oracle.Violate(nil, "%s got %s", what, reply)
			t.FailNow()
		}
		time.Sleep(retryAfter(reply))
	}
}

// retryAfter is when the client was told to come again. Who got no reply had a connection that gave way, and is told
// nothing.
func retryAfter(reply rig.Reply) time.Duration {
	if d, err := time.ParseDuration(reply.Header.Get("Retry-After") + "s"); err == nil {
		return d
	}
	return 10 * time.Millisecond
}
