// Command scale loads the operator, the dataplane and a real control plane with
// thousands of UploadSessions, and measures what that costs. See bench/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/slipway-dev/slipway/bench/internal/build"
	"github.com/slipway-dev/slipway/bench/internal/machine"
	"github.com/slipway-dev/slipway/bench/internal/scale"
)

func main() {
	o := scale.Default()
	flag.IntVar(&o.Sessions, "sessions", o.Sessions, "how many sessions there are at once")
	flag.IntVar(&o.Chunks, "chunks", o.Chunks, "how many chunks each object has")
	flag.Int64Var(&o.ChunkBytes, "chunk-bytes", o.ChunkBytes, "the size of a chunk")
	flag.DurationVar(&o.Steady, "steady", o.Steady, "how long chunks trickle in while every session is active")
	flag.Float64Var(&o.ChunksPerSecond, "chunks-per-second", o.ChunksPerSecond, "how many chunks trickle in, of all sessions together, at most")
	finishing := flag.Int("finishing", 0, "how many sessions are completed meanwhile; a fiftieth of -sessions when 0, and at least one")
	flag.Float64Var(&o.ProgressWritesPerSecond, "progress-writes-per-second", o.ProgressWritesPerSecond, "the dataplane's budget of writes of progress")
	flag.IntVar(&o.Queued, "queued", o.Queued, "how many sessions the second load has, which a quota lets start in steps; 0 leaves it out")
	flag.IntVar(&o.Steps, "steps", o.Steps, "in how many steps that is")
	flag.Float64Var(&o.CreatesPerSecond, "creates-per-second", o.CreatesPerSecond, "how many sessions are created in a second at most")
	flag.IntVar(&o.Connections, "connections", o.Connections, "how many requests the client has in flight at most")
	dir := flag.String("dir", "", "a folder on the filesystem to measure; the user's cache folder when empty")
	page := flag.String("report", "", "write scale.md into this folder")
	out := flag.String("out", "", "write what was measured to this file, as JSON")
	flag.Parse()
	if o.Finishing = *finishing; o.Finishing == 0 {
		o.Finishing = max(1, o.Sessions/50)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := measure(ctx, o, *dir)
	if err == nil && *out != "" {
		err = results.Save(*out)
	}
	if err == nil && *page != "" {
		err = os.WriteFile(filepath.Join(*page, "scale.md"), []byte(results.Page()), 0o644)
	}
	if err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
	// The figures, last.
	fmt.Println(results.Figure())
	if len(results.Violations) > 0 {
		stop()
		os.Exit(1)
	}
}

func measure(ctx context.Context, o scale.Options, dir string) (_ *scale.Results, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	home, err := build.Bench()
	if err != nil {
		return nil, err
	}
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(cache, "slipway", "scale")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if dir, err = os.MkdirTemp(dir, "run-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	described, err := machine.Describe(dir)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "scale: building the manager and the dataplane")
	p := scale.Programs{Root: filepath.Dir(home), Bin: filepath.Join(dir, "bin")}
	if err := build.Slipway(ctx, p.Root, p.Bin); err != nil {
		return nil, err
	}
	version, err := exec.CommandContext(ctx, "git", "-C", p.Root, "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return nil, fmt.Errorf("git describe: %w", err)
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return nil, err
	}
	results, err := scale.Measure(ctx, p, work, o, os.Stderr)
	if err != nil {
		return nil, err
	}
	results.Machine, results.Version = described, strings.TrimSpace(string(version))
	results.Command = strings.Join(append([]string{"go run ./cmd/scale"}, os.Args[1:]...), " ")
	return results, nil
}
