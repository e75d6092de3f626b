// Package heartbeat reads the Lease by which a dataplane replica tells where it
// is and what its volume holds. Whether it is alive is the room liveness.
//
// The room is pure: it is handed Leases, and reads and writes none.
package heartbeat
