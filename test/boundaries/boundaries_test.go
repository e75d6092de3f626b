package boundaries_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func TestEveryPackageStaysInItsRoom(t *testing.T) {
	for _, p := range load(t, root) {
		for _, broken := range violations(p) {
			t.Error(broken)
		}
	}
}

func TestTheCoreReachesOnlyTheStandardLibrary(t *testing.T) {
	for _, imported := range reachable(load(t, root), "dataplane/session") {
		if !standard(imported) {
			t.Errorf("dataplane/session reaches %s", imported)
		}
	}
}

func TestOperatorAndDataplaneNeverMeet(t *testing.T) {
	pkgs := load(t, root)
	for _, p := range pkgs {
		for own, other := range map[string]string{"controllers/...": "dataplane/...", "dataplane/...": "controllers/..."} {
			if !matches(own, p.path) {
				continue
			}
			for _, imported := range reachable(pkgs, p.path) {
				if at, ours := inside(imported); ours && matches(other, at) {
					t.Errorf("%s reaches %s", p.path, at)
				}
			}
		}
	}
}

func TestTheMainModuleNeedsNoTool(t *testing.T) {
	file, err := os.Open(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()

	lines := bufio.NewScanner(file)
	for lines.Scan() {
		for _, broken := range goModViolations(lines.Text()) {
			t.Error(broken)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// violations says what a package imports, or is, against the table.
func violations(p pkg) []string {
	at := slices.IndexFunc(house, func(r room) bool { return matches(r.path, p.path) })
	if at < 0 {
		return []string{fmt.Sprintf("%s is a package that the table in test/boundaries/house_test.go does not list", p.path)}
	}
	var broken []string
	for _, imported := range p.imports {
		if !house[at].allows(p.path, imported) {
			broken = append(broken, fmt.Sprintf("%s may not import %s", p.path, imported))
		}
	}
	wing := slices.IndexFunc(wings, func(r room) bool { return matches(r.path, p.path) })
	for _, imported := range p.testImports {
		if wing < 0 || !wings[wing].allows(p.path, imported) {
			broken = append(broken, fmt.Sprintf("the tests of %s may not import %s", p.path, imported))
		}
	}
	return broken
}

// allows reports whether a package that the room covers may import the path.
func (r room) allows(importer, imported string) bool {
	if standard(imported) {
		return true
	}
	if at, ours := inside(imported); ours {
		return at == importer || strings.HasSuffix(r.path, "/...") && matches(r.path, at) ||
			slices.ContainsFunc(r.rooms, func(pattern string) bool { return matches(pattern, at) })
	}
	return slices.ContainsFunc(r.libraries, func(library string) bool {
		return library == "..." || matches(library+"/...", imported)
	})
}

// goModViolations says what a line of go.mod names that it may not.
func goModViolations(line string) []string {
	line, _, _ = strings.Cut(line, "//")
	words := strings.Fields(line)
	if len(words) == 0 || words[0] == "module" {
		return nil
	}
	if words[0] == "tool" {
		return []string{"go.mod names a tool; tools are pinned in hack/tools"}
	}
	var broken []string
	for _, word := range words {
		for _, stranger := range strangers {
			if matches(stranger+"/...", word) {
				broken = append(broken, fmt.Sprintf("go.mod names %s, which belongs in a module of its own", word))
			}
		}
	}
	return broken
}
