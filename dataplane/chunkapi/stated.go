package chunkapi

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// stated is what the header of a request says of the bytes that come with it. A client that has said
// something takes success for having been checked, so each field that says anything of bytes, of their place
// or of their coding is checked, or the request is refused: statements is the table.
type stated struct {
	// checks are what the body must sum up to.
	checks []session.Check
	// whole is the digests of the whole object, at most one of each algorithm that an upload may have.
	whole []upload.Digest
	// place is where in the object the body is said to be; nil where nothing is said.
	place *place
}

// place is a part of an object: its first and last byte, and the size of the object, -1 where it is not said.
type place struct{ first, last, size int64 }

// reader reads the values of one field, or refuses the request.
type reader func(s *stated, field string, values []string) error

// statement is a field that says something of a body, and how it is read where the body is a
// chunk, that of a request to complete, which has no meaning, or JSON.
type statement struct {
	field                 string
	chunk, complete, json reader
}

// statements is the table.
func statements() []statement {
	all := []statement{
		{contentDigestHeader, readContentDigest, readContentDigest, readContentDigest},
		{reprDigestHeader, refuseDigest, readReprDigest, refuseDigest},
		{"Digest", readDigest, readDigestOfWhole, readDigest}, // RFC 3230
		{"Content-Range", readContentRange, refuseRange, refuseRange},
		{"Content-Encoding", readCoding, readCoding, readCoding},
		{"Content-Transfer-Encoding", readCoding, readCoding, readCoding}, // of MIME
		{"Content-Type", readChunkType, readAny, readAny},                 // checkJSON reads that of JSON
		{"Trailer", refuseTrailers, refuseTrailers, refuseTrailers},
	}
	for field, algorithm := range map[string]string{ // as S3's clients have them
		"X-Amz-Checksum-Sha256": sha256Algorithm, "X-Amz-Checksum-Crc64nvme": "crc64nvme", "X-Amz-Checksum-Crc32c": "crc32c",
	} {
		read := readBare(algorithm)
		all = append(all, statement{field, read, read, read})
	}
	return all
}

// The bodies that a request may have.
func ofChunk(s statement) reader    { return s.chunk }
func ofComplete(s statement) reader { return s.complete }
func ofJSON(s statement) reader     { return s.json }

// readStated reads what the header says of a body, or refuses it. Nothing of the body is read.
func readStated(r *http.Request, body func(statement) reader) (stated, error) {
	var s stated
	if len(r.Trailer) > 0 { // net/http has taken the field out of the header
		return stated{}, refuseTrailers(nil, "", nil)
	}
	known := map[string]reader{}
	for _, row := range statements() {
		known[row.field] = body(row)
	}
	for _, field := range slices.Sorted(maps.Keys(r.Header)) {
		read, ok := known[field]
		switch {
		case ok:
		case speaksOfSums(field):
			read = refuseDigest
		case speaksOfPlace(field):
			read = refuseField
		default:
			continue
		}
		if err := read(&s, field, r.Header[field]); err != nil {
			return s, err
		}
	}
	return s, nil
}

// speaksOfSums reports whether a field that is not in the table has a sum of the body, by its name, such as
// Content-MD5, Upload-Checksum, X-Amz-Content-Sha256 or X-Goog-Hash.
func speaksOfSums(field string) bool {
	field = strings.ToLower(field)
	if strings.HasPrefix(field, "want-") { // asks for what a reply may have
		return false
	}
	return strings.HasSuffix(field, "-hash") || slices.ContainsFunc([]string{"digest", "checksum", "md5", "sha1", "sha256", "sha512", "crc32", "crc64"}, func(s string) bool {
		return strings.Contains(field, s)
	})
}

// speaksOfPlace reports whether a field is of another protocol, in which it says where the body belongs: tus and
// resumable uploads for HTTP.
func speaksOfPlace(field string) bool {
	return slices.Contains([]string{"Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Complete", "Upload-Incomplete", "Upload-Concat"}, field)
}

func readAny(*stated, string, []string) error { return nil }

func readContentDigest(s *stated, _ string, values []string) error {
	digests, err := parseDigests(values, contentAlgorithms())
	return s.check(digests, err)
}

func readReprDigest(s *stated, _ string, values []string) error {
	sent, err := parseDigests(values, wholeAlgorithms())
	return s.compare(sent, err)
}

// readDigest reads the Digest of RFC 3230. It is of an instance, which is the body where that is no part of one.
func readDigest(s *stated, _ string, values []string) error {
	digests, err := parseInstanceDigests(values, contentAlgorithms()[:2]) // how it would write a CRC is not agreed on
	return s.check(digests, err)
}

// readDigestOfWhole reads the same where it is of the object.
func readDigestOfWhole(s *stated, _ string, values []string) error {
	digests, err := parseInstanceDigests(values, wholeAlgorithms()[:1])
	return s.compare(digests, err)
}

// check has the body compared with digests.
func (s *stated) check(digests []sentDigest, err error) error {
	for _, d := range digests {
		s.checks = append(s.checks, session.Check{Name: d.algorithm, Hash: contentHash(d.algorithm), Want: d.sum})
	}
	return wanting(err, wantContentDigestHeader, wantedContentDigests)
}

// compare has the whole object compared with digests.
func (s *stated) compare(sent []sentDigest, err error) error {
	if err != nil {
		return wanting(err, wantReprDigestHeader, wantedReprDigests)
	}
	for _, d := range sent {
		a := upload.SHA256
		if d.algorithm == blake3Algorithm {
			a = upload.BLAKE3
		}
		digest, err := a.Digest(d.sum)
		if err != nil {
			return err
		}
		for _, other := range s.whole {
			if other.Algorithm() == a && other != digest {
				return refuse(CodeInvalidDigest, "two digests of the object are sent, and they differ")
			}
		}
		s.whole = append(s.whole, digest)
	}
	return nil
}

// readBare reads a field that is a sum in base64 and nothing else.
func readBare(algorithmName string) reader {
	return func(s *stated, field string, values []string) error {
		a := contentAlgorithms()[slices.IndexFunc(contentAlgorithms(), func(a algorithm) bool { return a.name == algorithmName })]
		sum, err := base64.StdEncoding.Strict().DecodeString(strings.Join(values, ","))
		if err != nil || len(sum) != a.size {
			return s.check(nil, refuse(CodeInvalidDigest, "the value of %s is not %d bytes in base64", field, a.size))
		}
		return s.check([]sentDigest{{a.name, sum}}, nil)
	}
}

func refuseDigest(s *stated, field string, _ []string) error {
	return s.check(nil, refuse(CodeUnsupportedDigest, "what %s says is not checked here", field))
}

func refuseField(_ *stated, field string, _ []string) error {
	return refuse(CodeUnsupportedField, "%s has no meaning here", field)
}

func refuseTrailers(*stated, string, []string) error {
	return refuse(CodeUnsupportedField, "fields that come after the body are not looked at")
}

func refuseRange(_ *stated, field string, _ []string) error {
	return refuse(CodeWrongPlace, "%s has no meaning here", field)
}

// readCoding reads how the body is coded: it must not be. All fields count: a first one that is empty hides none.
func readCoding(_ *stated, field string, values []string) error {
	for value := range strings.SplitSeq(strings.Join(values, ","), ",") {
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "", "identity":
		case "binary", "8bit", "7bit":
			if field == "Content-Encoding" {
				return refuse(CodeUnsupportedEncoding, "the %s is %q", field, strings.Join(values, ", "))
			}
		default:
			return refuse(CodeUnsupportedEncoding, "the %s is %q", field, strings.Join(values, ", "))
		}
	}
	return nil
}

// readChunkType reads what a chunk is: anything but a part of an object in an envelope, which would be taken for its bytes.
func readChunkType(_ *stated, _ string, values []string) error {
	for _, value := range values {
		media, _, _ := mime.ParseMediaType(value) // a type that is malformed says nothing
		if strings.HasPrefix(media, "multipart/") {
			return refuse(CodeUnsupportedEncoding, "the chunk is in an envelope of %s", media)
		}
	}
	return nil
}

// readContentRange reads where the body is said to be (RFC 9110, section 14.4).
func readContentRange(s *stated, field string, values []string) error {
	value := strings.Join(values, ", ")
	unit, rest, _ := strings.Cut(value, " ")
	extent, size, sized := strings.Cut(rest, "/")
	first, last, isRange := strings.Cut(extent, "-")
	p := place{size: -1}
	ok := strings.EqualFold(unit, "bytes") && sized && isRange && parseNumber(first, &p.first) && parseNumber(last, &p.last)
	if size != "*" {
		ok = ok && parseNumber(size, &p.size)
	}
	if !ok || s.place != nil {
		return refuse(CodeWrongPlace, "%s is %q, which is no range of bytes such as 4-7/10", field, value)
	}
	s.place = &p
	return nil
}

// parseNumber reads a decimal number that is not negative, and nothing beside it.
func parseNumber(text string, to *int64) bool {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n > math.MaxInt64 || strings.Trim(text, "0123456789") != "" {
		return false
	}
	*to = int64(n)
	return true
}

// isAt returns why a chunk is not where it is said to be, or nil.
func (s stated) isAt(index int, spec session.Spec) error {
	if s.place == nil {
		return nil
	}
	if spec.Size == 0 {
		return refuse(CodeWrongPlace, "an object of 0 bytes has no place that Content-Range could say")
	}
	offset, length, err := spec.Extent(index)
	if err != nil {
		return err
	}
	if p := *s.place; p.first != offset || p.last != offset+length-1 || p.size != -1 && p.size != spec.Size {
		return refuse(CodeWrongPlace, "chunk %d is bytes %d-%d/%d, which Content-Range does not say", index, offset, offset+length-1, spec.Size)
	}
	return nil
}

// checkBody returns why a body that was read whole is not what its header states, or nil.
func (s stated) checkBody(body []byte) error {
	for _, c := range s.checks {
		c.Hash.Write(body)
		if got := c.Hash.Sum(nil); !bytes.Equal(got, c.Want) {
			return fmt.Errorf("%w: %s of the %d bytes received is %x, not %x", session.ErrMismatch, c.Name, len(body), got, c.Want)
		}
	}
	return nil
}
