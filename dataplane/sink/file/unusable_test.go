package file_test

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/test/crash/powerfs"
)

// TestWhatSaysThatANameIsUnusable has every operation of a publication fail with errors that concern names when
// they come from a step that is about the name, and those that may pass, which never do.
func TestWhatSaysThatANameIsUnusable(t *testing.T) {
	ofNames := []unix.Errno{unix.ENAMETOOLONG, unix.EILSEQ, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.EINVAL, unix.EXDEV}
	passing := []unix.Errno{unix.EACCES, unix.EPERM, unix.EIO, unix.EROFS, unix.ESTALE, unix.ETIMEDOUT, unix.ENOSPC, unix.EDQUOT}
	for _, step := range []struct {
		op       powerfs.Op
		path     string
		replace  bool
		isOfName bool
	}{
		{powerfs.Lookup, "d*", false, true},
		{powerfs.Lookup, "d*/o", false, true},
		{powerfs.Mkdir, "d*", false, true},
		{powerfs.Link, "d*/o", false, true},
		{powerfs.Rename, ".slipway/*.replica/*/object", true, true},
		{powerfs.Link, ".slipway/*.replica/*/object", true, false},
		{powerfs.Setxattr, "", false, false},
		{powerfs.Fsync, "", false, false},
		{powerfs.FsyncDir, "", false, false},
		{powerfs.Getattr, ".slipway/*.replica/*/data", false, false},
		{powerfs.Opendir, ".", false, false},
	} {
		t.Run(fmt.Sprintf("%s %s", step.op, step.path), func(t *testing.T) {
			disk, dir := onPower(t, 1)
			for n, errno := range append(ofNames, passing...) {
				sink := mustOpen(t, dir)
				id := session.ID(fmt.Sprintf("s%d", n))
				staged(t, sink, id, 'x')
				name := fmt.Sprintf("d%d/o", n)
				failing := disk.Inject(powerfs.Fault{Op: step.op, Path: step.path, Times: 1, Errno: errno})
				err := sink.Publish(background, id, name, step.replace, map[string]string{"a": "b"})
				failing.Remove()
				ofName := step.isOfName && n < len(ofNames)
				if failing.Hits() == 1 && err != nil && errors.Is(err, session.ErrUnusableName) != ofName {
					t.Errorf("%s: the name is unusable is %t: %v", unix.ErrnoName(errno), !ofName, err)
				}
				if errors.Is(err, session.ErrExists) {
					t.Errorf("%s: %v", unix.ErrnoName(errno), err)
				}
				must(t, sink.Close())
				sink = mustOpen(t, dir) // for after a sync that failed nothing is promised
				must(t, sink.Publish(background, id, name, step.replace, nil))
				must(t, sink.Close())
			}
		})
	}
}

// TestEveryCallThatFindsNoRoomSaysSo has each operation in the life of a session fail once at each of its moments.
func TestEveryCallThatFindsNoRoomSaysSo(t *testing.T) {
	for _, op := range powerfs.Ops() {
		t.Run(string(op), func(t *testing.T) {
			disk, dir := onPower(t, 1)
			for after := 0; ; after++ {
				sink := mustOpen(t, dir)
				r := record(session.ID(fmt.Sprintf("s%d", after)), 4)
				r.Spec.ChunkSize = 4
				errno := []unix.Errno{unix.ENOSPC, unix.EDQUOT}[after%2]
				failing := disk.Inject(powerfs.Fault{Op: op, After: after, Times: 1, Errno: errno})
				err := live(sink, r, fmt.Sprintf("d%d/o", after))
				failing.Remove()
				if err != nil && !errors.Is(err, session.ErrNoSpace) {
					t.Errorf("call %d: %v", after, err)
				}
				must(t, sink.Close())
				if failing.Hits() == 0 {
					break
				}
			}
		})
	}
}
