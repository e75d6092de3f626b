package chunkapi

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is a connection of HTTP/2 whose frames a test writes one by one. What
// it writes is on its way after flush.
type peer struct {
	*http2.Framer
	t    testing.TB
	conn *tls.Conn
	out  bytes.Buffer
	next uint32 // stream
}

// dialHTTP2 is a connection over which both sides have said how they want it.
func (w *world) dialHTTP2(t testing.TB) *peer {
	t.Helper()
	config := w.transport().TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	c, err := tls.Dial("tcp", w.addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: c, next: 1}
	p.Framer = http2.NewFramer(&p.out, c)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.out.WriteString(http2.ClientPreface)
	p.must(p.WriteSettings())
	p.flush()
	for {
		frame, err := p.ReadFrame()
		p.must(err)
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
			p.must(p.WriteSettingsAck())
			p.flush()
			return p
		}
	}
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// flush sends what was written.
func (p *peer) flush() {
	p.t.Helper()
	_, err := p.out.WriteTo(p.conn)
	p.must(err)
}

// fields are those of a header as HTTP/2 has them.
func fields(method, path string, more ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	all := append([]string{":method", method, ":scheme", "https", ":authority", "slipway", ":path", path}, more...)
	for i := 0; i < len(all); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: strings.ToLower(all[i]), Value: all[i+1]}) // to memory
	}
	return b.Bytes()
}

// begin opens a stream with a request of which a body follows, or none.
func (p *peer) begin(header []byte, body bool) uint32 {
	p.t.Helper()
	id := p.next
	p.next += 2
	const most = 16 << 10
	first := header[:min(len(header), most)]
	p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: !body, EndHeaders: len(first) == len(header)}))
	for rest := header[len(first):]; len(rest) > 0; {
		part := rest[:min(len(rest), most)]
		rest = rest[len(part):]
		p.must(p.WriteContinuation(id, len(rest) == 0, part))
	}
	return id
}

// put opens a stream for a chunk of a length.
func (p *peer) put(name string, index, length int) uint32 {
	p.t.Helper()
	return p.begin(fields(http.MethodPut, chunkPath(name, index), "content-length", strconv.Itoa(length)), true)
}

// data sends so many bytes of a body, in frames that every peer takes.
func (p *peer) data(id uint32, n int, end bool) {
	p.t.Helper()
	for n > 0 {
		part := make([]byte, min(n, 16<<10))
		n -= len(part)
		p.must(p.WriteData(id, end && n == 0, part))
	}
}

// reply reads until a stream has its whole reply.
func (p *peer) reply(id uint32) (status int, body []byte) {
	p.t.Helper()
	for {
		frame, err := p.ReadFrame()
		p.must(err)
		if g, ok := frame.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			p.t.Fatalf("the connection was ended: %s", g)
		}
		if frame.Header().StreamID != id {
			continue
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			if status, err = strconv.Atoi(f.PseudoValue("status")); err != nil {
				p.t.Fatal(err)
			}
			if f.StreamEnded() {
				return status, body
			}
		case *http2.DataFrame:
			body = append(body, f.Data()...)
			if f.StreamEnded() {
				return status, body
			}
		case *http2.RSTStreamFrame:
			return 0, []byte(f.ErrCode.String())
		}
	}
}

// end reads until the server ends the connection, and returns why.
func (p *peer) end() http2.ErrCode {
	p.t.Helper()
	code := http2.ErrCodeNo
	for {
		frame, err := p.ReadFrame()
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			p.t.Fatal("the connection is still open")
		}
		if se := (http2.StreamError{}); err != nil && !errors.As(err, &se) {
			return code
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			code = g.ErrCode
		}
	}
}

// pour writes to the connection until it is closed or so much was written.
func (p *peer) pour(b []byte, times int) (written int) {
	for range times {
		n, err := p.conn.Write(b)
		written += n
		if err != nil {
			return written
		}
	}
	return written
}
