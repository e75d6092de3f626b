// Package metrics is what the operator counts and measures: its names, its
// labels, and the values that these take.
//
// Transitions are counted by the reconcilers when the write that made them has
// succeeded. How things stand is read from the cache at each scrape, by the
// process that leads alone, so that nothing is counted twice and what is gone
// is gone from the metrics too.
//
// Labels are of few values: namespaces, stores and quotas that there are, and
// reasons of the API. No session, no owner, and nothing that a user merely wrote
// into a spec is ever one.
//
// The room decides nothing and writes nothing.
package metrics
