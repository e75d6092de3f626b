package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// lookupTimeout is how long a client waits for the API server's word on a
// session that is not known here.
const lookupTimeout = 5 * time.Second

// directory asks the API server itself, past every cache but that of what other replicas own.
type directory struct {
	place  place
	live   client.Reader
	owners *owners // nil remembers nothing
}

var _ upload.Directory = directory{}

// Lookup returns what the session of that name lets a client upload here. The
// errors are those of upload.Directory, and session.ErrEnded for a session that is over.
func (d directory) Lookup(ctx context.Context, name upload.Name) (upload.Grant, error) {
	// The API server would answer a name that can't be with an error, and not with "not found".
	if name.Namespace != d.place.namespace || len(validation.IsDNS1123Subdomain(name.Name)) > 0 {
		return upload.Grant{}, upload.ErrUnknown
	}
	if owner := d.owners.recall(name, fresh); owner != nil {
		return upload.Grant{}, owner
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var s v1alpha1.UploadSession
	err := d.live.Get(ctx, client.ObjectKey{Namespace: name.Namespace, Name: name.Name}, &s)
	if apierrors.IsNotFound(err) {
		d.owners.forget(name)
		return upload.Grant{}, upload.ErrUnknown
	}
	if err != nil {
		// Who owned it does so still, or somebody else does and that one says so.
		if owner := d.owners.recall(name, stale); owner != nil {
			return upload.Grant{}, owner
		}
		return upload.Grant{}, fmt.Errorf("%w: %w", upload.ErrUnavailable, err)
	}
	grant, err := d.place.grantOf(&s)
	if owner, ok := errors.AsType[*upload.ElsewhereError](err); ok {
		d.owners.remember(name, owner)
	} else {
		d.owners.forget(name)
	}
	return grant, err
}
