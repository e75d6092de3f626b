package chunkapi

import (
	"net/http"
	"time"

	"github.com/rs/cors"
)

// preflightAge is how long a browser need not ask again.
const preflightAge = 10 * time.Minute

// AllowOrigins returns a handler that lets the scripts of web pages of these
// origins call next, which New has made. An origin is a scheme and a host, as browsers send it, without
// wildcards. No cookie and no password that a browser keeps is let in: a script sends its own
// credentials.
//
// A browser asks first what it may send, without credentials. The answer is
// the same for every path.
func AllowOrigins(next http.Handler, origins []string) http.Handler {
	withCORS := cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders: []string{
			"Authorization", "Content-Type", contentDigestHeader, reprDigestHeader, "Idempotency-Key", "Prefer",
			"Range", "If-Range", "If-Match", "If-None-Match", requestIDHeader,
		},
		ExposedHeaders: []string{
			"Location", "Retry-After", requestIDHeader, "ETag", "WWW-Authenticate", "Allow", "Preference-Applied",
			"Accept-Ranges", "Content-Range", reprDigestHeader, "Want-Content-Digest", "Want-Repr-Digest",
			"Slipway-State", "Slipway-Size-Bytes", "Slipway-Chunk-Size-Bytes", "Slipway-Total-Chunks",
			"Slipway-Received-Chunks", "Slipway-Received-Bytes",
		},
		MaxAge: int(preflightAge / time.Second),
	}).Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions && r.ContentLength != 0 {
			next.ServeHTTP(w, r) // no browser sends that, and only next knows what to do with a body
			return
		}
		withCORS.ServeHTTP(w, r)
	})
}
