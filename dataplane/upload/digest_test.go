package upload_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestParseDigest(t *testing.T) {
	digits := strings.Repeat("0123456789abcdef", 4)
	for _, test := range []struct {
		text  string
		valid bool
	}{
		{"sha256:" + digits, true},
		{"sha256:" + strings.Repeat("0", 64), true},
		{"blake3:" + digits, true},

		{"", false},
		{digits, false},
		{"sha256:", false},
		{"sha256:" + digits[1:], false},
		{"sha256:" + digits + "0", false},
		{"sha256:" + strings.ToUpper(digits), false},
		{"SHA256:" + digits, false},
		{"sha512:" + digits, false},
		{"blake2:" + digits, false},
		{"BLAKE3:" + digits, false},
		{"blake3:" + digits[1:], false},
		{"blake3" + digits, false},
		{":" + digits, false},
		{"sha256:" + digits[1:] + "g", false},
		{"sha256:" + digits[:31] + "xx" + digits[33:], false},
		{" sha256:" + digits, false},
		{"sha256:" + digits[1:] + "\n", false},
		{"sha256:sha256:" + digits[7:], false},
	} {
		d, err := upload.ParseDigest(test.text)
		if !test.valid {
			expect(t, test.text, err, session.ErrInvalid)
			if d != "" {
				t.Errorf("%q: want no digest beside the error, got %q", test.text, d)
			}
			continue
		}
		if err != nil || string(d) != test.text || len(d.Sum()) != sha256.Size {
			t.Errorf("%q: got %q with a sum of %d bytes, %v", test.text, d, len(d.Sum()), err)
		}
	}
}

func TestDigestOfASum(t *testing.T) {
	sum := sha256.Sum256([]byte("abc"))
	for algorithm, want := range map[upload.Algorithm]upload.Digest{
		upload.SHA256: "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		upload.BLAKE3: "blake3:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	} {
		d, err := algorithm.Digest(sum[:])
		if err != nil || d != want {
			t.Errorf("got %s, %v", d, err)
		}
		if !bytes.Equal(d.Sum(), sum[:]) || d.Algorithm() != algorithm {
			t.Errorf("the sum comes back as %x of %q", d.Sum(), d.Algorithm())
		}
		for _, wrong := range [][]byte{nil, sum[1:], append(sum[:], 0)} {
			_, err := algorithm.Digest(wrong)
			expect(t, "a sum of another length", err, session.ErrInvalid)
		}
	}
	for _, algorithm := range []upload.Algorithm{"", "SHA256", "sha512"} {
		_, err := algorithm.Digest(sum[:])
		expect(t, "an algorithm that is none", err, session.ErrInvalid)
	}
	for _, none := range []upload.Digest{"", "sha256:", "sha256:00", "other"} {
		if got := none.Sum(); got != nil {
			t.Errorf("%q has the sum %x", none, got)
		}
	}
	if a := upload.Digest("").Algorithm(); a != "" {
		t.Errorf("no digest is of %q", a)
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add("")
	f.Add("sha256:" + strings.Repeat("a", 64))
	f.Add("blake3:" + strings.Repeat("a", 64))
	f.Add("sha256:" + strings.Repeat("A", 64))
	f.Add("sha256:" + strings.Repeat("é", 32))
	f.Fuzz(func(t *testing.T, text string) {
		d, err := upload.ParseDigest(text)
		if err != nil {
			return
		}
		again, err := d.Algorithm().Digest(d.Sum())
		if err != nil || string(again) != text {
			t.Errorf("%q comes back as %q, %v", text, again, err)
		}
	})
}
