// Package door is where connections come in: how many there may be at once, how
// many of them speak HTTP/2, and which one gives way to a newcomer.
//
// What a connection takes is bounded by the kernel and by package chunkapi; so
// a bound on connections is one on memory. A server that has its most connections
// still serves: those on which nobody asks for anything give way, the
// longest silent first. So whoever opens connections and says nothing locks nobody out.
//
// What may not enter: what is said on a connection, and certificates.
package door
