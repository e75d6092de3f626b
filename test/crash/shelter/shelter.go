package shelter

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// inside tells a process that it is in the shelter.
const inside = "SLIPWAY_SHELTER"

// Main is for TestMain: it runs the tests and exits. Where this process may not
// make namespaces they run without a shelter, and it says so.
func Main(run func() int) {
	if os.Getenv(inside) != "" {
		os.Exit(run())
	}
	code, err := shelter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "shelter: none, so that a test that dies may leave processes and mounts behind:", err)
		code = run()
	}
	os.Exit(code)
}

// shelter runs this program again, as the first process of its namespaces.
func shelter() (code int, err error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "slipway-crash-")
	if err != nil {
		return 0, err
	}
	command := exec.Command(program, os.Args[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = append(os.Environ(), inside+"=1", "TMPDIR="+dir)
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	// The signal comes when this thread ends, not when the process does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := command.Start(); err != nil {
		return 0, errors.Join(err, os.RemoveAll(dir))
	}
	_ = command.Wait() // the exit code says how it ended
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "shelter:", err)
		return 1, nil
	}
	if code = command.ProcessState.ExitCode(); code < 0 {
		code = 1 // a signal
	}
	return code, nil
}
