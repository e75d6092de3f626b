package install

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mostImageBytes is what an image may take, compressed as it is pulled.
const mostImageBytes = 30 << 20

// The images that are made without an engine are what the Dockerfile says.
func TestImages(t *testing.T) {
	t.Parallel()
	const program = "dataplane"
	out := t.TempDir()
	must(t)(run(t, nil, "env", "ENGINE=none", "IMAGES="+out, "hack/images.sh", "v1.2.3", program+"=slipway-"+program+":dev"))
	archive := readArchive(t, filepath.Join(out, program+".tar"))

	var manifests []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	unmarshal(t, archive["manifest.json"], &manifests)
	if len(manifests) != 1 || len(manifests[0].Layers) != 1 || !slices.Equal(manifests[0].RepoTags, []string{"slipway-" + program + ":dev"}) {
		t.Fatalf("the manifest is %+v", manifests)
	}
	if size := len(archive[manifests[0].Layers[0]]); size > mostImageBytes {
		t.Errorf("the image has %d bytes", size)
	}
	var image struct {
		OS     string `json:"os"`
		Config struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		} `json:"config"`
	}
	unmarshal(t, archive[manifests[0].Config], &image)

	dockerfile := readFile(t, "Dockerfile")
	for _, line := range []string{"USER " + image.Config.User, `ENTRYPOINT ["` + image.Config.Entrypoint[0] + `"]`, "FROM scratch AS base"} {
		if !strings.Contains(dockerfile, line+"\n") {
			t.Errorf("the Dockerfile does not say %s", line)
		}
	}
	want := map[string]string{}
	for _, label := range regexp.MustCompile(`(org\.opencontainers\.\S+)=(\S+)`).FindAllStringSubmatch(dockerfile, -1) {
		if label[1] != "org.opencontainers.image.title" || label[2] == "slipway-"+program {
			want[label[1]] = strings.Replace(label[2], "$VERSION", "v1.2.3", 1)
		}
	}
	if d := cmp.Diff(want, image.Config.Labels); d != "" || image.OS != "linux" {
		t.Errorf("for %s; labels: Dockerfile - image +\n%s", image.OS, d)
	}
}

// readArchive is the files of a tarball.
func readArchive(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	files, reader := map[string][]byte{}, tar.NewReader(file)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func unmarshal(t *testing.T, content []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatalf("%v in %q", err, content)
	}
}
