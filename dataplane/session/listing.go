package session

import (
	"fmt"
	"time"
)

// ListQuery says which part of what is published to list.
type ListQuery struct {
	// Prefix is what the names begin with; one that CheckPrefix accepts.
	Prefix string
	// Grouped has the names that have a slash after the prefix told of as one prefix for all that are alike up to
	// that slash.
	Grouped bool
	// From is where to begin: nothing before it is listed. It is a name, or the Next of an earlier Listing with the
	// same Prefix and Grouped.
	From string
	// Limit is how many objects and prefixes are listed at most, from 1 to MaxListLimit.
	Limit int
}

const (
	// MaxListLimit bounds ListQuery.Limit.
	MaxListLimit = 1000
	// MaxListBytes bounds the names of one Listing in bytes, whatever its limit.
	MaxListBytes = 256 << 10
)

// Check returns nil for a query that a Publisher can answer, ErrInvalid otherwise.
func (q ListQuery) Check() error {
	if q.Limit < 1 || q.Limit > MaxListLimit {
		return fmt.Errorf("%w: the limit %d is not within 1 and %d", ErrInvalid, q.Limit, MaxListLimit)
	}
	if err := CheckPrefix(q.Prefix); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// CheckPrefix returns nil for what a name that CheckName accepts may begin with, and for nothing. Otherwise
// ErrUnusableName.
func CheckPrefix(prefix string) error {
	if prefix == "" || CheckName(prefix) == nil {
		return nil
	}
	return CheckName(prefix + "x") // a name may go on where this one may not end
}

// Listing is a part of what is published, in the order of the names' bytes.
type Listing struct {
	Objects []Listed
	// Prefixes are those of Grouped, which end in a slash: below each of them was an object.
	Prefixes []string
	// Next is the From of what comes after this part; empty where nothing does. A part may be shorter than the limit, or
	// have nothing at all, and others come after it.
	Next string
}

// Listed is what List tells of an object, as an open Object would.
type Listed struct {
	Name string
	Size int64
	// ModTime is when its bytes were last written.
	ModTime time.Time
	// Identity, Published and Note are those of Object. They are empty where the object may not be read.
	Identity  string
	Published bool
	Note      string
}
