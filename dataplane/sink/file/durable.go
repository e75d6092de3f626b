package file

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Every sync of one file or directory, every rename and every link of the package
// is made here; grouped.go has the sync of the whole filesystem. A sync that failed
// is never repeated for the same bytes: the kernel reports a failure once and
// then takes the lost pages for clean. Who wants to go on writes them again.

// onDescriptor runs a system call on an open file, again as long as a signal interrupts it.
func onDescriptor(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = call(int(fd)); !errors.Is(failed, unix.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, failed)
}

// syncBytes makes the bytes of a file durable whose size and blocks already are.
func syncBytes(f *os.File) error {
	if err := onDescriptor(f, unix.Fdatasync); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// syncFile makes the bytes and all that is known of a file durable, but not its name.
func syncFile(f *os.File) error { return f.Sync() }

// syncDirectory makes the names in a directory durable. One that is shared is for syncer.names.
func syncDirectory(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// makeDirectory makes a directory where there is none, and its name durable in
// either case: who found it there can't know whether it is. It reports whether
// it made it.
func makeDirectory(dir *os.Root, element string, mode fs.FileMode) (made bool, err error) {
	err = dir.Mkdir(element, mode)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	return err == nil, syncDirectory(dir)
}

// writeDurably makes b the whole content of a file. It writes over what is
// there before it cuts the rest, so that room that was reserved serves.
func writeDurably(f *os.File, b []byte) error {
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(b))); err != nil {
		return err
	}
	return syncFile(f)
}

// replaceFile makes b the whole content of the file under an element, durably
// and in one step. It goes through the file under temporary.
func replaceFile(dir *os.Root, temporary, element string, b []byte) error {
	f, err := openOrCreate(dir, temporary)
	if err != nil {
		return err
	}
	if err := errors.Join(writeDurably(f, b), f.Close()); err != nil {
		return err
	}
	return renameDurably(dir, temporary, element)
}

// A network filesystem sends a call again whose answer it did not get, and may then be told what the first
// one has done: that the name is taken, or that there is nothing to rename. The functions below look
// whether that is their own success before they call it a failure. What removes takes nothing there for done.

// makeNew makes a directory that was not there. EEXIST where anything but an empty directory is.
func makeNew(dir *os.Root, element string, mode fs.FileMode) error {
	failed := dir.Mkdir(element, mode)
	if !errors.Is(failed, fs.ErrExist) {
		return failed
	}
	made, err := enter(dir, element)
	if err != nil {
		return failed
	}
	defer release(made)
	if names, err := namesIn(made); err != nil || len(names) > 0 {
		return failed
	}
	return nil
}

// renameDurably renames within one directory. The new element is free or, for files, replaced.
func renameDurably(dir *os.Root, from, to string) error {
	if err := rename(dir, from, to); err != nil {
		return err
	}
	return syncDirectory(dir)
}

// rename is renameDurably without the sync.
func rename(dir *os.Root, from, to string) error {
	before, err := dir.Lstat(from)
	if err != nil {
		return err
	}
	err = dir.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) && isFile(dir, to, before) {
		return nil
	}
	return err
}

// isFile reports whether the file that info is about is under the element.
func isFile(dir *os.Root, element string, info fs.FileInfo) bool {
	named, err := dir.Lstat(element)
	return err == nil && os.SameFile(info, named)
}

// linkBetween gives the file under an element of one directory a name in
// another; EEXIST where another file has the name. os.Root knows paths of one root
// only and would follow links in them; directories that it opened and single
// elements leave nothing to follow.
func linkBetween(from *os.Root, old string, to *os.Root, name string) error {
	err := betweenDirectories("link", from, old, to, name, func(fromFD, toFD int) error {
		return unix.Linkat(fromFD, old, toFD, name, 0)
	})
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if linked, statErr := from.Lstat(old); statErr == nil && isFile(to, name, linked) {
		return nil
	}
	return err
}

// renameBetween moves the file under an element of one directory over whatever
// file has the name in another.
func renameBetween(from *os.Root, old string, to *os.Root, name string) error {
	before, err := from.Lstat(old)
	if err != nil {
		return err
	}
	err = betweenDirectories("rename", from, old, to, name, func(fromFD, toFD int) error {
		return unix.Renameat(fromFD, old, toFD, name)
	})
	if errors.Is(err, fs.ErrNotExist) && isFile(to, name, before) {
		return nil
	}
	return err
}

func betweenDirectories(op string, from *os.Root, old string, to *os.Root, name string, call func(fromFD, toFD int) error) error {
	source, err := from.Open(".")
	if err != nil {
		return err
	}
	defer release(source)
	target, err := to.Open(".")
	if err != nil {
		return err
	}
	defer release(target)
	err = onDescriptor(source, func(fromFD int) error {
		return onDescriptor(target, func(toFD int) error { return call(fromFD, toFD) })
	})
	if err != nil {
		return &os.LinkError{Op: op, Old: old, New: name, Err: err}
	}
	return nil
}
