package client

import "context"

// gaps tells which chunks are missing, of which a status lists only the first ranges: it asks again where the list
// ends. It is asked in ascending order and by one goroutine.
type gaps struct {
	ask func(context.Context) (*Status, error)
	st  *Status
}

// missing reports whether chunk index was not held when the dataplane was asked last.
func (g *gaps) missing(ctx context.Context, index int) (bool, error) {
	if g.st.MissingChunks == 0 || g.st.State.Ended() {
		return false, nil
	}
	listed := 0
	for _, r := range g.st.Missing {
		if index <= r.Last {
			return index >= r.First, nil
		}
		listed += r.Last - r.First + 1
	}
	if listed >= g.st.MissingChunks {
		return false, nil
	}
	// Of the chunks up to here some may be listed again, which are under way: nobody asks about those any more.
	st, err := g.ask(ctx)
	if err != nil {
		return false, err
	}
	g.st = g.after(st, index)
	return g.missing(ctx, index)
}

// after is a status without what it lists before index.
func (g *gaps) after(st *Status, index int) *Status {
	rest := *st
	rest.Missing = nil
	for _, r := range st.Missing {
		switch {
		case r.Last < index:
			rest.MissingChunks -= r.Last - r.First + 1
		default:
			rest.Missing = append(rest.Missing, r)
		}
	}
	return &rest
}
