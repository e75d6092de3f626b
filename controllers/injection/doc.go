// Package injection adds the dataplane of a store to a Pod that asks for it, as
// a native sidecar: an init container that goes on running beside the Pod's own.
//
// Inject decides purely, from the Pod and its store as they are; Handler is the
// webhook that shows it each Pod. A Pod is changed before it exists and never
// after, so nothing here may write to the API server.
package injection
