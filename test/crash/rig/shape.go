package rig

import "fmt"

// Shape is what the sessions of a load are like, and how hard they are worked
// on. How many chunks are acknowledged at one moment, and of how many sessions,
// decides how the dataplane makes them durable.
type Shape struct {
	// Active is how many sessions that have not ended TopUp sees to.
	Active int
	// Workers is how many requests Run has under way at once.
	Workers int
	// ChunkSizes are those of the sessions.
	ChunkSizes []int64
	// MaxBytes and MaxChunks bound an object, unless it has one chunk.
	MaxBytes, MaxChunks int64
}

// Mixed is some of everything.
func Mixed() *Shape {
	return &Shape{Active: 20, Workers: 12, ChunkSizes: []int64{1, 512, 4 << 10, 16 << 10, 64 << 10, 300 << 10}, MaxBytes: 1 << 20, MaxChunks: 40}
}

// Crowd is many small sessions at once.
func Crowd() *Shape {
	return &Shape{Active: 24, Workers: 32, ChunkSizes: []int64{64, 512, 4 << 10}, MaxBytes: 64 << 10, MaxChunks: 12}
}

// Giants is a few large sessions.
func Giants() *Shape {
	return &Shape{Active: 2, Workers: 3, ChunkSizes: []int64{200 << 10, 1 << 20}, MaxBytes: 3 << 20, MaxChunks: 12}
}

// invent makes up a session.
func (l *Load) invent() *Session {
	r, shape := l.random, l.Shape
	l.created++
	s := &Session{
		Name: fmt.Sprintf("s%d", l.created), Key: fmt.Sprintf("objects/%d/o%d", l.created%7, l.created), shape: shape,
		Explicit: r.IntN(3) == 0, Replace: r.IntN(3) == 0,
		Contested: r.IntN(8) == 0, Abandoned: r.IntN(10) == 0, Abortable: r.IntN(10) == 0,
	}
	s.ChunkSize = shape.ChunkSizes[r.IntN(len(shape.ChunkSizes))]
	most := min(shape.MaxChunks, max(1, shape.MaxBytes/s.ChunkSize))
	switch r.IntN(8) {
	case 0:
		s.Size = 0
	case 1:
		s.Size = 1
	case 2:
		s.Size = s.ChunkSize
	case 3: // a short last chunk
		s.Size = s.ChunkSize*r.Int64N(most) + 1 + r.Int64N(s.ChunkSize)
	default:
		s.Size = s.ChunkSize * (1 + r.Int64N(most))
	}
	if r.IntN(5) == 0 {
		s.Reclaim, s.Key = true, fmt.Sprintf("reclaimed/%d/o%d", l.created%3, l.created)
	} else if known := l.Oracle.Sessions(); len(known) > 0 && r.IntN(4) == 0 {
		s.share(known[r.IntN(len(known))], r.IntN(4) > 0)
	}
	return s
}

// share makes a session want the key of another, and mostly treat it as the other does.
func (s *Session) share(other *Session, alike bool) {
	if other.Reclaim {
		return
	}
	s.Key = other.Key
	if alike {
		s.Replace = other.Replace
	}
}

// worked are the sessions that Run works on: those of its shape, or all where there are none.
func (l *Load) worked() []*Session {
	all := l.Oracle.Sessions()
	var of []*Session
	for _, s := range all {
		if s.shape == l.Shape {
			of = append(of, s)
		}
	}
	if len(of) == 0 {
		return all
	}
	return of
}
