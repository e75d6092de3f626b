// Package injection proves the webhook that injects sidecars: a real API server
// calls two replicas of the operator, over TLS, as config/default deploys them
// and with no right more. What a Pod becomes in detail is tested beside the code.
package injection
