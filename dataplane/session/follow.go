package session

// follower shows the blocks of a chunk to whoever follows it, in order and on
// one other goroutine, so that the next block is read meanwhile.
type follower struct {
	blocks chan []byte
	done   chan struct{}
}

// newFollower returns a follower that ends with end.
func newFollower(see func(block []byte)) *follower {
	f := &follower{blocks: make(chan []byte), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for block := range f.blocks {
			see(block)
		}
	}()
	return f
}

// show hands a block over. On return every earlier block was seen, and may be
// written to again.
func (f *follower) show(block []byte) { f.blocks <- block }

// end returns once every block was seen.
func (f *follower) end() {
	close(f.blocks)
	<-f.done
}
