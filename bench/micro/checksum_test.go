package micro

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"hash/crc32"
	"testing"

	"github.com/minio/crc64nvme"
	zeebo "github.com/zeebo/blake3"
	"github.com/zeebo/xxh3"
	champine "lukechampine.com/blake3"
)

func BenchmarkChecksum(b *testing.B) {
	for _, c := range []struct {
		name  string
		fresh func() hash.Hash
	}{
		{"crc32c", func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
		{"crc64nvme", func() hash.Hash { return crc64nvme.New() }},
		{"xxh3", func() hash.Hash { return xxh3.New() }},
		{"sha256", sha256.New},
		{"sha512", sha512.New},
		{"blake3-zeebo", func() hash.Hash { return zeebo.New() }},
		{"blake3-champine", func() hash.Hash { return champine.New(32, nil) }},
	} {
		for _, size := range []int{64 << 10, 1 << 20, 16 << 20} {
			b.Run(c.name+"/"+human(int64(size)), func(b *testing.B) {
				block := random(size)
				b.SetBytes(int64(size))
				for b.Loop() {
					h := c.fresh()
					// In blocks, as bytes arrive.
					for rest := block; len(rest) > 0; rest = rest[min(len(rest), 256<<10):] {
						h.Write(rest[:min(len(rest), 256<<10)])
					}
					h.Sum(nil)
				}
			})
		}
	}
}

// BenchmarkTree is blake3 given the whole chunk at once: who computes a tree
// can use every core for it.
func BenchmarkTree(b *testing.B) {
	chunk := random(16 << 20)
	for name, sum := range map[string]func([]byte){
		"blake3-zeebo":    func(p []byte) { zeebo.Sum256(p) },
		"blake3-champine": func(p []byte) { champine.Sum256(p) },
		"sha256":          func(p []byte) { sha256.Sum256(p) },
	} {
		b.Run(name+"/16MiB", func(b *testing.B) {
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				sum(chunk)
			}
		})
	}
}
