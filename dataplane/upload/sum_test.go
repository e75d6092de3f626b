package upload

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	oracle "lukechampine.com/blake3"
	"pgregory.net/rapid"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// plain is the digest by a library, of the whole at once.
func plain(a Algorithm, object []byte) Digest {
	if a == BLAKE3 {
		return Digest(fmt.Sprintf("blake3:%x", oracle.Sum256(object)))
	}
	return Digest(fmt.Sprintf("sha256:%x", sha256.Sum256(object)))
}

func bytesFrom(seed uint64, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b) // never fails
	return b
}

// sumUp adds the chunks of an object to a sum as they become ready in this
// order, each written in pieces, and returns the digest.
func sumUp(tb testing.TB, s sum, spec session.Spec, object []byte, order []int, piece int) Digest {
	tb.Helper()
	held := make([]bool, spec.Chunks())
	add := func(index int) {
		offset, length, err := spec.Extent(index)
		if err != nil {
			tb.Fatal(err)
		}
		c := session.Chunk{Index: index, Offset: offset, Length: length}
		// One that fails first, with other bytes, leaves no trace.
		if failed := s.strand(c); failed != nil {
			_, _ = failed.Write([]byte("other bytes"))
		}
		whole := s.strand(c)
		if whole == nil {
			tb.Fatalf("chunk %d can't be summed up although it is next", index)
		}
		for at := offset; at < offset+length; at += int64(piece) {
			_, _ = whole.Write(object[at:min(at+int64(piece), offset+length)])
		}
		s.add(c, whole)
	}
	for n, index := range order {
		held[index] = true
		for {
			ready, found := s.next(func(index int) bool { return held[index] })
			if !found {
				break
			}
			add(ready)
		}
		if _, whole := s.digest(); whole != (n == len(order)-1) {
			tb.Fatalf("the digest is whole: %v, after %d of %d chunks", whole, n+1, len(order))
		}
	}
	d, whole := s.digest()
	if !whole || s.count() != spec.Chunks() {
		tb.Fatalf("not whole after %d of %d chunks", s.count(), spec.Chunks())
	}
	return d
}

func check(tb testing.TB, a Algorithm, size, chunkSize, piece int, seed uint64) {
	tb.Helper()
	spec := session.Spec{Size: int64(size), ChunkSize: int64(chunkSize)}
	object := bytesFrom(seed, size)
	order := rand.New(rand.NewPCG(seed, 1)).Perm(spec.Chunks())
	if got, want := sumUp(tb, newSum(a, spec), spec, object, order, piece), plain(a, object); got != want {
		tb.Errorf("%s of %d bytes in chunks of %d, written by %d: got %s, want %s", a, size, chunkSize, piece, got, want)
	}
}

func TestSumsAreThoseOfTheLibraries(t *testing.T) {
	const leaf = 1024
	for _, chunkSize := range []int{
		1, 64, 1000, leaf - 1, leaf, leaf + 1, 3 * leaf, 2 * leaf, 4 * leaf, 8 * leaf, 16 * leaf, 32 * leaf, 24 * leaf, 128 * leaf,
	} {
		sizes := []int{0, 1, 63, 64, 65, leaf - 1, leaf, leaf + 1, 2*leaf - 1, 2 * leaf, 16 * leaf, 16*leaf + 1, 17*leaf - 1}
		for _, chunks := range []int{1, 2, 3, 4, 5, 7, 8, 9, 13} {
			sizes = append(sizes, chunks*chunkSize-1, chunks*chunkSize, chunks*chunkSize+1, chunks*chunkSize+chunkSize/2)
		}
		for n, size := range sizes {
			check(t, BLAKE3, size, chunkSize, []int{1 << 18, 999, 4096, 16 * leaf}[n%4], uint64(n))
		}
	}
	for _, size := range []int{0, 1, 999, 1000, 1001, 12_345} {
		check(t, SHA256, size, 1000, 333, uint64(size))
	}
}

func TestSumsAreThoseOfTheLibrariesForAnySize(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(0, 300_000).Draw(rt, "size")
		chunkSize := rapid.OneOf(
			rapid.IntRange(max(1, size/50), 100_000),
			rapid.Custom(func(rt *rapid.T) int { return 1024 << rapid.IntRange(0, 8).Draw(rt, "height") }),
		).Draw(rt, "chunk size")
		algorithm := rapid.SampledFrom([]Algorithm{BLAKE3, BLAKE3, SHA256}).Draw(rt, "algorithm")
		check(t, algorithm, size, chunkSize, rapid.IntRange(100, 40_000).Draw(rt, "piece"), rapid.Uint64().Draw(rt, "seed"))
		if t.Failed() {
			rt.FailNow()
		}
	})
}

// The official vectors: input n is the bytes 0, 1, ..., 250, 0, 1, ...
func TestBlake3Vectors(t *testing.T) {
	for size, want := range map[int]Digest{
		0:      "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
		1:      "blake3:2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
		1023:   "blake3:10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
		1024:   "blake3:42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
		1025:   "blake3:d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
		102400: "blake3:bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
	} {
		object := make([]byte, size)
		for i := range object {
			object[i] = byte(i % 251)
		}
		spec := session.Spec{Size: int64(size), ChunkSize: 4096}
		order := make([]int, spec.Chunks())
		for i := range order {
			order[i] = len(order) - 1 - i
		}
		if got := sumUp(t, newSum(BLAKE3, spec), spec, object, order, 4096); got != want {
			t.Errorf("%d bytes: got %s, want %s", size, got, want)
		}
	}
}

func TestWhichSum(t *testing.T) {
	for _, test := range []struct {
		algorithm       Algorithm
		size, chunkSize int64
		tree            bool
	}{
		{SHA256, 1 << 30, 1 << 20, false},
		{"", 1 << 30, 1 << 20, false},
		{BLAKE3, 1 << 30, 1 << 20, true},
		{BLAKE3, 1025, 1024, true},
		{BLAKE3, 1 << 20, 1 << 20, false},
		{BLAKE3, 0, 1 << 20, false},
		{BLAKE3, 1 << 20, 512, false},
		{BLAKE3, 1 << 20, 3 << 10, false},
	} {
		s := newSum(test.algorithm, session.Spec{Size: test.size, ChunkSize: test.chunkSize})
		if _, tree := s.(*tree); tree != test.tree {
			t.Errorf("%s of %d in chunks of %d: tree is %v", test.algorithm, test.size, test.chunkSize, tree)
		}
	}
}

// Only what is held without a gap lags.
func TestReach(t *testing.T) {
	spec := session.Spec{Size: 45, ChunkSize: 10}
	s := newSum(SHA256, spec)
	held := map[int]bool{1: true, 2: true}
	expect := func(wantDone, wantCould int64) {
		t.Helper()
		if done, could := s.reach(func(index int) bool { return held[index] }); done != wantDone || could != wantCould {
			t.Errorf("it reaches %d of %d, want %d of %d", done, could, wantDone, wantCould)
		}
	}
	expect(0, 0)
	held[0] = true
	expect(0, 30)
	c := session.Chunk{Length: 10}
	s.add(c, s.strand(c))
	expect(10, 30)
	held[3], held[4] = true, true
	expect(10, 45)

	s = newSum(BLAKE3, session.Spec{Size: 5 << 10, ChunkSize: 1 << 10})
	expect(0, 0)
}

func FuzzBlake3(f *testing.F) {
	f.Add(uint32(0), uint8(0), uint16(1))
	f.Add(uint32(100_000), uint8(3), uint16(999))
	f.Fuzz(func(t *testing.T, size uint32, height uint8, piece uint16) {
		check(t, BLAKE3, int(size%(1<<19)), 1024<<(height%9), int(piece)+1, uint64(size))
	})
}
