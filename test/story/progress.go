package story

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress is the line that shows how far an upload is.
type progress struct {
	out      io.Writer
	terminal bool
	total    int64

	mu    sync.Mutex
	done  int64
	fresh int64 // of done, what was added since began
	began time.Time
	shown time.Time
}

func newProgress(out io.Writer, terminal bool, total, done int64) *progress {
	return &progress{out: out, terminal: terminal, total: total, done: done, began: time.Now()}
}

func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.fresh += n
	if p.terminal && time.Since(p.shown) > 50*time.Millisecond {
		p.shown = time.Now()
		p.print("\r")
	}
}

// end leaves the last state of the line.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, "\r")
	}
	p.print("")
	fmt.Fprintln(p.out)
}

func (p *progress) print(before string) {
	rate := megabytes(p.fresh) / max(time.Since(p.began).Seconds(), 1e-3)
	fmt.Fprintf(p.out, "%s%3d %%  %.1f of %.1f MB  %.0f MB/s   ",
		before, p.done*100/max(p.total, 1), megabytes(p.done), megabytes(p.total), rate)
}
