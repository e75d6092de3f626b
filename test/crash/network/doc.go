// Package network breaks the connections between clients and the dataplane:
// cut at each class of byte position, by a close or by a reset, stalled half
// way, trickled, duplicated, overtaken by a retry, half closed. After each, no
// request hangs beyond its bound, what is held is right, and the upload
// completes.
//
// And it besieges the dataplane: tricklers hold every slot with a few bytes a
// second, strangers without credentials every connection that is left. Beside
// them uploads go on, within a bound, and are published.
//
// The Proxy that stands in the way is our own: where it cuts is said in terms
// of the request and its reply (the last byte of the body, the first of the
// reply), which proxies that count the bytes of a connection, such as
// toxiproxy, can't tell.
package network
