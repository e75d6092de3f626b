package file_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(open)
}

// TestDescriptorsAreBounded has more sessions than are kept open.
func TestDescriptorsAreBounded(t *testing.T) {
	sink := mustOpen(t, t.TempDir())
	before := descriptors(t)
	const each, spare = 3, 20
	var all sync.WaitGroup
	for i := range 4 * sink.MaxIdleHandles() {
		id := session.ID(fmt.Sprintf("s%d", i))
		must(t, sink.Create(background, record(id, 10)))
		for range 2 {
			all.Go(func() { write(t, sink, id, []byte("0123456789")) })
		}
	}
	all.Wait()
	if now := descriptors(t); now-before > each*sink.MaxIdleHandles()+spare {
		t.Errorf("%d descriptors are open that were not before", now-before)
	}
	for i := range 4 * sink.MaxIdleHandles() {
		must(t, sink.Remove(background, session.ID(fmt.Sprintf("s%d", i))))
	}
	if now := descriptors(t); now-before > spare {
		t.Errorf("%d descriptors outlive their sessions", now-before)
	}
}

// TestAFreedSessionIsNotHeldOpen looks at what keeps bytes on the volume: a file that is open.
func TestAFreedSessionIsNotHeldOpen(t *testing.T) {
	for name, end := range map[string]func(s interface {
		session.ByteSink
	}) error{
		"free":   func(s interface{ session.ByteSink }) error { return s.Free(background, "s") },
		"remove": func(s interface{ session.ByteSink }) error { return s.Remove(background, "s") },
	} {
		t.Run(name, func(t *testing.T) {
			sink := mustOpen(t, t.TempDir())
			before := descriptors(t)
			must(t, sink.Create(background, record("s", 100)))
			write(t, sink, "s", []byte("bytes"))
			reader, err := sink.Open(background, "s")
			must(t, err)
			must(t, end(sink))
			b := make([]byte, 5)
			if _, err := reader.ReadAt(b, 0); err != nil || string(b) != "bytes" {
				t.Errorf("who reads meanwhile gets %q, %v", b, err)
			}
			must(t, reader.Close())
			if now := descriptors(t); now > before {
				t.Errorf("%d descriptors are left", now-before)
			}
			_, err = sink.Open(background, "s")
			wants(t, err, session.ErrNotFound)
		})
	}
}

// TestASessionMadeAgainIsAnother uses an ID twice while the first one's files are open.
func TestASessionMadeAgainIsAnother(t *testing.T) {
	sink := mustOpen(t, t.TempDir())
	must(t, sink.Create(background, record("s", 100)))
	old, err := sink.Open(background, "s")
	must(t, err)
	_, err = old.WriteAt([]byte("old"), 0)
	must(t, err)
	must(t, sink.Remove(background, "s"))
	must(t, sink.Create(background, record("s", 100)))
	made, err := sink.Open(background, "s")
	must(t, err)
	b := make([]byte, 3)
	if _, err := made.ReadAt(b, 0); err != nil || string(b) != "\x00\x00\x00" {
		t.Errorf("the new one holds %q, %v", b, err)
	}
	must(t, old.Close())
	must(t, made.Close())
}

// TestOpenedWhileItIsDropped has sessions opened, freed, removed and made
// again at the same time: in the end none is open that is not there.
func TestOpenedWhileItIsDropped(t *testing.T) {
	sink := mustOpen(t, t.TempDir())
	before := descriptors(t)
	var all sync.WaitGroup
	for i := range 4 {
		id := session.ID(fmt.Sprintf("s%d", i))
		must(t, sink.Create(background, record(id, 10)))
		for range 3 {
			all.Go(func() {
				for range 300 {
					if opened, err := sink.Open(background, id); err == nil {
						_ = opened.Close()
					}
				}
			})
		}
		all.Go(func() {
			for range 20 {
				if err := sink.Remove(background, id); err != nil {
					t.Error(err)
				}
				if err := sink.Create(background, record(id, 10)); err != nil {
					t.Error(err)
				}
			}
			if err := sink.Free(background, id); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range 4 {
		_, err := sink.Open(background, session.ID(fmt.Sprintf("s%d", i)))
		wants(t, err, session.ErrNotFound)
	}
	if now := descriptors(t); now > before {
		t.Errorf("%d descriptors are left", now-before)
	}
}
