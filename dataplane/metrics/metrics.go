package metrics

import "github.com/prometheus/client_golang/prometheus"

// Metrics is all of them, each part for who tells it.
type Metrics struct {
	HTTP    *HTTP
	Volume  *Volume
	Uploads *Uploads
	Cluster *Cluster
}

// New makes the metrics and registers them.
func New(registry prometheus.Registerer) *Metrics {
	return &Metrics{
		HTTP:    NewHTTP(registry),
		Volume:  NewVolume(registry),
		Uploads: NewUploads(registry),
		Cluster: NewCluster(registry),
	}
}

// register has the registry, which may be nil, ask the collectors.
func register(registry prometheus.Registerer, collectors ...prometheus.Collector) {
	if registry != nil {
		registry.MustRegister(collectors...)
	}
}

const prefix = "slipway_dataplane_"
