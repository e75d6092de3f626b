package chunkapi

import "context"

// Entrance is where connections come in. It is told which of them are worth more than a newcomer.
// Its methods are given the context of a request, and may be called concurrently.
type Entrance interface {
	// LetIn is told that it is known who sent a request: its connection stays until served is called, once.
	LetIn(request context.Context) (served func())

	// TurnAway is told that a request was refused: its connection is the first to give way, while what
	// is left of its body is read so that the reply arrives.
	TurnAway(request context.Context)
}

// openEntrance has room for everybody.
type openEntrance struct{}

// LetIn does nothing.
func (openEntrance) LetIn(context.Context) (served func()) { return func() {} }

// TurnAway does nothing.
func (openEntrance) TurnAway(context.Context) {}
