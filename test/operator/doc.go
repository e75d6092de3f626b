// Package operator proves the operator against a real API server: its tests
// step the reconcilers by hand with a fake clock, through a client that reads
// what is there, and play the dataplane themselves. Nothing sleeps. One spec
// runs the real manager, for the watches, the index and the cache.
package operator
