package sinktest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// The environment that makes a test binary the child which is killed.
const (
	childDirectory = "SLIPWAY_SINKTEST_DIRECTORY"
	childRound     = "SLIPWAY_SINKTEST_ROUND"
)

const (
	workers = 4
	kills   = 15
	// maxLife bounds how long a child works before it is killed.
	maxLife = 200 * time.Millisecond
)

// Main is for the TestMain of a package that calls RunKilled. It returns the
// exit code of the tests, or never, where this process is to be killed.
func Main(m *testing.M, open Opener) int {
	dir, round := os.Getenv(childDirectory), os.Getenv(childRound)
	if dir == "" {
		return m.Run()
	}
	fmt.Fprintln(os.Stderr, work(open, dir, round))
	return 1
}

// RunKilled has a child process create, fill, publish, replace, end and remove
// sessions, kills it at a random moment, and checks that the volume holds all
// that the child said was done and nothing by halves; then again, on the same
// volume. The package must use Main. A kill keeps what the kernel has: what a
// loss of power takes is not tested.
func RunKilled(t *testing.T, open Opener) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	dir := t.TempDir()
	known := history{}
	for round := range kills {
		log := liveAndDie(t, dir, round, time.Duration(random.Int64N(int64(maxLife))))
		for line := range strings.Lines(log) {
			known.add(t, line)
		}
		v, err := open(dir)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		known.check(t, v.Sink)
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("after kill %d", round)
		}
	}
	t.Logf("%d kills, %s", kills, known)
}

// liveAndDie runs a child and returns what it wrote until it was killed.
func liveAndDie(t *testing.T, dir string, round int, life time.Duration) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDirectory+"="+dir, fmt.Sprintf("%s=%d", childRound, round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what was not ended was not said
		}
		log.WriteString(line)
		if line == "ready\n" {
			time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() >= 0 {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return log.String()
}

// work is the child: it says before each step what it is going to do and after
// it what is done, one line a time.
func work(open Opener, dir, round string) error {
	v, err := open(dir)
	if err != nil {
		return err
	}
	if _, failed := recoverAll(v.Sink); len(failed) > 0 {
		return fmt.Errorf("recovery failed: %v", failed)
	}
	say("ready")
	errs := make(chan error, workers)
	for worker := range workers {
		go func() {
			for n := 0; ; n++ {
				if err := live(v.Sink, worker, session.ID(fmt.Sprintf("r%s-w%d-n%d", round, worker, n))); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	return <-errs
}

var saying sync.Mutex

func say(words ...any) {
	saying.Lock()
	defer saying.Unlock()
	_, _ = fmt.Fprintln(os.Stdout, words...)
}

// live takes one session through a life that its ID decides.
func live(sink session.ByteSink, worker int, id session.ID) error {
	r := killedRecord(id)
	random := randomOf(id)
	if err := step("create", id, "", func() error { return sink.Create(background, r) }); err != nil {
		return err
	}
	if worker == 0 { // one does nothing but create and remove
		return step("remove", id, "", func() error { return sink.Remove(background, id) })
	}
	for _, index := range random.Perm(r.Spec.Chunks()) {
		if err := step("chunk", id, fmt.Sprint(index), func() error { return fill(sink, id, r.Spec, index) }); err != nil {
			return err
		}
	}
	var ends []ending
	if publisher, ok := sink.(session.Publisher); ok {
		name, replace := "objects/"+string(id[:3])+"/"+string(id), false
		if random.IntN(2) == 0 {
			name, replace = fmt.Sprintf("replaced/%d", worker), true
		}
		identity, err := publisher.Identify(background, id)
		if err != nil {
			return err
		}
		if random.IntN(2) == 0 {
			ends = append(ends, ending{"withdraw", func() error { return withdraw(publisher, name, identity) }})
		}
		err = step("publish", id, name, func() error {
			return publisher.Publish(background, id, name, replace, map[string]string{"id": string(id)})
		})
		if err != nil {
			return err
		}
	}
	ended := r
	ended.State, ended.Outcome = session.Finished, []byte(id)
	ends = append([]ending{{"save", func() error { return sink.SaveRecord(background, ended) }}}, ends...)
	ends = append(ends,
		ending{"free", func() error { return sink.Free(background, id) }},
		ending{"remove", func() error { return sink.Remove(background, id) }})
	for _, end := range ends {
		if random.IntN(4) == 0 {
			return nil
		}
		if err := step(end.what, id, "", end.do); err != nil {
			return err
		}
	}
	return nil
}

// ending is one of the last steps of a life.
type ending struct {
	what string
	do   func() error
}

// withdraw removes an object that is known to be there.
func withdraw(publisher session.Publisher, name, identity string) error {
	removed, err := publisher.Withdraw(background, name, identity)
	if err == nil && !removed {
		err = errors.New("nothing was withdrawn")
	}
	return err
}

func step(what string, id session.ID, on string, do func() error) error {
	say("will", what, id, on)
	if err := do(); err != nil {
		return fmt.Errorf("%s %s %s: %w", what, id, on, err)
	}
	say("done", what, id, on)
	return nil
}

func randomOf(id session.ID) *rand.Rand {
	var seed [32]byte
	copy(seed[:], id)
	return rand.New(rand.NewChaCha8(seed))
}

func killedRecord(id session.ID) session.Record {
	random := randomOf(id)
	return record(id, random.Int64N(50_000), 10_000)
}

// fate is what a child said of one step.
type fate int

const (
	never fate = iota
	begun
	done
)

// allows reports whether the step may be seen to have happened, or not to have.
func (f fate) allows(seen bool) bool { return f == begun || seen == (f == done) }

// life is what a child said of one session: the fate of each step.
type life struct {
	steps     map[string]fate // by what was done
	chunks    map[string]fate // by index
	name      string          // what it is published as
	published fate
}

// history is what all children said.
type history map[session.ID]*life

func (h history) add(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	if len(words) < 3 {
		return
	}
	f, what, id := begun, words[1], session.ID(words[2])
	if words[0] == "done" {
		f = done
	}
	if h[id] == nil {
		h[id] = &life{steps: map[string]fate{}, chunks: map[string]fate{}}
	}
	switch what {
	case "chunk":
		h[id].chunks[words[3]] = f
	case "publish":
		h[id].name, h[id].published = words[3], f
	default:
		h[id].steps[what] = f
	}
}

func (h history) String() string {
	chunks := 0
	for _, l := range h {
		chunks += len(l.chunks)
	}
	return fmt.Sprintf("%d sessions, %d chunks", len(h), chunks)
}

func (h history) check(t *testing.T, sink session.ByteSink) {
	t.Helper()
	found, failed := recoverAll(sink)
	for id, err := range failed {
		t.Errorf("recovery of %q: %v", id, err)
	}
	for id := range found {
		if h[id] == nil {
			t.Errorf("session %s was never begun", id)
		}
	}
	for id, l := range h {
		r, there := found[id]
		if l.steps["remove"] == never && !l.steps["create"].allows(there) || l.steps["remove"] != never && !l.steps["remove"].allows(!there) {
			t.Errorf("session %s is recovered: %t, but %v", id, there, l.steps)
		}
		switch {
		case there:
			if err := l.check(sink, r); err != nil {
				t.Errorf("session %s: %v", id, err)
			}
		case l.steps["create"] == begun:
			delete(h, id) // it never came to be
		case l.steps["remove"] == begun:
			l.steps["remove"] = done
		}
	}
	if publisher, ok := sink.(session.Publisher); ok {
		h.checkNames(t, publisher)
	}
}

// check compares a recovered session with what was said, and settles what was open.
func (l *life) check(sink session.ByteSink, r session.Recovered) error {
	id, spec := r.ID, killedRecord(r.ID).Spec
	settle := func(what string, seen bool) error {
		if !l.steps[what].allows(seen) {
			return fmt.Errorf("%s is seen: %t, but %v", what, seen, l.steps)
		}
		if l.steps[what] == begun {
			l.steps[what] = never
			if seen {
				l.steps[what] = done
			}
		}
		return nil
	}
	err := errors.Join(
		settle("create", true),
		settle("save", r.State == session.Finished && bytes.Equal(r.Outcome, []byte(id))),
	)
	// It frees one thing after the other: where it was cut short some may be there, until it is freed again.
	free := l.steps["free"]
	if !free.allows(!r.HasBytes) {
		err = errors.Join(err, fmt.Errorf("it has bytes: %t, but %v", r.HasBytes, l.steps))
	}
	if len(r.Held) != spec.Chunks() || r.Spec.Size != spec.Size {
		return errors.Join(err, fmt.Errorf("it has size %d and %d chunks", r.Spec.Size, len(r.Held)))
	}
	if free != never {
		return err
	}
	for index, held := range r.Held {
		if !l.chunks[fmt.Sprint(index)].allows(held) {
			err = errors.Join(err, fmt.Errorf("chunk %d is held: %t, but %v", index, held, l.chunks))
		}
	}
	staged, openErr := sink.Open(background, id)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	for index, held := range r.Held {
		if !held {
			continue
		}
		slot, _, slotErr := sink.Slot(background, id, index)
		err = errors.Join(err, slotErr, chunkIs(staged, id, spec, index, slot))
	}
	return errors.Join(err, staged.Close())
}

// checkNames checks that each name shows the whole of a session which may be
// there: one that was published without replace is there for good; under a name
// that is replaced is the last of those which were published, or one that was
// on its way when the child died; one that was withdrawn is not there, and
// nothing is that it replaced.
func (h history) checkNames(t *testing.T, publisher session.Publisher) {
	t.Helper()
	candidates := map[string]map[session.ID]fate{}
	for id, l := range h {
		if l.published != never {
			if candidates[l.name] == nil {
				candidates[l.name] = map[session.ID]fate{}
			}
			candidates[l.name][id] = l.published
		}
	}
	for name, of := range candidates {
		last := session.ID("")
		for id, f := range of {
			if f == done && (last == "" || later(id, last)) {
				last = id
			}
		}
		shown := session.ID("")
		switch got, err := object(publisher, name); {
		case errors.Is(err, session.ErrNotFound) && (last == "" || h[last].steps["withdraw"] != never):
		case err != nil:
			t.Errorf("object %s: %v", name, err)
			continue
		default:
			for id := range of {
				if bytes.Equal(got, whole(id, killedRecord(id).Spec)) && (shown == "" || later(id, shown)) {
					shown = id
				}
			}
			if shown == "" {
				t.Errorf("object %s shows no session that was published there", name)
			} else if h[shown].steps["withdraw"] == done {
				t.Errorf("object %s shows session %s, which was withdrawn", name, shown)
			}
			if shown != "" && last != "" && later(last, shown) {
				t.Errorf("object %s shows session %s, but %s was published later", name, shown, last)
			}
		}
		h.settleNames(of, shown)
	}
}

// settleNames settles what was on its way: it has arrived or never will.
func (h history) settleNames(of map[session.ID]fate, shown session.ID) {
	for id, f := range of {
		if f == begun {
			h[id].published = never
		}
		if h[id].steps["withdraw"] == begun {
			h[id].steps["withdraw"] = done
		}
	}
	if shown != "" {
		h[shown].published = done
		h[shown].steps["withdraw"] = never
	}
}

// later reports whether the first of two sessions of one worker lived later.
func later(a, b session.ID) bool {
	var x, y [3]int
	_, errA := fmt.Sscanf(string(a), "r%d-w%d-n%d", &x[0], &x[1], &x[2])
	_, errB := fmt.Sscanf(string(b), "r%d-w%d-n%d", &y[0], &y[1], &y[2])
	if errA != nil || errB != nil {
		panic(errors.Join(errA, errB))
	}
	return x[0] > y[0] || x[0] == y[0] && x[2] > y[2]
}
