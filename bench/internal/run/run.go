// Package run measures: round by round, every contender in each, in random
// order.
package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/contender"
	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/machine"
)

// Sample is one contender in one load of one round, as it was measured.
type Sample struct {
	Round     int    `json:"round"`
	Place     int    `json:"place"` // in the order of the round
	Load      string `json:"load"`
	Contender string `json:"contender"`

	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
	// Seconds is from the first byte to the last object's completion.
	Seconds float64 `json:"seconds"`
	// SyncSeconds is how long a sync of the volume took right after.
	SyncSeconds float64 `json:"syncSeconds"`
	// PrepareSeconds and PrepareCPUSeconds are what came before the clock, such as sessions.
	PrepareSeconds    float64 `json:"prepareSeconds"`
	PrepareCPUSeconds float64 `json:"prepareServerCPUSeconds"`
	// ServerCPUSeconds is of the server's processes, ClientCPUSeconds of the client.
	ServerCPUSeconds float64 `json:"serverCPUSeconds"`
	ClientCPUSeconds float64 `json:"clientCPUSeconds"`
	// PeakBytes is the server's resident memory at most.
	PeakBytes int64 `json:"peakBytes"`
	// WrittenBytes is what the server's processes wrote, DeviceBytes what the machine wrote to
	// the device, the journal included, until the sync was through.
	WrittenBytes int64 `json:"writtenBytes"`
	DeviceBytes  int64 `json:"deviceBytes"`
	// CompletingSeconds is the median of the completing calls, CompletingWorst the longest.
	CompletingSeconds float64 `json:"completingSeconds"`
	CompletingWorst   float64 `json:"completingWorstSeconds"`
	// Refused is how often a request was told to come again.
	Refused int64 `json:"refused,omitempty"`
}

// Plan is what to measure.
type Plan struct {
	Loads      []load.Load
	Contenders []contender.Contender
	// Rounds count; a warm-up comes before them.
	Rounds int
	// Dir is where servers keep their files.
	Dir string
	// Out is told how far it is.
	Out io.Writer
	// Observer looks into the servers; nil where nobody does.
	Observer *Observer
}

// Measure measures, and calls kept with each sample that counts.
func Measure(ctx context.Context, p Plan, kept func(Sample) error) error {
	source := load.NewSource()
	total := 0
	for _, l := range p.Loads {
		total += len(p.takers(l)) * (p.Rounds + 1)
	}
	done, began := 0, time.Now()
	for round := range p.Rounds + 1 { // round 0 warms up
		for _, l := range p.Loads {
			order := p.takers(l)
			rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			for place, c := range order {
				s, err := p.sample(ctx, c, l, source.Objects(l))
				if err != nil {
					return fmt.Errorf("%s, %s, round %d: %w", l.ID, c.ID, round, err)
				}
				s.Round, s.Place = round, place
				done++
				p.progress(done, total, began, s)
				if round == 0 {
					continue
				}
				if err := kept(s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// takers are the contenders that take part in a load.
func (p Plan) takers(l load.Load) []contender.Contender {
	return slices.DeleteFunc(slices.Clone(p.Contenders), func(c contender.Contender) bool {
		return c.Takes != nil && !c.Takes(l)
	})
}

func (p Plan) progress(done, total int, began time.Time, s Sample) {
	what := fmt.Sprintf("round %d", s.Round)
	if s.Round == 0 {
		what = "warm-up"
	}
	left := time.Since(began) / time.Duration(done) * time.Duration(total-done)
	fmt.Fprintf(p.Out, "[%d/%d, %s left] %s  %-11s %-17s %7.0f MiB/s %8.0f objects/s\n", done, total,
		left.Round(time.Second), what, s.Load, s.Contender, float64(s.Bytes)/(1<<20)/s.Seconds, float64(s.Objects)/s.Seconds)
}

// sample runs one contender in a folder of its own and leaves nothing behind.
func (p Plan) sample(ctx context.Context, c contender.Contender, l load.Load, objects []load.Object) (s Sample, err error) {
	dir, err := os.MkdirTemp(p.Dir, c.ID+"-")
	if err != nil {
		return s, err
	}
	defer func() {
		// Synced, so that the next sample does not pay for the removal.
		err = errors.Join(err, os.RemoveAll(dir), machine.Sync(p.Dir))
	}()
	server, err := c.Start(ctx, dir)
	if err != nil {
		return s, err
	}
	stopped := false
	defer func() {
		if !stopped {
			err = errors.Join(err, server.Stop(ctx))
		}
		if err != nil {
			err = fmt.Errorf("%w\nthe server's log:\n%s", err, server.Process().Tail())
		}
	}()
	s = Sample{Load: l.ID, Contender: c.ID, Objects: len(objects), Bytes: l.Bytes()}
	if err := p.prepare(ctx, server, l, objects, &s); err != nil {
		return s, err
	}
	if err := p.measure(ctx, server, l, objects, &s); err != nil {
		return s, err
	}
	if err := check(server, objects); err != nil {
		return s, err
	}
	stopped = true
	return s, server.Stop(ctx)
}

func (p Plan) prepare(ctx context.Context, server contender.Server, l load.Load, objects []load.Object, s *Sample) error {
	before, err := server.Process().Usage()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := server.Prepare(ctx, objects); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	s.PrepareSeconds = time.Since(began).Seconds()
	after, err := server.Process().Usage()
	if err != nil {
		return err
	}
	s.PrepareCPUSeconds = (after.CPU - before.CPU).Seconds()
	// Twice, because some write every byte twice.
	return errors.Join(machine.Sync(p.Dir), machine.Warm(2*l.Bytes()))
}

func (p Plan) measure(ctx context.Context, server contender.Server, l load.Load, objects []load.Object, s *Sample) (err error) {
	if p.Observer != nil {
		detach, watchErr := p.Observer.watch(ctx, server, s)
		if watchErr != nil {
			return watchErr
		}
		defer func() { err = errors.Join(err, detach()) }()
	}
	if err := server.Process().ResetPeak(); err != nil {
		return err
	}
	before, err := server.Process().Usage()
	if err != nil {
		return err
	}
	device, client := machine.Written(p.Dir), machine.OwnCPU()
	completing := make([]float64, len(objects))

	began := time.Now()
	err = contender.Parallel(len(objects), l.ObjectsAtOnce, func(i int) error {
		took, err := server.Put(ctx, objects[i])
		completing[i] = took.Seconds()
		return err
	})
	s.Seconds = time.Since(began).Seconds()
	if err != nil {
		return err
	}
	s.ClientCPUSeconds = (machine.OwnCPU() - client).Seconds()
	began = time.Now()
	if err := machine.Sync(p.Dir); err != nil {
		return err
	}
	s.SyncSeconds = time.Since(began).Seconds()

	after, err := server.Process().Usage()
	if err != nil {
		return err
	}
	s.ServerCPUSeconds = (after.CPU - before.CPU).Seconds()
	s.PeakBytes, s.WrittenBytes = after.Peak, after.Written-before.Written
	s.DeviceBytes = machine.Written(p.Dir) - device
	slices.Sort(completing)
	s.CompletingSeconds, s.CompletingWorst = completing[len(completing)/2], completing[len(completing)-1]
	if r, ok := server.(interface{ Refused() int64 }); ok {
		s.Refused = r.Refused()
	}
	return nil
}

// checkEvery is how far the bytes lie apart that are compared in an object.
const checkEvery = 4<<20 + 4096

// check looks whether what was uploaded is there: the size of each object, and
// its bytes here and there.
func check(server contender.Server, objects []load.Object) error {
	for _, o := range objects {
		path := server.Path(o)
		if path == "" {
			return nil
		}
		if err := checkObject(path, o); err != nil {
			return fmt.Errorf("the object is not what was sent: %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

func checkObject(path string, o load.Object) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != o.Size() {
		return fmt.Errorf("%d bytes, not %d", info.Size(), o.Size())
	}
	got := make([]byte, 4096)
	for at := int64(0); at < o.Size(); at += checkEvery {
		want := o.At(at, int64(len(got)))
		if _, err := f.ReadAt(got[:len(want)], at); err != nil {
			return err
		}
		if !bytes.Equal(got[:len(want)], want) {
			return fmt.Errorf("other bytes at %d", at)
		}
	}
	return nil
}
