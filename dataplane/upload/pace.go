package upload

// Bounds of how far the digest may lag behind the chunks, in bytes.
const (
	// leastLag takes a few milliseconds to hash. With it the last call completes.
	leastLag = 4 << 20
	// mostLag is what the page cache of a busy machine still has.
	mostLag = 256 << 20
	// lagShare of the bytes that are still missing may lag: hashing is faster than the network,
	// so that the rest is caught up with while they come.
	lagShare = 4
	// suddenLag takes longer to hash than one acknowledgement should wait.
	suddenLag = 1 << 30
)

// allowance is how many bytes the digest may lag behind the chunks that are
// held without a gap, while so many bytes of the object are missing.
func allowance(missing int64) int64 {
	return min(max(missing/lagShare, leastLag), mostLag)
}

// pace tells whether the digest of an object keeps up with its chunks. The
// zero pace is that of an object of which nothing is held.
type pace struct {
	could int64 // up to where the chunks reached at the last look
	debt  int64 // lag that came at once, such as with a restart, and that nobody waits for
}

// late reports whether the digest lags more than it may: done and could are
// those of sum.reach, missing is how many bytes are not held. What came at
// once is not to stall the chunks that come now; they wait only
// while the digest falls further behind than that.
func (p *pace) late(done, could, missing int64) bool {
	lag := could - done
	if could-p.could > suddenLag {
		p.debt = lag
	}
	p.could, p.debt = could, min(p.debt, lag)
	return lag-p.debt > allowance(missing)
}
