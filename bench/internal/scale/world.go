package scale

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/bench/internal/client"
	"github.com/slipway-dev/slipway/bench/internal/proc"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// The names in config/, which are used as they are.
const (
	namespace        = "default"
	storeName        = "models"
	replicaName      = "models-0"
	operatorAccount  = "system:serviceaccount:slipway-system:slipway-manager"
	dataplaneAccount = "system:serviceaccount:default:slipway-dataplane"
)

// world is the processes that are under load, and the ways to them.
type world struct {
	dir       string // all that is written lies under here
	plane     *controlplane.ControlPlane
	api       kube.Client
	operator  server
	dataplane server
	chunks    *client.Pool
}

// server is a program that may be started several times, on the same addresses.
type server struct {
	spec    proc.Spec
	metrics string // URL
	running *proc.Process
	// What the processes before the running one used.
	earlier proc.Usage
}

// start starts the process and waits until it is ready.
func (s *server) start(ctx context.Context) (err error) {
	s.running, err = proc.Start(ctx, s.spec)
	return err
}

// stop ends the process.
func (s *server) stop() error {
	if s.running == nil {
		return nil
	}
	used, err := s.usage()
	err = errors.Join(err, s.running.Stop())
	s.earlier, s.running = used, nil
	return err
}

// usage is what all processes used together, and the most memory that one had.
func (s *server) usage() (proc.Usage, error) {
	now, err := s.running.Usage()
	now.CPU += s.earlier.CPU
	now.Written += s.earlier.Written
	now.Peak = max(now.Peak, s.earlier.Peak)
	return now, err
}

// startWorld brings everything up. root is the repository, bin holds the
// programs, dir is an empty folder on the filesystem that holds the volume; adjust
// may change how they are started.
func startWorld(ctx context.Context, root, bin, dir string, o Options, adjust func(*world) error) (_ *world, err error) {
	ctrllog.SetLogger(logr.Discard())
	w := &world{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	if err := os.Mkdir(w.volume(), 0o755); err != nil {
		return nil, err
	}
	if w.plane, err = startPlane(root); err != nil {
		return nil, err
	}
	if err := os.WriteFile(w.file("kubeconfig"), w.plane.KubeConfig(), 0o600); err != nil {
		return nil, err
	}
	// The CRDs are there; to apply them again would take the kinds away for a moment.
	for _, folder := range []string{"config/operator", "config/dataplane", "config/policy"} {
		if err := w.kubectl(ctx, "apply", "--server-side", "--kustomize", filepath.Join(root, folder)); err != nil {
			return nil, err
		}
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(w.plane.Config)
	config.QPS = -1 // the load has a pace of its own
	if w.api, err = kube.New(config, kube.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	if err := w.awaitKinds(ctx); err != nil {
		return nil, err
	}
	if err := w.prepareOperator(bin); err != nil {
		return nil, err
	}
	if err := w.prepareDataplane(bin, o); err != nil {
		return nil, err
	}
	if err := adjust(w); err != nil {
		return nil, err
	}
	return w, errors.Join(w.operator.start(ctx), w.dataplane.start(ctx))
}

// awaitKinds waits until the API server serves every kind.
func (w *world) awaitKinds(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = errors.Join(
			w.api.List(ctx, &v1alpha1.UploadSessionList{}),
			w.api.List(ctx, &v1alpha1.UploadStoreList{}),
			w.api.List(ctx, &v1alpha1.UploadQuotaList{}),
		)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the API server does not serve the kinds: %w: %w", err, last)
	}
	return nil
}

// startPlane starts the control plane, which looks for the CRDs from the
// working directory upwards.
func startPlane(root string) (*controlplane.ControlPlane, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if err := os.Chdir(root); err != nil {
		return nil, err
	}
	plane, err := controlplane.Start()
	return plane, errors.Join(err, os.Chdir(here))
}

func (w *world) prepareOperator(bin string) error {
	config, err := w.kubeconfigOf(operatorAccount)
	if err != nil {
		return err
	}
	metrics, err := proc.FreeAddress()
	if err != nil {
		return err
	}
	health, err := proc.FreeAddress()
	if err != nil {
		return err
	}
	w.operator = server{metrics: "http://" + metrics + "/metrics", spec: proc.Spec{
		Name: "operator", Log: w.file("operator.log"), Address: metrics,
		Command: []string{
			filepath.Join(bin, "manager"), "--kubeconfig", config, "--leader-elect=false", "--log-level=WARN",
			"--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + health,
		},
	}}
	return nil
}

func (w *world) prepareDataplane(bin string, o Options) error {
	config, err := w.kubeconfigOf(dataplaneAccount)
	if err != nil {
		return err
	}
	listen, err := proc.FreeAddress()
	if err != nil {
		return err
	}
	health, err := proc.FreeAddress()
	if err != nil {
		return err
	}
	w.chunks = client.NewPool(listen)
	w.dataplane = server{metrics: "http://" + health + "/metrics", spec: proc.Spec{
		Name: "dataplane", Log: w.file("dataplane.log"), Address: listen,
		Command: []string{
			filepath.Join(bin, "dataplane"), "--kubeconfig", config, "--root", w.volume(),
			"--namespace", namespace, "--store", storeName, "--replica", replicaName,
			"--listen", listen, "--health-address", health, "--insecure-no-auth", "--log-level=WARN",
			fmt.Sprintf("--progress-writes-per-second=%g", o.ProgressWritesPerSecond),
		},
	}}
	return nil
}

// stop ends every process. What they wrote is the caller's to remove.
func (w *world) stop() error {
	err := errors.Join(w.dataplane.stop(), w.operator.stop())
	if w.plane != nil {
		err = errors.Join(err, w.plane.Stop())
	}
	return err
}

// apiserver is what the API server used until now.
func (w *world) apiserver() (proc.Usage, error) {
	return proc.UsageOf(proc.Children(os.Getpid(), "kube-apiserver")...)
}

// etcd is what etcd used until now.
func (w *world) etcd() (proc.Usage, error) {
	return proc.UsageOf(proc.Children(os.Getpid(), "etcd")...)
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

// volume is the folder that stands for the mounted claim.
func (w *world) volume() string { return w.file("volume") }

// kubeconfigOf writes the kubeconfig of a service account.
func (w *world) kubeconfigOf(account string) (string, error) {
	config, err := w.plane.AddUser(account, "system:serviceaccounts", "system:authenticated")
	if err != nil {
		return "", err
	}
	const name = "scale"
	made := *clientcmdapi.NewConfig()
	made.Clusters[name] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	made.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	made.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	made.CurrentContext = name
	file := w.file(filepath.Base(account) + ".kubeconfig")
	return file, clientcmd.WriteToFile(made, file)
}

// kubectl runs the real kubectl as the administrator.
func (w *world) kubectl(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(w.plane.Assets, "kubectl"),
		append([]string{"--kubeconfig", w.file("kubeconfig")}, args...)...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %v: %w\n%s", args, err, out)
	}
	return nil
}
