// Package story is the main job of Slipway told with real processes on
// loopback: a control plane, the manager and the dataplane are started, a real
// file goes up, the dataplane is killed half way and started again, what is
// missing is sent, and the object is there.
//
// `make demo` tells it to a person, `make run` leaves its processes running,
// and this package's test tells it to nobody and looks at what comes out: one
// story, so that the demo can't rot.
package story
