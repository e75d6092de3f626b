package sinktest

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/slipway-dev/slipway/dataplane/session"
)

var listings = []test{
	{"what is published is listed as it opens, also after a restart", afterEach(func(p *place, restart func(p *place)) {
		r := record("listed", 250, 100)
		p.createFull(r)
		p.must(p.publisher().Note(background, r.ID, "a note"))
		p.must(p.publisher().Publish(background, r.ID, "a/b", false, nil))
		p.create(record("staged", 250, 100), 0)
		restart(p)
		got := p.list(session.ListQuery{Limit: 10})
		o, err := p.publisher().OpenObject(background, "a/b")
		p.must(err)
		defer func() { p.must(o.Close()) }()
		if len(got.Objects) != 1 || got.Next != "" || len(got.Prefixes) != 0 {
			p.t.Fatalf("listed is %+v", got)
		}
		one := got.Objects[0]
		if !one.ModTime.Equal(o.ModTime()) {
			p.t.Errorf("it was written at %v, listed is %v", o.ModTime(), one.ModTime)
		}
		one.ModTime = o.ModTime()
		want := session.Listed{
			Name: "a/b", Size: o.Size(), ModTime: o.ModTime(),
			Identity: o.Identity(), Published: o.IsPublished(), Note: o.Note(),
		}
		if one != want {
			p.t.Errorf("listed is %+v, want %+v", one, want)
		}
	})},
	{"nothing is listed where nothing is published", func(p *place) {
		p.create(record("staged", 250, 100), 0)
		long := strings.Repeat("x", session.MaxNameElement)
		for _, prefix := range []string{"", "a", "a/", "a/b/c", "a/b", ".", "..", session.ReservedElement, long, long + "/"} {
			got := p.list(session.ListQuery{Prefix: prefix, Limit: 1})
			if len(got.Objects)+len(got.Prefixes) > 0 || got.Next != "" {
				p.t.Errorf("with prefix %q listed is %+v", prefix, got)
			}
		}
	}},
	{"queries that Check refuses are refused", func(p *place) {
		for _, q := range []session.ListQuery{
			{},
			{Limit: -1},
			{Limit: session.MaxListLimit + 1},
			{Limit: 1, Prefix: "/"},
			{Limit: 1, Prefix: "a//"},
			{Limit: 1, Prefix: "../"},
			{Limit: 1, Prefix: "a/./b"},
			{Limit: 1, Prefix: session.ReservedElement + "/"},
			{Limit: 1, Prefix: "a\x00"},
			{Limit: 1, Prefix: "\xff"},
			{Limit: 1, Prefix: strings.Repeat("a", session.MaxNameElement+1)},
		} {
			_, err := p.publisher().List(background, q)
			p.wants(err, session.ErrInvalid)
		}
	}},
	{"parts of any length are what is there, in its order", func(p *place) {
		random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
		r := record("many", 1, 1)
		p.createFull(r)
		var names []string
		for len(names) < 60 {
			name := randomName(random)
			if p.publisher().Lookup(background, name) != nil {
				continue // another one is there or in the way
			}
			p.must(p.publisher().Publish(background, r.ID, name, false, nil))
			names = append(names, name)
		}
		slices.Sort(names)
		prefixes := []string{"", "a", "a/", "a-", "b", "a/a", "a/a/", "nothing", names[7], names[30]}
		for _, prefix := range prefixes {
			for _, grouped := range []bool{false, true} {
				for _, limit := range []int{1, 2, 7, 1000} {
					q := session.ListQuery{Prefix: prefix, Grouped: grouped, Limit: limit}
					if got, want := p.listAll(q), Reference(names, prefix, grouped); !slices.Equal(got, want) {
						p.t.Errorf("%+v lists %q, want %q", q, got, want)
					}
				}
			}
		}
	}},
	{"a change between two parts makes none fail and repeats nothing", func(p *place) {
		r := record("changes", 1, 1)
		p.createFull(r)
		identity, err := p.publisher().Identify(background, r.ID)
		p.must(err)
		publish := func(name string) { p.must(p.publisher().Publish(background, r.ID, name, false, nil)) }
		for _, name := range []string{"a/1", "a/2", "b/1", "c", "d/1"} {
			publish(name)
		}
		first := p.list(session.ListQuery{Limit: 2})
		for _, gone := range []string{"a/1", "a/2", "b/1"} {
			p.withdraws(gone, identity, true)
		}
		publish("a/0")
		publish("c-")
		rest := p.listAll(session.ListQuery{Limit: 2, From: first.Next})
		if want := []string{"c", "c-", "d/1"}; !slices.Equal(rest, want) {
			p.t.Errorf("the rest is %q, want %q", rest, want)
		}
	}},
}

// randomName is a name of up to four short elements, of characters that come before and after a slash.
func randomName(random *rand.Rand) string {
	elements := make([]string, 1+random.IntN(4))
	for i := range elements {
		elements[i] = []string{"a", "b", "a-", "a0", "aa", "a.b", " ", "ä"}[random.IntN(8)]
	}
	return strings.Join(elements, "/")
}

// Reference is what a listing of sorted names has: each name with the prefix, or, where they are grouped, what they
// have up to the first slash after it.
func Reference(names []string, prefix string, grouped bool) []string {
	var want []string
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if below, _, isBelow := strings.Cut(rest, "/"); grouped && isBelow {
			name = prefix + below + "/"
		}
		want = append(want, name)
	}
	return slices.Compact(want)
}

func (p *place) list(q session.ListQuery) session.Listing {
	p.t.Helper()
	listing, err := p.publisher().List(background, q)
	p.must(err)
	if len(listing.Objects)+len(listing.Prefixes) > q.Limit {
		p.t.Fatalf("%+v lists %d objects and %d prefixes", q, len(listing.Objects), len(listing.Prefixes))
	}
	return listing
}

// listAll lists part after part, and returns the names and prefixes in the order of the parts.
func (p *place) listAll(q session.ListQuery) []string {
	p.t.Helper()
	var all []string
	for {
		listing := p.list(q)
		part := slices.Clone(listing.Prefixes)
		for _, one := range listing.Objects {
			part = append(part, one.Name)
		}
		if !slices.IsSorted(listing.Prefixes) {
			p.t.Fatalf("prefixes are out of order: %q", listing.Prefixes)
		}
		slices.Sort(part)
		all = append(all, part...)
		if listing.Next == "" {
			return all
		}
		if listing.Next <= q.From {
			p.t.Fatalf("the part from %q leads back to %q", q.From, listing.Next)
		}
		q.From = listing.Next
	}
}
