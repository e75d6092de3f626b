package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/contender"
)

// Observer looks into a server while it is measured, which slows it down: the
// figures of such a run don't count.
type Observer struct {
	// Tool is "perf" (a CPU profile) or "strace" (system calls counted by kind).
	Tool string
	// Dir is where what it saw is written, a file for each sample.
	Dir string
}

// settling is how long a tool takes to attach.
const settling = 500 * time.Millisecond

// watch attaches to the server and returns what detaches and writes the file.
func (o *Observer) watch(ctx context.Context, server contender.Server, s *Sample) (stop func() error, err error) {
	pid := strconv.Itoa(server.Process().PID())
	file := filepath.Join(o.Dir, fmt.Sprintf("%s.%s.%s", s.Load, s.Contender, o.Tool))
	var argv []string
	switch o.Tool {
	case "perf":
		argv = []string{"perf", "record", "--quiet", "-F", "1999", "--call-graph", "fp", "-p", pid, "-o", file}
	case "strace":
		argv = []string{"strace", "-c", "-f", "-q", "-o", file, "-p", pid}
	default:
		return nil, fmt.Errorf("-observe %q is neither perf nor strace", o.Tool)
	}
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		return nil, err
	}
	time.Sleep(settling)
	return func() error {
		if err := command.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		err := command.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return nil // it was interrupted, as it should be
		}
		return err
	}, nil
}
