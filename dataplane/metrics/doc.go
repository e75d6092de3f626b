// Package metrics is what a dataplane counts and measures: its names, its
// labels, and the values that these take. Whoever has something to tell calls a
// method; what is told often has its series resolved when the process starts.
//
// Labels are of few values, known beforehand: no session, no owner and no client
// is ever one. The store and the replica are the target's, and come with the scrape.
//
// What may not enter: HTTP, Kubernetes, and any decision that depends on what was counted.
package metrics
