package prometheus

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// promtool itself judges the rules that are deployed, and nothing that was copied from them.
func TestPromtoolPassesTheRules(t *testing.T) {
	dir := t.TempDir()
	spec, err := yaml.Marshal(rules(t))
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{"rules.yaml": spec, "tests.yaml": read(t, "tests/rules.yaml")} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// go tool would build it with every way to discover targets in clouds, which are most of it.
	promtool := filepath.Join(dir, "promtool")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "remove_all_sd", "-o", promtool, "github.com/prometheus/prometheus/cmd/promtool")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build promtool: %v\n%s", err, out)
	}
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", filepath.Join(dir, "rules.yaml")},
		{"test", "rules", filepath.Join(dir, "tests.yaml")},
	} {
		out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args[:2], " "), err, out)
		}
	}
}

// Each alert has a test that it fires and one that it is quiet, and tells people what to do.
func TestEveryAlertIsTestedAndExplained(t *testing.T) {
	tests, docs := string(read(t, "tests/rules.yaml")), string(read(t, "../../docs/observability.md"))
	for _, group := range rules(t).Groups {
		for _, rule := range group.Rules {
			for _, want := range []string{rule.Alert + " fires\n", rule.Alert + " is quiet\n"} {
				if !strings.Contains(tests, "- name: "+want) {
					t.Errorf("there is no test %q", want)
				}
			}
			for _, annotation := range []string{"summary", "description"} {
				if rule.Annotations[annotation] == "" {
					t.Errorf("%s has no %s", rule.Alert, annotation)
				}
			}
			if !strings.HasSuffix(rule.Annotations["runbook_url"], "/docs/observability.md#"+strings.ToLower(rule.Alert)) ||
				!strings.Contains(docs, "\n### "+rule.Alert+"\n") {
				t.Errorf("%s has no runbook", rule.Alert)
			}
		}
	}
}
