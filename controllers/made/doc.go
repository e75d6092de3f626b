// Package made tells what the operator has made in a namespace from what somebody made beforehand under its names and
// with its labels, which anybody may write who may create such objects at all.
//
// The room is pure: a client may not enter, nor what is in the objects but for certificates.
package made
