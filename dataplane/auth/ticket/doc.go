// Package ticket makes tickets and lets in who holds one: a ticket lets whoever
// has it do a few things with one session for a while (see auth.Ticket), and needs no
// account in the cluster.
//
// A ticket is "slt_" and a JWT (RFC 7519) in compact form, signed with HMAC-SHA-256 by a key
// of the store. It is kept nowhere: whoever has the keys can check it. The keys are in a file, as a
// mounted Secret gives them; package api/v1alpha1 has the same shape for whoever writes it.
//
// What may not enter: HTTP routes and problems (they are package chunkapi's), and
// Kubernetes. No part of a ticket and of a key may be in an error or in the log.
package ticket
