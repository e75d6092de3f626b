// Package sinktest is the suite that every sink must pass: what each sentence
// of session.ByteSink and session.Publisher promises, with sinks that are
// closed, abandoned and killed in between.
//
// The room holds tests of the interfaces alone. Run is the conformance suite,
// with what it needs to know of a sink in Volume; Main and RunKilled kill a
// process again and again while it works, and look whether everything that it
// had acknowledged is there.
//
// What may not enter: what only one sink can do or have, such as files,
// symbolic links or a full filesystem. That is tested beside the sink.
package sinktest
