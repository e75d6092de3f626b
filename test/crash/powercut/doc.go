// Package powercut cuts the power under the dataplane as it ships: it runs on
// powerfs, under the load of rig, and goes on with what survived. Every promise
// is checked after each cut. The same program on a disk that ignores a kind of
// sync, or those of one place, has to fail, at once: without that it would prove
// nothing. That is make toothless.
package powercut
