package cluster

import (
	"context"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// createAttempts is how often a session may come and go between two looks
// before the client is told to try again.
const createAttempts = 3

// creator creates sessions in the API server. It remembers nothing: the name
// that a key gives is taken there or it is not, whoever asked and died since.
type creator struct {
	place place
	live  client.WithWatch
	log   *slog.Logger
}

var _ upload.Creator = creator{}

// Create implements upload.Creator.
func (c creator) Create(ctx context.Context, r upload.CreateRequest) (upload.Created, error) {
	want, err := c.place.requestOf(r)
	if err != nil {
		return upload.Created{}, err
	}
	if want.name == "" {
		return c.create(ctx, want)
	}
	for range createAttempts {
		// It is looked for first: a twin is to be found also where nobody may create any more,
		// because a quota of objects is used up or a rule became stricter since.
		twin, version, err := c.find(ctx, want.name)
		if err != nil {
			return upload.Created{}, fmt.Errorf("%w: %w", upload.ErrUnavailable, err)
		}
		if twin != nil {
			return found(twin, version, want)
		}
		created, err := c.create(ctx, want)
		if !apierrors.IsAlreadyExists(err) {
			return created, err
		}
	}
	return upload.Created{}, fmt.Errorf("%w: session %q comes and goes", upload.ErrUnavailable, want.name)
}

// create creates the session. Where the name is taken the error says so as the API server does.
func (c creator) create(ctx context.Context, want request) (upload.Created, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u := &unstructured.Unstructured{Object: map[string]any{"spec": want.spec}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("UploadSession"))
	u.SetNamespace(c.place.namespace)
	u.SetAnnotations(map[string]string{v1alpha1.FingerprintAnnotation: want.fingerprint})
	u.SetName(want.name)
	if want.name == "" {
		u.SetGenerateName(namePrefix)
	}
	err := c.live.Create(ctx, u)
	if want.name != "" && apierrors.IsAlreadyExists(err) {
		return upload.Created{}, err
	}
	if err != nil {
		return upload.Created{}, notCreated(err)
	}
	var s v1alpha1.UploadSession
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &s); err != nil {
		return upload.Created{}, fmt.Errorf("read session %s back: %w", u.GetName(), err)
	}
	c.log.Info("session created for a client", "session", u.GetNamespace()+"/"+u.GetName(), "uid", u.GetUID(), "owner", want.owner)
	return createdOf(&s)
}

// find returns the session of that name, nil where there is none, and the
// version that it was read at. A list tells a version that a watch can begin
// with, which that of a session which nobody has changed for long is not.
func (c creator) find(ctx context.Context, name string) (*v1alpha1.UploadSession, string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var list v1alpha1.UploadSessionList
	if err := c.live.List(ctx, &list, c.only(name)); err != nil {
		return nil, "", fmt.Errorf("look for session %q: %w", name, err)
	}
	if len(list.Items) == 0 {
		return nil, "", nil
	}
	return &list.Items[0], list.ResourceVersion, nil
}

// only selects the session of one name.
func (c creator) only(name string) *client.ListOptions {
	return &client.ListOptions{
		Namespace: c.place.namespace, FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name),
	}
}

// found is the session that has the name already, if the same owner created it
// with the same spec. The owner is compared too: an annotation is what anybody says.
func found(twin *v1alpha1.UploadSession, version string, want request) (upload.Created, error) {
	if twin.Annotations[v1alpha1.FingerprintAnnotation] != want.fingerprint || twin.Spec.Owner != want.owner {
		return upload.Created{}, fmt.Errorf("%w: %s/%s", upload.ErrKeyReused, twin.Namespace, twin.Name)
	}
	created, err := createdOf(twin)
	created.Found, created.Version = true, version
	return created, err
}

// Await implements upload.Creator. It watches the one session.
func (c creator) Await(ctx context.Context, created upload.Created) (upload.Created, error) {
	if created.Settled() {
		return created, nil
	}
	options := c.only(created.Name.Name)
	options.Raw = &metav1.ListOptions{ResourceVersion: created.Version}
	events, err := c.live.Watch(ctx, &v1alpha1.UploadSessionList{}, options)
	if err != nil {
		c.notFollowed(ctx, created, err)
		return created, nil
	}
	defer events.Stop()
	for {
		select {
		case <-ctx.Done():
			return created, nil
		case event, open := <-events.ResultChan():
			s, isSession := event.Object.(*v1alpha1.UploadSession)
			switch {
			case !open:
				c.notFollowed(ctx, created, context.Cause(ctx))
				return created, nil
			case !isSession:
				c.notFollowed(ctx, created, apierrors.FromObject(event.Object))
				return created, nil
			case event.Type == watch.Deleted || session.ID(s.UID) != created.ID:
				return created, fmt.Errorf("%w: %s", upload.ErrDeleting, created.Name)
			}
			now, err := createdOf(s)
			if now.Found = created.Found; err != nil || now.Settled() {
				return now, err
			}
			created = now
		}
	}
}

// notFollowed tells the log why a client hears that its session waits although nobody knows.
func (c creator) notFollowed(ctx context.Context, created upload.Created, err error) {
	if ctx.Err() == nil {
		c.log.Warn("can't follow a session for the client that created it", "session", created.Name.String(), "error", err)
	}
}
