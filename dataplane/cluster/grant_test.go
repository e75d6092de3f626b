package cluster

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	here = place{namespace: "ml", store: "models", replica: "models-0"}
)

const sum = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

// aSession is admitted to here and otherwise as the API server's defaults make it.
func aSession(changes ...func(*v1alpha1.UploadSession)) *v1alpha1.UploadSession {
	s := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "weights", UID: "uid-1", ResourceVersion: "42"},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef:              v1alpha1.StoreReference{Name: "models"},
			Key:                   "llama/model.gguf",
			SizeBytes:             ptr.To(int64(25)),
			ConflictPolicy:        v1alpha1.ConflictPolicyFail,
			Completion:            v1alpha1.CompletionModeAutomatic,
			DesiredState:          v1alpha1.DesiredStateActive,
			ActiveDeadlineSeconds: 86400,
		},
		Status: v1alpha1.UploadSessionStatus{Admission: v1alpha1.UploadSessionAdmission{
			Replica: "models-0", Endpoint: "http://127.0.0.1:1",
			ChunkSizeBytes: 10, IdleTimeoutSeconds: 3600, ReservedBytes: ptr.To(int64(25)),
			AdmittedTime: metav1.NewTime(noon),
		}},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

func notYetAdmitted(s *v1alpha1.UploadSession) {
	s.Status.Admission = v1alpha1.UploadSessionAdmission{}
}

func deleted(s *v1alpha1.UploadSession) { s.DeletionTimestamp = ptr.To(metav1.NewTime(noon)) }

func cancelled(s *v1alpha1.UploadSession) { s.Spec.DesiredState = v1alpha1.DesiredStateCancelled }

func publishedAlready(s *v1alpha1.UploadSession) {
	s.Status.Result = v1alpha1.UploadSessionResult{Outcome: v1alpha1.UploadOutcomePublished, Reason: v1alpha1.ReasonPublished}
}

func storeGone(s *v1alpha1.UploadSession) {
	s.Status.CompletionTime = metav1.NewTime(noon)
	s.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonStoreGone, Message: "the store is gone",
	}}
}

func TestGrantIsWhatTheSessionSays(t *testing.T) {
	granted := upload.Grant{
		ID: "uid-1", Name: upload.Name{Namespace: "ml", Name: "weights"},
		Key: "llama/model.gguf", Size: 25, ChunkSize: 10,
		IdleTimeout: time.Hour, Deadline: noon.Add(24*time.Hour + clockSkew),
	}
	with := func(change func(*upload.Grant)) upload.Grant {
		g := granted
		change(&g)
		return g
	}
	for name, c := range map[string]struct {
		session *v1alpha1.UploadSession
		want    upload.Grant
	}{
		"with defaults": {aSession(), granted},
		"of an empty object": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.SizeBytes = ptr.To(int64(0)) }),
			with(func(g *upload.Grant) { g.Size = 0 }),
		},
		"with a digest": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.Digest = sum }),
			with(func(g *upload.Grant) { g.Digest = sum }),
		},
		"with SHA-256": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.DigestAlgorithm = v1alpha1.DigestAlgorithmSHA256 }),
			with(func(g *upload.Grant) { g.Algorithm = upload.SHA256 }),
		},
		"with BLAKE3": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.DigestAlgorithm = v1alpha1.DigestAlgorithmBLAKE3 }),
			with(func(g *upload.Grant) { g.Algorithm = upload.BLAKE3 }),
		},
		"with an algorithm of a later version": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.DigestAlgorithm = "SHA3" }),
			with(func(g *upload.Grant) { g.Algorithm = "SHA3" }),
		},
		"that replaces": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.ConflictPolicy = v1alpha1.ConflictPolicyReplace }),
			with(func(g *upload.Grant) { g.Replace = true }),
		},
		"that waits for complete": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.Completion = v1alpha1.CompletionModeExplicit }),
			with(func(g *upload.Grant) { g.Explicit = true }),
		},
		"with attributes": {
			aSession(func(s *v1alpha1.UploadSession) {
				s.Spec.Attributes = map[string]v1alpha1.AttributeValue{"team": "a"}
			}),
			with(func(g *upload.Grant) { g.Attributes = map[string]string{"team": "a"} }),
		},
		"whose object goes with it": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.ReclaimPolicy = v1alpha1.ReclaimPolicyDelete }),
			with(func(g *upload.Grant) { g.Reclaim = true }),
		},
		"whose object stays": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.ReclaimPolicy = v1alpha1.ReclaimPolicyRetain }), granted,
		},
		"whose own idle timeout comes before the store's": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.IdleTimeoutSeconds = 60 }),
			with(func(g *upload.Grant) { g.IdleTimeout = time.Minute }),
		},
		"whose deadline is the store's": {
			aSession(func(s *v1alpha1.UploadSession) {
				s.Spec.ActiveDeadlineSeconds, s.Status.Admission.ActiveDeadlineSeconds = 0, 7200
			}),
			with(func(g *upload.Grant) { g.Deadline = noon.Add(2*time.Hour + clockSkew) }),
		},
		"whose own deadline comes before the store's": {
			aSession(func(s *v1alpha1.UploadSession) { s.Status.Admission.ActiveDeadlineSeconds = 7200 }), granted,
		},
		"whose deadline is given nowhere": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.ActiveDeadlineSeconds = 0 }), granted,
		},
		"whose timeouts are longer than the store lets them": {
			aSession(func(s *v1alpha1.UploadSession) {
				s.Spec.IdleTimeoutSeconds = 3601
				s.Status.Admission.MaxIdleTimeoutSeconds, s.Status.Admission.MaxActiveDeadlineSeconds = 3600, 86399
			}),
			with(func(g *upload.Grant) { g.Deadline = noon.Add(24*time.Hour - time.Second + clockSkew) }),
		},
		"whose timeouts are as long as the store lets them": {
			aSession(func(s *v1alpha1.UploadSession) {
				s.Status.Admission.MaxIdleTimeoutSeconds, s.Status.Admission.MaxActiveDeadlineSeconds = 3600, 86400
			}), granted,
		},
		"that is for its owner and its uploaders": {
			aSession(func(s *v1alpha1.UploadSession) {
				s.Spec.Owner, s.Spec.Uploaders, s.Status.Admission.Access = "alice", []string{"sender"}, v1alpha1.StoreAccessOwner
			}),
			with(func(g *upload.Grant) { g.Users = []string{"alice", "system:serviceaccount:ml:sender"} }),
		},
		"that has no owner, in a store of owners": {
			aSession(func(s *v1alpha1.UploadSession) {
				s.Spec.Owner, s.Status.Admission.Access = "", v1alpha1.StoreAccessOwner
			}),
			with(func(g *upload.Grant) { g.Users = []string{""} }),
		},
		"with an access of a later version": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.Owner, s.Status.Admission.Access = "alice", "Somebody" }),
			with(func(g *upload.Grant) { g.Users = []string{"alice"} }),
		},
		"whose uploaders are named where nobody asks": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.Owner, s.Spec.Uploaders = "alice", []string{"sender"} }), granted,
		},
		"that is suspended": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.DesiredState = v1alpha1.DesiredStateSuspended }),
			with(func(g *upload.Grant) { g.Suspended, g.Deadline = true, g.Deadline.Add(7*24*time.Hour) }),
		},
		"that is suspended, in a store that lets it be so for an hour": {
			aSession(func(s *v1alpha1.UploadSession) {
				s.Spec.DesiredState, s.Status.Admission.MaxSuspendedSeconds = v1alpha1.DesiredStateSuspended, 3600
			}),
			with(func(g *upload.Grant) { g.Suspended, g.Deadline = true, g.Deadline.Add(time.Hour) }),
		},
		"that was suspended for a minute": {
			aSession(func(s *v1alpha1.UploadSession) { s.Status.SuspendedSeconds = ptr.To[int32](60) }),
			with(func(g *upload.Grant) { g.Deadline = g.Deadline.Add(time.Minute) }),
		},
		"that goes on, which the operator has not seen": {
			aSession(func(s *v1alpha1.UploadSession) { s.Status.SuspendedTime = metav1.NewTime(noon) }),
			with(func(g *upload.Grant) { g.Deadline = g.Deadline.Add(7 * 24 * time.Hour) }),
		},
		"that changed since the operator has seen it, and may have been suspended": {
			aSession(func(s *v1alpha1.UploadSession) { s.Generation, s.Status.ObservedGeneration = 3, ptr.To[int64](1) }),
			with(func(g *upload.Grant) { g.Deadline = g.Deadline.Add(7 * 24 * time.Hour) }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := here.grantOf(c.session)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestGrantIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		session *v1alpha1.UploadSession
		want    error
		says    string
	}{
		"of another store": {
			aSession(func(s *v1alpha1.UploadSession) { s.Spec.StoreRef.Name = "data" }), upload.ErrElsewhere, `"data"`,
		},
		"of another replica": {
			aSession(func(s *v1alpha1.UploadSession) { s.Status.Admission.Replica = "models-1" }), upload.ErrElsewhere, "models-1 at http",
		},
		"before the operator has looked": {aSession(notYetAdmitted), upload.ErrNotReady, `UploadStore "models"`},
		"of a store that is not there": {
			aSession(notYetAdmitted, func(s *v1alpha1.UploadSession) {
				s.Spec.StoreRef.Name = "data"
				s.Status.Conditions = []metav1.Condition{{
					Type: v1alpha1.ConditionAdmitted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonStoreNotFound, Message: `create UploadStore "data"`,
				}}
			}), upload.ErrNotReady, `StoreNotFound: create UploadStore "data"`,
		},
		"of another store, before the operator has looked": {
			aSession(notYetAdmitted, func(s *v1alpha1.UploadSession) { s.Spec.StoreRef.Name = "data" }), upload.ErrNotReady, `UploadStore "data"`,
		},
		"of another store, cancelled before it was admitted": {
			aSession(notYetAdmitted, cancelled, func(s *v1alpha1.UploadSession) { s.Spec.StoreRef.Name = "data" }), session.ErrEnded, "",
		},
		"while there is no room": {
			aSession(notYetAdmitted, func(s *v1alpha1.UploadSession) {
				s.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAdmitted, Reason: "InsufficientSpace", Message: "wait"}}
			}), upload.ErrNotReady, "InsufficientSpace: wait",
		},
		"once it is cancelled": {aSession(cancelled), session.ErrEnded, "Aborted"},
		"once it is cancelled before its admission": {
			aSession(notYetAdmitted, cancelled), session.ErrEnded, "Aborted",
		},
		"once it is being deleted":   {aSession(deleted), session.ErrEnded, "Aborted"},
		"once it was published":      {aSession(publishedAlready), session.ErrEnded, "Finished"},
		"once the operator ended it": {aSession(storeGone), session.ErrEnded, "Aborted"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := here.grantOf(c.session); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
}

// However far the two clocks are apart, within reason, a session lasts as long
// as the operator, who admitted it by its own clock, says.
func TestADeadlineIsNotEarlyByEitherClock(t *testing.T) {
	const asked = 10 * time.Second // the least there may be
	s := aSession(func(s *v1alpha1.UploadSession) { s.Spec.ActiveDeadlineSeconds = int32(asked / time.Second) })
	grant, err := here.grantOf(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []time.Duration{-5 * time.Second, -time.Second, 0, time.Second, 5 * time.Second} {
		// The moment when this replica's clock shows the deadline, by the operator's clock.
		ends := grant.Deadline.Add(-ahead)
		if lasted := ends.Sub(noon); lasted < asked || lasted > asked+10*time.Second {
			t.Errorf("with a clock that is %v ahead the session lasts %v, and was given %v", ahead, lasted, asked)
		}
	}
}
