// Package api tests what the API server makes of the types in api/v1alpha1:
// every rule with an example that it accepts and one that it refuses, defaults,
// selectable fields, printer columns and the samples. The tests run against a
// real kube-apiserver; no code but theirs is in this room.
package api
