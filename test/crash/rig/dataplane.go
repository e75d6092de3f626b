package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// startPatience is how long a dataplane may take to be ready. It is long because
// several packages' tests share the machine's cores.
const startPatience = time.Minute

// Dataplane is the real dataplane on one volume, as a process that can be
// started again and again. It listens on free ports of the loopback
// interface, other ones each time.
type Dataplane struct {
	// Volume is the directory that it serves.
	Volume string
	// Files is how the volume is looked at past the dataplane: the directory, unless a program
	// knows a way that its faults do not hit. Where it can Remove, it does that too.
	Files fs.FS
	// LogFile has the log of all its processes, one after the other.
	LogFile string
	// Args are flags besides those that it always gets.
	Args []string

	// Client speaks to the process that was started last.
	*Client

	world      *World
	kubeconfig string

	mu      sync.Mutex
	command *exec.Cmd
	exited  chan struct{} // closed once the process was waited for
	url     string
}

// Dataplane is one that serves the volume in this world. It is not started,
// and ends with the test at the latest.
func (w *World) Dataplane(volume string) *Dataplane {
	w.t.Helper()
	dir := w.t.TempDir()
	d := &Dataplane{
		Volume: volume, Files: os.DirFS(volume), LogFile: filepath.Join(dir, "dataplane.log"), world: w,
		kubeconfig: filepath.Join(dir, "kubeconfig"),
	}
	d.Client = &Client{world: w, base: d.URL, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	if err := w.kubeconfig(d.kubeconfig); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = d.Kill() // there may be nothing to end
		if w.t.Failed() {
			w.t.Logf("the end of the dataplane's log:\n%s", d.Tail())
		}
	})
	return d
}

// Start starts a process and waits until it is ready.
func (d *Dataplane) Start(ctx context.Context) error {
	logged, err := d.Launch()
	if err != nil {
		return err
	}
	return d.awaitReady(ctx, logged)
}

// Launch starts a process and does not wait for anything; what it logs comes
// after so many bytes of LogFile.
func (d *Dataplane) Launch() (logged int64, err error) {
	binary, err := process.dataplane()
	if err != nil {
		return 0, err
	}
	log, err := os.OpenFile(d.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	info, err := log.Stat()
	if err != nil {
		return 0, err
	}
	command := exec.Command(binary, append([]string{
		"--kubeconfig", d.kubeconfig, "--root", d.Volume,
		"--namespace", d.world.Namespace, "--store", store, "--replica", replica,
		"--listen=127.0.0.1:0", "--health-address=127.0.0.1:0", "--insecure-no-auth", "--log-format=json",
	}, d.Args...)...)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		return 0, fmt.Errorf("start the dataplane: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = command.Wait() // how it ended is in ProcessState
		close(exited)
	}()
	d.mu.Lock()
	d.command, d.exited = command, exited
	d.mu.Unlock()
	return info.Size(), nil
}

// awaitReady reads where the process listens from what it logs, and asks
// there until it is ready.
func (d *Dataplane) awaitReady(ctx context.Context, logged int64) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if at, ok := d.started(logged); ok && answers(ctx, "http://"+at.Health+"/readyz") {
			d.mu.Lock()
			d.url = "http://" + at.Address
			d.Client.http.CloseIdleConnections()
			d.mu.Unlock()
			return nil
		}
		select {
		case <-d.Exited():
			return fmt.Errorf("the dataplane ended before it was ready; its log:\n%s", d.Tail())
		case <-ctx.Done():
			return fmt.Errorf("the dataplane is not ready: %w; its log:\n%s", ctx.Err(), d.Tail())
		case <-tick.C:
		}
	}
}

// addresses is where a process listens.
type addresses struct {
	Message string `json:"msg"`
	Address string `json:"address"`
	Health  string `json:"health"`
}

// started finds what a process logged when it started.
func (d *Dataplane) started(from int64) (addresses, bool) {
	log, err := os.Open(d.LogFile)
	if err != nil {
		return addresses{}, false
	}
	defer func() { _ = log.Close() }() // it was only read
	for lines := bufio.NewScanner(io.NewSectionReader(log, from, math.MaxInt64-from)); lines.Scan(); {
		var at addresses
		if json.Unmarshal(lines.Bytes(), &at) == nil && at.Message == "dataplane started" {
			return at, true
		}
	}
	return addresses{}, false
}

func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close() // only the status counts
	return response.StatusCode == http.StatusOK
}

// remove removes a file from the volume, as a user does.
func (d *Dataplane) remove(name string) error {
	if files, ok := d.Files.(interface{ Remove(name string) error }); ok {
		return files.Remove(name)
	}
	return os.Remove(filepath.Join(d.Volume, filepath.FromSlash(name)))
}

// URL is where the process that was started last takes chunks.
func (d *Dataplane) URL() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.url
}

// Exited is closed once the process that was started last has ended, in
// whatever way.
func (d *Dataplane) Exited() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.exited == nil {
		d.exited = make(chan struct{})
		close(d.exited) // none was started
	}
	return d.exited
}

// Kill ends the process with SIGKILL and waits for its end: it can't tidy up.
func (d *Dataplane) Kill() error { return d.signal(syscall.SIGKILL) }

// Stop asks the process to end with SIGTERM and waits for its end.
func (d *Dataplane) Stop() error { return d.signal(syscall.SIGTERM) }

func (d *Dataplane) signal(how syscall.Signal) error {
	exited := d.Exited()
	d.mu.Lock()
	command := d.command
	d.mu.Unlock()
	if command == nil {
		return nil
	}
	if err := command.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-exited:
		return nil
	case <-time.After(startPatience):
		return fmt.Errorf("the dataplane did not end on %s", how)
	}
}

// Tail is the last of the log.
func (d *Dataplane) Tail() []byte {
	log, err := os.ReadFile(d.LogFile)
	if err != nil {
		return []byte(err.Error())
	}
	const most = 4 << 10
	return log[max(0, len(log)-most):]
}
