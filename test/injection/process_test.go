package injection_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/injection"
	"github.com/slipway-dev/slipway/controllers/keyring"
	"github.com/slipway-dev/slipway/controllers/metrics"
)

// TestTheSidecarRuns starts the dataplane with the arguments and the keys that
// an injected Pod gives it, and ends it as the kubelet does when a Job's own
// containers have ended.
func TestTheSidecarRuns(t *testing.T) {
	w := &world{}
	w.in(t)
	w.Client = w.clientOf(plane.Config)
	team := w.namespace()
	team.store("models")
	binary := filepath.Join(t.TempDir(), "dataplane")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "github.com/slipway-dev/slipway/cmd/dataplane")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pod := team.pod()
	result := injection.Inject(injection.Request{Pod: pod, Namespace: team.name}, injection.Options{Image: image})
	volume, mounted := t.TempDir(), keysOf(team, result)

	first := startSidecar(team, binary, volume, mounted, result)
	w.Eventually(first.ready).Should(BeTrue(), first.log.String)

	// The next Pod of a Deployment that does not wait for the last one to be gone.
	second := startSidecar(team, binary, volume, mounted, result)
	w.Eventually(second.ended).Should(BeClosed())
	w.Expect(second.command.ProcessState.ExitCode()).To(Equal(1))
	w.Expect(second.log.String()).To(ContainSubstring("dataplane"))
	w.Expect(first.ready()).To(BeTrue())

	w.Expect(first.command.Process.Signal(syscall.SIGTERM)).To(Succeed())
	w.Eventually(first.ended).WithTimeout(10*time.Second).Should(BeClosed(), "it ends at once")
	w.Expect(first.command.ProcessState.ExitCode()).To(Equal(0), first.log.String)

	// Its successor has the volume, as the same replica.
	third := startSidecar(team, binary, volume, mounted, result)
	w.Eventually(third.ready).Should(BeTrue(), third.log.String)
}

// sidecarProcess is a dataplane that runs here.
type sidecarProcess struct {
	command *exec.Cmd
	log     *bytes.Buffer // to be read once it ended
	ended   chan struct{}
	health  int
}

// value returns what a step of the patch adds under a path.
func value[T any](w *world, result injection.Result, path string) T {
	w.t.Helper()
	for _, step := range result.Patch {
		if v, ok := step.Value.(T); ok && strings.HasPrefix(step.Path, path) {
			return v
		}
	}
	w.t.Fatalf("the patch adds nothing at %s: %+v", path, result)
	return *new(T)
}

// keysOf mounts the volume with the keys, once the operator has made them.
func keysOf(p place, result injection.Result) string {
	p.t.Helper()
	keys := keyring.Reconciler{Client: p.Client, Recorder: events.NewFakeRecorder(10), Clock: clock.RealClock{}, Random: rand.Reader, Metrics: metrics.NewSecrets(nil)}
	_, err := keys.Reconcile(p.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: p.name}})
	p.Expect(err).NotTo(HaveOccurred())
	volume := value[corev1.Volume](p.world, result, "/spec/volumes").Secret
	var secret corev1.Secret
	p.Expect(p.Get(p.t.Context(), client.ObjectKey{Namespace: p.name, Name: volume.SecretName}, &secret)).To(Succeed())
	dir := p.t.TempDir()
	for _, item := range volume.Items {
		p.Expect(secret.Data).To(HaveKey(item.Key))
		p.Expect(os.WriteFile(filepath.Join(dir, item.Path), secret.Data[item.Key], 0o600)).To(Succeed())
	}
	return dir
}

// startSidecar starts the container's program, with the paths and ports of this machine.
func startSidecar(p place, binary, volume, keys string, result injection.Result) *sidecarProcess {
	p.t.Helper()
	s := &sidecarProcess{log: &bytes.Buffer{}, ended: make(chan struct{}), health: freePort(p.world)}
	container := value[[]corev1.Container](p.world, result, "/spec/initContainers")[0]
	p.Expect(container.Name).To(Equal(v1alpha1.SidecarContainerName))
	paths := strings.NewReplacer("/data", volume, "/etc/slipway", keys)
	args := []string{"--kubeconfig=" + kubeConfig(p.world)}
	for _, arg := range container.Args {
		switch name, _, _ := strings.Cut(arg, "="); name {
		case "--listen":
			arg = "--listen=127.0.0.1:0"
		case "--health-address":
			arg = fmt.Sprintf("--health-address=127.0.0.1:%d", s.health)
		case "--root", "--tls-dir", "--ticket-keys":
			arg = paths.Replace(arg)
		}
		args = append(args, arg)
	}
	s.command = exec.Command(binary, args...)
	s.command.Stderr = s.log
	p.Expect(s.command.Start()).To(Succeed())
	go func() {
		_ = s.command.Wait() // how it ended is in ProcessState
		close(s.ended)
	}()
	p.t.Cleanup(func() {
		_ = s.command.Process.Kill() // it may have ended
		<-s.ended
	})
	return s
}

func (s *sidecarProcess) ready() bool {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", s.health))
	if err != nil {
		return false
	}
	_ = response.Body.Close() // only the status counts
	return response.StatusCode == http.StatusOK
}

func kubeConfig(w *world) string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "kubeconfig")
	w.Expect(os.WriteFile(file, plane.KubeConfig(), 0o600)).To(Succeed())
	return file
}
