package uploadsession

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
)

func sessionIn(namespace string, i int) *v1alpha1.UploadSession {
	return session(func(s *v1alpha1.UploadSession) {
		s.Namespace, s.Name, s.UID, s.ResourceVersion = namespace, fmt.Sprint(i), types.UID(fmt.Sprint(namespace, i)), fmt.Sprint(i+1)
	})
}

// Nobody's question waits while the ledger of another namespace is at work.
func TestANamespaceWaitsForNoOther(t *testing.T) {
	q := NewQueue(nil, "")
	mine := sessionIn("mine", 0)
	q.observe(mine)
	answered := make(chan bool)
	q.with("other", func(*admission.Ledger) {
		go func() {
			_, _, known := q.ask(mine, noon)
			answered <- known
		}()
		select {
		case known := <-answered:
			if !known {
				t.Error("a session is forgotten")
			}
		case <-time.After(10 * time.Second):
			t.Error("a question of one namespace waits for another")
		}
	})
}

// What is left of a namespace from which everything is gone is nothing.
func TestAnEmptyNamespaceIsForgotten(t *testing.T) {
	q := NewQueue(nil, "")
	st := store(func(s *v1alpha1.UploadStore) { s.Namespace = "ml" })
	q.change("ml", func(l *admission.Ledger) bool { return l.SetStore(st) })
	s := sessionIn("ml", 0)
	q.observe(s)
	q.forget(s)
	if len(q.ledgers) != 1 {
		t.Error("a namespace with a store is forgotten")
	}
	q.change("ml", func(l *admission.Ledger) bool { l.DropStore(st); return true })
	if len(q.ledgers) != 0 {
		t.Error("a namespace with nothing is kept")
	}
	q.look("never-seen", noon)
	if len(q.ledgers) != 0 {
		t.Error("to ask about a namespace keeps it")
	}
}

// Whoever comes while a ledger is dropped has the next one.
func TestComingAndGoingAtOnce(t *testing.T) {
	q := NewQueue(nil, "")
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 200 {
				s := sessionIn("ml", worker*1000+i)
				q.observe(s)
				if _, _, known := q.ask(s, noon); !known {
					t.Error("a session is lost")
				}
				q.forget(s)
			}
		})
	}
	all.Wait()
	if len(q.ledgers) != 0 {
		t.Error("a namespace with nothing is kept")
	}
}

// The more sessions wait in a namespace, the less often all of them are gone through: meanwhile the watch, which is one
// for all namespaces, can't tell of any.
func TestALookAtManyIsFollowedByARest(t *testing.T) {
	q := NewQueue(nil, "")
	const many = 5000
	for i := range many {
		q.observe(sessionIn("ml", i))
	}
	q.look("ml", noon)
	if wait, want := q.look("ml", noon.Add(time.Millisecond)), many*restPerSession-time.Millisecond; wait != want {
		t.Errorf("the rest takes %v more, want %v", wait, want)
	}
	if wait := q.look("ml", noon.Add(-time.Hour)); wait > many*restPerSession {
		t.Errorf("a clock that was set back makes all wait for %v", wait)
	}
	woken := false
	q.wake = func(r reconcile.Request) { woken = woken || r.Name != "" }
	q.look("ml", noon.Add(time.Hour))
	if !woken {
		t.Error("nobody is looked at after the rest")
	}
	q.observe(sessionIn("small", 0))
	q.look("small", noon)
	if wait := q.look("small", noon.Add(time.Millisecond)); wait != 0 && wait != refreshEvery {
		t.Errorf("a namespace in which few wait rests for %v", wait)
	}
}
