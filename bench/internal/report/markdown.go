package report

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/run"
)

// Table is the table of one load.
func (r *Results) Table(l load.Load) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s | sync of the volume counted in | server CPU s/GiB | peak memory MiB | written / sent | device / sent | completing call | synced before the reply |\n", unit(l))
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, c := range r.in(l) {
		of := func(value func(run.Sample) float64) Stat { return r.stat(l, c.ID, value) }
		fmt.Fprintf(&b, "| %s | %s | %s | %.2f | %.0f | %.2f | %s | %s | %s |\n", c.Title,
			spread(r.Rate(l, c.ID)), spread(r.SyncedRate(l, c.ID)),
			of(func(s run.Sample) float64 { return s.ServerCPUSeconds * gib / float64(s.Bytes) }).Median,
			of(func(s run.Sample) float64 { return float64(s.PeakBytes) / mib }).Median,
			of(func(s run.Sample) float64 { return float64(s.WrittenBytes) / float64(s.Bytes) }).Median,
			times(of(func(s run.Sample) float64 { return float64(s.DeviceBytes) / float64(s.Bytes) }).Median),
			duration(of(func(s run.Sample) float64 { return s.CompletingSeconds }).Median), c.Synced)
	}
	return b.String()
}

func spread(s Stat) string {
	return fmt.Sprintf("**%.0f** (%.0f to %.0f)", s.Median, s.Min, s.Max)
}

// times is a ratio; a device that tells nothing has none.
func times(v float64) string {
	if v == 0 || math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}

func duration(seconds float64) string {
	if seconds < 0.995 {
		return fmt.Sprintf("%.1f ms", seconds*1e3)
	}
	return fmt.Sprintf("%.1f s", seconds)
}

// ratioTable is what Slipway's figures are against the others'.
func (r *Results) ratioTable(mine string, others []string) string {
	var b strings.Builder
	b.WriteString("| against |")
	for _, l := range r.Loads {
		fmt.Fprintf(&b, " %s |", l.ID)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(r.Loads)) + "\n")
	for _, other := range others {
		fmt.Fprintf(&b, "| %s |", r.title(other))
		for _, l := range r.Loads {
			if s, ok := r.Ratio(l.ID, mine, other); ok {
				fmt.Fprintf(&b, " **%.2f** (%.2f to %.2f) |", s.Median, s.Min, s.Max)
			} else {
				b.WriteString(" - |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (r *Results) title(id string) string {
	for _, c := range r.Contenders {
		if c.ID == id {
			return c.Title
		}
	}
	return id
}

// Page is where the page and what belongs to it are written.
const (
	pageName   = "benchmarks.md"
	folderName = "benchmarks"
)

// Write writes the page, the plots and a copy of the raw file into a folder.
func (r *Results) Write(dir, mine string) error {
	folder := filepath.Join(dir, folderName)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := r.Save(filepath.Join(folder, "results.json")); err != nil {
		return err
	}
	for _, l := range r.Loads {
		if err := os.WriteFile(filepath.Join(folder, l.ID+".svg"), []byte(r.Plot(l)), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, pageName), []byte(r.Page(mine)), 0o644)
}

// Page is the page as markdown. mine is the contender that it is about.
func (r *Results) Page(mine string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Benchmarks\n")
	p("Slipway's data path beside other upload servers, and beside the least that a server can do, on one machine in one run.")
	p("Made by `%s`; every raw sample is in [%s/results.json](%s/results.json).", r.Command, folderName, folderName)
	if r.Scale != 1 {
		p("\n**The loads were scaled by %g: these figures only show that the benchmark works.**", r.Scale)
	}
	p("\nRatios between contenders of one run say something; the figures themselves are this machine's.\n")
	r.writeMachine(p)
	p("## How many times faster Slipway is\n")
	p("The time of the other divided by Slipway's in the same round: median over %d rounds (least to most).\n", r.Rounds)
	var others []string
	for _, c := range r.Contenders {
		if c.ID != mine {
			others = append(others, c.ID)
		}
	}
	p("%s", r.ratioTable(mine, others))
	for _, l := range r.Loads {
		p("## %s\n", l.Title)
		p("![%s](%s/%s.svg)\n", l.Title, folderName, l.ID)
		p("%s", r.Table(l))
	}
	r.writeCreation(p, mine)
	r.writeContenders(p)
	p("%s", strings.TrimSpace(method))
	return b.String()
}

func (r *Results) writeMachine(p func(string, ...any)) {
	m := r.Machine
	sha := "without"
	if m.SHA {
		sha = "with"
	}
	p("| machine | |\n| --- | --- |")
	p("| CPU | %s, %d cores, %s instructions for SHA-256 |", m.CPU, m.Cores, sha)
	p("| memory | %.1f GiB |", float64(m.Memory)/gib)
	p("| kernel, filesystem | %s, %s |", m.Kernel, m.Filesystem)
	p("| Go | %s |", m.Go)
	p("| when | %s, %d rounds after a warm-up |\n", r.Began.UTC().Format("2006-01-02"), r.Rounds)
}

// writeCreation tells what comes before the clock.
func (r *Results) writeCreation(p func(string, ...any), mine string) {
	p("## Creation, apart\n")
	p("Sessions are created through a real API server, admitted by one more write, and taken up durably by the dataplane, all before the clock starts. With kube-apiserver and etcd on the same cores and disk, that took:\n")
	p("| load | sessions | sessions/s | dataplane CPU ms a session |\n| --- | --- | --- | --- |")
	for _, l := range r.Loads {
		took := r.stat(l, mine, func(s run.Sample) float64 { return float64(s.Objects) / s.PrepareSeconds })
		cpu := r.stat(l, mine, func(s run.Sample) float64 { return s.PrepareCPUSeconds * 1e3 / float64(s.Objects) })
		if !math.IsNaN(took.Median) {
			p("| %s | %d | %s | %.1f |", l.ID, l.Objects, spread(took), cpu.Median)
		}
	}
	p("")
}

func (r *Results) writeContenders(p func(string, ...any)) {
	p("## The contenders\n")
	p("| | version | synced before the reply | verified | to know |\n| --- | --- | --- | --- | --- |")
	for _, c := range r.Contenders {
		p("| %s | %s | %s | %s | %s |", c.Title, c.Version, c.Synced, c.Verified, c.Note)
	}
	p("")
}

const method = `
## Method

- Every round runs every contender once for each load, in an order that is shuffled anew; a warm-up round comes first and
  does not count. The tables have the median over the rounds (least to most).
- Each server is a process of its own, started for the sample on a folder of its own on the same filesystem, and ended and removed
  after it. The folders lie far apart on the disk (an ext4 without a journal is slow to make files where others were just deleted).
  Before the clock starts the filesystem is synced, and memory that the page cache is about to take is touched, because a
  hypervisor may have taken it back.
- The client runs on the same cores. It is as light as can be, and the same for all: bytes go from one random block in memory to the
  socket in writes of 1 MiB. It computes no digest while the clock runs.
- The clock starts with the first request and stops with the reply that says that the last object is complete. *Sync of the volume
  counted in* goes on until a syncfs of the filesystem is through, which gives those that sync nothing the time that their bytes take to the disk.
- *Server CPU* is user and system time of the server's processes, from the first request until after that sync; what kernel threads
  do for it is not in it. *Peak memory* is resident memory (VmHWM) since the clock started. *Written* is write_bytes of the server's
  processes: file data. *Device* is what the whole machine wrote to the device meanwhile, with the journal and all else.
- *Completing call* is the median over the objects: the call that makes the object complete where that is one of its own, else the
  time from the last byte sent to the reply.
- After each sample the size of every object, and its bytes every 4 MiB, are compared with what was sent.

## Fairness

- Slipway and the durable bare server reply once the bytes are on stable storage. tusd, versitygw and nginx reply with the bytes in the
  page cache: a loss of power after the reply loses them. The column says so beside each figure.
- Slipway verifies the whole object's SHA-256 and keeps a checksum of each chunk; the bare durable server computes the SHA-256 of each
  request. The peers compute none, but for versitygw's CRC.
- The peers run at their best settings known to us: no logs, no metrics, no hooks, no MD5, no signed bodies; small objects go up in the
  fewest requests that the protocol has: one, for Slipway too.
- Slipway's sessions are created before the clock starts, as are versitygw's bucket and the file of the bare server's chunks; tusd's
  uploads and versitygw's multipart uploads are created within it, which takes a millisecond.
- kube-apiserver and etcd stand still (SIGSTOP) while anything is measured, since they would run on machines of their own; the status of
  finished sessions reaches them after it. One contender in the load of small objects lets them run.
`
