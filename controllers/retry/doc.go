// Package retry is how soon a reconciler tries again what failed.
//
// Every controller has its limiter from here. What is to be tried again, or that
// nothing can come of it, may not enter.
package retry
