package chunkapi

import (
	"net/http"
	"reflect"
)

// Over HTTP/1.1 each chunk has a connection of its own: one that hangs holds up
// no other, and what comes before a handler reads it waits in the kernel. Over HTTP/2
// chunks share a connection, and what comes for a handler that does not read yet is held by this process.
// So that both hold all the same, the bytes that are on their way on a connection are as many as those of all its
// streams together: none of them can use up the room of another, and all take at most ConnectionBuffer.
const (
	// StreamsPerConnection is how many requests may be under way on a connection at once.
	StreamsPerConnection = 16
	// streamBuffer is how many bytes of a request's body may come before they are read. It bounds what one
	// chunk can get through to this many bytes in a round trip.
	streamBuffer = 128 << 10
	// ConnectionBuffer is the memory that bodies take on a connection before they are read.
	ConnectionBuffer = StreamsPerConnection * streamBuffer
	// maxFrame bounds a frame, which is held as a whole unless it is one of a body.
	maxFrame = 64 << 10
)

// overHTTP2 bounds a connection. Deadlines are those of streams, which the
// handler sets; WriteByteTimeout is for a connection that takes nothing at all.
//
// What else there is against floods are bounds of net/http itself: requests that are reset
// hold their place until their handlers return, and who has four times StreamsPerConnection of them waiting is cut
// off; so is who lets ten thousand replies to PING pile up (of those to SETTINGS only one is owed at a time), and whose
// header goes on beyond MaxHeaderBytes, in however many CONTINUATION frames.
func overHTTP2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          StreamsPerConnection,
		MaxReceiveBufferPerStream:     streamBuffer,
		MaxReceiveBufferPerConnection: ConnectionBuffer,
		MaxReadFrameSize:              maxFrame,
		WriteByteTimeout:              DefaultIdleTimeout,
	}
}

// tellingWhoAsks returns a handler to which a request that waits for 100 Continue looks the same over both
// protocols. Over HTTP/2 net/http takes the field Expect away, and sends 100 Continue with the first read of the
// body; so nobody could tell whether there is a body to read on or one that is not to be asked for.
func tellingWhoAsks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && needsContinue(r.Body) {
			r.Header.Set("Expect", "100-continue")
		}
		next.ServeHTTP(w, r)
	})
}

// needsContinue reports what net/http knows of a body of HTTP/2 and does not tell. Where it knows it by another name
// a client is asked for a body that is thrown away.
func needsContinue(body any) bool {
	v := reflect.ValueOf(body)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return false
	}
	needs := v.Elem().FieldByName("needsContinue")
	return needs.Kind() == reflect.Bool && needs.Bool()
}
