// Package faults fails and delays every file operation, by name and in turn,
// under the dataplane as it ships. Each fault gives the code that
// docs/protocol.md says, loses nothing that was acknowledged, is never taken for a success, and
// passes: what is left of an upload completes once the fault is gone. And a
// real filesystem fills up.
//
// After each fault the power is cut: a sync that failed and was taken for a
// success later is found out by what is missing then.
package faults
