package chunkapi

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"

	"github.com/slipway-dev/slipway/dataplane/session"
)

func TestFormatDigest(t *testing.T) {
	t.Parallel()
	// The example of RFC 9530, appendix B.
	const field = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
	if got := formatDigest(digestOf([]byte(`{"hello": "world"}`))); got != field {
		t.Errorf("got %s, want %s", got, field)
	}
	got, err := wantedDigest(http.Header{"Repr-Digest": {"unknown=?1", field + ";q=1"}})
	if err != nil || got != digestOf([]byte(`{"hello": "world"}`)) {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := wantedDigest(http.Header{}); got != "" || err != nil {
		t.Errorf("of no field: %q, %v", got, err)
	}
}

// FuzzParseDigestHeader: what is accepted is a dictionary with checks of the
// right length, and all else is one of two refusals.
func FuzzParseDigestHeader(f *testing.F) {
	for _, seed := range []string{
		"", " ", ",", "sha-256", "sha-256=", "sha-256=:", "sha-256=::", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
		"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, crc32c=:4waSgw==:", "crc64nvme=:rosUhgp5mIg=:;a=1",
		"md5=:AAAA:", "x=(1 2);y, crc32c=:4waSgw==:", "crc32c=:4waSgw:", "crc32c=:4waSgw==:,", "crc32c=?1, crc32c=:4waSgw==:",
		"SHA-256=:AAAA:", "sha-512=" + strings.Repeat(":", 1000), "\x00", "crc32c=\"x\"", "crc32c=1.5", "crc32c=@1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		h := http.Header{contentDigestHeader: {field}, reprDigestHeader: {field}}
		checks, err := contentChecks(h)
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
			same, err := contentChecks(http.Header{contentDigestHeader: {again}})
			if err != nil || !equalChecks(checks, same) {
				t.Errorf("%q is read again as %v, %v", again, same, err)
			}
		}
		want, err := wantedDigest(h)
		checkRefusal(t, err, wantReprDigestHeader)
		if (err == nil) != (want != "") {
			t.Errorf("digest %q with error %v", want, err)
		}
	})
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
