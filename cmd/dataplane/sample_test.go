package main

import (
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// The Pod of config/samples/sidecar starts with the flags that it gives.
func TestTheSampleStarts(t *testing.T) {
	file, err := os.ReadFile("../../config/samples/sidecar/pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(file, &pod); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, arg := range pod.Spec.InitContainers[0].Args {
		args = append(args, strings.ReplaceAll(arg, "$(NAMESPACE)", "ml"))
	}
	o, err := parse(t, append(args, "--insecure-no-auth=false")...)
	if err != nil {
		t.Fatal(err)
	}
	if o.insecureNoAuth || o.namespace != "ml" || o.store != "models" {
		t.Errorf("options: %+v", o)
	}
}
