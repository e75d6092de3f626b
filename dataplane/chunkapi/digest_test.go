package chunkapi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestFormatDigest(t *testing.T) {
	t.Parallel()
	// The example of RFC 9530, appendix B.
	const field = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
	if got := formatDigest(digestOf([]byte(`{"hello": "world"}`))); got != field {
		t.Errorf("got %s, want %s", got, field)
	}
	got, err := wholeOf(http.Header{"Repr-Digest": {"unknown=?1", field + ";q=1"}})
	if err != nil || !slices.Equal(got, []upload.Digest{digestOf([]byte(`{"hello": "world"}`))}) {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := wholeOf(http.Header{}); got != nil || err != nil {
		t.Errorf("of no field: %q, %v", got, err)
	}
}

// wholeOf is the digests of the object that a request to complete has.
func wholeOf(h http.Header) ([]upload.Digest, error) {
	s, err := readStated(&http.Request{Header: h}, ofComplete)
	return s.whole, err
}

func TestDigestsOfTwoAlgorithms(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256(nil)
	var both [2]upload.Digest
	for i, a := range []upload.Algorithm{upload.SHA256, upload.BLAKE3} {
		d, err := a.Digest(sum[:])
		if err != nil {
			t.Fatal(err)
		}
		both[i] = d
		got, err := wholeOf(http.Header{"Repr-Digest": {formatDigest(d)}})
		if err != nil || !slices.Equal(got, []upload.Digest{d}) {
			t.Errorf("%s comes back as %s, %v", d, got, err)
		}
	}
	field := formatDigest(both[1]) + ", " + formatDigest(both[0])
	sent, err := wholeOf(http.Header{"Repr-Digest": {field}})
	if err != nil || !slices.Equal(sent, both[:]) {
		t.Errorf("%q is read as %s, %v", field, sent, err)
	}
	for _, c := range []struct {
		sent []upload.Digest
		of   upload.Algorithm
		want upload.Digest
		asks string
	}{
		{nil, upload.SHA256, "", ""},
		{nil, upload.BLAKE3, "", ""},
		{both[:], upload.SHA256, both[0], ""},
		{both[:], upload.BLAKE3, both[1], ""},
		{both[:1], upload.BLAKE3, "", "blake3=10"},
		{both[1:], upload.SHA256, "", "sha-256=10"},
	} {
		got, err := comparedWith(c.sent, c.of)
		if got != c.want || (err != nil) != (c.asks != "") {
			t.Errorf("%s with %s: %s, %v", c.of, c.sent, got, err)
		}
		if no, ok := errors.AsType[*refusal](err); c.asks != "" && (!ok || no.kind.code != CodeUnsupportedDigest || no.header.Get("Want-Repr-Digest") != c.asks) {
			t.Errorf("%s with %s is refused with %v", c.of, c.sent, err)
		}
	}
}

// A digest that is not compared is never answered with success, whenever it comes.
func TestCompleteByBlake3(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	data := noise(1, 5000)
	w.grant("obj", 5000, 1024, func(g *upload.Grant) { g.Explicit, g.Algorithm = true, upload.BLAKE3 })
	w.sendAll("obj", data, 1024)
	wrong := sha256.Sum256(nil)
	other, err := upload.BLAKE3.Digest(wrong[:])
	if err != nil {
		t.Fatal(err)
	}
	complete := func(field string) answer {
		return w.do(http.MethodPost, base("obj")+"/complete", nil, "Repr-Digest", field)
	}
	var digest upload.Digest
	for range 2 { // before and after it is published
		refused := complete(formatDigest(digestOf(data))) // right, but not what is compared
		refused.want(t, http.StatusBadRequest)
		if got := refused.Header.Get("Want-Repr-Digest"); got != "blake3=10" || !bytes.Contains(refused.body, []byte(CodeUnsupportedDigest)) {
			t.Errorf("refused with %s, wants %q", refused.body, got)
		}
		complete(formatDigest(other)).want(t, http.StatusUnprocessableEntity)
		if digest == "" {
			digest = w.do(http.MethodPost, base("obj")+"/complete", nil).want(t, http.StatusOK).status(t).Result.Digest
		}
	}
	if digest.Algorithm() != upload.BLAKE3 {
		t.Errorf("the digest is %s", digest)
	}
	complete(formatDigest(digestOf(nil))+", "+formatDigest(digest)).want(t, http.StatusOK)
	got := w.do(http.MethodGet, base("obj")+"/content", nil).want(t, http.StatusOK)
	if got.Header.Get("Repr-Digest") != formatDigest(digest) || !bytes.Equal(got.body, data) {
		t.Errorf("the content has %q", got.Header.Get("Repr-Digest"))
	}
}

// FuzzParseDigestHeader: what is accepted is a dictionary with checks of the
// right length, and all else is one of two refusals.
func FuzzParseDigestHeader(f *testing.F) {
	for _, seed := range []string{
		"", " ", ",", "sha-256", "sha-256=", "sha-256=:", "sha-256=::", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
		"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, crc32c=:4waSgw==:", "crc64nvme=:rosUhgp5mIg=:;a=1",
		"md5=:AAAA:", "x=(1 2);y, crc32c=:4waSgw==:", "crc32c=:4waSgw:", "crc32c=:4waSgw==:,", "crc32c=?1, crc32c=:4waSgw==:",
		"SHA-256=:AAAA:", "blake3=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", "sha-512=" + strings.Repeat(":", 1000), "\x00", "crc32c=\"x\"", "crc32c=1.5", "crc32c=@1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		checks, err := checksOf(field)
		checkRefusal(t, err, wantContentDigestHeader)
		if err == nil {
			if len(checks) == 0 {
				t.Error("accepted without a check")
			}
			sent := httpsfv.NewDictionary()
			for _, c := range checks {
				if len(c.Want) != c.Hash.Size() {
					t.Errorf("%s has %d bytes", c.Name, len(c.Want))
				}
				sent.Add(c.Name, httpsfv.NewItem(c.Want))
			}
			again, err := httpsfv.Marshal(sent)
			if err != nil {
				t.Fatal(err)
			}
			same, err := checksOf(again)
			if err != nil || !equalChecks(checks, same) {
				t.Errorf("%q is read again as %v, %v", again, same, err)
			}
		}
		digests, err := wholeOf(http.Header{reprDigestHeader: {field}})
		checkRefusal(t, err, wantReprDigestHeader)
		if (err == nil) != (len(digests) > 0) {
			t.Errorf("digests %q with error %v", digests, err)
		}
	})
}

// checksOf is what a chunk with a Content-Digest is checked for.
func checksOf(field string) ([]session.Check, error) {
	s, err := readStated(&http.Request{Header: http.Header{contentDigestHeader: {field}}}, ofChunk)
	return s.checks, err
}

func equalChecks(a, b []session.Check) bool {
	return slices.EqualFunc(a, b, func(x, y session.Check) bool {
		return x.Name == y.Name && bytes.Equal(x.Want, y.Want)
	})
}

func checkRefusal(t *testing.T, err error, field string) {
	t.Helper()
	if err == nil {
		return
	}
	no, ok := errors.AsType[*refusal](err)
	if !ok || no.kind.code != CodeInvalidDigest && no.kind.code != CodeUnsupportedDigest || no.header.Get(field) == "" {
		t.Errorf("refused with %v, header %v", err, no)
	}
}
