package cluster

import (
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestPending(t *testing.T) {
	p, name := newPending(), upload.Name{Namespace: "ml", Name: "weights"}
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	oldest := func(why string, now int, want time.Duration) {
		t.Helper()
		if got := p.oldest(at(now)); got != want {
			t.Errorf("%s: the oldest news is there for %v, want %v", why, got, want)
		}
	}
	oldest("before anything", 0, 0)
	p.changed(name, at(1))
	p.changed(name, at(2))
	oldest("after two chunks", 10, 9*time.Second)

	p.look(name)
	oldest("while it is told", 11, 10*time.Second)
	p.changed(name, at(12)) // after what is told was gathered
	p.told(name)
	oldest("with a chunk that came meanwhile", 20, 8*time.Second)

	p.look(name)
	oldest("after a look that told nothing", 21, 9*time.Second)
	p.ended(name, at(22), at(23))
	if first, ended := p.of(name); !first.Equal(at(12)) || !ended.Equal(at(22)) {
		t.Errorf("it has news since %v and ended at %v", first, ended)
	}
	p.look(name)
	p.told(name)
	oldest("when all is told", 30, 0)
	if len(p.uploads) > 0 {
		t.Errorf("something is kept: %v", p.uploads)
	}
	p.look(name)
	p.told(name) // nobody told of news
	oldest("without news", 31, 0)
}
