package outage

import (
	"io"
	"net"
	"sync"
)

// State is what a line does.
type State int

// The states.
const (
	// Holds passes everything.
	Holds State = iota
	// Refuses closes whatever connects, as a host does whose server is gone.
	Refuses
	// Swallows takes everything and answers nothing, as a host does that is cut off.
	Swallows
)

// Line is what the dataplane reaches the API server through.
type Line struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	state State
	open  map[net.Conn]struct{}
	ended bool
}

// NewLine is a line that holds. The caller closes it.
func NewLine(target string) (*Line, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Line{target: target, listener: listener, open: map[net.Conn]struct{}{}}
	l.running.Go(l.accept)
	return l, nil
}

// Address is the near end.
func (l *Line) Address() string { return l.listener.Addr().String() }

// Set changes the state. Connections that are open do not outlive a change.
func (l *Line) Set(state State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
	for conn := range l.open {
		_ = conn.Close() // its other side may have closed it
	}
}

// Close ends the line.
func (l *Line) Close() {
	_ = l.listener.Close() // it ends either way
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.Set(Refuses)
	l.running.Wait()
}

func (l *Line) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.pass(near) })
	}
}

// keep makes Set close the connection; it returns the state.
func (l *Line) keep(conn net.Conn) State {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return Refuses
	}
	l.open[conn] = struct{}{}
	return l.state
}

func (l *Line) drop(conn net.Conn) {
	l.mu.Lock()
	delete(l.open, conn)
	l.mu.Unlock()
	_ = conn.Close() // Set may have closed it
}

func (l *Line) pass(near net.Conn) {
	defer l.drop(near)
	switch l.keep(near) {
	case Refuses:
		return
	case Swallows:
		_, _ = io.Copy(io.Discard, near) // until it is closed
		return
	case Holds:
	}
	far, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer l.drop(far)
	if l.keep(far) != Holds {
		return
	}
	var there sync.WaitGroup
	there.Go(func() {
		_, _ = io.Copy(far, near) // until one side is closed
		_ = far.Close()
	})
	_, _ = io.Copy(near, far)
	_ = near.Close()
	there.Wait()
}
