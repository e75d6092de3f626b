package delegated

import (
	"errors"
	"net/url"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// isOfRequest reports whether an error is one of asking the API server: it has
// refused us, or could not be reached. What it says of a token is neither.
func isOfRequest(err error) bool {
	var several utilerrors.Aggregate // errors.As does not look into it
	if errors.As(err, &several) {
		return slices.ContainsFunc(several.Errors(), isOfRequest)
	}
	var status apierrors.APIStatus
	var sent *url.Error
	return errors.As(err, &status) || errors.As(err, &sent)
}
