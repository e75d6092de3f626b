// Package cached says what the operator's cache keeps of the objects that others write: what is read, and
// nothing else that can be large. What a user puts into annotations, labels, keys and attributes takes no memory
// of the operator.
//
// A field that a reconciler begins to read must not be left out here. Nothing may write a whole object back
// that came out of the cache; the reconcilers apply configurations and patches.
package cached
