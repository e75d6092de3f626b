package deletion_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kubelet runs the Pod of the store's one replica, as its template says, for as long as it is there.
type kubelet struct {
	w       *world
	dir     string
	health  string
	address string // of the dataplane

	mu      sync.Mutex
	failure error // of the last look
	starts  int
}

// container is a process that stands for the Pod's container.
type container struct {
	uid     string
	command *exec.Cmd
	ended   chan struct{}
	ready   bool
}

// startKubelet looks after the Pod until the test ends.
func startKubelet(w *world) *kubelet {
	w.t.Helper()
	k := &kubelet{w: w, dir: w.t.TempDir(), health: freeAddress(w), address: freeAddress(w)}
	w.Expect(os.Mkdir(k.volume(), 0o755)).To(Succeed())

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.run(ctx)
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	return k
}

func (k *kubelet) kubeconfig() string { return filepath.Join(k.dir, "kubeconfig") }
func (k *kubelet) volume() string     { return filepath.Join(k.dir, "volume") }
func (k *kubelet) keys() string       { return filepath.Join(k.dir, "keys") }
func (k *kubelet) log() string        { return filepath.Join(k.dir, "log") }

// tell is what went wrong last, and what the dataplane has said.
func (k *kubelet) tell() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	said, err := os.ReadFile(k.log())
	return fmt.Sprintf("the kubelet: %v\nthe dataplane, started %d times: %s", errors.Join(k.failure, err), k.starts, said)
}

// started is how often the container was.
func (k *kubelet) started() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.starts
}

func (k *kubelet) run(ctx context.Context) {
	var running *container
	for ctx.Err() == nil {
		next, err := k.look(ctx, running)
		running = next
		k.mu.Lock()
		k.failure = err
		k.mu.Unlock()
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	if running != nil {
		_ = running.command.Process.Kill() // it may have ended
		<-running.ended
	}
}

// look brings what runs into line with the Pod that there is.
func (k *kubelet) look(ctx context.Context, running *container) (*container, error) {
	var pod corev1.Pod
	err := k.w.Get(ctx, client.ObjectKey{Namespace: k.w.namespace, Name: replicaName}, &pod)
	if client.IgnoreNotFound(err) != nil {
		return running, err
	}
	is := err == nil
	if running != nil && (!is || string(pod.UID) != running.uid || pod.DeletionTimestamp != nil) {
		if err := running.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return running, err
		}
		<-running.ended
		running = nil
	}
	switch {
	case !is:
		return running, nil
	case pod.DeletionTimestamp != nil:
		now := []client.DeleteOption{client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID}}
		return nil, client.IgnoreNotFound(k.w.Delete(ctx, &pod, now...))
	case pod.Spec.NodeName == "":
		binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "here"}}
		return running, k.w.SubResource("binding").Create(ctx, &pod, binding)
	case running == nil:
		return k.start(ctx, &pod)
	case !running.ready && k.answers(ctx):
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		err := k.w.Status().Update(ctx, &pod)
		running.ready = err == nil
		return running, err
	}
	return running, nil
}

// start runs the Pod's container, once what it mounts is there.
func (k *kubelet) start(ctx context.Context, pod *corev1.Pod) (*container, error) {
	if err := errors.Join(k.mount(ctx, pod), k.identify(ctx, pod)); err != nil {
		return nil, err
	}
	paths := strings.NewReplacer("$(POD_NAME)", pod.Name, "=/data", "="+k.volume(), "=/etc/slipway", "="+k.keys())
	args := []string{"--kubeconfig=" + k.kubeconfig()}
	for _, arg := range pod.Spec.Containers[0].Args {
		switch name, _, _ := strings.Cut(arg, "="); name {
		case "--listen":
			arg = "--listen=" + k.address
		case "--health-address":
			arg = "--health-address=" + k.health
		}
		args = append(args, paths.Replace(arg))
	}
	log, err := os.OpenFile(k.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	c := &container{uid: string(pod.UID), command: exec.Command(binary, args...), ended: make(chan struct{})}
	c.command.Stdout, c.command.Stderr = log, log
	if err := c.command.Start(); err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.starts++
	k.mu.Unlock()
	go func() {
		_ = c.command.Wait() // the test sees what it does
		close(c.ended)
	}()
	return c, nil
}

// identify writes a kubeconfig with a token of the Pod's own, as what the kubelet mounts.
func (k *kubelet) identify(ctx context.Context, pod *corev1.Pod) error {
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	account := &corev1.ServiceAccount{ObjectMeta: k.w.meta(pod.Spec.ServiceAccountName)}
	if err := k.w.SubResource("token").Create(ctx, account, token); err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: plane.Config.Host, CertificateAuthorityData: plane.Config.CAData}
	config.AuthInfos["c"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "c"}
	config.CurrentContext = "c"
	return clientcmd.WriteToFile(*config, k.kubeconfig())
}

// mount writes the keys into files.
func (k *kubelet) mount(ctx context.Context, pod *corev1.Pod) error {
	for _, volume := range pod.Spec.Volumes {
		if volume.Secret == nil {
			continue
		}
		var secret corev1.Secret
		key := client.ObjectKey{Namespace: pod.Namespace, Name: volume.Secret.SecretName}
		if err := k.w.Get(ctx, key, &secret); err != nil {
			return err
		}
		if err := os.MkdirAll(k.keys(), 0o700); err != nil {
			return err
		}
		for _, item := range volume.Secret.Items {
			content, ok := secret.Data[item.Key]
			if !ok {
				return apierrors.NewNotFound(corev1.Resource("secrets"), secret.Name+"/"+item.Key)
			}
			if err := os.WriteFile(filepath.Join(k.keys(), item.Path), content, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *kubelet) answers(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.health+"/readyz", http.NoBody)
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

// freeAddress is one of the loopback interface that nothing listens on.
func freeAddress(w *world) string {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(listener.Close()).To(Succeed())
	return listener.Addr().String()
}
