package chunkapi

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"hash/crc32"
	"net/http"

	"github.com/dunglas/httpsfv"
	"github.com/minio/crc64nvme"

	"github.com/slipway-dev/slipway/dataplane/session"
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
	wantedReprDigests    = "sha-256=10"
)

const sha256Algorithm = "sha-256"

// algorithm is one that a digest may be of.
type algorithm struct {
	name  string
	fresh func() hash.Hash
}

// contentAlgorithms are those of Content-Digest, in the order in which they
// are checked. The value of a CRC is its bytes, the most significant first.
func contentAlgorithms() []algorithm {
	return []algorithm{
		{sha256Algorithm, sha256.New},
		{"sha-512", sha512.New},
		{"crc64nvme", func() hash.Hash { return crc64nvme.New() }},
		{"crc32c", func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
	}
}

// contentChecks returns what the bytes of a chunk must sum up to; none where
// the client sent no digest.
func contentChecks(h http.Header) ([]session.Check, error) {
	checks, err := parseDigests(h.Values(contentDigestHeader), contentAlgorithms())
	return checks, wanting(err, wantContentDigestHeader, wantedContentDigests)
}

// wantedDigest returns the digest that the client expects of the whole; empty
// where it sent none. Only SHA-256 is compared.
func wantedDigest(h http.Header) (upload.Digest, error) {
	checks, err := parseDigests(h.Values(reprDigestHeader), []algorithm{{sha256Algorithm, sha256.New}})
	if err != nil || len(checks) == 0 {
		return "", wanting(err, wantReprDigestHeader, wantedReprDigests)
	}
	return upload.DigestOf(checks[0].Want)
}

// parseDigests reads a digest field. Algorithms that are not supported are
// passed over, but one must be.
func parseDigests(values []string, supported []algorithm) ([]session.Check, error) {
	if len(values) == 0 {
		return nil, nil
	}
	digests, err := httpsfv.UnmarshalDictionary(values)
	if err != nil || len(digests.Names()) == 0 {
		return nil, refuse(CodeInvalidDigest, "the field is not a dictionary of algorithms and byte sequences, such as sha-256=:<base64>:")
	}
	var checks []session.Check
	for _, a := range supported {
		member, sent := digests.Get(a.name)
		if !sent {
			continue
		}
		item, isItem := member.(httpsfv.Item)
		sum, isBytes := item.Value.([]byte)
		fresh := a.fresh()
		if !isItem || !isBytes || len(sum) != fresh.Size() {
			return nil, refuse(CodeInvalidDigest, "the value of %s is not a byte sequence of %d bytes", a.name, fresh.Size())
		}
		checks = append(checks, session.Check{Name: a.name, Hash: fresh, Want: sum})
	}
	if len(checks) == 0 {
		return nil, refuse(CodeUnsupportedDigest, "none of the algorithms sent is supported")
	}
	return checks, nil
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
	digests.Add(sha256Algorithm, httpsfv.NewItem(d.Sum()))
	field, err := httpsfv.Marshal(digests)
	if err != nil { // a key and bytes always marshal
		panic(err)
	}
	return field
}
