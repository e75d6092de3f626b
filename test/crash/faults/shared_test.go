package faults

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/test/crash/powerfs"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

// A sync that fails may have lost what others have written to the same file. Their next sync
// succeeds all the same, for the kernel has told of the loss; they must not take that for theirs.
func TestASyncThatFailsIsToldToAllWhoHaveWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const large = 1 << 20
	for range 3 {
		b.made++
		s := &rig.Session{Name: "shared" + string(rune('a'+b.made)), Key: "shared/" + string(rune('a'+b.made)), Size: 2 * large, ChunkSize: large, Explicit: true}
		b.add(s)
		written := b.disk.Inject(powerfs.Fault{Op: powerfs.Write, Path: ".slipway/models-0.replica/" + s.UID + "/data"})
		rest, done := b.sendHalf(s, 0)
		b.await("the first half to be written", func() bool { return written.Hits() > 0 })
		hits := b.under(powerfs.Fault{Op: powerfs.Fdatasync, Path: ".slipway/models-0.replica/" + s.UID + "/data", Times: 1, Errno: unix.EIO}, func() {
			b.load.Send(t.Context(), s, 1, 0, true)
		})
		if hits != 1 {
			t.Errorf("%d syncs failed", hits)
		}
		close(rest)
		<-done
		b.cut()
		b.must(b.oracle.Err())
	}
	b.finish()
}

// sendHalf sends more than half of a chunk, and the rest when that is closed.
func (b *bench) sendHalf(s *rig.Session, index int) (rest chan<- struct{}, done <-chan struct{}) {
	wait, ended := make(chan struct{}), make(chan struct{})
	content := s.Content(index, 0)
	half := len(content) * 3 / 4
	s.Sending(index, content)
	go func() {
		defer close(ended)
		b.dataplane.Do(b.t.Context(), s, rig.Request{
			Method: http.MethodPut, Path: rig.ChunkPath(index), Length: int64(len(content)),
			Body: io.MultiReader(bytes.NewReader(content[:half]), &waiting{wait}, bytes.NewReader(content[half:])),
			Headed: func(status int) {
				if status/100 == 2 {
					s.Acknowledged(index, content)
				}
			},
		})
	}()
	return wait, ended
}

// waiting is empty, and ends when it is told to.
type waiting struct{ until <-chan struct{} }

// Read waits.
func (w *waiting) Read([]byte) (int, error) {
	select {
	case <-w.until:
	case <-time.After(time.Minute):
	}
	return 0, io.EOF
}
