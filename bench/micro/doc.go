// Package micro has benchmarks of the pieces of the hot path, so that choices
// can be made by measurement: checksums, the core over the file sink, the
// commit of a chunk, the digest of the whole. `go run ./cmd/micro` runs them
// and prints a compact comparison.
package micro
