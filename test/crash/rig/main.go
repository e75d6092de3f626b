package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/slipway-dev/slipway/test/controlplane"
	"github.com/slipway-dev/slipway/test/crash/shelter"
)

// shared is what one test process starts once and Main ends, and what it counts.
type shared struct {
	mu     sync.Mutex
	dir    string
	plane  *controlplane.ControlPlane
	binary string
	tally  tally
}

var process shared

// Main is for TestMain: it runs the tests in a shelter, ends what they shared,
// and tells in a line what they counted.
func Main(m *testing.M) {
	shelter.Main(func() int {
		ctrllog.SetLogger(logr.Discard())
		stop := process.progress()
		code := m.Run()
		stop()
		if err := process.end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		if counts := process.counts(); counts != "" {
			fmt.Println(counts)
		}
		return code
	})
}

// controlPlane starts the control plane of this process, once.
func (s *shared) controlPlane() (*controlplane.ControlPlane, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plane != nil {
		return s.plane, nil
	}
	var err error
	s.plane, err = controlplane.Start()
	return s.plane, err
}

// dataplane builds the dataplane as it ships, once.
func (s *shared) dataplane() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.binary != "" {
		return s.binary, nil
	}
	root, err := Repository()
	if err != nil {
		return "", err
	}
	if s.dir, err = os.MkdirTemp("", "slipway-crash-"); err != nil {
		return "", err
	}
	binary := filepath.Join(s.dir, "dataplane")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./cmd/dataplane")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the dataplane: %w\n%s", err, out)
	}
	s.binary = binary
	return binary, nil
}

func (s *shared) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.plane != nil {
		errs = append(errs, s.plane.Stop())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// Repository is the folder of go.mod, from the test's folder upwards.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in this folder or above it")
		}
		dir = parent
	}
}

// Seed is that of SLIPWAY_SEED, or a new one; it is logged either way.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if set := os.Getenv("SLIPWAY_SEED"); set != "" {
		var err error
		if seed, err = strconv.ParseUint(set, 10, 64); err != nil {
			t.Fatalf("SLIPWAY_SEED: %v", err)
		}
	}
	t.Logf("SLIPWAY_SEED=%d", seed)
	return seed
}

// Nightly reports whether this is a long run.
func Nightly() bool { return os.Getenv("NIGHTLY_MINUTES") != "" }

// Duration is how long a program goes on: short, or NIGHTLY_MINUTES.
func Duration(t testing.TB, short time.Duration) time.Duration {
	t.Helper()
	set := os.Getenv("NIGHTLY_MINUTES")
	if set == "" {
		return short
	}
	minutes, err := strconv.ParseFloat(set, 64)
	if err != nil || minutes <= 0 {
		t.Fatalf("NIGHTLY_MINUTES is %q, which is no number of minutes", set)
	}
	return time.Duration(minutes * float64(time.Minute))
}
