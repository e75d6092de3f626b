package upload

// Arriving is how many chunks are on their way into a digest from memory.
func (s *Service) Arriving() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.frontiers {
		f.mu.Lock()
		n += len(f.along)
		f.mu.Unlock()
	}
	return n
}

// Frontiers is how many uploads a digest is kept of.
func (s *Service) Frontiers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.frontiers)
}

// PublishAtOnce is how many uploads are published at once at most.
const PublishAtOnce = publishAtOnce

// HashAtOnce is how many uploads are read back at once at most.
func (s *Service) HashAtOnce() int { return cap(s.hashing) }
