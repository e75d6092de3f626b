// Package delegated is the gate that asks the API server: who a token belongs to
// (TokenReview) and what they may do (SubjectAccessReview), through the delegating
// authenticator and authorizer that Kubernetes' own servers use, caches and all.
//
// What may not enter: HTTP routes and problems (they are package chunkapi's), any
// rule of our own about who may do what, and any other credential.
package delegated
