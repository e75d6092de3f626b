// Package heartbeat reads the Lease by which a dataplane replica shows that it
// is alive, where it is and what its volume holds.
//
// The room is pure: it is handed Leases, and reads and writes none.
package heartbeat
