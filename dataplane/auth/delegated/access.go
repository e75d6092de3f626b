package delegated

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/util/webhook"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"github.com/slipway-dev/slipway/dataplane/auth"
)

// maxAnswers bounds the answers that are kept, of which that which nobody has asked for longest goes first.
const maxAnswers = 8192

// permissions ask the API server what somebody may do in one namespace. Kubernetes' own delegating authorizer asks with
// SubjectAccessReviews, which take a right in the whole cluster, and tell of every namespace.
type permissions struct {
	namespace string
	reviews   authorizationclient.LocalSubjectAccessReviewInterface
	answers   *cache.LRUExpireCache // bool by the SHA-256 of the question, much of which the caller chooses
	backoff   wait.Backoff
}

func newPermissions(namespace string, reviews authorizationclient.LocalSubjectAccessReviewsGetter, backoff wait.Backoff) *permissions {
	return &permissions{namespace, reviews.LocalSubjectAccessReviews(namespace), cache.NewLRUExpireCache(maxAnswers), backoff}
}

// allowed reports whether a caller may do something in their namespace. An error says that nobody could be
// asked. An answer is kept for CacheTTL.
func (r *permissions) allowed(ctx context.Context, c auth.Caller, what authorizationv1.ResourceAttributes) (bool, error) {
	what.Namespace = r.namespace
	spec := authorizationv1.SubjectAccessReviewSpec{User: c.User, UID: c.UID, Groups: c.Groups, Extra: extraOf(c), ResourceAttributes: &what}
	encoded, err := json.Marshal(spec)
	if err != nil {
		return false, fmt.Errorf("encode the question: %w", err)
	}
	key := sha256.Sum256(encoded)
	if kept, ok := r.answers.Get(key); ok {
		allowed, _ := kept.(bool)
		return allowed, nil
	}
	asked := &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace}, Spec: spec}
	var answer *authorizationv1.LocalSubjectAccessReview
	if err := webhook.WithExponentialBackoff(ctx, r.backoff, func() (err error) {
		answer, err = r.reviews.Create(ctx, asked, metav1.CreateOptions{})
		return err
	}, webhook.DefaultShouldRetry); err != nil {
		return false, fmt.Errorf("ask what %q may do: %w", c.User, err)
	}
	allowed := answer.Status.Allowed && !answer.Status.Denied
	r.answers.Add(key, allowed, CacheTTL)
	return allowed, nil
}

func extraOf(c auth.Caller) map[string]authorizationv1.ExtraValue {
	extra := make(map[string]authorizationv1.ExtraValue, len(c.Extra))
	for k, v := range c.Extra {
		extra[k] = v
	}
	return extra
}
