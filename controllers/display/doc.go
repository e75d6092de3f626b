// Package display makes short what kubectl get shows of a resource. A printer column can't be cut, so the operator
// keeps in status.display what the columns show: a long key of one session would make the table of all too wide to read.
//
// The room is pure, and knows no kind.
package display
