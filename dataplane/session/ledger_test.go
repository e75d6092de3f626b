package session_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// naive is a ledger that is plainly right.
type naive []bool

func (n naive) all() (all []int) {
	for index, held := range n {
		if held {
			all = append(all, index)
		}
	}
	return all
}

func (n naive) missing(limit int) (ranges []session.Range, missing int) {
	for index, held := range n {
		if held {
			continue
		}
		missing++
		if index > 0 && !n[index-1] {
			if last := len(ranges) - 1; last >= 0 && ranges[last].Last == index-1 {
				ranges[last].Last = index
			}
		} else if len(ranges) < limit {
			ranges = append(ranges, session.Range{First: index, Last: index})
		}
	}
	return ranges, missing
}

func TestLedgerIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chunks := rapid.SampledFrom([]int{0, 1, 2, 63, 64, 65, 127, 128, 129, 300}).Draw(t, "chunks")
		ledger, want := session.NewLedger(chunks), make(naive, chunks)
		if chunks > 0 {
			for _, index := range rapid.SliceOf(rapid.IntRange(0, chunks-1)).Draw(t, "added") {
				if added := ledger.Add(index); added == want[index] {
					t.Fatalf("chunk %d: held before %v, added %v", index, want[index], added)
				}
				want[index] = true
			}
		}
		if ledger.Chunks() != chunks || ledger.Held() != len(want.all()) {
			t.Fatalf("%d of %d chunks are held, want %d of %d", ledger.Held(), ledger.Chunks(), len(want.all()), chunks)
		}
		for index, held := range want {
			if ledger.Has(index) != held {
				t.Fatalf("chunk %d: want held %v", index, held)
			}
		}
		if got := slices.Collect(ledger.All()); !slices.Equal(got, want.all()) {
			t.Fatalf("holds %v, want %v", got, want.all())
		}
		limit := rapid.IntRange(0, 5).Draw(t, "limit")
		ranges, missing := ledger.Missing(limit)
		wantRanges, wantMissing := want.missing(limit)
		if missing != wantMissing || !slices.Equal(ranges, wantRanges) {
			t.Fatalf("misses %v, %d in all; want %v, %d", ranges, missing, wantRanges, wantMissing)
		}
	})
}

func TestLedgerStopsWhenItsReaderDoes(t *testing.T) {
	ledger := session.NewLedger(200)
	for index := range 200 {
		ledger.Add(index)
	}
	for _, stop := range []int{0, 63, 64, 199} {
		seen := 0
		for index := range ledger.All() {
			seen++
			if index == stop {
				break
			}
		}
		if seen != stop+1 {
			t.Errorf("stopped at chunk %d, saw %d", stop, seen)
		}
	}
}

// Every chunk is added by two at once: one of them is told that it is new.
func TestLedgerCountsConcurrentAddsOnce(t *testing.T) {
	const chunks = 1000
	ledger := session.NewLedger(chunks)
	var added atomic.Int64
	var adding sync.WaitGroup
	for adder := range 8 {
		adding.Go(func() {
			for _, index := range rand.New(rand.NewPCG(1, uint64(adder/2))).Perm(chunks) {
				if ledger.Add(index) {
					added.Add(1)
				}
				if !ledger.Has(index) {
					t.Errorf("chunk %d was added and is not held", index)
				}
			}
		})
	}
	for reading := true; reading; {
		before := ledger.Held()
		_, missing := ledger.Missing(1)
		if after := ledger.Held(); chunks-missing < 0 || before > after {
			t.Errorf("%d held, then %d missing, then %d held", before, missing, after)
		}
		reading = ledger.Held() < chunks
	}
	adding.Wait()
	if added.Load() != chunks || ledger.Held() != chunks {
		t.Errorf("%d chunks were new and %d are held, want %d", added.Load(), ledger.Held(), chunks)
	}
	if ranges, missing := ledger.Missing(10); len(ranges) != 0 || missing != 0 {
		t.Errorf("misses %v", ranges)
	}
}
