package scale

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Page is the page as markdown. It says what was measured, and nothing else.
func (r *Results) Page() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Scale\n")
	p("%d UploadSessions at once, with a real kube-apiserver and etcd, the operator and one dataplane as they ship, and real bytes.", r.Options.Sessions)
	p("Made by `make scale`, of %s (`%s`).\n", r.Version, r.Command)
	if len(r.Violations) > 0 {
		p("**Violations: %d.** %s.\n", len(r.Violations), strings.Join(r.Violations, "; "))
	}
	r.writeMachine(p)
	r.writeSummary(p)
	r.writeWrites(p)
	r.writeSteady(p)
	r.writeProcesses(p)
	r.writeQueue(p)
	r.writeBounds(p)
	p("%s", strings.TrimSpace(r.method()))
	return b.String()
}

func (r *Results) writeMachine(p func(string, ...any)) {
	m := r.Machine
	p("| machine | |\n| --- | --- |")
	p("| CPU | %s, %d cores, for everything, the client and the control plane among it |", m.CPU, m.Cores)
	p("| memory | %.1f GiB |", float64(m.Memory)/(1<<30))
	p("| kernel, filesystem | %s, %s |", m.Kernel, m.Filesystem)
	p("| Go | %s |", m.Go)
	p("| load average before it began | %.1f; other work takes cores from all that is measured here |", r.LoadAverage)
	p("| when | %s |\n", r.Began.UTC().Format("2006-01-02"))
}

func (r *Results) writeSummary(p func(string, ...any)) {
	o := r.Options
	p("## From creation to deletion\n")
	p("| phase | seconds | sessions a second | |\n| --- | --- | --- | --- |")
	row := func(phase string, seconds float64, note string) {
		p("| %s | %.1f | %.0f | %s |", phase, seconds, float64(o.Sessions)/seconds, note)
	}
	row("created", r.CreateSeconds, fmt.Sprintf("by one client, %d requests at once", o.Connections))
	row("all admitted", r.AdmitSeconds, "since the first was created")
	p("| chunks trickle in | %.1f | | %d chunks, while all are active |", o.Steady.Seconds(), r.SteadyChunks)
	row("all published", r.FinishSeconds, fmt.Sprintf("the other %d chunks, each durable when it is acknowledged", r.FinishChunks))
	row("all deleted", r.DeleteSeconds, "no finalizer is left, and nothing is staged")
	p("\nEach object has %d chunks of %d bytes.\n", o.Chunks, o.ChunkBytes)
}

func (r *Results) writeWrites(p func(string, ...any)) {
	w, n := r.Writes, float64(r.Options.Sessions)
	p("## Writes to the API server\n")
	p("| until all are published | writes | a session |\n| --- | --- | --- |")
	row := func(what string, count int) { p("| %s | %d | %.2f |", what, count, float64(count)/n) }
	row("creation, by the user", w.Creates)
	row("finalizer, by the operator", w.Finalizers)
	row("admission, and how it ended, by the operator", w.Statuses)
	row("event, by the operator", w.Events)
	row("result, by the dataplane", w.Results)
	p("| **all of these** | **%d** | **%.2f** |", w.Lasting(), r.WritesPerSession())
	row("progress, within its budget", w.Progress)
	p("\nAt most %d a session are allowed, without progress; no session had more than %d. The deletion of all took %d more, %.2f a session.",
		perSession, w.Most, r.Deletion, float64(r.Deletion)/n)
	p("The API server itself counts %d writes of sessions to etcd until then. An apply that changes nothing is in the table, and writes nothing.\n", r.EtcdWrites)
	p("The operator reconciled sessions %d times, %.2f times each; in all:", r.OperatorReconciles["uploadsession"], r.ReconcilesPerSession())
	var names []string
	for name := range r.OperatorReconciles {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		p("%s %d,", name, r.OperatorReconciles[name])
	}
	p("and the dataplane %d.\n", r.DataplaneReconciles)
}

func (r *Results) writeSteady(p func(string, ...any)) {
	o := r.Options
	p("## While all are active\n")
	p("| | |\n| --- | --- |")
	p("| progress, the budget (`--progress-writes-per-second`) | %g writes a second |", o.ProgressWritesPerSecond)
	p("| progress, measured over %.0f s | %.1f writes a second |", r.SteadySeconds, r.SteadyProgressPerSecond)
	p("| all writes of everybody in the namespace | %.1f writes a second |", r.SteadyWritesPerSecond)
	p("| from the acknowledgement of a session's last chunk until its result is seen | median %s, 99 of 100 within %s, at most %s |",
		milliseconds(quantile(r.ResultSeconds, 0.5)), milliseconds(quantile(r.ResultSeconds, 0.99)), milliseconds(quantile(r.ResultSeconds, 1)))
	p("\nThe last line is of %d sessions that were completed while the others went on: a result does not wait behind progress.\n", len(r.ResultSeconds))
}

func (r *Results) writeProcesses(p func(string, ...any)) {
	n := float64(r.Options.Sessions)
	p("## What it takes\n")
	p("| until all are published | memory at most, MiB | CPU seconds | CPU ms a session |\n| --- | --- | --- | --- |")
	for _, one := range r.Usage.all() {
		p("| %s | %.0f | %.1f | %.1f |", one.name, mib(one.of.PeakBytes), one.of.CPUSeconds, one.of.CPUSeconds*1e3/n)
	}
	p("")
}

func (r *Results) writeQueue(p func(string, ...any)) {
	o := r.Options
	if o.Queued == 0 {
		return
	}
	p("## In a queue\n")
	p("Another %d sessions meet an `UploadQuota` that lets none start. It is raised in %d steps; never were more active than it allowed.\n", o.Queued, o.Steps)
	p("| | seconds |\n| --- | --- |")
	p("| all are created and told what they wait for | %.1f |", r.QueueSeconds)
	for i, seconds := range r.StepSeconds {
		from, to := o.Queued*i/o.Steps, o.Queued*(i+1)/o.Steps
		p("| raised from %d to %d: until all of these have started | %.1f |", from, to, seconds)
	}
	p("| dataplane stopped and started with %d active sessions: until it takes a chunk | %.1f |", o.Queued, r.DataplaneRestartSeconds)
	p("| operator stopped and started: until it admits one more | %.1f |", r.OperatorRestartSeconds)
	p("| all are deleted while they are active, and their bytes freed | %.1f |", r.QueueDeleteSeconds)
	p("\nUntil then the operator had at most %.0f MiB, and the dataplane %.0f MiB.\n", mib(r.QueueUsage.Operator.PeakBytes), mib(r.QueueUsage.Dataplane.PeakBytes))
}

func (r *Results) writeBounds(p func(string, ...any)) {
	var all float64
	for _, one := range r.Usage.all() {
		all += one.of.CPUSeconds
	}
	u := r.Usage
	p("## What bounds it\n")
	p("Of the CPU time of all, %.0f %% was that of kube-apiserver and etcd, %.0f %% that of the operator, %.0f %% that of the dataplane and %.0f %% that of the client,",
		100*(u.APIServer.CPUSeconds+u.Etcd.CPUSeconds)/all, 100*u.Operator.CPUSeconds/all, 100*u.Dataplane.CPUSeconds/all, 100*u.Client.CPUSeconds/all)
	p("which share %d cores here, and together used %.0f %% of what these had. The operator decides under one lock and has four workers, which wait for the API server.\n",
		r.Machine.Cores, 100*all/(r.WallSeconds*float64(r.Machine.Cores)))
}

type named struct {
	name string
	of   Usage
}

func (u Usages) all() []named {
	return []named{
		{"operator", u.Operator}, {"dataplane", u.Dataplane}, {"kube-apiserver", u.APIServer}, {"etcd", u.Etcd}, {"the client", u.Client},
	}
}

func milliseconds(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond).String()
}

func (r *Results) method() string {
	return fmt.Sprintf(`
## Method

- kube-apiserver, etcd, the manager, the dataplane and the client are processes on one machine. The manager and the dataplane
  have the rights that config/ gives them, and the policies of config/policy are in force. There is one store with one replica.
- Writes are those that the API server's audit log shows as answered with success, by user and time; a result is the last write of the
  dataplane to a session. Events have no session's name there, and are counted as they are found.
- All are active means: every session is admitted, and chunks go to all but a few in turn, at most %g a second. Rates are over the first half of that time,
  but for the first seconds, in which no progress is due yet. In the second half those few are completed, one after the other.
- When a session is admitted, or its result is there, is when the client's own watch shows it.
- Memory is VmHWM, CPU time is user and system time, both of /proc.
- A run fails when a session does not end published with the digest of what was sent; when more sessions are active than may be, after any
  event of the watch; when a session takes more writes than it may, or progress more than its budget; when an object that is read back
  (%d are) has other bytes; or when after the deletion a session, a finalizer or anything staged is left.
`, r.Options.ChunksPerSecond, samples)
}
