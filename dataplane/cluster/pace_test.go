package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

const (
	interval = 5 * time.Second
	spacing  = 200 * time.Millisecond
)

func named(n int) upload.Name { return upload.Name{Namespace: "ml", Name: fmt.Sprint(n)} }

func expectTake(t *testing.T, p *pace, name upload.Name, after time.Duration, wantTaken bool, wantWait time.Duration) {
	t.Helper()
	if taken, wait := p.take(name, noon.Add(after)); taken != wantTaken || wait != wantWait {
		t.Fatalf("take of %s after %v: got %v, %v, want %v, %v", name, after, taken, wait, wantTaken, wantWait)
	}
}

func TestFirstProgressWaitsForTheInterval(t *testing.T) {
	p := newPace(interval, spacing)
	expectTake(t, p, named(1), 0, false, interval)
	expectTake(t, p, named(1), 3*time.Second, false, 2*time.Second)
	expectTake(t, p, named(1), interval, true, 0)
	expectTake(t, p, named(1), interval+time.Second, false, 4*time.Second)
	expectTake(t, p, named(1), 2*interval, true, 0)
}

func TestChunksAskForOneLookAnInterval(t *testing.T) {
	p := newPace(interval, spacing)
	for at, want := range []time.Duration{interval, 4 * time.Second, 3 * time.Second} {
		if wait, ok := p.rest(named(1), noon.Add(time.Duration(at)*time.Second)); !ok || wait != want {
			t.Fatalf("after %ds: got %v, %v, want %v", at, wait, ok, want)
		}
	}
	if wait, ok := p.rest(named(1), noon.Add(time.Minute)); !ok || wait != 0 {
		t.Fatalf("long after: got %v, %v", wait, ok)
	}
}

func TestAnUploadIsNewAfterItWasForgotten(t *testing.T) {
	p := newPace(interval, spacing)
	expectTake(t, p, named(1), 0, false, interval)
	p.forget(named(1))
	expectTake(t, p, named(1), interval, false, interval)
}

// calls returns whom the line calls within a time, and when.
func calls(p *pace, from, until time.Duration) map[string]time.Duration {
	at := map[string]time.Duration{}
	for now := from; now <= until; {
		wait, waiting := p.call(noon.Add(now), func(n upload.Name) { at[n.Name] = now })
		if !waiting {
			break
		}
		now += wait
	}
	return at
}

func TestAllTogetherWriteInTurn(t *testing.T) {
	p := newPace(interval, spacing)
	for n := range 5 {
		expectTake(t, p, named(n), 0, false, interval)
	}
	expectTake(t, p, named(0), interval, true, 0)
	for n := 1; n < 5; n++ {
		expectTake(t, p, named(n), interval, false, 0)
		if _, ok := p.rest(named(n), noon.Add(interval)); ok {
			t.Fatalf("%d is in the line and rests", n)
		}
	}
	p.forget(named(2)) // its upload has ended: its turn is the next one's
	got := calls(p, interval, 2*interval)
	for n, want := range map[string]time.Duration{"1": interval + spacing, "3": interval + 2*spacing, "4": interval + 3*spacing} {
		if got[n] != want {
			t.Errorf("%s was called after %v, want %v; all: %v", n, got[n], want, got)
		}
	}
	if len(got) != 3 {
		t.Errorf("called: %v", got)
	}
	expectTake(t, p, named(3), interval+2*spacing, true, 0)
	expectTake(t, p, named(3), interval+2*spacing, false, interval)
}

func TestALateComerDoesNotOvertakeTheLine(t *testing.T) {
	p := newPace(interval, spacing)
	for n := range 3 {
		expectTake(t, p, named(n), 0, false, interval)
	}
	expectTake(t, p, named(0), interval, true, 0)
	expectTake(t, p, named(1), interval, false, 0)
	expectTake(t, p, named(2), interval+spacing, false, 0)
	if got := calls(p, interval+spacing, 2*interval); got["1"] >= got["2"] {
		t.Errorf("called: %v", got)
	}
}

func TestTheLineDoesNotOutliveItsUploads(t *testing.T) {
	p := newPace(interval, spacing)
	for n := range 1000 {
		expectTake(t, p, named(n), 0, false, interval)
	}
	for n := range 1000 {
		p.take(named(n), noon.Add(interval))
	}
	for n := range 1000 {
		p.forget(named(n))
	}
	if got := calls(p, interval, time.Hour); len(got) > 0 || len(p.line) > 0 || len(p.turns) > 0 {
		t.Errorf("called %v, left %d and %d", got, len(p.line), len(p.turns))
	}
	expectTake(t, p, named(0), interval, false, interval)
	expectTake(t, p, named(0), 2*interval, true, 0)
}

func TestRunCallsTheLine(t *testing.T) {
	clock := clocktesting.NewFakeClock(noon)
	p := newPace(interval, spacing)
	called := make(chan upload.Name, 3)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.run(ctx, clock, func(n upload.Name) { called <- n })
	}()
	for n := range 3 {
		p.take(named(n), noon)
	}
	clock.Step(interval)
	expectTake(t, p, named(0), interval, true, 0)
	expectTake(t, p, named(1), interval, false, 0)
	expectTake(t, p, named(2), interval, false, 0)
	for _, want := range []upload.Name{named(1), named(2)} {
		for !clock.HasWaiters() {
			select {
			case <-t.Context().Done():
				t.Fatal("the line is not waited for")
			default:
			}
		}
		clock.Step(spacing)
		select {
		case got := <-called:
			if got != want {
				t.Fatalf("called %v, want %v", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%v was not called", want)
		}
	}
	cancel()
	<-stopped
}
