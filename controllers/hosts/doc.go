// Package hosts knows the hosts of a store's dataplane: what its certificate is for, and where a client may be sent.
//
// The room is pure. Certificates may not enter, nor what a replica says of itself.
package hosts
