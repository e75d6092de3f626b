package main

import (
	"crypto/tls"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	controllermetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/slipway-dev/slipway/dataplane/metrics"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// meters is what this dataplane counts and who is asked for it.
type meters struct {
	*metrics.Metrics
	registry *prometheus.Registry
}

func newMeters() meters {
	registry := prometheus.NewRegistry()
	return meters{metrics.New(registry), registry}
}

// handler serves the metrics, and controller-runtime's own: what the process
// takes, and how its reconciles go.
func (m meters) handler() http.Handler {
	return promhttp.HandlerFor(prometheus.Gatherers{controllermetrics.Registry, m.registry}, promhttp.HandlerOpts{})
}

// ended counts an upload that ended.
func (m meters) ended(st upload.Status) {
	var published int64
	if st.Result.Reason == upload.Published {
		published = st.Grant.Size
	}
	m.Uploads.Ended(string(st.Result.Reason), published)
}

// recovered is told how long it took to take up the volume, whose sessions are counted from now on.
func (m meters) recovered(core *session.Service, took time.Duration) {
	ask := func() metrics.Census { return census(core) }
	now := ask()
	m.Uploads.Recovered(now.Open+now.Sealed+now.Ended, took)
	m.Uploads.Watch(ask)
}

func census(core *session.Service) metrics.Census {
	var c metrics.Census
	for m := range core.All(session.Everyone) {
		switch {
		case m.State.Ended():
			c.Ended++
			continue
		case m.State == session.Sealed:
			c.Sealed++
		default:
			c.Open++
		}
		c.HeldBytes += m.HeldBytes
	}
	return c
}

// follow has each scrape ask when the certificate runs out, where there is one.
func (m meters) follow(i identity) {
	if !i.secure() {
		return
	}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "slipway_dataplane_certificate_expiration_timestamp_seconds",
		Help: "When the certificate that clients are shown runs out, in seconds since the epoch.",
	}, func() float64 {
		certificate, err := i.watcher.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil || certificate.Leaf == nil {
			return 0
		}
		return float64(certificate.Leaf.NotAfter.Unix())
	}))
}
