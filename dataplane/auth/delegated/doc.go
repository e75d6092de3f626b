// Package delegated is the gate that asks the API server: who a token belongs to (TokenReview), through the delegating
// authenticator that Kubernetes' own servers use, and what they may do (LocalSubjectAccessReview) in the namespace of the
// gate's store, and in no other. Answers are kept for a while.
//
// What may not enter: HTTP routes and problems (they are package chunkapi's), any
// rule of our own about who may do what, and any other credential.
package delegated
