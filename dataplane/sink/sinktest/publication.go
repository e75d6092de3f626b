package sinktest

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

var publication = []test{
	{"published bytes are whole, and stay when the session goes", afterEach(func(p *place, restart func(p *place)) {
		publisher := p.publisher()
		eachSize(func(p *place, r session.Record) {
			name := "models/of/" + string(r.ID)
			p.createFull(r)
			p.isPublished(r.ID, name, false)
			p.must(publisher.Lookup(background, name))
			p.must(publisher.Publish(background, r.ID, name, false, map[string]string{"origin": "a test", "empty": ""}))
			p.isPublished(r.ID, name, true)
			p.wants(publisher.Lookup(background, name), session.ErrExists)
			p.shows(name, r.ID, r.Spec)
			p.holds(r.ID, r.Spec, all(r.Spec)...)
		})(p)
		restart(p)
		eachSize(func(p *place, r session.Record) {
			name := "models/of/" + string(r.ID)
			p.isPublished(r.ID, name, true)
			p.must(p.Sink.Free(background, r.ID))
			p.shows(name, r.ID, r.Spec)
			p.must(p.Sink.Remove(background, r.ID))
			p.shows(name, r.ID, r.Spec)
		})(p)
	})},
	{"publishing again is no error, with replace and without", func(p *place) {
		r := record("again", 250, 100)
		p.createFull(r)
		for _, replace := range []bool{false, true, false, true, true} {
			p.must(p.publisher().Publish(background, r.ID, "a/b", replace, nil))
			p.isPublished(r.ID, "a/b", true)
			p.shows("a/b", r.ID, r.Spec)
		}
		p.must(p.Sink.Free(background, r.ID))
		p.shows("a/b", r.ID, r.Spec)
	}},
	{"what is under the name stays without replace, and goes with it", afterEach(func(p *place, restart func(p *place)) {
		first, second := record("first", 250, 100), record("second", 120, 50)
		p.createFull(first)
		p.createFull(second)
		p.must(p.publisher().Publish(background, first.ID, "name", false, nil))
		p.wants(p.publisher().Publish(background, second.ID, "name", false, nil), session.ErrExists)
		p.isPublished(second.ID, "name", false)
		p.shows("name", first.ID, first.Spec)
		opened, err := p.publisher().OpenObject(background, "name")
		p.must(err)
		p.must(p.publisher().Publish(background, second.ID, "name", true, nil))
		got, err := io.ReadAll(opened)
		p.must(err)
		p.must(opened.Close())
		if !bytes.Equal(got, whole(first.ID, first.Spec)) {
			p.t.Error("an open object changed when it was replaced")
		}
		restart(p)
		p.shows("name", second.ID, second.Spec)
		p.isPublished(first.ID, "name", false)
		p.isPublished(second.ID, "name", true)
		p.holds(first.ID, first.Spec, all(first.Spec)...)
	})},
	{"replace needs nothing to replace", func(p *place) {
		r := record("new", 250, 100)
		p.createFull(r)
		p.must(p.publisher().Publish(background, r.ID, "a/name", true, nil))
		p.shows("a/name", r.ID, r.Spec)
	}},
	{"names in the way of one another are refused", func(p *place) {
		r, other := record("first", 250, 100), record("other", 120, 50)
		p.createFull(r)
		p.createFull(other)
		p.must(p.publisher().Publish(background, r.ID, "a/b", false, nil))
		for _, name := range []string{"a", "a/b/c", "a/b/c/d"} {
			p.wants(p.publisher().Lookup(background, name), session.ErrUnusableName)
			p.isPublished(other.ID, name, false)
			for _, replace := range []bool{false, true} {
				p.wants(p.publisher().Publish(background, other.ID, name, replace, nil), session.ErrUnusableName)
			}
			_, err := p.publisher().OpenObject(background, name)
			p.wants(err, session.ErrNotFound)
		}
		p.shows("a/b", r.ID, r.Spec)
	}},
	{"names that CheckName refuses are refused", func(p *place) {
		r := record("first", 250, 100)
		p.createFull(r)
		for _, name := range []string{"", ".", "..", "/a", "a/", "a//b", "../a", "a/../b", session.ReservedElement, session.ReservedElement + "/first/data", "a\x00b", "\xff"} {
			p.wants(p.publisher().Lookup(background, name), session.ErrUnusableName)
			p.wants(p.publisher().Publish(background, r.ID, name, true, nil), session.ErrUnusableName)
			_, err := p.publisher().OpenObject(background, name)
			p.wants(err, session.ErrNotFound)
		}
	}},
	{"names as long and as odd as CheckName accepts are published", func(p *place) {
		r := record("long", 250, 100)
		p.createFull(r)
		element, directory := strings.Repeat("x", session.MaxNameElement), strings.Repeat("y", session.MaxNameElement)+"/"
		longest := strings.Repeat(directory, 4)[:session.MaxName-2] + "/z"
		for _, name := range []string{element, longest, "ä/日本/🙂", "-", " a ", "a\u200c"} {
			p.must(p.publisher().Publish(background, r.ID, name, false, nil))
			p.shows(name, r.ID, r.Spec)
		}
	}},
	{"what is not there can't be published, opened or compared", func(p *place) {
		p.wants(p.publisher().Publish(background, "nobody", "name", false, nil), session.ErrNotFound)
		_, err := p.publisher().Published(background, "nobody", "name")
		p.wants(err, session.ErrNotFound)
		_, err = p.publisher().OpenObject(background, "name")
		p.wants(err, session.ErrNotFound)
		r := record("freed", 250, 100)
		p.createFull(r)
		p.must(p.Sink.Free(background, r.ID))
		p.wants(p.publisher().Publish(background, r.ID, "name", false, nil), session.ErrNotFound)
		_, err = p.publisher().Published(background, r.ID, "name")
		p.wants(err, session.ErrNotFound)
		p.must(p.publisher().Lookup(background, "name"))
	}},
	{"attributes never stand in the way", func(p *place) {
		r := record("attributes", 250, 100)
		p.createFull(r)
		many := map[string]string{strings.Repeat("n", 300): "a long name"}
		for i := range 64 {
			many[fmt.Sprintf("a-%d", i)] = strings.Repeat("v", 4096)
		}
		p.must(p.publisher().Publish(background, r.ID, "name", false, many))
		p.shows("name", r.ID, r.Spec)
	}},
	{"a note is kept with the object, and with no other", afterEach(func(p *place, restart func(p *place)) {
		first, second, plain := record("first", 250, 100), record("second", 250, 100), record("plain", 250, 100)
		long := strings.Repeat("n", session.MaxNote)
		p.createFull(first)
		p.must(p.publisher().Note(background, first.ID, "an earlier one"))
		p.must(p.publisher().Note(background, first.ID, long))
		p.must(p.publisher().Publish(background, first.ID, "name", false, map[string]string{"note": "an attribute"}))
		p.noted("name", long)
		restart(p)
		p.noted("name", long)
		p.must(p.Sink.Remove(background, first.ID))
		p.noted("name", long)
		p.createFull(second)
		p.must(p.publisher().Note(background, second.ID, "another"))
		p.must(p.publisher().Publish(background, second.ID, "name", true, nil))
		p.noted("name", "another")
		p.createFull(plain)
		p.must(p.publisher().Publish(background, plain.ID, "name", true, nil))
		p.noted("name", "")
	})},
	{"a note that is too long, or of nothing, is refused", func(p *place) {
		r := record("r", 250, 100)
		p.createFull(r)
		p.wants(p.publisher().Note(background, r.ID, strings.Repeat("n", session.MaxNote+1)), session.ErrInvalid)
		p.must(p.Sink.Free(background, r.ID))
		p.wants(p.publisher().Note(background, r.ID, "n"), session.ErrNotFound)
		p.wants(p.publisher().Note(background, "nobody", "n"), session.ErrNotFound)
	}},
	{"an object tells its size and time, and is read from anywhere", func(p *place) {
		r := record("object", 250, 100)
		before := time.Now()
		p.createFull(r)
		p.must(p.publisher().Publish(background, r.ID, "name", false, nil))
		o, err := p.publisher().OpenObject(background, "name")
		p.must(err)
		defer func() { p.must(o.Close()) }()
		if o.Size() != 250 || o.ModTime().Before(before.Add(-2*time.Second)) || o.ModTime().After(time.Now().Add(2*time.Second)) {
			p.t.Errorf("size %d, modified %s", o.Size(), o.ModTime())
		}
		at, err := o.Seek(-50, io.SeekEnd)
		p.must(err)
		got, err := io.ReadAll(o)
		p.must(err)
		if at != 200 || !bytes.Equal(got, whole(r.ID, r.Spec)[200:]) {
			p.t.Errorf("read %d bytes at %d, or other ones", len(got), at)
		}
	}},
	{"of concurrent publications without replace one wins", func(p *place) {
		for round := range 5 {
			name := fmt.Sprintf("race-%d/a/b", round)
			records := make([]session.Record, 6)
			errs := make([]error, len(records))
			for i := range records {
				records[i] = record(session.ID(fmt.Sprintf("race-%d-%d", round, i)), 250, 100)
				p.createFull(records[i])
			}
			concurrently(len(records), func(i int) { errs[i] = p.publisher().Publish(background, records[i].ID, name, false, nil) })
			winner := slices.Index(errs, nil)
			if winner < 0 {
				p.t.Fatalf("nobody published: %v", errs)
			}
			for i, err := range errs {
				if i != winner {
					p.wants(err, session.ErrExists)
				}
				p.isPublished(records[i].ID, name, i == winner)
			}
			p.shows(name, records[winner].ID, records[winner].Spec)
		}
	}},
	{"under concurrent replacement a name always shows one whole object", func(p *place) {
		records := make([]session.Record, 4)
		wholes := make([][]byte, len(records))
		for i := range records {
			records[i] = record(session.ID(fmt.Sprintf("r%d", i)), 10_000, 1000)
			p.createFull(records[i])
			wholes[i] = whole(records[i].ID, records[i].Spec)
		}
		publisher := p.publisher()
		p.must(publisher.Publish(background, records[0].ID, "name", true, nil))
		concurrently(len(records)*2, func(i int) {
			for range 10 {
				if i < len(records) {
					if err := publisher.Publish(background, records[i].ID, "name", true, nil); err != nil {
						p.t.Error(err)
					}
					continue
				}
				got, err := object(publisher, "name")
				if err != nil || !slices.ContainsFunc(wholes, func(want []byte) bool { return bytes.Equal(got, want) }) {
					p.t.Errorf("read %d bytes that are no object, error %v", len(got), err)
				}
			}
		})
	}},
	{"concurrent publications share parents", func(p *place) {
		concurrently(16, func(i int) {
			r := record(session.ID(fmt.Sprintf("p%d", i)), 250, 100)
			err := p.Sink.Create(background, r)
			if err == nil {
				err = p.publisher().Publish(background, r.ID, fmt.Sprintf("a/b/c/%d", i), false, nil)
			}
			if err != nil {
				p.t.Error(err)
			}
		})
	}},
}

func (p *place) isPublished(id session.ID, name string, want bool) {
	p.t.Helper()
	got, err := p.publisher().Published(background, id, name)
	p.must(err)
	if got != want {
		p.t.Fatalf("session %s published as %s: %t, want %t", id, name, got, want)
	}
}

// noted checks the note of the object under a name. A volume that keeps no notes has none.
func (p *place) noted(name, want string) {
	p.t.Helper()
	o, err := p.publisher().OpenObject(background, name)
	p.must(err)
	got := o.Note()
	p.must(o.Close())
	if got != want && (got != "" || p.KeepsNotes) {
		p.t.Fatalf("the note of %s is %q, want %q", name, got, want)
	}
}

// publish publishes a session that holds all its chunks and returns the object's identity.
func (p *place) publish(r session.Record, name string, replace bool) string {
	p.t.Helper()
	p.createFull(r)
	identity, err := p.publisher().Identify(background, r.ID)
	p.must(err)
	p.must(p.publisher().Publish(background, r.ID, name, replace, map[string]string{"origin": "a test"}))
	p.identified(r.ID, name, identity)
	return identity
}

// identified checks that a session and the object under the name have the identity.
func (p *place) identified(id session.ID, name, want string) {
	p.t.Helper()
	staged, err := p.publisher().Identify(background, id)
	p.must(err)
	o, err := p.publisher().OpenObject(background, name)
	p.must(err)
	p.must(o.Close())
	if staged != want || o.Identity() != want {
		p.t.Fatalf("the identity was %q, is %q staged and %q published", want, staged, o.Identity())
	}
}

// withdraws checks what a withdrawal says that it did.
func (p *place) withdraws(name, identity string, want bool) {
	p.t.Helper()
	removed, err := p.publisher().Withdraw(background, name, identity)
	p.must(err)
	if removed != want {
		p.t.Fatalf("withdrawing %s removed something: %t, want %t", name, removed, want)
	}
}

// showsNothing checks that nothing is under a name, which can be used again.
func (p *place) showsNothing(name string) {
	p.t.Helper()
	_, err := p.publisher().OpenObject(background, name)
	p.wants(err, session.ErrNotFound)
	p.must(p.publisher().Lookup(background, name))
}
