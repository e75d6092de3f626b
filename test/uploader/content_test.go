package uploader_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/slipway-dev/slipway/test/uploader"
)

func TestContent(t *testing.T) {
	c := uploader.Content{Seed: "a", Size: 300_001}
	whole, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size))
	if err != nil || int64(len(whole)) != c.Size {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	for _, at := range []int64{0, 1, 4095, 4096, 4097, 150_000} {
		part := make([]byte, 10_000)
		if n, err := c.ReadAt(part, at); n != len(part) || err != nil || !bytes.Equal(part, whole[at:at+10_000]) {
			t.Errorf("%d bytes from %d on, %v: or they are others than in the whole", n, at, err)
		}
	}
	if n, err := c.ReadAt(make([]byte, 2), c.Size-1); n != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("across the end: %d, %v", n, err)
	}
	if bytes.Equal(whole[:4096], whole[4096:8192]) {
		t.Error("blocks repeat")
	}
	if again := (uploader.Content{Seed: "a", Size: c.Size}).Digest(); again != c.Digest() {
		t.Error("the same seed gives other bytes")
	}
	if other := (uploader.Content{Seed: "b", Size: c.Size}).Digest(); other == c.Digest() {
		t.Error("another seed gives the same bytes")
	}
}
