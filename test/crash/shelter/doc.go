// Package shelter runs a test process in namespaces and a temporary folder of
// its own, so that nothing of it is left however it ends: by a panic, a timeout
// or a signal. When the process is gone the kernel ends whatever it started,
// and takes away what it mounted.
//
// What may not enter: anything that the tests themselves do.
package shelter
