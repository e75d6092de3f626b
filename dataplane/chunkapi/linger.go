package chunkapi

import (
	"container/list"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Many clients send all of a request before they read any of the reply. When a server answers before
// it has read the body, and closes, the kernel resets the connection and the client loses the reply with
// it: it never learns why it was refused (RFC 9112, section 9.6). So what is left of a body is read for a
// while and thrown away, here and nowhere else:
//
//   - First for at most readOn before the reply. Where all of it came the connection is as good as before. A
//     client that asked whether to go on (Expect) is answered at once, and so is one that announced too much.
//   - Then the reply is sent, over HTTP/1.1 as the last one on its connection, and what still comes is read
//     for at most lingerFor.
//
// Neither is longer than a part of the idle timeout. All in all no more than maxReadOn bytes are read of a
// request, and of at most maxLingering requests at once. Where there are more the one that has had longest gives
// way: it gets its reply and ends. So whoever makes many of them shortens their own time. No slot of any kind is
// held in the meantime but that of a request which another replica refused.
const (
	readOn       = 500 * time.Millisecond
	lingerFor    = time.Second
	maxReadOn    = 64 << 20 // the largest chunk, by default
	maxLingering = 64
)

// lingering are the requests whose bodies are being read on. Methods may be called concurrently.
type lingering struct {
	most int

	mu    sync.Mutex
	those list.List // of func(), which makes it end; the one that has had longest first
}

// join takes one in, whose giveWay is called at most once, and not after leave has returned.
func (l *lingering) join(giveWay func()) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.those.Len() >= l.most {
		end := l.those.Remove(l.those.Front()).(func()) //nolint:errcheck // the list holds nothing else
		end()
	}
	place := l.those.PushBack(giveWay)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.those.Remove(place)
	}
}

// watchedBody is the body of a request, and knows how far it was read. It may be read by one at a time, and
// looked at by others.
type watchedBody struct {
	io.ReadCloser
	ended atomic.Bool
}

// Read reads.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// unread is what is left of the body of a request when it is answered. A nil one is of a request that has
// none. Its methods are called by the handler's goroutine.
type unread struct {
	body      *watchedBody
	request   context.Context
	http1     bool
	asksFirst bool // the client waits for 100 Continue
	length    int64
	reply     *reply
	lingering *lingering
	entrance  Entrance
	served    func() // nil where nobody was let in

	done chan struct{} // nil until it is read on; closed once it is not any more
}

// watchBody has the body of a request watched.
func (a *api) watchBody(w *reply, r *http.Request) *unread {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	u := &unread{
		body: &watchedBody{ReadCloser: r.Body}, request: r.Context(), http1: r.ProtoMajor == 1, length: r.ContentLength,
		asksFirst: r.Header.Get("Expect") != "", reply: w, lingering: a.lingering, entrance: a.entrance,
	}
	r.Body = u.body
	return u
}

// ifRefused says what to do when the request, whose sender was let in, is refused after all.
func (u *unread) ifRefused(served func()) {
	if u != nil {
		u.served = served
	}
}

// beforeReply reads on where that may save the connection, and otherwise says that it ends.
func (u *unread) beforeReply(h http.Header, status int) {
	if u == nil || u.body.ended.Load() {
		return
	}
	if status >= http.StatusBadRequest {
		if u.served != nil {
			u.served()
		}
		u.entrance.TurnAway(u.request)
	}
	if !u.asksFirst && u.length <= maxReadOn && h.Get("Connection") != "close" {
		wait := min(readOn, u.reply.idle/4)
		u.begin(wait + u.lingerFor())
		select {
		case <-u.done:
		case <-time.After(wait):
		}
	}
	if u.http1 && !u.body.ended.Load() {
		h.Set("Connection", "close")
	}
}

// afterReply reads on until the client has had time to take the reply.
func (u *unread) afterReply() {
	switch {
	case u == nil || u.body.ended.Load():
	case u.asksFirst && !u.http1:
		// The first read would ask the client to go on, after its reply.
	case u.reply.control.Flush() == nil:
		u.begin(u.lingerFor())
		<-u.done
	}
}

// end ends the reading, whether it was over or not.
func (u *unread) end() {
	if u == nil || u.done == nil && u.body.ended.Load() {
		return
	}
	if !u.body.ended.Load() {
		_ = u.reply.setReadDeadline(past()) // net/http would read on; where it knows no deadline nothing is read
	}
	if u.done != nil {
		<-u.done
	}
}

func (u *unread) lingerFor() time.Duration { return min(lingerFor, u.reply.idle/2) }

// begin begins to read on, unless that has begun.
func (u *unread) begin(atMost time.Duration) {
	if u.done != nil {
		return
	}
	u.done = make(chan struct{})
	if u.reply.setReadDeadline(time.Now().Add(atMost)) != nil {
		close(u.done) // nothing would bound it
		return
	}
	leave := u.lingering.join(func() { _ = u.reply.setReadDeadline(past()) }) // it was set before
	go func() {
		defer close(u.done)
		defer leave()
		_, _ = io.CopyN(io.Discard, u.body, maxReadOn) // whether it came to its end the body knows
	}()
}

// past is a deadline that has passed.
func past() time.Time { return time.Unix(1, 0) }
