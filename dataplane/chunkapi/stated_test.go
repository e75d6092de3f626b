package chunkapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/minio/crc64nvme"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// base64Of is a sum as most fields have it.
func base64Of(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

// TestWhatAClientStatesIsCheckedOrRefused: no field that says something of a body's bytes, place or
// coding is passed over, whatever the body is.
func TestWhatAClientStatesIsCheckedOrRefused(t *testing.T) {
	t.Parallel()
	const chunk = "4567" // bytes 4 to 7 of 10
	sums := func(body string) (sha, long, crc, nvme string) {
		a, b := sha256.Sum256([]byte(body)), sha512.Sum512([]byte(body))
		c, d := crc32.New(crc32.MakeTable(crc32.Castagnoli)), crc64nvme.New()
		_, _ = io.WriteString(io.MultiWriter(c, d), body)
		return base64Of(a[:]), base64Of(b[:]), base64Of(c.Sum(nil)), base64Of(d.Sum(nil))
	}
	sha, long, crc, nvme := sums(chunk)
	otherSHA, otherLong, otherCRC, otherNVMe := sums("4568")
	const ok = Code("")
	for _, c := range []struct {
		field, value string
		want         Code
	}{
		{"Content-Digest", "sha-256=:" + sha + ":", ok},
		{"Content-Digest", "sha-256=:" + otherSHA + ":", CodeDigestMismatch},
		{"Digest", "sha-256=" + sha, ok},
		{"Digest", "SHA-256=" + sha + ", sha-512=" + long + ",md5=AAAA", ok},
		{"Digest", "sha-256=" + otherSHA, CodeDigestMismatch},
		{"Digest", "sha-512=" + otherLong, CodeDigestMismatch},
		{"Digest", "sha-256=" + sha + ",sha-512=" + otherLong, CodeDigestMismatch},
		{"Digest", "md5=AAAAAAAAAAAAAAAAAAAAAA==", CodeUnsupportedDigest},
		{"Digest", "crc32c=" + crc, CodeUnsupportedDigest},
		{"Digest", "sha-256=" + sha[1:], CodeInvalidDigest},
		{"Digest", "sha-256=:" + sha + ":", CodeInvalidDigest},
		{"Digest", "sha-256", CodeInvalidDigest},
		{"Digest", "", CodeInvalidDigest},
		{"X-Amz-Checksum-Sha256", sha, ok},
		{"X-Amz-Checksum-Sha256", otherSHA, CodeDigestMismatch},
		{"X-Amz-Checksum-Crc32c", crc, ok},
		{"X-Amz-Checksum-Crc32c", otherCRC, CodeDigestMismatch},
		{"x-amz-checksum-crc64nvme", nvme, ok},
		{"x-amz-checksum-crc64nvme", otherNVMe, CodeDigestMismatch},
		{"x-amz-checksum-crc64nvme", crc, CodeInvalidDigest},
		{"x-amz-checksum-crc32", "AAAAAA==", CodeUnsupportedDigest},
		{"x-amz-content-sha256", hex.EncodeToString([]byte(chunk)), CodeUnsupportedDigest},
		{"Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==", CodeUnsupportedDigest},
		{"X-Goog-Hash", "crc32c=" + crc, CodeUnsupportedDigest},
		{"Upload-Checksum", "sha1 AAAA", CodeUnsupportedDigest},
		{"X-Checksum-Sha1", "AAAA", CodeUnsupportedDigest},
		{"Repr-Digest", "sha-256=:" + sha + ":", CodeUnsupportedDigest},
		{"Unencoded-Digest", "sha-256=:" + sha + ":", CodeUnsupportedDigest},
		{"Want-Repr-Digest", "sha-256=1", ok},
		{"Want-Digest", "sha-256", ok},

		{"Content-Range", "bytes 4-7/10", ok},
		{"Content-Range", "Bytes 4-7/*", ok},
		{"Content-Range", "bytes 0-3/10", CodeWrongPlace},
		{"Content-Range", "bytes 4-8/10", CodeWrongPlace},
		{"Content-Range", "bytes 4-7/11", CodeWrongPlace},
		{"Content-Range", "bytes */10", CodeWrongPlace},
		{"Content-Range", "bytes 4-7", CodeWrongPlace},
		{"Content-Range", "bytes 4-+7/10", CodeWrongPlace},
		{"Content-Range", "bytes 4-99999999999999999999/10", CodeWrongPlace},
		{"Content-Range", "chunks 4-7/10", CodeWrongPlace},
		{"Content-Range", "bytes 4-7/10, bytes 4-7/10", CodeWrongPlace},
		{"Content-Range", "", CodeWrongPlace},
		{"Upload-Offset", "4", CodeUnsupportedField},
		{"Upload-Complete", "?0", CodeUnsupportedField},

		{"Content-Encoding", "identity", ok},
		{"Content-Encoding", "identity, gzip", CodeUnsupportedEncoding},
		{"Content-Encoding", "binary", CodeUnsupportedEncoding},
		{"Content-Encoding", "aws-chunked", CodeUnsupportedEncoding},
		{"Content-Transfer-Encoding", "binary", ok},
		{"Content-Transfer-Encoding", "base64", CodeUnsupportedEncoding},
		{"Content-Type", "application/x-www-form-urlencoded", ok}, // as curl says of any bytes
		{"Content-Type", "multipart/form-data; boundary=a", CodeUnsupportedEncoding},
		{"Content-Type", "MultiPart/ByteRanges; boundary=a", CodeUnsupportedEncoding},
	} {
		t.Run(c.field+": "+c.value, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{})
			name := w.accepted("abc", 10, 4)
			got := w.put("abc", 1, []byte(chunk), c.field, c.value)
			if c.want == ok {
				got.want(t, http.StatusCreated)
				return
			}
			if p := got.problem(t); p.Code != c.want {
				t.Errorf("%d %s: %s", p.Status, p.Code, p.Detail)
			}
			if m := w.meta(name); m.HeldChunks != 0 {
				t.Errorf("the chunk counts")
			}
			if c.want == CodeUnsupportedDigest && got.Header.Get("Want-Content-Digest") == "" {
				t.Error("nothing says what is checked")
			}
		})
	}
}

// TestWhatAClientStatesOfOtherBodies is checked too: those of JSON, and the one that has no meaning.
func TestWhatAClientStatesOfOtherBodies(t *testing.T) {
	t.Parallel()
	const object, spec = "0123456789", "{}"
	digest := func(field, body string) string {
		sum := sha256.Sum256([]byte(body))
		if field == "Digest" {
			return "sha-256=" + base64Of(sum[:])
		}
		return "sha-256=:" + base64Of(sum[:]) + ":"
	}
	w := newWorld(t, options{})
	w.accepted("whole", 10, 10)
	w.put("whole", 0, []byte(object)).want(t, http.StatusCreated)
	for _, c := range []struct {
		body, field, value string
		want               Code
	}{
		{"", "Digest", digest("Digest", object+"x"), CodeDigestMismatch},
		{"", "Repr-Digest", digest("", object+"x"), CodeDigestMismatch},
		{"", "Content-Digest", digest("", object), CodeDigestMismatch}, // it is of the body
		{"{}", "Content-Digest", digest("", "[]"), CodeDigestMismatch},
		{"", "Digest", "md5=AAAAAAAAAAAAAAAAAAAAAA==", CodeUnsupportedDigest},
		{"", "Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==", CodeUnsupportedDigest},
		{"", "Content-Range", "bytes 0-9/10", CodeWrongPlace},
		{"{}", "Content-Encoding", "gzip", CodeUnsupportedEncoding},
	} {
		got := w.do(http.MethodPost, base("whole")+"/complete", strings.NewReader(c.body), c.field, c.value)
		if p := got.problem(t); p.Code != c.want {
			t.Errorf("complete with %s: %s: %d %s: %s", c.field, c.value, p.Status, p.Code, p.Detail)
		}
	}
	w.do(http.MethodPost, base("whole")+"/complete", strings.NewReader("{}"),
		"Digest", digest("Digest", object), "Repr-Digest", digest("", object), "Content-Digest", digest("", "{}")).want(t, http.StatusOK)

	asked := len(w.creator.asked)
	for field, want := range map[string]Code{
		"Content-Digest": CodeDigestMismatch, "Digest": CodeDigestMismatch, "Repr-Digest": CodeUnsupportedDigest, "X-Spec-Checksum": CodeUnsupportedDigest,
	} {
		got := w.post(strings.NewReader(spec), field, digest(field, spec+"x"))
		if p := got.problem(t); p.Code != want {
			t.Errorf("a spec with %s: %d %s: %s", field, p.Status, p.Code, p.Detail)
		}
	}
	if len(w.creator.asked) != asked {
		t.Error("a session was asked for with a spec that is not what was sent")
	}
	w.creator.create = func(upload.CreateRequest) (upload.Created, error) { return upload.Created{ID: "uid-1"}, nil }
	w.post(strings.NewReader(spec), "Content-Digest", digest("", spec), "Digest", digest("Digest", spec)).want(t, http.StatusCreated)
}

// TestTrailersAreRefused where they are announced: nobody looks at what comes after the body.
func TestTrailersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	w.accepted("abc", 0, 4)
	c := w.dial()
	if _, err := io.WriteString(c, "POST "+base("abc")+"/complete HTTP/1.1\r\nHost: slipway\r\n"+
		"Transfer-Encoding: chunked\r\nTrailer: Content-Digest\r\n\r\n2\r\n{}\r\n0\r\nContent-Digest: sha-256=:AAAA:\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if p := c.receive(http.MethodPost).problem(t); p.Code != CodeUnsupportedField {
		t.Errorf("%+v", p)
	}
}

// FuzzStated: of a header that is accepted, every field with the name of a sum is a check, a range is a
// place, and no coding is left; and all else is a refusal that the client can do something about.
func FuzzStated(f *testing.F) {
	sum := sha256.Sum256([]byte("4567"))
	for _, seed := range []string{
		"Digest: sha-256=" + base64Of(sum[:]), "Digest: SHA-256=" + base64Of(sum[:]) + ",x=y\nContent-Range: bytes 4-7/10",
		"Content-MD5: AAAA", "X-Amz-Checksum-Crc32c: AAAAAA==", "Content-Range: bytes 4-7/*", "Content-Encoding: identity\nContent-Encoding: gzip",
		"Content-Digest: crc32c=:AAAAAA==:, x=1", "Content-Transfer-Encoding: BASE64", "Content-Type: multipart/mixed", "Want-Digest: a", "Digest: =,", "Upload-Offset: 0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		r := httptest.NewRequest(http.MethodPut, "/", bytes.NewReader(nil))
		sums, ranges := 0, false
		for line := range strings.Lines(lines) {
			field, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			field = http.CanonicalHeaderKey(field)
			if r.Header.Values(field) == nil && speaksOfSums(field) {
				sums++
			}
			ranges = ranges || field == "Content-Range"
			r.Header.Add(field, strings.TrimSpace(value))
		}
		for name, body := range map[string]func(statement) reader{"a chunk": ofChunk, "to complete": ofComplete, "JSON": ofJSON} {
			s, err := readStated(r, body)
			if err != nil {
				if no, ok := errors.AsType[*refusal](err); !ok || no.kind.status != http.StatusBadRequest && no.kind.status != http.StatusUnsupportedMediaType {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if len(s.checks)+len(s.whole) < sums {
				t.Errorf("%s: %d fields have a sum, and %d are checked: %q", name, sums, len(s.checks)+len(s.whole), lines)
			}
			if ranges != (s.place != nil) {
				t.Errorf("%s: a range is no place: %q", name, lines)
			}
			for _, coding := range r.Header.Values("Content-Encoding") {
				if strings.Trim(strings.ToLower(coding), "identy, \t") != "" {
					t.Errorf("%s: %q is left", name, coding)
				}
			}
			if p := s.place; p != nil && p.size >= 0 {
				if again := fmt.Sprintf("bytes %d-%d/%d", p.first, p.last, p.size); readContentRange(&stated{}, "", []string{again}) != nil {
					t.Errorf("%q is not read again", again)
				}
			}
		}
	})
}
