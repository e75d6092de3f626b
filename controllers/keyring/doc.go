// Package keyring reconciles the keys and certificates of each namespace with
// an UploadStore: the Secret slipway-ca with the namespace's own CA, and the
// Secret slipway-dataplane with the bundle of CAs to trust, a certificate for
// each store and the keys of its tickets. It makes, rotates and repairs them,
// such that no client and no replica that is a little behind notices.
//
// A reconcile gathers all reads into an observation (observe.go), decides
// purely (plan.go; authority.go, leaf.go and tickets.go have the rules) and then
// writes (apply.go). Reads bypass the cache: the operator may read the two
// Secrets by name and can neither list nor watch any.
//
// WebhookKeeper (keeper.go, webhook.go) keeps the certificate of the operator's own
// webhook by the same rules, in a Secret of the operator's namespace and in what
// the API server is told to trust.
//
// What a dataplane does with its files, and how clients find the bundle, may
// not enter.
package keyring
