package session

import (
	"fmt"
	"strings"
	"unicode"
)

const (
	// MaxName bounds a name in bytes.
	MaxName = 1024
	// MaxNameElement bounds each element of a name in bytes.
	MaxNameElement = 255
	// ReservedElement can't be the first element of a name: it is where sinks keep what is staged.
	ReservedElement = ".slipway"
)

// CheckName returns nil for a name that may be published under: a relative
// slash-separated path of valid UTF-8, at most MaxName bytes, each element at
// most MaxNameElement bytes and none empty, '.' or '..', without backslash and
// what is not to be shown (control characters, line and paragraph separators, direction
// marks, and U+FFFD, which stands for bytes that were no text), and not below ReservedElement, in whatever
// case. Otherwise ErrUnusableName. The CRD has the same rule. Two names that differ by case or by Unicode normalisation
// only are two names; whether they are also two files is up to the volume.
func CheckName(name string) error {
	refuse := func(why string) error { return fmt.Errorf("%w: %q %s", ErrUnusableName, name, why) }
	switch {
	case name == "":
		return refuse("is empty")
	case len(name) > MaxName:
		return fmt.Errorf("%w: it is longer than %d bytes", ErrUnusableName, MaxName)
	case strings.ToValidUTF8(name, "") != name:
		return refuse("is not valid UTF-8")
	}
	for _, r := range name {
		if r == '\\' || isNotShown(r) {
			return refuse("has a control character, a line separator, a direction mark, U+FFFD or a backslash")
		}
	}
	elements := strings.Split(name, "/")
	for _, e := range elements {
		if e == "" || e == "." || e == ".." {
			return refuse("has an empty, '.' or '..' element")
		}
		if len(e) > MaxNameElement {
			return refuse(fmt.Sprintf("has an element of more than %d bytes", MaxNameElement))
		}
	}
	// A filesystem that ignores case takes it for the directory of that name.
	if strings.EqualFold(elements[0], ReservedElement) {
		return refuse("is reserved")
	}
	return nil
}

// isNotShown reports whether a character makes a terminal obey, breaks a line, turns the direction of
// what comes after it, or stands for what was lost.
func isNotShown(r rune) bool {
	return r == unicode.ReplacementChar || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}
