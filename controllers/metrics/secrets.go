package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Secrets tells in which namespaces a Secret of somebody else's is in the way of the operator's. It is safe for concurrent use.
type Secrets struct{ inTheWay *prometheus.GaugeVec }

// NewSecrets makes the gauge and registers it; with a nil registry nobody sees it.
func NewSecrets(registry prometheus.Registerer) *Secrets {
	return &Secrets{inTheWay: promauto.With(registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "slipway_secret_in_the_way",
		Help: "1 where a Secret that is not Slipway's, or can't be written, keeps the stores of a namespace from having keys and certificates; otherwise there is none.",
	}, []string{"namespace"})}
}

// InTheWay takes whether there is such a Secret in a namespace.
func (s *Secrets) InTheWay(namespace string, is bool) {
	if is {
		s.inTheWay.WithLabelValues(namespace).Set(1)
		return
	}
	s.inTheWay.DeleteLabelValues(namespace)
}
