package rig

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Load sends requests of all kinds to one dataplane, and checks what was
// promised. TopUp, Run, Check, Retire, Finish and Clear are called one after
// the other.
type Load struct {
	World     *World
	Oracle    *Oracle
	Dataplane *Dataplane

	// Shape is what TopUp makes and Run works on; it may be changed between two calls.
	Shape *Shape
	// Tolerates says of a refusal that would be a violation whether it is none, because of what
	// the program breaks; nil where none is tolerated.
	Tolerates func(Reply) bool

	random  *rand.Rand // of TopUp, Check and Retire
	created int
	runs    atomic.Uint64
}

// NewLoad is a load of mixed sessions.
func NewLoad(w *World, o *Oracle, d *Dataplane) *Load {
	return &Load{
		World: w, Oracle: o, Dataplane: d, Shape: Mixed(), random: rand.New(rand.NewPCG(o.Seed, 0)),
	}
}

// TopUp creates and admits sessions of the shape until enough are active.
func (l *Load) TopUp(ctx context.Context) error {
	active := 0
	for _, s := range l.Oracle.Sessions() {
		if s.End() == "" && s.shape == l.Shape {
			active++
		}
	}
	for ; active < l.Shape.Active; active++ {
		s := l.invent()
		l.Oracle.Add(s)
		if !s.Contested {
			switch l.random.IntN(4) {
			case 0:
			case 1:
				// Nothing appears of an object that is not what it should be.
				s.Doomed = s.Size > 0
				s.Digest = digestOf([]byte("another object"))
				if !s.Doomed {
					s.Digest = digestOf(nil)
				}
			default:
				s.Digest = digestOf(s.Object())
			}
		}
		if err := l.Admit(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Admit creates and admits a session that the oracle knows.
func (l *Load) Admit(ctx context.Context, s *Session) error {
	if err := l.World.Create(ctx, s); err != nil {
		return err
	}
	return l.World.Admit(ctx, s)
}

// Run sends requests until the context is done or there is a violation.
func (l *Load) Run(ctx context.Context) {
	sessions := l.worked()
	var running sync.WaitGroup
	defer running.Wait()
	for range l.Shape.Workers {
		seed := l.runs.Add(1)
		running.Go(func() {
			c := &caller{Load: l, random: rand.New(rand.NewPCG(l.Oracle.Seed, seed))}
			for ctx.Err() == nil && l.Oracle.Err() == nil {
				c.call(ctx, c.choose(sessions))
			}
		})
	}
}
