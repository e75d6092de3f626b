package boundaries_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A pkg is what one folder of the main module imports, under any build tag.
type pkg struct {
	path        string // inside the module
	imports     []string
	testImports []string
}

// load reads the import lines of every package of the main module. It reads
// files and asks no go command, so that a cached result of this test is one for
// the files as they are.
func load(t *testing.T, root string) []pkg {
	t.Helper()
	imports, testImports := map[string]set{}, map[string]set{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if file != root && !inModule(file, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		relative, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(relative)
		if imports[dir] == nil {
			imports[dir], testImports[dir] = set{}, set{}
		}
		into := imports[dir]
		if strings.HasSuffix(file, "_test.go") {
			into = testImports[dir]
		}
		return into.addImportsOf(file)
	})
	if err != nil {
		t.Fatal(err)
	}

	var pkgs []pkg
	for _, dir := range slices.Sorted(maps.Keys(imports)) {
		pkgs = append(pkgs, pkg{path: dir, imports: imports[dir].sorted(), testImports: testImports[dir].sorted()})
	}
	if len(pkgs) == 0 {
		t.Fatalf("no package found under %s", root)
	}
	return pkgs
}

// inModule reports whether the go command takes the folder for a part of the
// main module.
func inModule(dir, name string) bool {
	if name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err != nil
}

type set map[string]bool

func (s set) addImportsOf(file string) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		s[imported] = true
	}
	return nil
}

func (s set) sorted() []string { return slices.Sorted(maps.Keys(s)) }

// reachable is every import of a package, followed through the module's own
// packages. A library cannot lead back into the module.
func reachable(pkgs []pkg, from string) []string {
	direct := map[string][]string{}
	for _, p := range pkgs {
		direct[path.Join(module, p.path)] = p.imports
	}
	seen, next := set{}, []string{path.Join(module, from)}
	for len(next) > 0 {
		current := next[0]
		next = next[1:]
		for _, imported := range direct[current] {
			if !seen[imported] {
				seen[imported] = true
				next = append(next, imported)
			}
		}
	}
	return seen.sorted()
}

// standard reports whether an import path is the standard library's: its first
// element has no dot.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// inside reports whether an import path is the module's, and its path there.
func inside(imported string) (string, bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

// matches reports whether a path is the pattern's, or with a final "/..." below it.
func matches(pattern, name string) bool {
	if pattern == "..." || pattern == name {
		return true
	}
	parent, deep := strings.CutSuffix(pattern, "/...")
	return deep && (name == parent || strings.HasPrefix(name, parent+"/"))
}
