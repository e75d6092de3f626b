// Package contender has the servers that are compared: how each is started,
// how an object is uploaded to it as fast as it can take it, and what is true
// of it whatever the figures say.
package contender

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/client"
	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/proc"
)

// Contender is one server in one way of use.
type Contender struct {
	// ID is its name in flags, files and plots; Title says it to people.
	ID, Title string
	// Version is what was built or found.
	Version string
	// Synced says what is on stable storage when the server replies that an object is complete.
	Synced string
	// Verified says what the server checked or computed over the bytes.
	Verified string
	// Note is what else has to be known to read its figures.
	Note string
	// Takes reports whether it takes part in a load; nil is always.
	Takes func(load.Load) bool
	// Start starts it in a folder of its own.
	Start func(ctx context.Context, dir string) (Server, error)
}

// Server is a contender at work, in one round of one load.
type Server interface {
	// Process is what is measured.
	Process() *proc.Process
	// Prepare does what comes before the clock starts, such as to create sessions.
	Prepare(ctx context.Context, objects []load.Object) error
	// Put uploads one object and returns once the server said that it is complete. It
	// returns how long the completing call took: from its beginning where it is a call of its
	// own, else from the last byte sent, to the reply.
	Put(ctx context.Context, o load.Object) (completing time.Duration, err error)
	// Path is where the complete object lies; "" where it is kept nowhere.
	Path(o load.Object) string
	// Stop ends the process and whatever else was taken.
	Stop(ctx context.Context) error
}

// base is what all servers share.
type base struct {
	process *proc.Process
	pool    *client.Pool
	address string
	dir     string
}

func newBase(ctx context.Context, name, dir string, spec func(address string) proc.Spec) (base, error) {
	address, err := proc.FreeAddress()
	if err != nil {
		return base{}, err
	}
	s := spec(address)
	s.Name, s.Address, s.Log = name, address, filepath.Join(dir, "log")
	p, err := proc.Start(ctx, s)
	if err != nil {
		return base{}, err
	}
	return base{process: p, pool: client.NewPool(address), address: address, dir: dir}, nil
}

// Process is the server's process.
func (b *base) Process() *proc.Process { return b.process }

// Stop ends the process.
func (b *base) Stop(context.Context) error {
	b.pool.Close()
	return b.process.Stop()
}

func (b *base) call(ctx context.Context, r client.Request, want ...int) (*client.Reply, error) {
	reply, err := b.pool.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := reply.Want(want...); err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	return reply, nil
}

// Parallel runs f for 0 to n-1, so many at once, and returns the first error.
func Parallel(n, atOnce int, f func(i int) error) error {
	var (
		next  = make(chan int)
		once  sync.Once
		first error
		stop  = make(chan struct{})
		group sync.WaitGroup
	)
	for range min(n, atOnce) {
		group.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					once.Do(func() { first = err; close(stop) })
				}
			}
		})
	}
feed:
	for i := range n {
		select {
		case next <- i:
		case <-stop:
			break feed
		}
	}
	close(next)
	group.Wait()
	return first
}

func single(l load.Load) bool { return l.Single() }

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}
