package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// ControllersUser is who Kubernetes' own controllers are in the audit log.
const ControllersUser = "controllers"

// Controllers are Kubernetes' garbage collector and controllers of namespaces and StatefulSets, in a
// process of their own.
type Controllers struct {
	command *exec.Cmd
	log     string
	ended   chan struct{}
}

// StartControllers runs Kubernetes' own controllers and returns when the collector collects: it
// sees the kinds that there are then. Stop them before the control plane.
func (c *ControlPlane) StartControllers(ctx context.Context) (_ *Controllers, err error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	binary, err := printedBy(root, "controllers")
	if err != nil {
		return nil, err
	}
	user, err := c.env.AddUser(envtest.User{Name: ControllersUser, Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(c.dir, "controllers.kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		return nil, err
	}
	running := &Controllers{log: filepath.Join(c.dir, "controllers.log"), ended: make(chan struct{})}
	log, err := os.Create(running.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	running.command = exec.Command(binary, "--kubeconfig="+file)
	running.command.Stdout, running.command.Stderr = log, log
	if err := running.command.Start(); err != nil {
		return nil, fmt.Errorf("start the controllers: %w", err)
	}
	go func() {
		_ = running.command.Wait() // Stop ends it
		close(running.ended)
	}()
	if err := c.awaitCollection(ctx, running); err != nil {
		return nil, errors.Join(err, running.Stop())
	}
	return running, nil
}

// awaitCollection waits until an object goes whose owner never was.
func (c *ControlPlane) awaitCollection(ctx context.Context, running *Controllers) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	maps := client.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	orphan, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "collected-",
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: "never-was", UID: uuid.NewUUID(),
		}},
	}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	const pause = 50 * time.Millisecond
	err = wait.PollUntilContextTimeout(ctx, pause, startTimeout, true, func(ctx context.Context) (bool, error) {
		select {
		case <-running.ended:
			return false, errors.New("they ended")
		default:
		}
		_, err := maps.Get(ctx, orphan.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("the controllers don't collect: %w; their log:\n%s", err, running.Log())
	}
	return nil
}

// Log is all that they have said.
func (c *Controllers) Log() string {
	content, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// Stop ends the process.
func (c *Controllers) Stop() error {
	if err := c.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.ended
	return nil
}
