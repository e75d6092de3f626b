package api_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	core "github.com/slipway-dev/slipway/dataplane/session"
)

// TestTextIsTheSameEverywhere holds the rules of the CRD for what a text may not have to each other, and to that
// of the dataplane: character by character.
func TestTextIsTheSameEverywhere(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "uploads.slipway.dev_uploadsessions.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// The rules are CEL's raw strings, whose expressions are Go's.
	var rules []string
	for _, found := range regexp.MustCompile(`!self\.matches\(r'+(\[[^']+\])'+\)`).FindAllStringSubmatch(string(content), -1) {
		rules = append(rules, found[1])
	}
	slices.Sort(rules)
	rules = slices.Compact(rules)
	if len(rules) != 2 {
		t.Fatalf("the CRD has the rules %q, want one with a backslash, of keys, and one without, of owners and attributes", rules)
	}
	for _, rule := range rules {
		refused := regexp.MustCompile(rule)
		isKey := strings.HasSuffix(rule, `\\]`)
		for r := range rune(unicode.MaxRune + 1) {
			if r >= 0xd800 && r < 0xe000 || r == '/' || r == '\\' && !isKey { // no characters, and what only a key is about
				continue
			}
			if ok := core.CheckName("a"+string(r)+"b") == nil; ok == refused.MatchString(string(r)) {
				t.Errorf("%U: %q refuses it: %v; the dataplane takes it: %v", r, rule, refused.MatchString(string(r)), ok)
			}
		}
	}
}
