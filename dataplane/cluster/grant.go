package cluster

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// place is what one dataplane replica serves.
type place struct {
	namespace, store, replica string
}

// holds reports whether a session was admitted to this replica.
func (p place) holds(s *v1alpha1.UploadSession) bool {
	return s.Namespace == p.namespace && s.Spec.StoreRef.Name == p.store && s.Status.Admission.Replica == p.replica
}

// refusals are asked in order; the first that applies says why a session
// can't be taken up here.
var refusals = []func(place, *v1alpha1.UploadSession) error{
	otherStore,
	otherReplica,
	over,
	notAdmitted,
}

// grantOf returns what a session lets a client upload here, or why not:
// upload.ErrElsewhere, upload.ErrNotReady, or session.ErrEnded where the
// session is over or about to be.
func (p place) grantOf(s *v1alpha1.UploadSession) (upload.Grant, error) {
	for _, refuses := range refusals {
		if err := refuses(p, s); err != nil {
			return upload.Grant{}, err
		}
	}
	admission := s.Status.Admission
	return upload.Grant{
		ID:          session.ID(s.UID),
		Name:        upload.Name{Namespace: s.Namespace, Name: s.Name},
		Key:         s.Spec.Key,
		Size:        ptr.Deref(s.Spec.SizeBytes, 0),
		ChunkSize:   admission.ChunkSizeBytes,
		Digest:      upload.Digest(s.Spec.Digest),
		Algorithm:   algorithm(s),
		Replace:     s.Spec.ConflictPolicy == v1alpha1.ConflictPolicyReplace,
		Adopt:       s.Spec.ConflictPolicy == v1alpha1.ConflictPolicyAdopt,
		Explicit:    s.Spec.Completion == v1alpha1.CompletionModeExplicit,
		Attributes:  attributes(s),
		Reclaim:     s.Spec.ReclaimPolicy == v1alpha1.ReclaimPolicyDelete,
		IdleTimeout: within(admission.MaxIdleTimeoutSeconds, cmp.Or(s.Spec.IdleTimeoutSeconds, admission.IdleTimeoutSeconds)),
		Deadline:    deadline(s),
		Suspended:   s.Spec.DesiredState == v1alpha1.DesiredStateSuspended,
		Users:       users(s),
	}, nil
}

// users are the only ones whom a session is for, where its store keeps those of a namespace apart: its
// owner and its uploaders. One without an owner and uploaders is for nobody.
func users(s *v1alpha1.UploadSession) []string {
	if s.Status.Admission.Access == "" {
		return nil
	}
	names := []string{s.Spec.Owner}
	for _, account := range s.Spec.Uploaders {
		names = append(names, "system:serviceaccount:"+s.Namespace+":"+account)
	}
	return names
}

// otherStore tells of a session that another store has admitted, and so where it is. One that waits for
// another store, which need not be there, is no more admitted than one that waits for this one.
func otherStore(p place, s *v1alpha1.UploadSession) error {
	if s.Spec.StoreRef.Name == p.store || s.Status.Admission.Replica == "" {
		return nil
	}
	return fmt.Errorf("%w: it belongs to UploadStore %q", upload.ErrElsewhere, s.Spec.StoreRef.Name)
}

func otherReplica(p place, s *v1alpha1.UploadSession) error {
	if replica := s.Status.Admission.Replica; replica != "" && replica != p.replica {
		return &upload.ElsewhereError{Replica: replica, Endpoint: s.Status.Admission.Endpoint}
	}
	return nil
}

func over(_ place, s *v1alpha1.UploadSession) error {
	e := endingOf(s)
	if e == nil {
		return nil
	}
	return &session.EndedError{Meta: session.Meta{
		ID: session.ID(s.UID), State: stateOf(s.Status.Result.Outcome),
	}}
}

func notAdmitted(_ place, s *v1alpha1.UploadSession) error {
	if s.Status.Admission.Replica != "" {
		return nil
	}
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAdmitted); c != nil {
		return fmt.Errorf("%w: %s: %s", upload.ErrNotReady, c.Reason, c.Message)
	}
	return fmt.Errorf("%w: it waits for the operator to look at it, and for UploadStore %q", upload.ErrNotReady, s.Spec.StoreRef.Name)
}

// ending is why the control plane wants a session to be over.
type ending struct {
	reason  upload.Reason
	message string
}

// endingOf returns why a session is to be over, or nil where it is to go on.
func endingOf(s *v1alpha1.UploadSession) *ending {
	switch {
	case s.Status.Result.Outcome != "":
		// Its room was given away when the result appeared. The reason is never the result's own:
		// what ends now was not published.
		return &ending{upload.Cancelled, "status.result says already how the session ended"}
	case !s.DeletionTimestamp.IsZero():
		return &ending{upload.Deleted, "the UploadSession was deleted"}
	case s.Spec.DesiredState == v1alpha1.DesiredStateCancelled:
		return &ending{upload.Cancelled, "desiredState is Cancelled"}
	case !s.Status.CompletionTime.IsZero():
		return endedByOperator(s)
	}
	return nil
}

// endedByOperator passes on why the operator ended a session itself, such as
// because its store was deleted while the replica was away.
func endedByOperator(s *v1alpha1.UploadSession) *ending {
	c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil || c.Status != metav1.ConditionFalse {
		return &ending{upload.Cancelled, "the operator ended the session"}
	}
	return &ending{upload.Reason(c.Reason), c.Message}
}

// algorithm is none where the session gives none: then that of its digest
// counts, or the default. One that is not known here is passed on as it is, to be refused.
func algorithm(s *v1alpha1.UploadSession) upload.Algorithm {
	switch s.Spec.DigestAlgorithm {
	case v1alpha1.DigestAlgorithmSHA256:
		return upload.SHA256
	case v1alpha1.DigestAlgorithmBLAKE3:
		return upload.BLAKE3
	}
	return upload.Algorithm(s.Spec.DigestAlgorithm)
}

func attributes(s *v1alpha1.UploadSession) map[string]string {
	if len(s.Spec.Attributes) == 0 {
		return nil
	}
	plain := make(map[string]string, len(s.Spec.Attributes))
	for name, value := range s.Spec.Attributes {
		plain[name] = string(value)
	}
	return plain
}

// clockSkew is how far the operator's clock, by which a session was admitted, may be behind ours:
// it delays a deadline, so that none comes early.
const clockSkew = 5 * time.Second

// deadline is when the session expires as its status has it, by whichever clock is behind.
func deadline(s *v1alpha1.UploadSession) time.Time {
	return s.Status.Admission.Expiration(s.Spec, s.Suspended()).Add(clockSkew)
}

// within is a number of seconds, or the most there may be where that is less; 0 is no limit.
func within(most, asked int32) time.Duration {
	return time.Duration(min(asked, cmp.Or(most, asked))) * time.Second
}
