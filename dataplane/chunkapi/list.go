package chunkapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

const (
	// defaultListLimit is the limit of a listing that asks for none.
	defaultListLimit = 500
	// maxListings is how many requests list objects at once, among those that read. Each of them may read a large
	// directory and keep much of it.
	maxListings = 8
)

// objectList is a part of a listing, as it is sent.
type objectList struct {
	Objects  []listedObject `json:"objects"`
	Prefixes []string       `json:"prefixes"`
	// Continue asks for the next part; empty in the last one.
	Continue string `json:"continue,omitempty"`
}

// listedObject is what a listing tells of an object, as it is sent.
type listedObject struct {
	Key       string        `json:"key"`
	SizeBytes int64         `json:"sizeBytes"`
	Digest    upload.Digest `json:"digest,omitempty"`
	ETag      string        `json:"etag,omitempty"`
	// ModifiedTime is when its bytes were last written.
	ModifiedTime time.Time `json:"modifiedTime"`
	// Published is whether a session published it and nobody changed it since.
	Published bool `json:"published"`
}

func (a *api) listObjects(w http.ResponseWriter, r *http.Request, store upload.Name) error {
	query, err := parseListQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	done, err := a.read(w, r, store)
	if err != nil {
		return err
	}
	defer done()
	listing, err := a.list(r, query)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, formatListing(listing, query))
	return nil
}

// list lists once there is a place for it, which is free again before the listing is sent.
func (a *api) list(r *http.Request, query session.ListQuery) (upload.Listing, error) {
	place, ok := a.listing.Take(r.Context(), callerOf(r).User, func() {}) // its client can't be what is slow
	if !ok {
		return upload.Listing{}, refuse(CodeBusy, "%d requests are listing objects", a.listing.Len())
	}
	defer a.listing.Free(place)
	return a.uploads.List(r.Context(), query)
}

func formatListing(listing upload.Listing, query session.ListQuery) objectList {
	list := objectList{Objects: make([]listedObject, len(listing.Objects)), Prefixes: listing.Prefixes}
	for i, one := range listing.Objects {
		list.Objects[i] = listedObject{
			Key: one.Name, SizeBytes: one.Size, Digest: one.Digest, ModifiedTime: one.ModTime.UTC(), Published: one.Published,
		}
		if one.Identity != "" {
			list.Objects[i].ETag = entityTag(one.Identity, one.Digest)
		}
	}
	if list.Prefixes == nil {
		list.Prefixes = []string{}
	}
	if listing.Next != "" {
		list.Continue = formatContinue(query, listing.Next)
	}
	return list
}

// parseListQuery reads the query of a listing. Whatever is not part of it is refused: a filter with a wrong name
// would list what was not asked for.
func parseListQuery(raw string) (session.ListQuery, error) {
	q := session.ListQuery{Limit: defaultListLimit}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, refuse(CodeInvalidQuery, "it is not percent-encoded as a query is")
	}
	for name, all := range values {
		if !slices.Contains([]string{"prefix", "delimiter", "limit", "continue"}, name) {
			return q, refuse(CodeInvalidQuery, "%.40q is not a parameter", name)
		}
		if len(all) > 1 {
			return q, refuse(CodeInvalidQuery, "%s is there %d times", name, len(all))
		}
	}
	q.Prefix = values.Get("prefix")
	if err := session.CheckPrefix(q.Prefix); err != nil {
		return q, refuse(CodeInvalidQuery, "no key begins with the prefix: %v", err)
	}
	switch delimiter := values.Get("delimiter"); delimiter {
	case "", "/":
		q.Grouped = delimiter == "/"
	default:
		return q, refuse(CodeInvalidQuery, "the delimiter is neither '/' nor empty")
	}
	if limit := values.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || strconv.Itoa(n) != limit || n < 1 || n > session.MaxListLimit {
			return q, refuse(CodeInvalidQuery, "the limit is not a number from 1 to %d", session.MaxListLimit)
		}
		q.Limit = n
	}
	if token := values.Get("continue"); token != "" {
		from, ok := parseContinue(q, token)
		if !ok {
			return q, refuse(CodeInvalidQuery, "continue is not what a listing with this prefix and delimiter returned")
		}
		q.From = from
	}
	return q, nil
}

// continueVersion is the first byte of what a continue token encodes. After it come the binding and where to go on.
const continueVersion = 1

// binding is what a continue token has of the query that it is for. It is no secret: whoever makes up a token lists
// what they may list anyway, from another place on.
func binding(q session.ListQuery) []byte {
	kind := "all "
	if q.Grouped {
		kind = "grouped "
	}
	sum := sha256.Sum256([]byte(kind + q.Prefix))
	return append([]byte{continueVersion}, sum[:8]...)
}

func formatContinue(q session.ListQuery, next string) string {
	return base64.RawURLEncoding.EncodeToString(append(binding(q), next...))
}

// maxNext bounds where to go on in bytes: a name, and a byte after it.
const maxNext = session.MaxName + 1

func parseContinue(q session.ListQuery, token string) (from string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return "", false
	}
	next, ok := bytes.CutPrefix(b, binding(q))
	if !ok || len(next) == 0 || len(next) > maxNext || !bytes.HasPrefix(next, []byte(q.Prefix)) {
		return "", false
	}
	return string(next), true
}
