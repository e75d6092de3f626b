package story

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// process is a program that runs in the background and writes to a log file.
type process struct {
	name    string
	binary  string
	args    []string
	logFile string
	ready   string // URL that answers 200 once the program is ready

	command *exec.Cmd
	exited  chan struct{} // closed once it was waited for
}

// start starts the program and waits until it is ready.
func (p *process) start(ctx context.Context) error {
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	p.command = exec.Command(p.binary, p.args...)
	p.command.Stdout, p.command.Stderr = log, log
	if err := p.command.Start(); err != nil {
		return fmt.Errorf("start the %s: %w", p.name, err)
	}
	p.exited = make(chan struct{})
	go func() {
		_ = p.command.Wait() // how it ended is in ProcessState
		close(p.exited)
	}()
	return p.awaitReady(ctx)
}

func (p *process) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if answers(ctx, p.ready) {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("the %s ended with %s; its log:\n%s", p.name, p.command.ProcessState, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("the %s is not ready: %w; its log:\n%s", p.name, ctx.Err(), p.tail())
		case <-tick.C:
		}
	}
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

// kill ends the program with SIGKILL: it can't tidy up, as after a crash.
func (p *process) kill() error {
	if p.command == nil {
		return nil
	}
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.exited
	return nil
}

// stop asks the program to end and waits, at most so long.
func (p *process) stop(patience time.Duration) error {
	if p.command == nil {
		return nil
	}
	if err := p.command.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("the %s did not stop in %s", p.name, patience), p.kill())
	}
}

// tail is the last of the program's log.
func (p *process) tail() []byte {
	log, err := os.ReadFile(p.logFile)
	if err != nil {
		return []byte(err.Error())
	}
	const most = 4 << 10
	return log[max(0, len(log)-most):]
}

// freePort is a port of the loopback interface that nothing listens on.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err := errors.Join(err, listener.Close()); err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
