// Package build makes the programs that are compared, from pinned sources.
package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs is what was built or found, and of which version.
type Programs struct {
	Dataplane, DataplaneVersion string
	Bare, BareVersion           string
	Tusd, TusdVersion           string
	Versitygw, VersitygwVersion string
	Nginx, NginxVersion         string // empty where there is none
}

// The peers, in peers/go.mod.
const (
	tusdModule      = "github.com/tus/tusd/v2"
	versitygwModule = "github.com/versity/versitygw"
)

// All builds everything into bin. bench is the folder of the benchmark's
// module, which lies in the repository.
func All(ctx context.Context, bench, bin, nginx string, say func(format string, args ...any)) (Programs, error) {
	root, peers := filepath.Dir(bench), filepath.Join(bench, "peers")
	p := Programs{
		Dataplane: filepath.Join(bin, "dataplane"), Bare: filepath.Join(bin, "bare"),
		Tusd: filepath.Join(bin, "tusd"), Versitygw: filepath.Join(bin, "versitygw"),
	}
	say("building the dataplane, the bare servers, tusd and versitygw (minutes, the first time)")
	for _, b := range []struct{ dir, output, pkg string }{
		{root, p.Dataplane, "./cmd/dataplane"},
		{bench, p.Bare, "./cmd/bare"},
		{peers, p.Tusd, tusdModule + "/cmd/tusd"},
		{peers, p.Versitygw, versitygwModule + "/cmd/versitygw"},
	} {
		if _, err := output(ctx, b.dir, "go", "build", "-trimpath", "-o", b.output, b.pkg); err != nil {
			return p, err
		}
	}
	var err error
	for _, v := range []struct {
		into *string
		dir  string
		argv []string
	}{
		{&p.DataplaneVersion, root, []string{"git", "describe", "--tags", "--always", "--dirty"}},
		{&p.BareVersion, bench, []string{"go", "env", "GOVERSION"}},
		{&p.TusdVersion, peers, []string{"go", "list", "-m", "-f", "{{.Version}}", tusdModule}},
		{&p.VersitygwVersion, peers, []string{"go", "list", "-m", "-f", "{{.Version}}", versitygwModule}},
	} {
		if *v.into, err = output(ctx, v.dir, v.argv...); err != nil {
			return p, err
		}
	}
	p.Nginx, p.NginxVersion, err = findNginx(ctx, bench, nginx)
	if err != nil {
		say("nginx is left out: %v", err)
	}
	return p, nil
}

// findNginx is the given binary, or the one in PATH, or the one that nginx.sh finds.
func findNginx(ctx context.Context, bench, binary string) (path, version string, err error) {
	if binary == "" {
		binary, err = exec.LookPath("nginx")
	}
	if err != nil {
		binary, err = output(ctx, bench, "./nginx.sh")
	}
	if err != nil {
		return "", "", err
	}
	command := exec.CommandContext(ctx, binary, "-v")
	said, err := command.CombinedOutput()
	if err != nil {
		return "", "", fmt.Errorf("%s -v: %w: %s", binary, err, said)
	}
	_, version, _ = strings.Cut(strings.TrimSpace(string(said)), "nginx/")
	return binary, version, nil
}

// output runs a command without cgo and returns what it prints.
func output(ctx context.Context, dir string, argv ...string) (string, error) {
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Dir = dir
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// Bench is the folder of the benchmark's module, from the working directory upwards.
func Bench() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(b), "module github.com/slipway-dev/slipway/bench\n") {
			return dir, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", errors.New("run it inside bench/")
	}
}

// Slipway builds the manager and the dataplane of the repository at root into
// bin, as they ship.
func Slipway(ctx context.Context, root, bin string) error {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	_, err := output(ctx, root, "go", "build", "-trimpath", "-buildvcs=false", "-o", bin+string(filepath.Separator), "./cmd/manager", "./cmd/dataplane")
	return err
}
