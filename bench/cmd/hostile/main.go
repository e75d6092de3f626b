// Command hostile lets one namespace make as many UploadSessions as it can, as large as it can, and measures what
// that takes of the operator and of another namespace. See bench/README.md.
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
	o := scale.DefaultHostile()
	flag.IntVar(&o.Sessions, "sessions", o.Sessions, "how many sessions the hostile namespace makes")
	flag.IntVar(&o.Created, "created", o.Created, "how many of them are created through the API server; the others are put into etcd")
	shape := flag.String("shape", "many", "how large each is: smallest, many or largest")
	flag.IntVar(&o.Fat, "fat", o.Fat, "how many sessions as large as can be come on top; 0 leaves them out")
	flag.IntVar(&o.Admissions, "admissions", o.Admissions, "how many sessions of the neighbour are admitted where nothing else takes time")
	flag.DurationVar(&o.Churn, "churn", o.Churn, "for how long the hostile store comes, changes and goes; 0 leaves it out")
	flag.IntVar(&o.Restarts, "restarts", o.Restarts, "how often the operator is started anew with all sessions there")
	flag.Float64Var(&o.CreatesPerSecond, "creates-per-second", o.CreatesPerSecond, "how many sessions are created in a second at most")
	flag.IntVar(&o.Connections, "connections", o.Connections, "how many requests the hostile client has in flight at most")
	dir := flag.String("dir", "", "a folder on the filesystem to measure; the user's cache folder when empty")
	out := flag.String("out", "", "write what was measured to this file, as JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	o.Shape, err = scale.ShapeOf(*shape)
	var results *scale.HostileResults
	if err == nil {
		results, err = measure(ctx, o, *dir)
	}
	if err == nil && *out != "" {
		err = results.Save(*out)
	}
	if err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
	// The figures, last.
	fmt.Println(results.Figure())
	if len(results.Violations) > 0 {
		stop()
		os.Exit(1)
	}
}

func measure(ctx context.Context, o scale.HostileOptions, dir string) (_ *scale.HostileResults, err error) {
	home, err := build.Bench()
	if err != nil {
		return nil, err
	}
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(cache, "slipway", "hostile")
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
	fmt.Fprintln(os.Stderr, "hostile: building the manager and the dataplane")
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
	results, err := scale.MeasureHostile(ctx, p, work, o, os.Stderr)
	if err != nil {
		return nil, err
	}
	results.Machine, results.Version = described, strings.TrimSpace(string(version))
	results.Command = strings.Join(append([]string{"go run ./cmd/hostile"}, os.Args[1:]...), " ")
	return results, nil
}
