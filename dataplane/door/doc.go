// Package door is where connections come in: how many there may be at once, how
// many of them speak HTTP/2, and which one gives way to a newcomer.
//
// What a connection takes is bounded by the kernel and by package chunkapi; so
// a bound on connections is one on memory. A server that has its most connections
// still serves: a connection stays only while somebody is served on it of whom it is known who they
// are. All others give way, those first whose request was refused, then the longest without one that
// began. So whoever opens connections locks nobody out, whatever they say on them or do not say.
//
// What may not enter: what is said on a connection, and certificates.
package door
