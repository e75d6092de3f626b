package conditions

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAMessageIsBoundedAndStaysText(t *testing.T) {
	for _, test := range []struct {
		name, message string
		cut           bool
	}{
		{"nothing", "", false},
		{"as long as can be", strings.Repeat("a", MaxMessageBytes), false},
		{"one byte more", strings.Repeat("a", MaxMessageBytes+1), true},
		{"cut in the middle of a letter", strings.Repeat("\u20ac", MaxMessageBytes), true},
	} {
		got := Bounded(test.message)
		if len(got) > MaxMessageBytes || !utf8.ValidString(got) {
			t.Errorf("%s: %d bytes, of text: %v", test.name, len(got), utf8.ValidString(got))
		}
		if cut := got != test.message; cut != test.cut || cut && !strings.HasSuffix(got, "...") {
			t.Errorf("%s: cut %v, want %v", test.name, cut, test.cut)
		}
	}
}
