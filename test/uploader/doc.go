// Package uploader sends the chunks of an object to one session, in random
// order and in parallel, and knows nothing but the chunk protocol. The story and
// the end-to-end suite upload with it.
//
// What may not enter: Kubernetes, and how a caller comes by an endpoint,
// certificates and a token.
package uploader
