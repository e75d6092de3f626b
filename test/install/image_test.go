package install

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mostImageBytes is what an image may take, compressed as it is pulled.
const mostImageBytes = 30 << 20

// Each image that is made without an engine is what the Dockerfile makes of what it copies, to the byte.
func TestImages(t *testing.T) {
	t.Parallel()
	const version = "v1.2.3"
	out, programs := t.TempDir(), []string{"manager", "dataplane", "e2e"}
	args := []string{"ENGINE=none", "IMAGES=" + out, "hack/images.sh", version}
	for _, program := range programs {
		args = append(args, program+"=slipway-"+program+":dev")
	}
	must(t)(run(t, nil, "env", args...))
	stages := buildStages(t, version)
	for _, program := range programs {
		t.Run(program, func(t *testing.T) {
			stage := stages[program]
			if stage == nil {
				t.Fatal("the Dockerfile has no such stage")
			}
			testImage(t, filepath.Join(out, program+".tar"), "slipway-"+program+":dev", stage)
		})
	}
}

func testImage(t *testing.T, tarball, tag string, want *stage) {
	t.Helper()
	archive := readArchive(t, tarball)
	var manifests []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	unmarshal(t, archive["manifest.json"], &manifests)
	if len(manifests) != 1 || len(manifests[0].Layers) != 1 || !slices.Equal(manifests[0].RepoTags, []string{tag}) {
		t.Fatalf("the manifest is %+v", manifests)
	}
	layer := archive[manifests[0].Layers[0]]
	if len(layer) > mostImageBytes {
		t.Errorf("the image has %d bytes", len(layer))
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
	if image.OS != "linux" || image.Config.User != want.user || !slices.Equal(image.Config.Entrypoint, want.entrypoint) {
		t.Errorf("the image is for %s, of user %q, and runs %q; of the Dockerfile: %q, %q",
			image.OS, image.Config.User, image.Config.Entrypoint, want.user, want.entrypoint)
	}
	if d := cmp.Diff(want.labels, image.Config.Labels); d != "" {
		t.Errorf("labels: Dockerfile - image +\n%s", d)
	}
	built := 0
	err := fs.WalkDir(os.DirFS(want.root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		built++
		content, err := os.ReadFile(filepath.Join(want.root, name))
		if err != nil || !bytes.Equal(content, unpacked(t, layer)[name]) {
			t.Errorf("%s is another than the Dockerfile's (%v)", name, err)
		}
		return nil
	})
	if err != nil || built != 1 {
		t.Errorf("the Dockerfile's image has %d files (%v)", built, err)
	}
}

// unpacked is the files of a compressed layer.
func unpacked(t *testing.T, layer []byte) map[string][]byte {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	return readTar(t, reader)
}

// readArchive is the files of a tarball.
func readArchive(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	return readTar(t, file)
}

func readTar(t *testing.T, archive io.Reader) map[string][]byte {
	t.Helper()
	files, reader := map[string][]byte{}, tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[strings.TrimPrefix(header.Name, "/")], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}
