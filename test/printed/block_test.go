package printed_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-dev/slipway/test/printed"
)

func TestBlock(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	const text = "one\n```\nmake one\nmake both\n```\nmake none\n```yaml\ntwo: make both\n```\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{"make one": "make one\nmake both\n", "two:": "two: make both\n", "make both": "", "make none": ""} {
		if got, err := printed.Block(page, words); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", words, got, err)
		}
	}
}
