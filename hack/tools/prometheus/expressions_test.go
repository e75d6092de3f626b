package prometheus

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// ofControllers are metrics that controller-runtime has.
var ofControllers = []string{"controller_runtime_reconcile_errors_total"}

// documented are the metrics that docs/observability.md names; the tests of the
// operator and the dataplane see to it that these are those that there are.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, name := range regexp.MustCompile("(?m)^\\| `(slipway_[a-z_]+)").FindAllStringSubmatch(string(read(t, "../../docs/observability.md")), -1) {
		names[name[1]] = true
	}
	if len(names) < 20 {
		t.Fatalf("only %d metrics are documented", len(names))
	}
	for _, name := range ofControllers {
		names[name] = true
	}
	return names
}

// check parses an expression and looks for its metrics.
func check(t *testing.T, where, expr string, metrics map[string]bool) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v\n%s", where, err, expr)
		return
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if ok && !metrics[selector.Name] && !metrics[strings.TrimSuffix(selector.Name, "_bucket")] {
			t.Errorf("%s: there is no metric %q", where, selector.Name)
		}
		return nil
	})
}

func TestRulesUseMetricsThatThereAre(t *testing.T) {
	metrics := documented(t)
	for _, group := range rules(t).Groups {
		for _, rule := range group.Rules {
			check(t, rule.Alert, rule.Expr.String(), metrics)
		}
	}
}

func TestDashboardUsesMetricsThatThereAre(t *testing.T) {
	var dashboard struct {
		UID, Title string
		Panels     []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "dashboard/slipway.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.UID == "" || dashboard.Title == "" {
		t.Error("the dashboard has no name")
	}
	metrics, seen := documented(t), 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			seen++
			check(t, panel.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"), metrics)
		}
	}
	if seen < 20 {
		t.Errorf("only %d expressions were found", seen)
	}
}
