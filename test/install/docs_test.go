package install

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/slipway-dev/slipway/test/printed"
)

const (
	// registry stands for the <registry> of docs/install.md.
	registry       = "mirror:5000/slipway"
	managerImage   = registry + "/slipway-manager:1"
	dataplaneImage = registry + "/slipway-dataplane:1"
)

// block is the block of docs/install.md that has the words, without what the reader fills in.
func block(t *testing.T, words string) string {
	t.Helper()
	found, err := printed.Block(filepath.Join(repository, "docs", "install.md"), words)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(found, "<registry>", registry)
}

// clone is a copy of what the ways to install read and write, so that none of them changes the repository.
func clone(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"config", "charts", "hack", "dist"} {
		copyTree(t, filepath.Join(repository, folder), filepath.Join(dir, folder))
	}
	for _, file := range []string{"go.mod", "go.sum", "Makefile"} {
		copyFile(t, filepath.Join(repository, file), filepath.Join(dir, file))
	}
	return dir
}

// runsTheImages is that the manager among the objects runs the images that were given. Of a flag that is given
// twice the later holds.
func runsTheImages(t *testing.T, all []*unstructured.Unstructured) {
	t.Helper()
	container := managerOf(t, namesOf(all)).Spec.Template.Spec.Containers[0]
	dataplane := ""
	for _, arg := range container.Args {
		if image, found := strings.CutPrefix(arg, "--dataplane-image="); found {
			dataplane = image
		}
	}
	if container.Image != managerImage || dataplane != dataplaneImage {
		t.Errorf("the manager is %s and runs %s, want %s and %s", container.Image, dataplane, managerImage, dataplaneImage)
	}
}

// An install without images says which it runs and what to set; one with them does not.
func TestNotesTellOfMissingImages(t *testing.T) {
	notes := func(args ...string) string {
		args = append([]string{"install", "slipway", chart, "--namespace=default", "--dry-run=client"}, args...)
		return must(t)(helm(t, args...))
	}
	without := notes()
	for _, says := range []string{
		"  slipway-manager:dev\n", "  slipway-dataplane:dev\n", "helm upgrade slipway charts/slipway --namespace default",
		"--set-string manager.image.repository=", "--set-string dataplane.image.repository=",
	} {
		if !strings.Contains(without, says) {
			t.Errorf("%q is not in\n%s", says, without[max(0, len(without)-2000):])
		}
	}
	const manager = "--set-string=manager.image.repository=" + registry + "/slipway-manager"
	one := notes(manager)
	if strings.Contains(one, "--set-string manager.") || !strings.Contains(one, "--set-string dataplane.") {
		t.Errorf("with the manager's image:\n%s", one[max(0, len(one)-2000):])
	}
	both := notes(manager, "--set-string=dataplane.image.repository="+registry+"/slipway-dataplane")
	if strings.Contains(both, "No registry is set") {
		t.Errorf("with both images:\n%s", both[max(0, len(both)-2000):])
	}
}

// Each way to install that docs/install.md prints has the images that the reader gives it.
func TestPrintedWaysHaveTheImages(t *testing.T) {
	t.Run("one file", func(t *testing.T) {
		dir := clone(t)
		dist, _, _ := strings.Cut(block(t, "make dist"), "\n")
		must(t)(run(t, nil, "sh", "-euc", "cd '"+dir+"' && "+dist))
		content, err := os.ReadFile(filepath.Join(dir, manifest))
		if err != nil {
			t.Fatal(err)
		}
		runsTheImages(t, objects(t, string(content)))
	})
	t.Run("helm", func(t *testing.T) {
		command := strings.Fields(strings.ReplaceAll(block(t, "helm install"), "\\\n", " "))
		args := []string{"template"}
		for _, arg := range command[2:] {
			if arg != "--create-namespace" {
				args = append(args, arg)
			}
		}
		runsTheImages(t, objects(t, must(t)(helm(t, args...))))
	})
	t.Run("make", func(t *testing.T) {
		// What kubectl would be given is printed.
		command := strings.TrimSpace(block(t, "make deploy")) + ` -s KUBECTL="sh -c cat kubectl"`
		runsTheImages(t, objects(t, must(t)(run(t, nil, "sh", "-euc", command))))
	})
	t.Run("kustomization", func(t *testing.T) {
		dir := clone(t)
		remote := regexp.MustCompile(`github\.com/\S+\?ref=\.{3}`)
		kustomization := remote.ReplaceAllString(block(t, "resources: [github.com/"), "../config/default")
		own := filepath.Join(dir, "own")
		if err := os.Mkdir(own, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(own, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
			t.Fatal(err)
		}
		out := must(t)(run(t, nil, "go", "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", own))
		runsTheImages(t, objects(t, out))
	})
}
