package story

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var updateAccess = flag.Bool("update", false, "write the table of docs/security.md down as the calls are answered now")

// The page, and the lines around the table in it.
const (
	securityPage = "docs/security.md"
	tableBegins  = "<!-- Each cell is what TestAccess gets. -->\n"
	tableEnds    = "<!-- The end of what TestAccess gets. -->\n"
)

// accessTable is who gets what: the status of each call's reply, by its column.
type accessTable struct {
	columns []string
	rows    []accessRow
}

type accessRow struct {
	who   string
	cells []string
}

// String is the table as the page has it.
func (a accessTable) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| who calls | %s |\n|%s\n", strings.Join(a.columns, " | "), strings.Repeat(" --- |", len(a.columns)+1))
	for _, r := range a.rows {
		fmt.Fprintf(&b, "| %s | %s |\n", r.who, strings.Join(r.cells, " | "))
	}
	return b.String()
}

// compare holds the page to the table.
func (a accessTable) compare(t *testing.T) {
	t.Helper()
	path := filepath.Join(repository, securityPage)
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(page), tableBegins)
	promised, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		t.Fatalf("%s has no place for the table", securityPage)
	}
	got := a.String()
	if *updateAccess {
		if err := os.WriteFile(path, []byte(before+tableBegins+got+tableEnds+after), 0o644); err != nil { //nolint:gosec // a page is for all
			t.Fatal(err)
		}
		return
	}
	if got == promised {
		return
	}
	says := strings.Split(promised, "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(says) || says[i] != line {
			t.Errorf("%s says otherwise than what is\n%s", securityPage, line)
		}
	}
	if n := strings.Count(got, "\n"); len(says)-1 > n {
		t.Errorf("%s has rows that nobody tried:\n%s", securityPage, strings.Join(says[n:], "\n"))
	}
}
