// Package managed is what a Managed store consists of: the objects that the
// operator keeps for it, and whether one of them is as it should be.
//
// It is pure. What it returns depends on the store and the operator's options
// alone; a client, a clock, the state of a cluster or a decision about it may
// not enter.
package managed
