package scale

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// reconciles reads how often each controller of a process has reconciled.
func reconciles(ctx context.Context, url string) (map[string]int, error) {
	families, err := scrape(ctx, http.DefaultClient, url)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, m := range families["controller_runtime_reconcile_total"].GetMetric() {
		counts[label(m, "controller")] += int(m.GetCounter().GetValue())
	}
	return counts, nil
}

// etcdWrites reads how often the API server has written or deleted objects of
// one of Slipway's resources in etcd since it began, conflicts among them.
func etcdWrites(ctx context.Context, config *rest.Config, resource string) (int, error) {
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return 0, err
	}
	families, err := scrape(ctx, transport, strings.TrimRight(config.Host, "/")+"/metrics")
	if err != nil {
		return 0, err
	}
	return countEtcd(families, resource), nil
}

// scrape reads the metrics that a URL serves.
func scrape(ctx context.Context, by *http.Client, url string) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := by.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() // it is read to its end
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	families, err := parse(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	return families, nil
}

func countEtcd(families map[string]*dto.MetricFamily, resource string) int {
	count := 0
	for _, m := range families["etcd_requests_total"].GetMetric() {
		switch label(m, "operation") {
		case "create", "update", "delete":
			if label(m, "resource") == resource && label(m, "group") == v1alpha1.GroupVersion.Group {
				count += int(m.GetCounter().GetValue())
			}
		}
	}
	return count
}

func parse(text io.Reader) (map[string]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(text)
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
