package delegated

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// errTooMany means that as many tokens are being reviewed as may be.
var errTooMany = errors.New("too many tokens are being reviewed")

// bounded lets so many requests through at once and fails the others at once:
// who waits for a review holds a connection, and strangers can make many.
type bounded struct {
	next  http.RoundTripper
	slots chan struct{}
}

func newBounded(next http.RoundTripper, most int) *bounded {
	return &bounded{next: next, slots: make(chan struct{}, most)}
}

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
		return b.next.RoundTrip(r)
	default:
		return nil, errTooMany
	}
}

// isOfRequest reports whether an error is one of asking the API server: it has
// refused us, or could not be reached. What it says of a token is neither.
func isOfRequest(err error) bool {
	var several utilerrors.Aggregate // errors.As does not look into it
	if errors.As(err, &several) {
		return slices.ContainsFunc(several.Errors(), isOfRequest)
	}
	var status apierrors.APIStatus
	var sent *url.Error
	return errors.As(err, &status) || errors.As(err, &sent) || errors.Is(err, errTooMany)
}
