package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// DownloadOptions are how an object is read; the zero value is a good choice.
type DownloadOptions struct {
	// Parallel is how many ranges are read at once; 0 is DefaultParallelReads.
	Parallel int
	// Progress is called with the bytes that are there and the size; nil for nobody. Calls do not overlap.
	Progress func(present, size int64)
}

const (
	// DefaultParallelReads is the default of DownloadOptions.Parallel.
	DefaultParallelReads = 4

	// partSize is how much one request reads. What was read of a part that was not finished is read again by the next
	// process.
	partSize = 16 << 20
)

// Download reads the published object into the file at path: into path.part at first, which is renamed once the whole
// has the object's digest. A call that finds a path.part of the same object goes on with it. An existing file at path
// is replaced. On return without an error the file is on stable storage.
func (s *Session) Download(ctx context.Context, path string, o DownloadOptions) (*Content, error) {
	c, err := s.Stat(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.client.hashOf(c.Digest); err != nil {
		return nil, err
	}
	d, err := openPart(path, c)
	if err != nil {
		return nil, err
	}
	d.options = o
	if err := d.fill(ctx, s); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return c, d.publish(path)
}

// part is a file that is not complete yet. Beside it lies a journal of the parts that are.
type part struct {
	content *Content
	file    *os.File
	journal *os.File
	options DownloadOptions

	mu      sync.Mutex // of what follows; Progress is called with it held
	done    []bool
	present int64
	arrived *sync.Cond
}

// heading is the journal's first line: which object it is about.
type heading struct {
	ETag      string `json:"etag"`
	SizeBytes int64  `json:"sizeBytes"`
	PartBytes int64  `json:"partBytes"`
}

func openPart(path string, c *Content) (_ *part, err error) {
	d := &part{content: c, done: make([]bool, (c.SizeBytes+partSize-1)/partSize)}
	d.arrived = sync.NewCond(&d.mu)
	if d.file, err = os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, err
	}
	if d.journal, err = os.OpenFile(path+".part.json", os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, errors.Join(err, d.file.Close())
	}
	if err := d.resume(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// resume takes over what an earlier process read of the same object, and begins anew where it was another.
func (d *part) resume() error {
	want := heading{d.content.etag, d.content.SizeBytes, partSize}
	lines := json.NewDecoder(d.journal)
	var got heading
	if err := lines.Decode(&got); err == nil && got == want {
		for {
			var index int
			// What follows a torn line was never noted, and is read again.
			if err := lines.Decode(&index); err != nil || index < 0 || index >= len(d.done) {
				break
			}
			if !d.done[index] {
				d.done[index] = true
				d.present += d.length(index)
			}
		}
	}
	// Written anew, without what was torn.
	if err := d.journal.Truncate(0); err != nil {
		return err
	}
	if _, err := d.journal.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := d.note(want); err != nil {
		return err
	}
	for index, done := range d.done {
		if !done {
			continue
		}
		if err := d.note(index); err != nil {
			return err
		}
	}
	return d.file.Truncate(d.content.SizeBytes)
}

func (d *part) note(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = d.journal.Write(append(line, '\n'))
	return err
}

func (d *part) length(index int) int64 {
	return min(partSize, d.content.SizeBytes-int64(index)*partSize)
}

// fill reads what is missing and verifies the whole.
func (d *part) fill(ctx context.Context, s *Session) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { d.mu.Lock(); defer d.mu.Unlock(); d.arrived.Broadcast() })
	defer stop()
	queue := make(chan int)
	var group sync.WaitGroup
	op := s.operation(newPatience(s.client.patience))
	parallel := d.options.Parallel
	if parallel <= 0 {
		parallel = DefaultParallelReads
	}
	for range parallel {
		group.Go(func() {
			for index := range queue {
				if err := d.read(ctx, s, index, op); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	group.Go(func() {
		if err := d.verify(ctx, s); err != nil {
			cancel(err)
		}
	})
	d.feed(ctx, queue)
	group.Wait()
	return context.Cause(ctx)
}

func (d *part) feed(ctx context.Context, queue chan<- int) {
	defer close(queue)
	for index := range d.done {
		if d.isDone(index) {
			continue
		}
		select {
		case queue <- index:
		case <-ctx.Done():
			return
		}
	}
}

func (d *part) isDone(index int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done[index]
}

// read reads one part. It is noted only once its bytes are in the file.
func (d *part) read(ctx context.Context, s *Session, index int, op operation) error {
	at := int64(index) * partSize
	err := s.readRange(ctx, d.content, at, at+d.length(index)-1, op, func(p []byte) error {
		n, err := d.file.WriteAt(p, at)
		at += int64(n)
		return err
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done[index] = true
	d.present += d.length(index)
	d.arrived.Broadcast()
	if d.options.Progress != nil {
		d.options.Progress(d.present, d.content.SizeBytes)
	}
	return d.note(index)
}

// verify computes the digest behind what arrives, while it is still in memory.
func (d *part) verify(ctx context.Context, s *Session) error {
	sum, err := s.client.hashOf(d.content.Digest)
	if err != nil {
		return err
	}
	for index := range d.done {
		d.mu.Lock()
		for !d.done[index] && ctx.Err() == nil {
			d.arrived.Wait()
		}
		d.mu.Unlock()
		if ctx.Err() != nil {
			return nil // whoever ended it says why
		}
		if _, err := io.Copy(sum, io.NewSectionReader(d.file, int64(index)*partSize, d.length(index))); err != nil {
			return err
		}
	}
	if err := sum.matches(d.content.Digest); err != nil {
		// What is there cannot be told right from wrong: the next call begins anew.
		return errors.Join(err, d.journal.Truncate(0))
	}
	return nil
}

func (d *part) close() error { return errors.Join(d.file.Close(), d.journal.Close()) }

// publish makes the part the file.
func (d *part) publish(path string) error {
	if err := d.file.Sync(); err != nil {
		return errors.Join(err, d.close())
	}
	if err := d.close(); err != nil {
		return err
	}
	if err := os.Rename(path+".part", path); err != nil {
		return err
	}
	if err := os.Remove(path + ".part.json"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes a rename durable, where the system lets a program do that.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("the file is complete, but its folder cannot be synced: %w", err)
	}
	_ = dir.Sync() // Windows has no such call
	return dir.Close()
}
