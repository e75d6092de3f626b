// Package liveness tells whether a dataplane replica is alive, by its Lease. It is the one rule of the operator and of
// the dataplanes.
//
// What a Lease says of times is by the clock of whoever wrote it. No two clocks agree, and each may be set while it
// runs. So an Observer counts as leader election does: a replica is alive for as long as its Lease says, from when this
// process saw the Lease change, by a clock that nobody sets. On Linux that clock stands still while the machine
// sleeps. Then a replica that died meanwhile is found dead later, by as long as the machine slept, and one that is
// alive is not found dead.
//
// Of a Lease that this process has not seen change yet, it can't tell. One that was renewed lately by the clock at hand
// counts as alive, as most are, for as long as the Lease says from that first sight. Any other is in doubt for as long:
// nothing is decided by it that can't be taken back, and then its replica is not alive. So the clock is trusted for one
// thing, that a replica is alive, and for one duration of a Lease.
//
// The package holds no client. What may not enter: reading and writing of Leases, and what follows of a replica's end.
package liveness
