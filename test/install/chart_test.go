package install

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// template renders the chart as a release in the namespace that the manifest has.
func template(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	return objects(t, must(t)(helm(t, append([]string{"template", "slipway", chart, "--namespace=" + namespace}, args...)...)))
}

// valueSets are the files of values that the chart is tried with.
func valueSets(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, chart, "ci", "*-values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no value sets: %v", err)
	}
	for i, file := range files {
		files[i] = filepath.Join(chart, "ci", filepath.Base(file))
	}
	return files
}

func TestChartLints(t *testing.T) {
	args := []string{"lint", "--strict", chart}
	must(t)(helm(t, args...))
	for _, file := range valueSets(t) {
		must(t)(helm(t, append(args, "--values="+file)...))
	}
}

// In each namespace, and with each set of values, the chart is the manifest, object by object, without the parts
// that are switched off. With the values as they are it is the manifest, operator and all.
func TestChartIsTheManifest(t *testing.T) {
	const everything, operatorOnly = chart + "/ci/everything-values.yaml", chart + "/ci/operator-only-values.yaml"
	for _, in := range []string{namespace, "default", "elsewhere"} {
		for file, off := range map[string][]string{
			"":           nil,
			everything:   nil,
			operatorOnly: {"config/crd", "config/webhook", "config/policy"},
		} {
			t.Run(in+"/"+filepath.Base(file), func(t *testing.T) {
				args := []string{"template", "slipway", chart, "--namespace=" + in}
				if file != "" {
					args = append(args, "--values="+file)
				}
				out := must(t)(helm(t, args...))
				got := namesOf(objects(t, out))
				want := namesOf(objects(t, strings.ReplaceAll(readFile(t, manifest), namespace, in)))
				delete(want, "/v1, Kind=Namespace /"+in) // Helm's own to create
				for _, part := range off {
					rendered := must(t)(run(t, nil, "go", "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", part))
					for name := range namesOf(objects(t, strings.ReplaceAll(rendered, namespace, in))) {
						delete(want, name)
					}
				}
				if file == everything {
					// It is for a network that enforces policies, and no part of the manifest.
					delete(got, "networking.k8s.io/v1, Kind=NetworkPolicy "+in+"/slipway-manager")
				}
				if extra, missing := difference(got, want), difference(want, got); len(extra)+len(missing) > 0 {
					t.Fatalf("the chart has %q more and lacks %q", extra, missing)
				}
				for name, object := range got {
					sameAsManifest(t, name, object, want[name], file == "")
				}
			})
		}
	}
}

// sameAsManifest holds what the chart made against the manifest. Values are for the operator: how it runs is
// compared where there are none.
func sameAsManifest(t *testing.T, name string, got, want *unstructured.Unstructured, withOperator bool) {
	t.Helper()
	has := got.GetLabels()
	if has["app.kubernetes.io/managed-by"] != "Helm" || has["app.kubernetes.io/instance"] != "slipway" {
		t.Errorf("%s has labels %v", name, has)
	}
	for _, of := range []*unstructured.Unstructured{got, want} {
		unstructured.RemoveNestedField(of.Object, "metadata", "labels")
		unstructured.RemoveNestedField(of.Object, "metadata", "annotations", "helm.sh/resource-policy")
		if !withOperator {
			removeWhatValuesChange(of)
		}
	}
	if d := cmp.Diff(want.Object, got.Object); d != "" {
		t.Errorf("%s: manifest - chart +\n%s", name, d)
	}
}

// removeWhatValuesChange removes from an object what values of the operator change. Other tests are about those.
func removeWhatValuesChange(of *unstructured.Unstructured) {
	switch of.GetKind() {
	case "Deployment":
		unstructured.RemoveNestedField(of.Object, "spec", "template")
		unstructured.RemoveNestedField(of.Object, "spec", "replicas")
	case "ServiceAccount":
		unstructured.RemoveNestedField(of.Object, "metadata", "annotations")
	case "MutatingWebhookConfiguration":
		webhooks, _, _ := unstructured.NestedSlice(of.Object, "webhooks") // a list of objects, by its schema
		for _, w := range webhooks {
			if w, ok := w.(map[string]any); ok {
				delete(w, "namespaceSelector")
			}
		}
		of.Object["webhooks"] = webhooks
	}
}

// difference is the names that are in a and not in b.
func difference(a, b map[string]*unstructured.Unstructured) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(a)), func(name string) bool { return b[name] != nil })
}

// Another namespace is the release's everywhere, and the manifest's nowhere, with every part that there is.
func TestChartIsOfTheReleasesNamespace(t *testing.T) {
	for _, in := range []string{"elsewhere", "default"} {
		const parts = "--set=networkPolicy.enabled=true,prometheus.enabled=true"
		out := must(t)(helm(t, "template", "slipway", chart, "--namespace="+in, parts))
		if strings.Contains(out, namespace) {
			t.Errorf("%s is in\n%s", namespace, out)
		}
		named := namesOf(objects(t, out))
		for name, object := range named {
			if of := object.GetNamespace(); of != "" && of != in {
				t.Errorf("%s is in %s", name, of)
			}
		}
		// The operator is there, and what is an example in the folders of config/ is not.
		for name, want := range map[string]bool{
			"apps/v1, Kind=Deployment " + in + "/slipway-manager":                   true,
			"networking.k8s.io/v1, Kind=NetworkPolicy " + in + "/slipway-manager":   true,
			"networking.k8s.io/v1, Kind=NetworkPolicy " + in + "/slipway-dataplane": false,
		} {
			if got := named[name] != nil; got != want {
				t.Errorf("%s is there: %v", name, got)
			}
		}
	}
}

// managerOf is the manager among rendered objects.
func managerOf(t *testing.T, named map[string]*unstructured.Unstructured) *appsv1.Deployment {
	t.Helper()
	manager := named["apps/v1, Kind=Deployment "+namespace+"/slipway-manager"]
	if manager == nil {
		t.Fatal("there is no manager")
	}
	var deployment appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(manager.Object, &deployment); err != nil {
		t.Fatal(err)
	}
	return &deployment
}

// Every value does what the README says.
func TestChartValues(t *testing.T) {
	all := template(t, "--values="+filepath.Join(chart, "ci", "everything-values.yaml"))
	named := namesOf(all)
	deployment := managerOf(t, named)
	pod, container := deployment.Spec.Template, deployment.Spec.Template.Spec.Containers[0]
	for what, pair := range map[string][2]any{
		"replicas":        {*deployment.Spec.Replicas, int32(3)},
		"image":           {container.Image, "mirror/slipway-manager:v9.9.9"},
		"pull policy":     {string(container.ImagePullPolicy), "Always"},
		"pull secret":     {pod.Spec.ImagePullSecrets[0].Name, "mirror"},
		"requests":        {container.Resources.Requests.Cpu().String(), "50m"},
		"other requests":  {container.Resources.Requests.Memory().String(), "128Mi"},
		"limits":          {container.Resources.Limits.Memory().String(), "1Gi"},
		"node selector":   {pod.Spec.NodeSelector["kubernetes.io/arch"], "amd64"},
		"tolerations":     {string(pod.Spec.Tolerations[0].Operator), "Exists"},
		"affinity":        {pod.Spec.Affinity.NodeAffinity != nil, true},
		"priority":        {pod.Spec.PriorityClassName, "system-cluster-critical"},
		"account":         {named["/v1, Kind=ServiceAccount "+namespace+"/slipway-manager"].GetAnnotations()["example.com/role"], "uploads"},
		"pod user":        {*pod.Spec.SecurityContext.RunAsUser, int64(1000)},
		"own pod context": {*pod.Spec.SecurityContext.RunAsNonRoot, true},
		"group":           {*container.SecurityContext.RunAsGroup, int64(1000)},
		"own context":     {*container.SecurityContext.ReadOnlyRootFilesystem, true},
		"pod annotation":  {pod.Annotations["example.com/team"], "storage"},
		"own annotation":  {pod.Annotations["kubectl.kubernetes.io/default-container"], "manager"},
		"pod label":       {pod.Labels["example.com/team"], "storage"},
		"own label":       {pod.Labels["app.kubernetes.io/component"], "manager"},
		"environment":     {container.Env[len(container.Env)-1].Name, "GOMAXPROCS"},
		"watch namespace": {slices.Contains(container.Args, "--namespace=ml"), true},
		"log level":       {slices.Contains(container.Args, "--log-level=DEBUG"), true},
		"extra argument":  {container.Args[len(container.Args)-1], "--metrics-bind-address=0"},
		"own argument":    {container.Args[0], "--leader-elect"},
		"network policy":  {named["networking.k8s.io/v1, Kind=NetworkPolicy "+namespace+"/slipway-manager"] != nil, true},
		"label":           {deployment.Labels["example.com/team"], "storage"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %v, want %v", what, pair[0], pair[1])
		}
	}
	for _, arg := range container.Args {
		image, found := strings.CutPrefix(arg, "--dataplane-image=")
		if found && !strings.HasPrefix(image, "mirror/slipway-dataplane@sha256:") {
			t.Errorf("the dataplane's image is %s", image)
		}
	}
	for name, object := range named {
		if _, kept := object.GetAnnotations()["helm.sh/resource-policy"]; kept {
			t.Errorf("%s is kept although crd.keep is false", name)
		}
		if object.GetNamespace() == "default" {
			t.Errorf("%s is an example and is installed", name)
		}
	}
}

// What is of no use is left out.
func TestChartParts(t *testing.T) {
	kinds := func(args ...string) map[string]int {
		counts := map[string]int{}
		for _, object := range template(t, args...) {
			counts[object.GetKind()]++
		}
		return counts
	}
	const crd, mutating, validating = "CustomResourceDefinition", "MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"
	for _, test := range []struct {
		args []string
		want [3]bool // CRDs, the mutating policy, the validating one
	}{
		{nil, [3]bool{true, true, true}},
		{[]string{"--set=crd.enabled=false"}, [3]bool{false, true, true}},
		{[]string{"--set=policy.enabled=false"}, [3]bool{true, false, false}},
		{[]string{"--set=policy.mutating=never"}, [3]bool{true, false, true}},
		{[]string{"--api-versions=v1/Pod"}, [3]bool{true, false, true}}, // a cluster that has them off
		{[]string{"--kube-version=1.35.0"}, [3]bool{true, false, true}},
		{[]string{"--kube-version=1.35.0", "--set=policy.mutating=always"}, [3]bool{true, true, true}},
	} {
		has := kinds(test.args...)
		if got := [3]bool{has[crd] > 0, has[mutating] > 0, has[validating] > 0}; got != test.want {
			t.Errorf("%q: CRDs, mutating, validating: %v, want %v", test.args, got, test.want)
		}
	}
}

// The webhook and the port on which it is served go together.
func TestChartWithoutTheWebhook(t *testing.T) {
	for _, on := range []bool{true, false} {
		named := namesOf(template(t, fmt.Sprintf("--set=webhook.enabled=%v", on)))
		_, has := named["admissionregistration.k8s.io/v1, Kind=MutatingWebhookConfiguration /slipway-injection"]
		args := managerOf(t, named).Spec.Template.Spec.Containers[0].Args
		if off := args[len(args)-1] == "--webhook-port=0"; has != on || off == on {
			t.Errorf("enabled %v: there is a configuration: %v; the arguments are %q", on, has, args)
		}
	}
}

// The webhook sees the Pods of the namespace that the operator looks after, and of all without one.
func TestChartsWebhookIsOfTheWatchedNamespace(t *testing.T) {
	for _, watched := range []string{"", "ml"} {
		object := namesOf(template(t, "--set=manager.watchNamespace="+watched))["admissionregistration.k8s.io/v1, Kind=MutatingWebhookConfiguration /slipway-injection"]
		var configuration admissionregistrationv1.MutatingWebhookConfiguration
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &configuration); err != nil {
			t.Fatal(err)
		}
		for _, webhook := range configuration.Webhooks {
			selector, err := metav1.LabelSelectorAsSelector(webhook.NamespaceSelector)
			if err != nil {
				t.Fatal(err)
			}
			for of, want := range map[string]bool{"ml": true, "other": watched == "", "kube-system": false, namespace: false} {
				if got := selector.Matches(labels.Set{corev1.LabelMetadataName: of}); got != want {
					t.Errorf("watching %q, the webhook sees Pods of %s: %v, want %v", watched, of, got, want)
				}
			}
		}
	}
}

// The schema refuses what would not work, and says which value it is.
func TestChartRefusesBadValues(t *testing.T) {
	for _, test := range []struct{ set, says string }{
		{"managr.replicas=2", "managr"},
		{"manager.replica=2", "replica"},
		{"manager.replicas=-1", "replicas"},
		{"manager.replicas=two", "replicas"},
		{"manager.image.tag=a:b", "tag"},
		{"manager.image.digest=9f86", "digest"},
		{"manager.image.repository=", "repository"},
		{"manager.image.pullPolicy=Sometimes", "pullPolicy"},
		{"manager.logLevel=LOUD", "logLevel"},
		{"manager.watchNamespace=Not_A_Name", "watchNamespace"},
		{"manager.extraArgs={leader-elect}", "extraArgs"},
		{"dataplane.image.pullPolicy=Always", "pullPolicy"},
		{"crd.keep=perhaps", "keep"},
		{"policy.mutating=yes", "mutating"},
	} {
		_, err := helm(t, "template", "slipway", chart, "--set="+test.set)
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "schema") {
			t.Errorf("%s: %v, want the schema's refusal of %s", test.set, err, test.says)
		}
	}
	if _, err := helm(t, "template", "slipway", chart, "--kube-version=1.34.0"); err == nil {
		t.Error("Kubernetes 1.34 is taken, which is not supported")
	}
}

// A real API server takes what the chart makes of each set of values, and a
// release comes, changes, goes and comes back without losing a session.
func TestChartInstalls(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.must("create", "namespace", namespace)
	for _, file := range valueSets(t) {
		rendered := must(t)(helm(t, "template", "slipway", chart, "--namespace="+namespace, "--values="+file))
		if out, err := c.kubectl(rendered, "apply", "--server-side", "--dry-run=server", "--filename=-"); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}

	release := []string{"slipway", chart, "--namespace=" + namespace}
	c.helm(append([]string{"install"}, release...)...)
	c.must("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
	c.ownerIsStamped()
	c.must("apply", "--kustomize=config/samples")
	before := c.must("get", "uploadsessions", "--output=name")

	c.helm(append([]string{"upgrade", "--set=manager.replicas=3"}, release...)...)
	if replicas := c.must("get", "deployment/slipway-manager", "--namespace="+namespace, "--output=jsonpath={.spec.replicas}"); replicas != "3" {
		t.Errorf("%s replicas after the upgrade", replicas)
	}
	c.helm("uninstall", "slipway", "--namespace="+namespace)
	for _, object := range template(t) {
		if there := c.exists(object); there != (object.GetKind() == "CustomResourceDefinition") {
			t.Errorf("after uninstall, %s is there: %v", identity(object), there)
		}
	}
	c.helm(append([]string{"install"}, release...)...)
	if after := c.must("get", "uploadsessions", "--output=name"); after != before {
		t.Errorf("sessions are %q, were %q", after, before)
	}
}
