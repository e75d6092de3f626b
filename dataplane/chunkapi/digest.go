package chunkapi

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
	"github.com/minio/crc64nvme"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Header fields of RFC 9530.
const (
	contentDigestHeader     = "Content-Digest"
	reprDigestHeader        = "Repr-Digest"
	wantContentDigestHeader = "Want-Content-Digest"
	wantReprDigestHeader    = "Want-Repr-Digest"
)

// What refusals ask for, from 10 (the most wanted) down to 1.
const (
	wantedContentDigests = "sha-256=10, sha-512=9, crc64nvme=5, crc32c=3"
	wantedReprDigests    = "sha-256=10, blake3=10"
)

// Names of algorithms in a digest field. IANA's registry has no BLAKE3.
const (
	sha256Algorithm = "sha-256"
	blake3Algorithm = "blake3"
)

// algorithm is one that a digest may be of.
type algorithm struct {
	name string
	size int // of its sums, in bytes
}

// sentDigest is a digest as a client sent it.
type sentDigest struct {
	algorithm string
	sum       []byte
}

// contentAlgorithms are those of Content-Digest, in the order in which they
// are checked. The value of a CRC is its bytes, the most significant first.
func contentAlgorithms() []algorithm {
	return []algorithm{{sha256Algorithm, sha256.Size}, {"sha-512", sha512.Size}, {"crc64nvme", crc64nvme.Size}, {"crc32c", crc32.Size}}
}

// wholeAlgorithms are those that the digest of an object may be of.
func wholeAlgorithms() []algorithm {
	return []algorithm{{sha256Algorithm, sha256.Size}, {blake3Algorithm, blake3Size}}
}

// contentHash returns a fresh hash of one of the contentAlgorithms.
func contentHash(algorithm string) hash.Hash {
	switch algorithm {
	case sha256Algorithm:
		return sha256.New()
	case "sha-512":
		return sha512.New()
	case "crc64nvme":
		return crc64nvme.New()
	}
	return crc32.New(crc32.MakeTable(crc32.Castagnoli))
}

// blake3Size is the size of a BLAKE3 sum in bytes, of those that there may be.
const blake3Size = 32

// comparedWith returns which of the digests that a client sent an upload is
// compared with; none where it sent none. Where it sent some, but none of the
// upload's algorithm, it is refused: it would take success for a comparison.
func comparedWith(sent []upload.Digest, of upload.Algorithm) (upload.Digest, error) {
	for _, d := range sent {
		if d.Algorithm() == of {
			return d, nil
		}
	}
	if len(sent) == 0 {
		return "", nil
	}
	field := fieldAlgorithm(of)
	return "", wanting(refuse(CodeUnsupportedDigest, "the digest of this upload is of algorithm %s, and none of it was sent", field),
		wantReprDigestHeader, field+"=10")
}

// fieldAlgorithm is how a digest field names the algorithm of an upload.
func fieldAlgorithm(a upload.Algorithm) string {
	if a == upload.BLAKE3 {
		return blake3Algorithm
	}
	return sha256Algorithm
}

// parseDigests reads a digest field. Algorithms that are not supported are
// passed over, but one must be.
func parseDigests(values []string, supported []algorithm) ([]sentDigest, error) {
	if len(values) == 0 {
		return nil, nil
	}
	digests, err := httpsfv.UnmarshalDictionary(values)
	if err != nil || len(digests.Names()) == 0 {
		return nil, refuse(CodeInvalidDigest, "the field is not a dictionary of algorithms and byte sequences, such as sha-256=:<base64>:")
	}
	var parsed []sentDigest
	for _, a := range supported {
		member, sent := digests.Get(a.name)
		if !sent {
			continue
		}
		item, isItem := member.(httpsfv.Item)
		sum, isBytes := item.Value.([]byte)
		if !isItem || !isBytes || len(sum) != a.size {
			return nil, refuse(CodeInvalidDigest, "the value of %s is not a byte sequence of %d bytes", a.name, a.size)
		}
		parsed = append(parsed, sentDigest{a.name, sum})
	}
	if len(parsed) == 0 {
		return nil, refuse(CodeUnsupportedDigest, "none of the algorithms sent is supported")
	}
	return parsed, nil
}

// parseInstanceDigests reads the Digest field of RFC 3230, section 4.3.2: algorithms, whose case
// does not matter, and sums in base64. Those that are not supported are passed over, but one must be.
func parseInstanceDigests(values []string, supported []algorithm) ([]sentDigest, error) {
	var parsed []sentDigest
	for value := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, text, ok := strings.Cut(strings.TrimSpace(value), "=")
		if !ok || name == "" {
			return nil, refuse(CodeInvalidDigest, "the field is not a list such as sha-256=<base64>")
		}
		for _, a := range supported {
			if !strings.EqualFold(name, a.name) {
				continue
			}
			sum, err := base64.StdEncoding.Strict().DecodeString(text)
			if err != nil || len(sum) != a.size {
				return nil, refuse(CodeInvalidDigest, "the value of %s is not %d bytes in base64", a.name, a.size)
			}
			parsed = append(parsed, sentDigest{a.name, sum})
		}
	}
	if len(parsed) == 0 {
		return nil, refuse(CodeUnsupportedDigest, "none of the algorithms sent is supported")
	}
	return parsed, nil
}

// wanting adds to a refusal what the client could send instead.
func wanting(err error, field, value string) error {
	if r, ok := err.(*refusal); ok { //nolint:errorlint // the error was made here and is not wrapped
		r.header = http.Header{field: {value}}
	}
	return err
}

// formatDigest writes a digest as a digest field has it.
func formatDigest(d upload.Digest) string {
	digests := httpsfv.NewDictionary()
	digests.Add(fieldAlgorithm(d.Algorithm()), httpsfv.NewItem(d.Sum()))
	field, err := httpsfv.Marshal(digests)
	if err != nil { // a key and bytes always marshal
		panic(err)
	}
	return field
}
