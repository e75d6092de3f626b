package delegated

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// errTooMany means that as many tokens that nobody knows are being reviewed as may be.
var errTooMany = errors.New("too many unknown tokens are being reviewed")

// room is where tokens that nobody knows are reviewed: so many at once. It
// refuses at once whom it has no place for, as who waits holds a connection and
// strangers can make many. One address alone takes half of the room; the rest is for
// addresses that have less than an eighth. It may be used concurrently.
type room struct {
	most int

	mu    sync.Mutex
	taken int
	of    map[netip.Addr]int // what each address has taken; those that have none are not in it
}

func newRoom(most int) *room { return &room{most: most, of: map[netip.Addr]int{}} }

// enter takes a place, which leave gives back, or returns errTooMany.
func (r *room) enter(from netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken >= r.most || r.taken >= r.most/2 && r.of[from] >= max(r.most/8, 1) {
		return errTooMany
	}
	r.taken++
	r.of[from]++
	return nil
}

func (r *room) leave(from netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken--
	r.of[from]--
	if r.of[from] == 0 {
		delete(r.of, from)
	}
}

// addressOf is whom a request comes from, as a room tells them apart: who has one address of
// IPv6 has the 64 bits below its network. It is the zero address where nobody can tell.
func addressOf(remote string) netip.Addr {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	if address = address.Unmap().WithZone(""); address.Is6() {
		network, err := address.Prefix(64)
		if err != nil {
			return netip.Addr{}
		}
		address = network.Addr()
	}
	return address
}
