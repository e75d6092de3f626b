package session

import (
	"iter"
	"math/bits"
	"sync/atomic"
)

// Range is a run of chunks, First to Last, both counted.
type Range struct {
	First, Last int
}

// Ledger is the set of chunks that a session holds. Its methods may be called
// concurrently; readers take no lock and never wait for a writer.
type Ledger struct {
	words  []atomic.Uint64
	chunks int
	held   atomic.Int64
}

// NewLedger returns a ledger of so many chunks, none of them held.
func NewLedger(chunks int) *Ledger {
	return &Ledger{words: make([]atomic.Uint64, (chunks+63)/64), chunks: chunks}
}

// Chunks is how many chunks there are in all.
func (l *Ledger) Chunks() int { return l.chunks }

// Held is how many chunks are held.
func (l *Ledger) Held() int { return int(l.held.Load()) }

// Has reports whether the chunk is held. index is from 0 to Chunks()-1.
func (l *Ledger) Has(index int) bool {
	return l.words[index/64].Load()&(1<<(index%64)) != 0
}

// Add records that the chunk is held and reports whether that is new.
func (l *Ledger) Add(index int) bool {
	bit := uint64(1) << (index % 64)
	added := l.words[index/64].Or(bit)&bit == 0
	if added {
		l.held.Add(1)
	}
	return added
}

// All yields the held chunks in order. Chunks added meanwhile may be left out.
func (l *Ledger) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for w := range l.words {
			for word := l.words[w].Load(); word != 0; word &= word - 1 {
				if !yield(w*64 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

// Missing returns the first ranges of chunks that are not held, in order and
// at most limit of them, and how many chunks are missing in all.
func (l *Ledger) Missing(limit int) (ranges []Range, missing int) {
	next := 0 // the first chunk after the last held one
	gap := func(until int) {
		if until > next {
			missing += until - next
			if len(ranges) < limit {
				ranges = append(ranges, Range{First: next, Last: until - 1})
			}
		}
	}
	for index := range l.All() {
		gap(index)
		next = index + 1
	}
	gap(l.chunks)
	return ranges, missing
}
