package powerfs

import "golang.org/x/sys/unix"

// lostError is what Linux keeps of the failed writes of one file (errseq_t): each
// descriptor that was open hears of them at its next sync, and once. One that is
// opened later hears of what nobody has heard of, and of nothing else.
type lostError struct {
	why   unix.Errno
	count int  // raised by a failure that comes after somebody has heard of the last
	heard bool // by anybody
}

// set tells of a failure.
func (e *lostError) set(why unix.Errno) {
	e.why = why
	if e.count == 0 || e.heard {
		e.count++
		e.heard = false
	}
}

// sample is what a descriptor that is opened now need not hear of.
func (e *lostError) sample() (since int) {
	if !e.heard {
		return 0
	}
	return e.count
}

// check returns what a descriptor has not heard of yet, and takes it for heard.
func (e *lostError) check(since *int) error {
	if *since == e.count {
		return nil
	}
	*since, e.heard = e.count, true
	return e.why
}
