package contender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/bench/internal/proc"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// Plane is a real Kubernetes control plane. It stands still while anything is
// measured: it would run on machines of its own, and here its work would be
// taken for that of whatever is measured.
type Plane struct {
	plane      *controlplane.ControlPlane
	kubeconfig string
	client     client.Client
	pids       []int
}

// StartPlane starts the control plane, with the CRDs of the repository at root.
// What it writes for the dataplane goes to dir.
func StartPlane(root, dir string) (*Plane, error) {
	ctrllog.SetLogger(logr.Discard())
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	// The control plane looks for the CRDs from the working directory upwards.
	if err := os.Chdir(root); err != nil {
		return nil, err
	}
	plane, err := controlplane.Start()
	if err := errors.Join(err, os.Chdir(here)); err != nil {
		return nil, err
	}
	p := &Plane{plane: plane, kubeconfig: filepath.Join(dir, "kubeconfig"), pids: proc.Children(os.Getpid(), "kube-apiserver", "etcd")}
	if err := p.connect(); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *Plane) connect() error {
	if len(p.pids) != 2 {
		return fmt.Errorf("the control plane has %d processes, not kube-apiserver and etcd", len(p.pids))
	}
	if err := os.WriteFile(p.kubeconfig, p.plane.KubeConfig(), 0o600); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		return err
	}
	config := rest.CopyConfig(p.plane.Config)
	config.QPS = -1
	var err error
	p.client, err = client.New(config, client.Options{Scheme: scheme})
	return err
}

// Stop ends the control plane.
func (p *Plane) Stop() error {
	return errors.Join(p.signal(syscall.SIGCONT), p.plane.Stop())
}

// Freeze makes the control plane stand still.
func (p *Plane) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Thaw makes it go on, and waits until it answers.
func (p *Plane) Thaw(ctx context.Context) error {
	if err := p.signal(syscall.SIGCONT); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		ask, done := context.WithTimeout(ctx, 2*time.Second)
		var stores v1alpha1.UploadStoreList
		err := p.client.List(ask, &stores, client.InNamespace("default"))
		done()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the API server does not answer: %w", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (p *Plane) signal(s syscall.Signal) error {
	for _, pid := range p.pids {
		if err := syscall.Kill(pid, s); err != nil {
			return err
		}
	}
	return nil
}
