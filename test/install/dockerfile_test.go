package install

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// stage is what a stage of the Dockerfile makes, in a folder that stands for its root.
type stage struct {
	root, workdir string
	user          string
	entrypoint    []string
	labels        map[string]string
}

// buildStages does what the Dockerfile says, without an engine: each COPY takes what the engine would be sent,
// and each RUN is run with what was copied before it. It knows the instructions that are used, and no other.
func buildStages(t *testing.T, version string) map[string]*stage {
	t.Helper()
	arguments := map[string]string{"TARGETOS": "linux", "TARGETARCH": runtime.GOARCH, "VERSION": version}
	expand := func(s string) string { return os.Expand(s, func(name string) string { return arguments[name] }) }
	stages := map[string]*stage{}
	var at *stage
	for _, line := range instructions(t) {
		instruction, rest, _ := strings.Cut(line, " ")
		words := strings.Fields(rest)
		switch instruction {
		case "ARG":
			for _, word := range words {
				name, value, _ := strings.Cut(word, "=")
				if _, given := arguments[name]; !given {
					arguments[name] = value
				}
			}
		case "FROM":
			words = slices.DeleteFunc(words, func(word string) bool { return strings.HasPrefix(word, "--") })
			if len(words) != 3 || words[1] != "AS" {
				t.Fatalf("%q names no stage", line)
			}
			at = &stage{root: t.TempDir(), workdir: "/", labels: map[string]string{}}
			if below := stages[words[0]]; below != nil {
				*at = *below
				at.root = t.TempDir()
				copyTree(t, below.root, at.root)
			} else if base := expand(words[0]); base != "scratch" && base != "golang:"+goMinor(t) {
				t.Fatalf("nothing is known of %s", base)
			}
			stages[words[2]] = at
		case "WORKDIR":
			at.workdir = words[0]
		case "COPY":
			from, found := strings.CutPrefix(words[0], "--from=")
			if found {
				words = words[1:]
			}
			to := words[len(words)-1]
			if !path.IsAbs(to) {
				to = path.Join(at.workdir, to) + "/"
			}
			for _, source := range words[:len(words)-1] {
				if found {
					copyFile(t, filepath.Join(stages[from].root, source), filepath.Join(at.root, to))
				} else {
					copyContext(t, source, filepath.Join(at.root, to))
				}
			}
		case "RUN":
			at.run(t, rest, arguments)
		case "USER":
			at.user = words[0]
		case "ENTRYPOINT":
			at.entrypoint = nil
			unmarshal(t, []byte(rest), &at.entrypoint)
		case "LABEL":
			labels := map[string]string{}
			for name, value := range at.labels {
				labels[name] = value
			}
			for _, word := range words {
				name, value, _ := strings.Cut(word, "=")
				labels[name] = expand(value)
			}
			at.labels = labels
		default:
			t.Fatalf("nothing is known of %q", line)
		}
	}
	return stages
}

// instructions are those of the Dockerfile, one a line.
func instructions(t *testing.T) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(readFile(t, "Dockerfile"), "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all
}

// goMinor is the version of Go that go.mod asks for, as the Go image is tagged.
func goMinor(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindStringSubmatch(readFile(t, "go.mod"))
	if found == nil {
		t.Fatal("go.mod asks for no version")
	}
	return found[1]
}

// run runs a command where the image would have it, with the machine's own Go and modules.
func (s *stage) run(t *testing.T, command string, arguments map[string]string) {
	t.Helper()
	if command == "go mod download" {
		return // of what the machine has, most of it for tests
	}
	// What the command calls /out is in the stage's root.
	command = strings.ReplaceAll(command, " /out/", " "+filepath.Join(s.root, "out")+"/")
	environment := []string{"GOWORK=off", "GOFLAGS="}
	for name, value := range arguments {
		environment = append(environment, name+"="+value)
	}
	command = "cd '" + filepath.Join(s.root, s.workdir) + "' && " + command
	must(t)(run(t, nil, "env", append(environment, "sh", "-euc", command)...))
}

// copyContext copies a file or folder of the build's context: what .dockerignore lets through.
func copyContext(t *testing.T, source, to string) {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(readFile(t, ".dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	copied := 0
	err = filepath.WalkDir(filepath.Join(repository, source), func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(repository, file)
		switch {
		case err != nil:
			return err
		case name == ".git" && entry.IsDir():
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		if skip, err := ignored.MatchesOrParentMatches(name); skip || err != nil {
			return err
		}
		below, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		if below == "." {
			below = filepath.Base(name)
		}
		copied++
		copyFile(t, file, filepath.Join(to, below))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if copied == 0 {
		t.Fatalf("COPY %s: .dockerignore lets nothing of it through", source)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

func unmarshal(t *testing.T, content []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatalf("%v in %q", err, content)
	}
}
