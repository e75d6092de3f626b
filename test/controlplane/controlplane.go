package controlplane

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// startTimeout is long because several packages' tests share the machine's cores.
const startTimeout = 90 * time.Second

// ControlPlane is a running API server and etcd. Stop ends them.
type ControlPlane struct {
	// Config is an administrator's way in. Its user is called "admin".
	Config *rest.Config

	// Assets is the folder with kube-apiserver, etcd and kubectl.
	Assets string

	env   *envtest.Environment
	dir   string     // the audit policy and log
	users sync.Mutex // envtest makes one certificate at a time
}

// Start brings up a control plane with the CRDs of config/crd/bases.
func Start() (*ControlPlane, error) {
	return start(func(*envtest.APIServer) {}, crdFolder)
}

// StartEmpty brings up a control plane without CRDs, for who installs them.
func StartEmpty() (*ControlPlane, error) {
	return start(func(*envtest.APIServer) {})
}

// StartWithServiceAccounts brings up one that holds Pods to their
// ServiceAccounts, which must exist, and mounts their tokens, as a cluster does.
func StartWithServiceAccounts() (*ControlPlane, error) {
	return start(func(s *envtest.APIServer) { s.Configure().Disable("disable-admission-plugins") }, crdFolder)
}

// crdFolder is where the module keeps its CRDs.
const crdFolder = "config/crd/bases"

// start brings up a control plane with the CRDs of folders of the module.
func start(configure func(*envtest.APIServer), crds ...string) (_ *ControlPlane, err error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	assets, err := findAssets(root)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "slipway-controlplane-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()

	for i, folder := range crds {
		crds[i] = filepath.Join(root, folder)
	}
	env := &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		CRDDirectoryPaths:        crds,
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  startTimeout,
	}
	if err := enableAudit(env, dir); err != nil {
		return nil, err
	}
	configure(env.ControlPlane.GetAPIServer())
	// As large as etcd recommends at most, as clusters have it; etcd's own default is a quarter.
	env.ControlPlane.Etcd = &envtest.Etcd{}
	env.ControlPlane.Etcd.Configure().Set("quota-backend-bytes", "8589934592")
	config, err := env.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the control plane of %s: %w", assets, err), env.Stop())
	}
	return &ControlPlane{Config: config, Assets: assets, env: env, dir: dir}, nil
}

// Stop ends the processes and removes what they kept.
func (c *ControlPlane) Stop() error {
	return errors.Join(c.env.Stop(), os.RemoveAll(c.dir))
}

// KubeConfig is the administrator's kubeconfig, for kubectl and for processes.
func (c *ControlPlane) KubeConfig() []byte { return c.env.KubeConfig }

// EtcdURL is where etcd is reached, without authentication, also as JSON over HTTP.
func (c *ControlPlane) EtcdURL() string { return c.env.ControlPlane.Etcd.URL.String() }

// AddUser makes a user of that name, who may do what RBAC grants to the name or
// the groups; it may be called concurrently. Separate users tell the writers apart in the audit log.
func (c *ControlPlane) AddUser(name string, groups ...string) (*rest.Config, error) {
	c.users.Lock()
	defer c.users.Unlock()
	user, err := c.env.AddUser(envtest.User{Name: name, Groups: groups}, rest.CopyConfig(c.Config))
	if err != nil {
		return nil, err
	}
	return user.Config(), nil
}

// findAssets is the folder of KUBEBUILDER_ASSETS, or the one that
// hack/controlplane.sh prints.
func findAssets(root string) (string, error) {
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		return assets, nil
	}
	return printedBy(root)
}

// printedBy is what hack/controlplane.sh prints: where something is that it has compiled or found.
func printedBy(root string, args ...string) (string, error) {
	script := exec.Command(filepath.Join(root, "hack", "controlplane.sh"), args...)
	script.Stderr = os.Stderr
	output, err := script.Output()
	if err != nil {
		return "", fmt.Errorf("hack/controlplane.sh: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}

// moduleRoot is the folder of go.mod, from the package's folder upwards, where
// go test runs a test.
func moduleRoot() (string, error) {
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
