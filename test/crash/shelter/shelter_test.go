package shelter_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/test/crash/shelter"
)

// victim is set for a process that is to leave everything behind.
const victim = "SLIPWAY_SHELTER_VICTIM"

func TestMain(m *testing.M) { shelter.Main(m.Run) }

// A test that panics in another goroutine runs no cleanup: the worst that can be.
func TestVictim(t *testing.T) {
	volume := os.Getenv(victim)
	if volume == "" {
		t.Skip("it is run by TestNothingIsLeft")
	}
	t.TempDir()
	if err := exec.Command("sleep", "1000.125").Start(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", volume, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	go panic("as it is meant to be")
	time.Sleep(time.Minute)
}

func TestNothingIsLeft(t *testing.T) {
	if os.Getpid() != 1 {
		t.Skip("this process may not make namespaces")
	}
	volume, room := t.TempDir(), t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "-test.run=^TestVictim$")
	command.Env = append(os.Environ(), "SLIPWAY_SHELTER=", victim+"="+volume, "TMPDIR="+room)
	out, err := command.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("as it is meant to be")) {
		t.Fatalf("%v: %s", err, out)
	}
	if left, err := os.ReadDir(room); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v %v", left, err)
	}
	if mounts, err := os.ReadFile("/proc/thread-self/mounts"); err != nil || strings.Contains(string(mounts), volume) {
		t.Errorf("the mount is left: %v", err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range commands {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Equal(line, []byte("sleep\x001000.125\x00")) {
			t.Errorf("the process is left: %s", file)
		}
	}
}
