package e2e_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/slipway-dev/slipway/test/printed"
)

// reader is somebody who types what docs/install.md prints, in a clone of their own.
type reader struct{ folder, tools string }

// newReader copies what the ways to install read and write.
func newReader(ctx context.Context) reader {
	GinkgoHelper()
	r := reader{folder: GinkgoT().TempDir(), tools: GinkgoT().TempDir()}
	for _, name := range []string{"config", "charts", "hack", "dist/install.yaml", "go.mod", "go.sum", "Makefile"} {
		from, to := filepath.Join(repository, name), filepath.Join(r.folder, name)
		if info, err := os.Stat(from); err == nil && !info.IsDir() {
			content, err := os.ReadFile(from)
			Expect(err).NotTo(HaveOccurred())
			Expect(os.MkdirAll(filepath.Dir(to), 0o755)).To(Succeed())
			Expect(os.WriteFile(to, content, 0o600)).To(Succeed())
			continue
		}
		Expect(os.CopyFS(to, os.DirFS(from))).To(Succeed())
	}
	kubectl, err := exec.LookPath(settings.kubectl)
	Expect(err).NotTo(HaveOccurred())
	command := exec.CommandContext(ctx, "go", "tool", "-n", "-modfile=hack/tools/helm/go.mod", "helm")
	command.Dir = repository
	helm, err := command.Output()
	Expect(err).NotTo(HaveOccurred())
	for name, path := range map[string]string{"kubectl": kubectl, "helm": strings.TrimSpace(string(helm))} {
		Expect(os.Symlink(path, filepath.Join(r.tools, name))).To(Succeed())
	}
	return r
}

// types runs lines in a shell, with the images of this run for those that a reader fills in.
func (r reader) types(ctx context.Context, lines string) {
	GinkgoHelper()
	command := exec.CommandContext(ctx, "sh", "-euxc", lines)
	command.Dir = r.folder
	command.Env = append(os.Environ(), "PATH="+r.tools+":"+os.Getenv("PATH"),
		"HELM_CONFIG_HOME="+r.tools, "HELM_CACHE_HOME="+r.tools, "HELM_DATA_HOME="+r.tools)
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	Expect(command.Run()).To(Succeed(), said.String)
}

// block is what docs/install.md prints, filled in.
func block(words string) string {
	GinkgoHelper()
	found, err := printed.Block(filepath.Join(repository, "docs", "install.md"), words)
	Expect(err).NotTo(HaveOccurred())
	manager, managerTag, _ := strings.Cut(settings.managerImage, ":")
	dataplane, dataplaneTag, _ := strings.Cut(settings.dataplaneImage, ":")
	return strings.NewReplacer(
		"<registry>/slipway-manager:1", settings.managerImage,
		"<registry>/slipway-dataplane:1", settings.dataplaneImage,
		"<registry>/slipway-manager,manager.image.tag=1", manager+",manager.image.tag="+managerTag,
		"<registry>/slipway-dataplane,dataplane.image.tag=1", dataplane+",dataplane.image.tag="+dataplaneTag,
		`<registry>/slipway-manager, newTag: "1"`, manager+`, newTag: "`+managerTag+`"`,
	).Replace(found)
}

// After the spec of the uninstallation, which leaves a cluster without Slipway.
var _ = Describe("Each way to install that docs/install.md prints", Serial, SpecPriority(-2), Label("install"), func() {
	DescribeTable("ends with a manager that is Available, a store that is Ready and, uninstalled, with nothing",
		func(ctx SpecContext, way func(ctx context.Context, r reader) (namespace, uninstall string)) {
			if settings.existing {
				Skip("E2E_EXISTING=true: what was there is to stay")
			}
			uninstall(ctx) // where the other specs were filtered out
			r := newReader(ctx)
			namespace, uninstallation := way(ctx, r)
			DeferCleanup(func(ctx SpecContext) {
				r.types(ctx, uninstallation)
				Eventually(leftBehind).WithContext(ctx).Should(BeEmpty())
			}, NodeTimeout(2*patience))
			kubectl(ctx, "--namespace", namespace, "wait", "--for=condition=Available", managerDeployment, "--timeout=5m")
			newSpace(ctx).newManagedStore(ctx, "models")
		},
		Entry("one file", SpecTimeout(specTimeout), func(ctx context.Context, r reader) (string, string) {
			r.types(ctx, block("make dist"))
			return systemNamespace, "kubectl delete -f dist/install.yaml"
		}),
		Entry("Helm", SpecTimeout(specTimeout), func(ctx context.Context, r reader) (string, string) {
			r.types(ctx, block("helm install"))
			return systemNamespace, "helm uninstall slipway -n slipway-system; make uninstall; kubectl delete namespace slipway-system"
		}),
		Entry("Helm, in the namespace default", SpecTimeout(specTimeout), func(ctx context.Context, r reader) (string, string) {
			r.types(ctx, strings.ReplaceAll(block("helm install"), "--namespace slipway-system --create-namespace", ""))
			return "default", "helm uninstall slipway; make uninstall"
		}),
		Entry("make deploy", SpecTimeout(specTimeout), func(ctx context.Context, r reader) (string, string) {
			r.types(ctx, block("make deploy"))
			return systemNamespace, "make undeploy; make uninstall"
		}),
		Entry("a kustomization of one's own", SpecTimeout(specTimeout), func(ctx context.Context, r reader) (string, string) {
			own := filepath.Join(r.folder, "own")
			Expect(os.Mkdir(own, 0o755)).To(Succeed())
			remote := regexp.MustCompile(`github\.com/\S+\?ref=\.{3}`) // which is this clone's
			kustomization := remote.ReplaceAllString(block("resources: [github.com/"), "../config/default")
			Expect(os.WriteFile(filepath.Join(own, "kustomization.yaml"), []byte(kustomization), 0o600)).To(Succeed())
			r.types(ctx, "kubectl apply --server-side -k own")
			return systemNamespace, "make undeploy; make uninstall"
		}),
	)
})
