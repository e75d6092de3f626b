// Package auth is the words for who calls the dataplane and what they may do: a
// Caller asks for an Action, and a Gate lets them or not. The rooms below it are
// gates for real credentials.
//
// What may not enter: HTTP routes and problems (they are package chunkapi's),
// Kubernetes and cryptography (they belong to the rooms below).
package auth
