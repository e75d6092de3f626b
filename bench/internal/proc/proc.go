// Package proc starts server processes, ends them by their process ID, and
// reads what they used from /proc.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a running server.
type Process struct {
	name    string
	log     string
	command *exec.Cmd
	exited  chan struct{}
}

// Spec says what to start.
type Spec struct {
	Name    string
	Command []string
	Env     []string // besides this process's own
	Log     string   // file for its output
	Address string   // where it listens once it is ready
}

// Start starts a server and waits until it listens.
func Start(ctx context.Context, s Spec) (*Process, error) {
	log, err := os.Create(s.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	p := &Process{name: s.Name, log: s.Log, exited: make(chan struct{})}
	p.command = exec.Command(s.Command[0], s.Command[1:]...)
	p.command.Env = append(os.Environ(), s.Env...)
	p.command.Stdout, p.command.Stderr = log, log
	// A benchmark that is killed leaves no server behind.
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait() // how it ended is in ProcessState
		close(p.exited)
	}()
	if err := p.await(ctx, s.Address); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *Process) await(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var d net.Dialer
		if conn, err := d.DialContext(ctx, "tcp", address); err == nil {
			return conn.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended with %s:\n%s", p.name, p.command.ProcessState, p.Tail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen at %s: %w\n%s", p.name, address, ctx.Err(), p.Tail())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop ends the process, with SIGKILL if need be, and waits for it.
func (p *Process) Stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(10 * time.Second):
	}
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.exited
	return nil
}

// PID is its process ID.
func (p *Process) PID() int { return p.command.Process.Pid }

// Tail is the last of its output.
func (p *Process) Tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// Usage is what a process and its children used since they began.
type Usage struct {
	CPU     time.Duration // user and system
	Written int64         // bytes that it made dirty, or wrote past the page cache
	Peak    int64         // resident bytes at most since ResetPeak
}

// clockTick is the unit of /proc/PID/stat: USER_HZ, which Linux fixes at 100.
const clockTick = 10 * time.Millisecond

// Usage reads what the process and its children used until now.
func (p *Process) Usage() (Usage, error) {
	total, err := UsageOf(family(p.PID())...)
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", p.name, err)
	}
	return total, nil
}

// UsageOf reads what processes used until now, without their children.
func UsageOf(pids ...int) (Usage, error) {
	var total Usage
	for _, pid := range pids {
		u, err := usage(pid)
		if err != nil {
			return Usage{}, err
		}
		total.CPU += u.CPU
		total.Written += u.Written
		total.Peak += u.Peak
	}
	return total, nil
}

// ResetPeak makes the peak count from now on.
func (p *Process) ResetPeak() error {
	for _, pid := range family(p.PID()) {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
			return err
		}
	}
	return nil
}

func usage(pid int) (u Usage, err error) {
	fields, err := stat(pid)
	if err != nil {
		return u, err
	}
	for _, field := range fields[11:13] { // utime, stime
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(ticks) * clockTick
	}
	if u.Written, err = value(pid, "io", "write_bytes"); err != nil {
		return u, err
	}
	u.Peak, err = value(pid, "status", "VmHWM")
	u.Peak <<= 10 // it is in KiB
	return u, err
}

// stat returns the fields of /proc/PID/stat from the third on: the second is
// the name, which may have anything in it.
func stat(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return nil, fmt.Errorf("/proc/%d/stat has too few fields", pid)
	}
	return fields, nil
}

// value reads a number from a file of "name: number" lines.
func value(pid int, file, name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/%s has no %s", pid, file, name)
}

// family is a process and its children.
func family(pid int) []int { return append([]int{pid}, Children(pid)...) }

// Children are the processes whose parent is pid, and only those with one of
// the names where names are given.
func Children(parent int, names ...string) []int {
	var found []int
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		fields, err := stat(pid)
		if err != nil || fields[1] != strconv.Itoa(parent) { // gone meanwhile, or another's
			continue
		}
		if len(names) > 0 {
			comm, err := os.ReadFile(filepath.Join(entry, "comm"))
			if err != nil || !contains(names, strings.TrimSpace(string(comm))) {
				continue
			}
		}
		found = append(found, pid)
	}
	return found
}

// contains knows that the kernel cuts names after 15 bytes.
func contains(names []string, comm string) bool {
	for _, name := range names {
		if name[:min(15, len(name))] == comm {
			return true
		}
	}
	return false
}

// FreeAddress is an address of the loopback interface that nothing listens on.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close() // it was only opened for its number
	return listener.Addr().String(), nil
}
