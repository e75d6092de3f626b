package story

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/slipway-dev/slipway/test/controlplane"
	"github.com/slipway-dev/slipway/test/uploader"
)

// The names in config/, which the story uses as they are.
const (
	namespace        = "default"
	storeName        = "models"
	replicaName      = "models-0"
	managerAccount   = "system:serviceaccount:slipway-system:slipway-manager"
	dataplaneAccount = "system:serviceaccount:default:slipway-dataplane"
	uploaderRole     = "slipway-uploader"
)

// stack is the running processes and where they keep things.
type stack struct {
	root      string // the repository
	audience  string // of the tokens that the dataplane takes
	dir       string // all that the stack writes lies under here
	plane     *controlplane.ControlPlane
	manager   *process
	dataplane *process
	endpoint  string          // of the dataplane
	caller    uploader.Caller // the user who uploads
}

// volume is the folder that stands for the mounted claim.
func (s *stack) volume() string { return filepath.Join(s.dir, "volume") }

// startStack brings everything up, with a store.
// The two run with the rights that config/ gives them and no others, and so does
// the user who uploads.
func startStack(ctx context.Context, o Options, say func(format string, args ...any)) (_ *stack, err error) {
	root, bin := o.Root, o.Binaries
	s := &stack{root: root, audience: cmp.Or(o.Audience, audience)}
	if s.dir, err = os.MkdirTemp("", "slipway-story-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if err := os.Mkdir(s.volume(), 0o755); err != nil {
		return nil, err
	}
	say("Starting kube-apiserver and etcd")
	if s.plane, err = controlplane.Start(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.kubeconfig(), s.plane.KubeConfig(), 0o600); err != nil {
		return nil, err
	}
	say("Installing the CRDs and the roles of config/")
	folders := []string{filepath.Join(root, "config", "default"), filepath.Join(root, "config", "dataplane")}
	if o.Earlier != "" {
		folders = append([]string{filepath.Join(o.Earlier, "config", "dataplane")}, folders...)
	}
	for _, folder := range folders {
		if out, err := s.kubectl(ctx, "apply", "--server-side", "--kustomize", folder); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, out)
		}
	}
	say("Starting the manager, and applying a store, for which it makes certificates and keys")
	if err := s.startManager(ctx, bin); err != nil {
		return nil, err
	}
	store := filepath.Join(root, "config", "samples", "sidecar", "store.yaml")
	if out, err := s.kubectl(ctx, "apply", "--filename", store); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	if err := s.mountKeys(ctx); err != nil {
		return nil, err
	}
	say("Starting the dataplane, and making a ServiceAccount that may upload")
	if err := s.startDataplane(ctx, bin); err != nil {
		return nil, err
	}
	if err := s.addUploader(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *stack) startManager(ctx context.Context, bin string) error {
	config, err := s.kubeconfigOf(managerAccount, "system:serviceaccounts", "system:authenticated")
	if err != nil {
		return err
	}
	health, err := freePort()
	if err != nil {
		return err
	}
	s.manager = &process{
		name: "manager", binary: filepath.Join(bin, "manager"), logFile: filepath.Join(s.dir, "manager.log"),
		args: []string{
			"--kubeconfig", config, "--leader-elect=false", "--metrics-bind-address=0",
			fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", health),
		},
		ready: fmt.Sprintf("http://127.0.0.1:%d/readyz", health),
	}
	return s.manager.start(ctx)
}

func (s *stack) startDataplane(ctx context.Context, bin string) (err error) {
	s.dataplane, s.endpoint, err = s.replica(bin, replicaName)
	if err != nil {
		return err
	}
	return s.dataplane.start(ctx)
}

// replica is a dataplane of the store, which is not started yet, and its endpoint.
func (s *stack) replica(bin, name string) (_ *process, endpoint string, err error) {
	config, err := s.kubeconfigOf(dataplaneAccount, "system:serviceaccounts", "system:authenticated")
	if err != nil {
		return nil, "", err
	}
	listen, err := freePort()
	if err != nil {
		return nil, "", err
	}
	health, err := freePort()
	if err != nil {
		return nil, "", err
	}
	p := &process{
		name: "dataplane " + name, binary: filepath.Join(bin, "dataplane"), logFile: filepath.Join(s.dir, name+".log"),
		args: []string{
			"--kubeconfig", config, "--root", s.volume(),
			"--namespace", namespace, "--store", storeName, "--replica", name,
			fmt.Sprintf("--listen=127.0.0.1:%d", listen), fmt.Sprintf("--health-address=127.0.0.1:%d", health),
			"--tls-dir", s.keys(), "--ticket-keys", filepath.Join(s.keys(), "tickets"),
		},
		ready: fmt.Sprintf("http://127.0.0.1:%d/readyz", health),
	}
	if s.audience != audience {
		p.args = append(p.args, "--audience="+s.audience)
	}
	return p, fmt.Sprintf("https://127.0.0.1:%d", listen), nil
}

// stop ends every process and removes what they wrote.
func (s *stack) stop() error {
	var errs []error
	const patience = 20 * time.Second
	if s.dataplane != nil {
		errs = append(errs, s.dataplane.stop(patience))
	}
	if s.manager != nil {
		errs = append(errs, s.manager.stop(patience))
	}
	if s.plane != nil {
		errs = append(errs, s.plane.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// kubeconfig is the administrator's.
func (s *stack) kubeconfig() string { return filepath.Join(s.dir, "kubeconfig") }

// kubeconfigOf writes a kubeconfig of a user with these groups.
func (s *stack) kubeconfigOf(user string, groups ...string) (string, error) {
	config, err := s.plane.AddUser(user, groups...)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.dir, filepath.Base(user)+".kubeconfig")
	return file, clientcmd.WriteToFile(kubeconfigFor(config), file)
}

func kubeconfigFor(config *rest.Config) clientcmdapi.Config {
	const name = "story"
	made := *clientcmdapi.NewConfig()
	made.Clusters[name] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	made.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	made.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	made.CurrentContext = name
	return made
}

// kubectl runs the real kubectl as the administrator and returns what it prints.
func (s *stack) kubectl(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(s.plane.Assets, "kubectl"),
		append([]string{"--kubeconfig", s.kubeconfig()}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %v: %w", args, err)
	}
	return string(out), err
}
