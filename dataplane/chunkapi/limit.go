package chunkapi

// limiter bounds how much goes on at once. Who does not get in is told so at
// once: a request that waits for its turn would hold its connection, and its
// client's patience, for nothing.
type limiter chan struct{}

func newLimiter(n int) limiter { return make(limiter, n) }

// enter reports whether there is room; who entered must leave.
func (l limiter) enter() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l limiter) leave() { <-l }
