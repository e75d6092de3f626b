// Command image writes an image of one static binary and nothing else, as a
// tarball that docker, podman, containerd and kind load. It needs no engine and
// no base image, and the same binary gives the same bytes. hack/images.sh runs it.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// options are what the flags set.
type options struct {
	reference, binary, out, architecture, user string
	labels                                     map[string]string
}

func main() {
	o := options{labels: map[string]string{}}
	flag.StringVar(&o.reference, "name", "", "the image's name and tag")
	flag.StringVar(&o.binary, "binary", "", "the static binary; it is the entrypoint, under its own name in /")
	flag.StringVar(&o.out, "out", "", "the tarball to write")
	flag.StringVar(&o.architecture, "architecture", "", "what the binary was compiled for, as GOARCH says it")
	flag.StringVar(&o.user, "user", "", "the numeric user and group that it runs as")
	flag.Func("label", "KEY=VALUE, once for each label", func(s string) error {
		key, value, found := strings.Cut(s, "=")
		if !found {
			return errors.New("want KEY=VALUE")
		}
		o.labels[key] = value
		return nil
	})
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	tag, err := name.NewTag(o.reference)
	if err != nil {
		return err
	}
	layer, err := layerOf(o.binary)
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", o.architecture
	file.Config = v1.Config{
		Entrypoint: []string{"/" + filepath.Base(o.binary)},
		User:       o.user,
		Labels:     o.labels,
	}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return err
	}
	return tarball.WriteToFile(o.out, tag, image)
}

// layerOf is a layer with the binary alone. It is of no date, so that it is the same each time.
func layerOf(binary string) (v1.Layer, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: filepath.Base(binary), Size: int64(len(content)), Mode: 0o755, ModTime: time.Unix(0, 0),
	}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
}
