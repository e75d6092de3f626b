package display

import "unicode/utf8"

// kubectl makes a column as wide as its longest value has bytes, whatever a terminal makes of them.
const (
	// MaxName bounds a key, an owner, a claim or an endpoint, in bytes.
	MaxName = 40
	// MaxMessage bounds a message, in bytes.
	MaxMessage = 100
)

const (
	omitted = "…"
	// head is how much of a long name's beginning is shown, in bytes. What tells names apart is mostly at their end,
	// such as a file's name.
	head = 12
)

// Name returns a name of at most MaxName bytes: the name itself, or both its ends with "…" between them. What it
// returned it returns as it is.
func Name(name string) string {
	if len(name) <= MaxName {
		return name
	}
	tail := len(name) - (MaxName - head - len(omitted))
	for tail < len(name) && !utf8.RuneStart(name[tail]) {
		tail++
	}
	return first(name, head) + omitted + name[tail:]
}

// Message returns a message of at most MaxMessage bytes: the message itself, or its beginning and "…".
func Message(message string) string {
	if len(message) <= MaxMessage {
		return message
	}
	return first(message, MaxMessage-len(omitted)) + omitted
}

// first is the beginning of a text that has more than n bytes: as many whole characters as n bytes have room for.
func first(text string, n int) string {
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
