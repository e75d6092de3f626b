package upload

import (
	"runtime"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// apart is an order in which as many chunks as possible stand alone for as long as possible.
func apart(chunks int) []int {
	var order []int
	for _, from := range []int{0, 1} {
		for index := from; index < chunks; index += 2 {
			order = append(order, index)
		}
	}
	return order
}

// However far apart chunks come, the digest is right, and no more values are kept than may be.
func TestChunksThatComeFarApart(t *testing.T) {
	const leaf = 1024
	for _, chunks := range []int{2*mostApart - 1, 2 * mostApart, 2*mostApart + 1, 4*mostApart + 7, 8 * mostApart} {
		spec := session.Spec{Size: int64(chunks)*leaf - 5, ChunkSize: leaf}
		object := bytesFrom(uint64(chunks), int(spec.Size))
		order := apart(chunks)
		s := newTree(spec)
		for _, index := range order {
			offset, length, err := spec.Extent(index)
			if err != nil {
				t.Fatal(err)
			}
			c := session.Chunk{Index: index, Offset: offset, Length: length}
			whole := s.strand(c)
			if whole == nil && chunks <= 2*mostApart {
				t.Fatalf("%d chunks: chunk %d has to be read back", chunks, index)
			}
			if whole != nil {
				_, _ = whole.Write(object[offset : offset+length])
				s.add(c, whole)
			}
			if len(s.values) > mostApart+20 {
				t.Fatalf("%d chunks: %d values are kept", chunks, len(s.values))
			}
		}
		if got, want := sumUp(t, newTree(spec), spec, object, order, leaf), plain(BLAKE3, object); got != want {
			t.Errorf("%d chunks: got %s, want %s", chunks, got, want)
		}
	}
}

// A tree of the most chunks takes little memory in whatever order they come.
func TestATreeTakesLittleMemory(t *testing.T) {
	const leaf, most = 1024, 256 << 10
	spec := session.Spec{Size: session.MaxChunks * leaf, ChunkSize: leaf}
	inOrder := make([]int, session.MaxChunks)
	for i := range inOrder {
		inOrder[i] = i
	}
	block := bytesFrom(1, leaf)
	for what, order := range map[string][]int{"in order": inOrder, "far apart": apart(session.MaxChunks)} {
		before := heap()
		s := newTree(spec)
		taken := int64(0)
		for n, index := range order {
			c := session.Chunk{Index: index, Offset: int64(index) * leaf, Length: leaf}
			if whole := s.strand(c); whole != nil {
				_, _ = whole.Write(block)
				s.add(c, whole)
			}
			if n%10_000 == 0 {
				taken = max(taken, heap()-before)
			}
		}
		runtime.KeepAlive(s)
		if taken > most {
			t.Errorf("%s: it takes %d bytes", what, taken)
		}
		t.Logf("%s: %d KiB", what, taken>>10)
	}
}

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // it is no 8 EiB
}
