// Package deletion proves what a deletion does to a Managed store and to who uploads to it, against Kubernetes' own
// garbage collector and controllers of namespaces and StatefulSets. The operator runs as config/default deploys it; the
// dataplane is the real program, run by a kubelet of a few lines for as long as its Pod is there and with no right more
// than its Pod has.
//
// That the collector has acted is seen from objects of the test's own, which the store owns.
// Nothing waits for time to pass.
package deletion
