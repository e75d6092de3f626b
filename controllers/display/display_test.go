package display_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/slipway-dev/slipway/controllers/display"
)

func TestALongNameShowsBothItsEnds(t *testing.T) {
	for name, want := range map[string]string{
		"":                 "",
		"llama/model.gguf": "llama/model.gguf",
		"llama/models/3.1/8b/instruct/model.ggufs":                 "llama/models/3.1/8b/instruct/model.ggufs",
		"llama/models/3.1/8b/instruct/v2/model.gguf":               "llama/models…8b/instruct/v2/model.gguf",
		"system:serviceaccount:machine-learning:nightly-trainer-7": "system:servi…earning:nightly-trainer-7",
		strings.Repeat("€", 13):                                    strings.Repeat("€", 13),
		strings.Repeat("€", 14):                                    strings.Repeat("€", 4) + "…" + strings.Repeat("€", 8),
		strings.Repeat("aé", 14):                                   strings.Repeat("aé", 4) + "…" + strings.Repeat("aé", 8),
	} {
		if got := display.Name(name); got != want {
			t.Errorf("%q is shown as %q, want %q", name, got, want)
		}
	}
}

func TestALongMessageShowsItsBeginning(t *testing.T) {
	for message, want := range map[string]string{
		"":                       "",
		strings.Repeat("a", 100): strings.Repeat("a", 100),
		strings.Repeat("a", 101): strings.Repeat("a", 97) + "…",
		strings.Repeat("€", 34):  strings.Repeat("€", 32) + "…",
	} {
		if got := display.Message(message); got != want {
			t.Errorf("%q is shown as %q, want %q", message, got, want)
		}
	}
}

// Whatever the text: what is shown is bounded, is text where it was text, and stays as it is when it is shown again.
func TestWhatIsShownIsBoundedText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 300, -1).Draw(t, "text")
		for _, of := range []struct {
			show func(string) string
			most int
		}{{display.Name, display.MaxName}, {display.Message, display.MaxMessage}} {
			got := of.show(text)
			if len(got) > of.most || !utf8.ValidString(got) {
				t.Errorf("%q has %d bytes of %d", got, len(got), of.most)
			}
			if again := of.show(got); again != got {
				t.Errorf("%q is shown as %q again", got, again)
			}
			if (got == text) != (len(text) <= of.most) {
				t.Errorf("%q is shown as %q", text, got)
			}
		}
	})
}
