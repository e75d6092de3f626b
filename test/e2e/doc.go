// Package e2e is the end-to-end suite: it installs Slipway on a real cluster,
// the one of KUBECONFIG, and does there what users do and what befalls them.
// `make test-e2e` runs it; docs/e2e.md says how.
//
// Each spec has a namespace of its own and may run beside the others, but for
// those that are Serial because the whole cluster feels them. The suite knows no
// cluster in particular: what one of them can't do is skipped, with the reason.
// Only package agent runs in the cluster.
package e2e
