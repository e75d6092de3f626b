// Package prometheus has the tests of config/prometheus: that each object is what
// its kind allows, that the alert rules fire where they should and not where
// they should not, and that rules and dashboard ask for metrics that there are.
//
// It is a module of its own because of what promtool needs; hack/verify-prometheus.sh runs it.
package prometheus
