package deletion_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/slipway-dev/slipway/test/controlplane"
)

// operatorUser is who the operator is in a cluster.
const operatorUser = "system:serviceaccount:slipway-system:slipway-manager"

// What every test of the package shares.
var (
	plane          *controlplane.ControlPlane
	kubernetesOwn  *controlplane.Controllers
	operatorConfig *rest.Config
	binary         string // of the dataplane
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "slipway-deletion-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if plane, err = controlplane.Start(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()

	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, plane.KubeConfig(), 0o600); err != nil {
		return 1, err
	}
	binary = filepath.Join(dir, "dataplane")
	for _, command := range []*exec.Cmd{
		exec.CommandContext(ctx, filepath.Join(plane.Assets, "kubectl"), "--kubeconfig", kubeconfig,
			"apply", "--server-side", "--kustomize", "../../config/default"),
		exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "github.com/slipway-dev/slipway/cmd/dataplane"),
	} {
		if out, err := command.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("%s: %w\n%s", command, err, out)
		}
	}
	if operatorConfig, err = plane.AddUser(operatorUser, "system:serviceaccounts", "system:authenticated"); err != nil {
		return 1, err
	}
	if kubernetesOwn, err = plane.StartControllers(ctx); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, kubernetesOwn.Stop()) }()
	return m.Run(), nil
}
