package load

import (
	"crypto/sha256"
	"testing"
)

func TestChunksCoverTheObject(t *testing.T) {
	source := NewSource()
	for _, scale := range []float64{0.001, 0.02, 1} {
		for _, l := range All(scale) {
			for _, o := range source.Objects(l) {
				var sum int64
				for chunk := range o.Chunks() {
					offset, length := o.Extent(chunk)
					if offset != sum || int64(len(o.At(offset, length))) != length {
						t.Fatalf("%s at %v: chunk %d is not in its place", l.ID, scale, chunk)
					}
					sum += length
				}
				if sum != o.Size() {
					t.Fatalf("%s at %v: chunks of %d bytes, object of %d", l.ID, scale, sum, o.Size())
				}
			}
		}
	}
}

func TestDigestIsOfTheChunk(t *testing.T) {
	small := All(1)[3]
	for _, o := range NewSource().Objects(small)[:300] {
		if o.Digest(0) != sha256.Sum256(o.At(0, o.Size())) {
			t.Fatal("another digest")
		}
	}
}
