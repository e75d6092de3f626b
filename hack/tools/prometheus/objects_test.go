package prometheus

import (
	"os"
	"path/filepath"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

const config = "../../../config/prometheus"

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(config, file))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// The Prometheus operator's own types know every field.
func TestObjectsAreValid(t *testing.T) {
	for file, object := range map[string]interface{ GetName() string }{
		"manager_monitor.yaml":   &monitoringv1.ServiceMonitor{},
		"dataplane_monitor.yaml": &monitoringv1.PodMonitor{},
		"rules.yaml":             &monitoringv1.PrometheusRule{},
	} {
		if err := yaml.UnmarshalStrict(read(t, file), object); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if object.GetName() == "" {
			t.Errorf("%s has no name", file)
		}
	}
}

func rules(t *testing.T) monitoringv1.PrometheusRuleSpec {
	t.Helper()
	var rule monitoringv1.PrometheusRule
	if err := yaml.UnmarshalStrict(read(t, "rules.yaml"), &rule); err != nil {
		t.Fatal(err)
	}
	return rule.Spec
}
