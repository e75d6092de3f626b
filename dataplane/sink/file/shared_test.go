package file_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

// other is another replica on the same volume.
var other = file.Options{Replica: "models-1"}

func mustOpenAs(t *testing.T, dir string, o file.Options) *file.Sink {
	t.Helper()
	sink, err := file.Open(dir, o)
	must(t, err)
	t.Cleanup(func() { sink.Close() })
	return sink
}

// staged creates a session whose bytes are all one byte, ready to be published.
func staged(t *testing.T, sink *file.Sink, id session.ID, content byte) {
	t.Helper()
	must(t, sink.Create(background, record(id, 100)))
	write(t, sink, id, slices.Repeat([]byte{content}, 100))
}

func TestReplicasShareAVolume(t *testing.T) {
	dir := t.TempDir()
	one, two := mustOpenAs(t, dir, own), mustOpenAs(t, dir, other)
	must(t, one.Create(background, record("s", 100)))
	must(t, two.Create(background, record("s", 200)))
	must(t, two.Create(background, record("t", 100)))
	for sink, want := range map[*file.Sink][]session.ID{one: {"s"}, two: {"s", "t"}} {
		found, failed := recovered(t, sink)
		if len(found) != len(want) || len(failed) > 0 {
			t.Errorf("recovered %v, failed %v, want %v", found, failed, want)
		}
	}
	_, err := file.Open(dir, other)
	wants(t, err, file.ErrLocked)
	for _, part := range []string{dir, fmt.Sprintf("process %d ", os.Getpid()), "replica models-1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not tell %q", err, part)
		}
	}
	must(t, one.Remove(background, "s"))
	if found, _ := recovered(t, two); found["s"].Spec.Size != 200 {
		t.Errorf("the other's session went too: %v", found)
	}
}

func TestNamesOfReplicas(t *testing.T) {
	for _, name := range []string{"", "-a", "a.b", "a/b", "..", "A", strings.Repeat("a", 65)} {
		_, err := file.Open(t.TempDir(), file.Options{Replica: name})
		wants(t, err, session.ErrInvalid)
	}
	// Each may be a session's name, in the former layout too, or a suffix.
	dir := t.TempDir()
	for _, name := range []string{"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "replica", "new", "gone", strings.Repeat("a", 64)} {
		sink := mustOpenAs(t, dir, file.Options{Replica: name, Adopt: true})
		must(t, sink.Create(background, record(session.ID(name), 10)))
		if found, failed := recovered(t, sink); len(found) != 1 || len(failed) > 0 {
			t.Errorf("replica %s recovered %v, %v", name, found, failed)
		}
	}
}

// TestOfReplicasThatPublishOneKeyOneWins, and with replace each wins in its turn: what is there is whole.
func TestOfReplicasThatPublishOneKeyOneWins(t *testing.T) {
	for _, replace := range []bool{false, true} {
		t.Run(fmt.Sprintf("replace %t", replace), func(t *testing.T) {
			dir := t.TempDir()
			sinks := []*file.Sink{mustOpenAs(t, dir, own), mustOpenAs(t, dir, other)}
			for round := range 30 {
				id, name := session.ID(fmt.Sprintf("s-%d", round)), fmt.Sprintf("deep-%d/object", round)
				for i, sink := range sinks {
					staged(t, sink, id, byte('a'+i))
				}
				results := make([]error, len(sinks))
				var all sync.WaitGroup
				for i, sink := range sinks {
					all.Go(func() { results[i] = sink.Publish(background, id, name, replace, nil) })
				}
				all.Wait()
				won := 0
				for i, sink := range sinks {
					published, err := sink.Published(background, id, name)
					must(t, err)
					switch {
					case results[i] == nil && !replace && !published:
						t.Fatalf("replica %d published, and something else is under the name", i)
					case results[i] != nil:
						wants(t, results[i], session.ErrExists)
					}
					if published {
						won++
					}
				}
				got, err := os.ReadFile(filepath.Join(dir, name))
				must(t, err)
				if won != 1 || len(got) != 100 || len(slices.Compact(got)) != 1 {
					t.Fatalf("%d won, and the object has %q", won, got)
				}
			}
		})
	}
}

// TestWithdrawalBesideAnotherReplicasPublication: what the other has published stays.
func TestWithdrawalBesideAnotherReplicasPublication(t *testing.T) {
	dir := t.TempDir()
	one, two := mustOpenAs(t, dir, own), mustOpenAs(t, dir, other)
	for round := range 100 {
		id := session.ID(fmt.Sprintf("s-%d", round))
		staged(t, one, id, 'a')
		staged(t, two, id, 'b')
		must(t, one.Publish(background, id, "object", true, nil))
		identity, err := one.Identify(background, id)
		must(t, err)
		var both sync.WaitGroup
		var withdrawn, published error
		both.Go(func() { _, withdrawn = one.Withdraw(background, "object", identity) })
		both.Go(func() { published = two.Publish(background, id, "object", true, nil) })
		both.Wait()
		must(t, errors.Join(withdrawn, published))
		if is, err := two.Published(background, id, "object"); !is || err != nil {
			t.Fatalf("round %d: the other replica's object went with the first one's: %v", round, err)
		}
	}
}

// TestNamesAreLockedBetweenReplicas has a withdrawal that another machine hangs in.
func TestNamesAreLockedBetweenReplicas(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpenAs(t, dir, own)
	staged(t, sink, "s", 'a')
	f, err := os.OpenFile(filepath.Join(dir, ".slipway", ".names"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
	defer cancel()
	err = sink.Publish(ctx, "s", "object", false, nil)
	if err == nil || errors.Is(err, session.ErrUnusableName) {
		t.Errorf("published meanwhile: %v", err)
	}
	wants(t, err, context.DeadlineExceeded)
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_SH)) // as a publication does
	must(t, sink.Publish(background, "s", "object", false, nil))
	identity, err := sink.Identify(background, "s")
	must(t, err)
	ctx, cancel = context.WithTimeout(background, 50*time.Millisecond)
	defer cancel()
	_, err = sink.Withdraw(ctx, "object", identity)
	wants(t, err, context.DeadlineExceeded)
	must(t, f.Close())
	if removed, err := sink.Withdraw(background, "object", identity); !removed || err != nil {
		t.Errorf("withdrawn: %t, %v", removed, err)
	}
}
