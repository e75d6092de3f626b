// Package kill kills the dataplane with SIGKILL at random moments, under load
// and while it recovers, again and again, and checks after each restart that
// every promise still holds. A watcher reads the keys all the while.
package kill
