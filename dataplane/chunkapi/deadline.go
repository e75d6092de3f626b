package chunkapi

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/fair"
	"github.com/slipway-dev/slipway/dataplane/metrics"
)

// errInterrupted is what reading a body that was interrupted returns.
var errInterrupted = errors.New("the request was interrupted")

// errTooSlow is what reading a body returns whose slot others got.
var errTooSlow = errors.New("others waited, and too few bytes arrived")

// maxRenewalInterval bounds how often a deadline is set anew: not for each block.
const maxRenewalInterval = time.Second

// renewalInterval is how long a deadline is left as it is. It is a small part
// of the timeout, so that who is idle gets almost all of it.
func renewalInterval(idle time.Duration) time.Duration { return min(maxRenewalInterval, idle/8) }

// incomingBody is the body of a request whose read deadline moves on while
// bytes arrive, so that a slow sender goes on and a dead one is found. Read is
// called from one goroutine, Interrupt from any and at any time.
//
// Make it with newIncomingBody, and release it before the request is answered.
type incomingBody struct {
	body        io.Reader
	received    func(bytes int) // told of what each Read got; may be nil
	setDeadline func(time.Time)
	idle        time.Duration
	begin       func() bool
	pace        *fair.Member // nil where it holds no slot

	mu      sync.Mutex
	renewed time.Time
	arrived time.Time // the last byte, or the wish for the first
	err     error     // set once; no deadline is set any more
}

// newIncomingBody is the body of r. The first Read calls begin, and fails
// where that returns false.
func newIncomingBody(w http.ResponseWriter, r *http.Request, idle time.Duration, begin func() bool) *incomingBody {
	control := http.NewResponseController(w)
	return &incomingBody{
		body: r.Body, idle: idle, begin: begin,
		// A connection that has no deadlines is not one that can hang, and one that is closed
		// fails its next Read anyway.
		setDeadline: func(t time.Time) { _ = control.SetReadDeadline(t) },
	}
}

// Read reads from the body. After an error it returns only that.
func (b *incomingBody) Read(p []byte) (int, error) {
	if err := b.renew(); err != nil {
		return 0, err
	}
	b.pace.Await()
	n, err := b.body.Read(p)
	b.pace.Moved(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 {
		if b.received != nil {
			b.received(n)
		}
		b.arrived = time.Now()
	}
	switch {
	case err == nil:
	case b.err == nil:
		// This lets go of the deadline too: after the body net/http reads on to find out whether
		// the client is there, and the next request is none of this one's business.
		b.err = err
	case !errors.Is(err, io.EOF): // the deadline of Interrupt, which says why
		return n, b.err
	}
	return n, err
}

// lastByte is when the last byte arrived, or the first was asked for.
func (b *incomingBody) lastByte() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.arrived
}

func (b *incomingBody) renew() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil && b.renewed.IsZero() {
		b.arrived = time.Now()
		if !b.begin() {
			b.err = errInterrupted
		}
	}
	if b.err != nil {
		return b.err
	}
	if now := time.Now(); now.Sub(b.renewed) >= renewalInterval(b.idle) {
		b.renewed = now
		b.setDeadline(now.Add(b.idle))
	}
	return nil
}

// failure is why the body could not be read; nil where nothing was in the way.
func (b *incomingBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.err, io.EOF) {
		return nil
	}
	return b.err
}

// unfinished reports whether some of the body was read and not all of it.
func (b *incomingBody) unfinished() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.renewed.IsZero() && !errors.Is(b.err, io.EOF)
}

// Interrupt makes a Read that hangs return, and every later one fail. Where
// the body has come to its end nothing happens.
func (b *incomingBody) Interrupt() { b.interrupt(errInterrupted) }

// interrupt is Interrupt with what every later Read returns. It reports whether the first one has begun; where it
// had not, none will.
func (b *incomingBody) interrupt(why error) (begun bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = why
		b.setDeadline(past())
	}
	return !b.renewed.IsZero()
}

// release tells that the body is not read any more. The connection is only
// good for another request where the body came to its end or was not touched
// at all (then net/http decides).
func (b *incomingBody) release(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	untouched := b.err == nil && b.renewed.IsZero()
	if !untouched && !errors.Is(b.err, io.EOF) && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	if b.err == nil {
		b.err = http.ErrBodyReadAfterClose
	}
}

// reply is a response whose write deadline moves on while bytes are taken.
type reply struct {
	http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration
	renewed time.Time
	begun   bool
	pace    *fair.Member    // nil where it holds no slot
	unread  *unread         // what may be left of the request; nil where it has no body
	status  int             // 0 until the header is sent
	sent    int64           // bytes of the body
	outcome metrics.Outcome // of a chunk; empty until it is known

	mu       sync.Mutex // of the deadline, from when the reply has begun
	deadline bool       // the reply has begun, so that it may be cut off
	cut      bool
}

func newReply(w http.ResponseWriter, idle time.Duration) *reply {
	return &reply{ResponseWriter: w, control: http.NewResponseController(w), idle: idle}
}

// Unwrap is for http.ResponseController.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader settles what is left of the request, renews the deadline and sends the header.
func (w *reply) WriteHeader(status int) {
	w.begun, w.status = true, status
	w.unread.beforeReply(w.Header(), status)
	w.mu.Lock()
	w.deadline = true
	w.mu.Unlock()
	w.renew(w.idle)
	w.ResponseWriter.WriteHeader(status)
}

// Write renews the deadline and writes. The last renewal serves for what
// net/http still has to send when the handler has returned.
func (w *reply) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	w.renew(w.idle)
	w.pace.Await()
	n, err := w.ResponseWriter.Write(p)
	w.pace.Moved(n)
	w.sent += int64(n)
	return n, err
}

func (w *reply) renew(d time.Duration) {
	if now := time.Now(); now.Sub(w.renewed) >= renewalInterval(w.idle) {
		w.renewed = now
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.cut {
			// See newIncomingBody.
			_ = w.control.SetWriteDeadline(now.Add(d))
		}
	}
}

// cutOff ends a reply that has begun, whose client takes it for what it is: a part of the whole. It may be called by
// another goroutine while the request is served.
func (w *reply) cutOff() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deadline && !w.cut {
		w.cut = true
		_ = w.control.SetWriteDeadline(past())
	}
}

func (w *reply) setReadDeadline(t time.Time) error { return w.control.SetReadDeadline(t) }
