package powerfs

import (
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Op names a file operation, as the filesystem sees it.
type Op string

// The operations. Lookup and Getattr come before nearly every other one, Truncate and Chmod are both
// called setattr by FUSE, and the rest are named after their system calls.
const (
	Lookup    Op = "lookup"
	Getattr   Op = "getattr"
	Chmod     Op = "chmod"
	Truncate  Op = "truncate"
	Create    Op = "create"
	Open      Op = "open"
	Read      Op = "read"
	Write     Op = "write"
	Fallocate Op = "fallocate"
	Fsync     Op = "fsync"
	Fdatasync Op = "fdatasync"
	Mkdir     Op = "mkdir"
	Rmdir     Op = "rmdir"
	Link      Op = "link"
	Unlink    Op = "unlink"
	Rename    Op = "rename"
	Opendir   Op = "opendir"
	Readdir   Op = "readdir"
	FsyncDir  Op = "fsyncdir"
	Setxattr  Op = "setxattr"
	Getxattr  Op = "getxattr"
	Statfs    Op = "statfs"
	Syncfs    Op = "syncfs"
)

// Ops lists every operation that the others are made of.
func Ops() []Op {
	return []Op{
		Lookup, Getattr, Chmod, Truncate, Create, Open, Read, Write, Fallocate, Fsync, Fdatasync, Mkdir, Rmdir,
		Link, Unlink, Rename, Opendir, Readdir, FsyncDir, Setxattr, Getxattr, Statfs, Syncfs,
	}
}

// IsSync reports whether the operation makes something sure.
func (o Op) IsSync() bool { return o == Fsync || o == Fdatasync || o == FsyncDir || o == Syncfs }

// Fault makes an operation fail, or be done twice, or take long, or a sync do nothing.
type Fault struct {
	Op Op
	// Path is a pattern for path.Match, such as ".slipway/*/data"; empty matches everything.
	Path string
	// After is how many calls that match are let through first.
	After int
	// Times is how many are hit; 0 hits all.
	Times int
	// Errno is what they fail with; 0 lets them be.
	Errno unix.Errno
	// Ignored syncs say that they are done, and do nothing.
	Ignored bool
	// Repeated calls are done and then asked for again, and give the second answer: what a network does
	// that lost the first.
	Repeated bool
	// Delay is how long they take first.
	Delay time.Duration
}

// String says what the fault does.
func (f Fault) String() string {
	often := "for ever"
	if f.Times > 0 {
		often = fmt.Sprintf("%d times", f.Times)
	}
	what := ""
	if f.Errno != 0 {
		what += " " + unix.ErrnoName(f.Errno)
	}
	if f.Ignored {
		what += " ignored"
	}
	if f.Repeated {
		what += " repeated"
	}
	if f.Delay > 0 {
		what += " after " + f.Delay.String()
	}
	return fmt.Sprintf("%s %q:%s, %s", f.Op, f.Path, what, often)
}

// Injected is a fault at work.
type Injected struct {
	fault  Fault
	faults *faults

	mu   sync.Mutex
	seen int
	hits int
}

// Hits is how many calls it hit.
func (i *Injected) Hits() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hits
}

// Remove ends the fault. What waits in it goes on waiting.
func (i *Injected) Remove() {
	i.faults.mu.Lock()
	defer i.faults.mu.Unlock()
	i.faults.all = slices.DeleteFunc(i.faults.all, func(other *Injected) bool { return other == i })
}

// hit reports whether the call is one of those that fail.
func (i *Injected) hit(op Op, where string) bool {
	if i.fault.Op != op {
		return false
	}
	if match, err := path.Match(i.fault.Path, where); i.fault.Path != "" && (err != nil || !match) {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen++
	if i.seen <= i.fault.After || i.fault.Times > 0 && i.hits >= i.fault.Times {
		return false
	}
	i.hits++
	return true
}

type faults struct {
	mu  sync.Mutex
	all []*Injected
}

func (f *faults) add(fault Fault) *Injected {
	i := &Injected{fault: fault, faults: f}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, i)
	return i
}

// effect is what all faults together do to one call.
type effect struct {
	delay   time.Duration
	failure unix.Errno
	ignored bool
	repeat  bool
}

// of returns what becomes of a call.
func (f *faults) of(op Op, where string) effect {
	f.mu.Lock()
	defer f.mu.Unlock()
	var e effect
	for _, i := range f.all {
		if !i.hit(op, where) {
			continue
		}
		e.delay += i.fault.Delay
		e.ignored = e.ignored || i.fault.Ignored
		e.repeat = e.repeat || i.fault.Repeated
		if e.failure == 0 {
			e.failure = i.fault.Errno
		}
	}
	return e
}
