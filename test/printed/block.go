package printed

import (
	"fmt"
	"os"
	"strings"
)

// Block returns the one fenced block of a Markdown file that contains the words, without its fences.
func Block(path, words string) (string, error) {
	page, err := os.ReadFile(path) //nolint:gosec // a document of this repository
	if err != nil {
		return "", err
	}
	found := ""
	for i, block := range strings.Split(string(page), "```") {
		// Every other part is a block, after the name of its language.
		if _, block, _ = strings.Cut(block, "\n"); i%2 == 0 || !strings.Contains(block, words) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("%s prints %q in two blocks", path, words)
		}
		found = block
	}
	if found == "" {
		return "", fmt.Errorf("%s prints %q in no block", path, words)
	}
	return found, nil
}
