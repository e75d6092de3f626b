// Package conditions holds what every reconciler does with conditions: pick
// its own, and turn them into what server-side apply takes.
//
// The room is pure, and knows no kind and no reason.
package conditions
