package chunkapi

import (
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// idempotencyKeyHeader is that of draft-ietf-httpapi-idempotency-key-header.
const idempotencyKeyHeader = "Idempotency-Key"

// maxIdempotencyKey bounds a key in bytes.
const maxIdempotencyKey = 255

// idempotencyKey returns the key that a client sent, or none. The draft has a
// string in quotes; without them a key of simple characters is taken as well,
// such as a UUID, and is the same key.
func idempotencyKey(h http.Header) (string, error) {
	values := h.Values(idempotencyKeyHeader)
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", refuse(CodeInvalidIdempotencyKey, "the field came %d times", len(values))
	}
	key, ok := parseIdempotencyKey(values[0])
	switch {
	case !ok:
		return "", refuse(CodeInvalidIdempotencyKey, "the field is neither a string of printable ASCII in double quotes nor a word of letters, digits and -._~:/+=*")
	case key == "" || len(key) > maxIdempotencyKey:
		return "", refuse(CodeInvalidIdempotencyKey, "the key has %d bytes, not 1 to %d", len(key), maxIdempotencyKey)
	}
	return key, nil
}

// parseIdempotencyKey reads one field value.
func parseIdempotencyKey(value string) (string, bool) {
	if strings.HasPrefix(value, `"`) {
		item, err := httpsfv.UnmarshalItem([]string{value})
		if err != nil {
			return "", false
		}
		key, isString := item.Value.(string)
		return key, isString
	}
	for _, c := range []byte(value) {
		if !isAlphanumeric(c) && (c < 'A' || c > 'Z') && strings.IndexByte("-._~:/+=*", c) < 0 {
			return "", false
		}
	}
	return value, true
}
