package sinktest

import (
	"bytes"
	"fmt"
	"io"

	"github.com/slipway-dev/slipway/dataplane/session"
)

var withdrawal = []test{
	{"a withdrawn object is gone for good, and only it", afterEach(func(p *place, restart func(p *place)) {
		identities := map[session.ID]string{}
		eachSize(func(p *place, r session.Record) {
			identities[r.ID] = p.publish(r, "models/of/"+string(r.ID), false)
		})(p)
		kept := record("kept", 250, 100)
		p.publish(kept, "models/of/kept", false)
		restart(p)
		eachSize(func(p *place, r session.Record) {
			name := "models/of/" + string(r.ID)
			p.identified(r.ID, name, identities[r.ID]) // as before the restart
			p.must(p.Sink.Free(background, r.ID))
			p.withdraws(name, identities[r.ID], true)
			p.showsNothing(name)
			p.withdraws(name, identities[r.ID], false)
		})(p)
		restart(p)
		eachSize(func(p *place, r session.Record) {
			p.showsNothing("models/of/" + string(r.ID))
			p.withdraws("models/of/"+string(r.ID), identities[r.ID], false)
		})(p)
		p.shows("models/of/kept", kept.ID, kept.Spec)
	})},
	{"what is staged stays when its object is withdrawn", func(p *place) {
		r := record("staged", 250, 100)
		identity := p.publish(r, "a/name", false)
		p.withdraws("a/name", identity, true)
		p.isPublished(r.ID, "a/name", false)
		p.holds(r.ID, r.Spec, all(r.Spec)...)
		p.must(p.publisher().Publish(background, r.ID, "a/name", false, nil))
		p.shows("a/name", r.ID, r.Spec)
	}},
	{"another object under the name stays, however much like it", afterEach(func(p *place, restart func(p *place)) {
		var identities []string
		for i := range 5 { // the same size, one after the other as fast as can be
			r := record(session.ID(fmt.Sprintf("r%d", i)), 250, 100)
			identities = append(identities, p.publish(r, "name", true))
			p.must(p.Sink.Free(background, r.ID))
		}
		restart(p)
		last := record("r4", 250, 100)
		for _, identity := range identities[:4] {
			p.withdraws("name", identity, false)
			p.shows("name", last.ID, last.Spec)
		}
		p.withdraws("name", identities[4], true)
		p.showsNothing("name")
	})},
	{"an object that takes the place of a withdrawn one is another", func(p *place) {
		seen := map[string]bool{}
		for i := range 20 { // what is freed is given out again
			r := record(session.ID(fmt.Sprintf("again-%d", i)), 250, 100)
			identity := p.publish(r, "name", false)
			if seen[identity] {
				p.t.Fatalf("two objects have identity %q", identity)
			}
			seen[identity] = true
			p.must(p.Sink.Remove(background, r.ID))
			for earlier := range seen {
				if earlier != identity {
					p.withdraws("name", earlier, false)
				}
			}
			p.withdraws("name", identity, true)
		}
	}},
	{"with nothing to withdraw it is no error", func(p *place) {
		r := record("first", 250, 100)
		identity := p.publish(r, "a/b", false)
		for _, name := range []string{"a/c", "c", "c/d/e", "a", "a/b/c"} {
			p.withdraws(name, identity, false)
		}
		p.withdraws("a/b", "", false)
		p.shows("a/b", r.ID, r.Spec)
		for _, name := range []string{"", "..", "/a", "../a", session.ReservedElement + "/first/data"} {
			_, err := p.publisher().Withdraw(background, name, identity)
			p.wants(err, session.ErrUnusableName)
		}
	}},
	{"an open object is read to its end when it is withdrawn", func(p *place) {
		r := record("open", 250, 100)
		identity := p.publish(r, "name", false)
		p.must(p.Sink.Remove(background, r.ID))
		opened, err := p.publisher().OpenObject(background, "name")
		p.must(err)
		p.withdraws("name", identity, true)
		got, err := io.ReadAll(opened)
		p.must(err)
		p.must(opened.Close())
		if !bytes.Equal(got, whole(r.ID, r.Spec)) {
			p.t.Error("an open object changed when it was withdrawn")
		}
	}},
	{"what has no bytes has no identity", func(p *place) {
		_, err := p.publisher().Identify(background, "nobody")
		p.wants(err, session.ErrNotFound)
		r := record("freed", 250, 100)
		p.createFull(r)
		p.must(p.Sink.Free(background, r.ID))
		_, err = p.publisher().Identify(background, r.ID)
		p.wants(err, session.ErrNotFound)
	}},
	{"of an object that is withdrawn and replaced at once the new one stays", func(p *place) {
		for round := range 50 {
			before, after := record(session.ID(fmt.Sprintf("b%d", round)), 250, 100), record(session.ID(fmt.Sprintf("a%d", round)), 250, 100)
			name := fmt.Sprintf("race/%d", round%3)
			identity := p.publish(before, name, true)
			p.createFull(after)
			var errs [2]error
			concurrently(2, func(i int) {
				if i == 0 {
					errs[i] = p.publisher().Publish(background, after.ID, name, round%2 == 0, nil)
				} else {
					_, errs[i] = p.publisher().Withdraw(background, name, identity)
				}
			})
			p.must(errs[1])
			if round%2 > 0 && errs[0] != nil { // it came first, and does not replace
				p.wants(errs[0], session.ErrExists)
				p.showsNothing(name)
				continue
			}
			p.must(errs[0])
			p.shows(name, after.ID, after.Spec)
		}
	}},
}
