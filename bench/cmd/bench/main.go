// Command bench measures Slipway's data path beside its peers and beside the
// least that a server can do, on this machine. See bench/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/build"
	"github.com/slipway-dev/slipway/bench/internal/contender"
	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/machine"
	"github.com/slipway-dev/slipway/bench/internal/report"
	"github.com/slipway-dev/slipway/bench/internal/run"
)

type options struct {
	scale  float64
	rounds int
	only   string
	dir    string
	out    string
	report string
	from   string
	nginx  string

	variants   string
	observe    string
	observeDir string
}

func main() {
	var o options
	flag.Float64Var(&o.scale, "scale", 1, "scale the loads, such as 0.02 to see whether all works")
	flag.IntVar(&o.rounds, "rounds", 5, "how many rounds count; a warm-up round comes before them")
	flag.StringVar(&o.only, "only", "", "measure only these loads and contenders, by ID and separated by commas; without one of a kind, all of it")
	flag.StringVar(&o.dir, "dir", "", "the folder on the filesystem to measure; a new one in the user's cache folder when empty")
	flag.StringVar(&o.out, "out", "results.json", "the file for every raw sample")
	flag.StringVar(&o.report, "report", "", "write benchmarks.md, and a folder benchmarks with the plots and the raw file, into this folder")
	flag.StringVar(&o.from, "from", "", "measure nothing, take this raw file")
	flag.StringVar(&o.nginx, "nginx", "", "the nginx to use; else the one in PATH, else one that apt-get fetches")
	flag.StringVar(&o.variants, "variants", "", "other builds of the dataplane to measure beside this one: name=path, separated by commas")
	flag.StringVar(&o.observe, "observe", "", "attach perf or strace to each server while it is measured, to see where its time goes; the figures don't count then")
	flag.StringVar(&o.observeDir, "observe-dir", ".", "the folder for what -observe sees")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, o); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

func bench(ctx context.Context, o options) error {
	var (
		results *report.Results
		err     error
	)
	if o.from != "" {
		results, err = report.Read(o.from)
	} else {
		results, err = measure(ctx, o)
	}
	if err != nil {
		return err
	}
	for _, l := range results.Loads {
		fmt.Printf("## %s\n\n%s\n", l.Title, results.Table(l))
	}
	if o.report != "" {
		if err := results.Write(o.report, contender.SlipwayPlain); err != nil {
			return err
		}
	}
	// The figure that counts, last.
	for _, l := range slices.Backward(results.Loads) {
		if ratio, ok := results.Ratio(l.ID, contender.SlipwayPlain, contender.BareDurable); ok {
			fmt.Printf("ratio slipway/bare-durable %s: %.2f\n", l.ID, ratio.Median)
		}
	}
	return nil
}

func measure(ctx context.Context, o options) (_ *report.Results, err error) {
	home, err := build.Bench()
	if err != nil {
		return nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "slipway", "bench")
	if o.dir == "" {
		o.dir = cache
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, err
	}
	if o.dir, err = os.MkdirTemp(o.dir, "run-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return nil, err
	}

	if err := machine.Spread(o.dir); err != nil {
		return nil, err
	}
	loads := load.All(o.scale)
	if err := checkDisk(o.dir, named(o.only, loads, func(l load.Load) string { return l.ID })); err != nil {
		return nil, err
	}
	programs, err := build.All(ctx, home, filepath.Join(cache, "bin"), o.nginx, say)
	if err != nil {
		return nil, err
	}
	say("starting kube-apiserver and etcd")
	plane, err := contender.StartPlane(filepath.Dir(home), o.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	if err := plane.Freeze(); err != nil {
		return nil, err
	}
	all := contenders(programs, plane)
	for v := range strings.SplitSeq(o.variants, ",") {
		if name, binary, ok := strings.Cut(v, "="); ok {
			all = append(all, contender.Variant(name, binary, plane))
		}
	}
	plan, err := choose(o, loads, all)
	if err != nil {
		return nil, err
	}
	if o.observe != "" {
		plan.Observer = &run.Observer{Tool: o.observe, Dir: o.observeDir}
	}
	results := &report.Results{
		Began: time.Now(), Command: strings.Join(append([]string{"go run ./cmd/bench"}, os.Args[1:]...), " "),
		Scale: o.scale, Rounds: o.rounds, Loads: plan.Loads,
	}
	if results.Machine, err = machine.Describe(o.dir); err != nil {
		return nil, err
	}
	for _, c := range plan.Contenders {
		results.Contenders = append(results.Contenders, report.Contender{
			ID: c.ID, Title: c.Title, Version: c.Version, Synced: c.Synced, Verified: c.Verified, Note: c.Note,
		})
	}
	return results, run.Measure(ctx, plan, func(s run.Sample) error {
		results.Samples = append(results.Samples, s)
		return results.Save(o.out)
	})
}

func contenders(p build.Programs, plane *contender.Plane) []contender.Contender {
	all := slices.Concat(
		contender.Slipway(p.Dataplane, p.DataplaneVersion, plane),
		contender.Bare(p.Bare, p.BareVersion),
		contender.Tusd(p.Tusd, p.TusdVersion),
		[]contender.Contender{contender.Versitygw(p.Versitygw, p.VersitygwVersion)},
	)
	if p.Nginx != "" {
		all = append(all, contender.Nginx(p.Nginx, p.NginxVersion))
	}
	return all
}

// choose picks what -only names.
func choose(o options, loads []load.Load, all []contender.Contender) (run.Plan, error) {
	loadID := func(l load.Load) string { return l.ID }
	contenderID := func(c contender.Contender) string { return c.ID }
	known := slices.Concat(ids(loads, loadID), ids(all, contenderID))
	for id := range strings.SplitSeq(o.only, ",") {
		if o.only != "" && !slices.Contains(known, id) {
			return run.Plan{}, fmt.Errorf("-only: %q is none of %s", id, strings.Join(known, ", "))
		}
	}
	return run.Plan{
		Loads: named(o.only, loads, loadID), Contenders: named(o.only, all, contenderID),
		Rounds: o.rounds, Dir: o.dir, Out: os.Stderr,
	}, nil
}

func ids[T any](all []T, id func(T) string) []string {
	var found []string
	for _, one := range all {
		found = append(found, id(one))
	}
	return found
}

// named returns those whose ID is in the list, or all where none is.
func named[T any](list string, all []T, id func(T) string) []T {
	wanted := strings.Split(list, ",")
	found := slices.DeleteFunc(slices.Clone(all), func(one T) bool { return !slices.Contains(wanted, id(one)) })
	if len(found) == 0 {
		return all
	}
	return found
}

// checkDisk refuses a filesystem on which the figures would say nothing, or
// that would fill up.
func checkDisk(dir string, loads []load.Load) error {
	inMemory, err := machine.InMemory(dir)
	if err != nil {
		return err
	}
	if inMemory {
		return fmt.Errorf("%s is in memory, where a sync says nothing; give -dir a folder on a disk", dir)
	}
	free, err := machine.Free(dir)
	if err != nil {
		return err
	}
	var need int64
	for _, l := range loads {
		need = max(need, 2*l.Bytes()) // some write every byte twice
	}
	if free < 3*need {
		return fmt.Errorf("%s has %d MiB free and the largest load writes up to %d MiB, of which three times must be free; give -dir another folder or -scale less",
			dir, free>>20, need>>20)
	}
	return nil
}
