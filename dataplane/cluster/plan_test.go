package cluster

import (
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestPlan(t *testing.T) {
	var (
		unknown *upload.Status
		active  = &upload.Status{Meta: session.Meta{State: session.Open}}
		over    = &upload.Status{Meta: session.Meta{State: session.Finished}, Result: &upload.Result{Reason: upload.Published}}
	)
	grant, err := here.grantOf(aSession())
	if err != nil {
		t.Fatal(err)
	}
	reclaims := func(st *upload.Status) *upload.Status {
		changed := *st
		changed.Grant.Reclaim = true
		return &changed
	}
	reclaimedAlready := func(s *v1alpha1.UploadSession) { s.Status.ReclaimedTime = metav1.NewTime(noon) }
	failed := &upload.Status{Meta: session.Meta{State: session.Failed}, Result: &upload.Result{Reason: upload.KeyExists}}
	accept := plan{accept: &grant}
	byUser := ending{upload.Cancelled, "desiredState is Cancelled"}
	byDeletion := ending{upload.Deleted, "the UploadSession was deleted"}
	byOperator := ending{upload.Reason(v1alpha1.ReasonStoreGone), "the store is gone"}

	for name, c := range map[string]struct {
		session *v1alpha1.UploadSession
		known   *upload.Status
		want    plan
	}{
		"an admitted session is taken up":                                  {aSession(), unknown, accept},
		"one that is known is applied again":                               {aSession(), active, accept},
		"one that ended here is reported":                                  {aSession(), over, plan{}},
		"a cancelled one is ended":                                         {aSession(cancelled), active, plan{end: &byUser}},
		"a cancelled one that never began is released":                     {aSession(cancelled), unknown, plan{release: &byUser}},
		"a cancelled one that was published first stays so":                {aSession(cancelled), over, plan{}},
		"a deleted one is ended":                                           {aSession(deleted), active, plan{end: &byDeletion}},
		"a deleted one that never began is released":                       {aSession(deleted), unknown, plan{release: &byDeletion}},
		"a deleted one counts as deleted although cancelled":               {aSession(cancelled, deleted), active, plan{end: &byDeletion}},
		"one that the operator ended is ended for its reason":              {aSession(storeGone), active, plan{end: &byOperator}},
		"one that the operator ended and never began is released":          {aSession(storeGone), unknown, plan{release: &byOperator}},
		"a finished one is never taken up again":                           {aSession(publishedAlready), unknown, plan{}},
		"a finished one that is being deleted needs nothing":               {aSession(publishedAlready, deleted), unknown, plan{}},
		"a deleted one's object goes where that is wanted":                 {aSession(publishedAlready, deleted), reclaims(over), plan{reclaim: true}},
		"a deleted one's object goes although nobody knew of it":           {aSession(deleted), reclaims(over), plan{reclaim: true}},
		"a deleted one's object stays where that is wanted":                {aSession(publishedAlready, deleted), over, plan{}},
		"a deleted one's object goes once":                                 {aSession(publishedAlready, deleted, reclaimedAlready), reclaims(over), plan{}},
		"a deleted one without an object has none to lose":                 {aSession(deleted), reclaims(failed), plan{}},
		"one that is not deleted keeps its object":                         {aSession(publishedAlready), reclaims(over), plan{}},
		"one that is cancelled once it is published keeps its object":      {aSession(publishedAlready, cancelled), reclaims(over), plan{}},
		"one that is deleted while it is active ends before anything goes": {aSession(deleted), reclaims(active), plan{end: &byDeletion}},
		"one that began after its result appeared is ended, and not as published": {
			aSession(publishedAlready), active,
			plan{end: &ending{upload.Cancelled, "status.result says already how the session ended"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := planFor(here, c.session, c.known); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestAReplicaHoldsOnlyWhatWasAdmittedToIt(t *testing.T) {
	for name, c := range map[string]struct {
		session *v1alpha1.UploadSession
		want    bool
	}{
		"its own":              {aSession(), true},
		"not admitted":         {aSession(notYetAdmitted), false},
		"of another replica":   {aSession(func(s *v1alpha1.UploadSession) { s.Status.Admission.Replica = "models-1" }), false},
		"of another store":     {aSession(func(s *v1alpha1.UploadSession) { s.Spec.StoreRef.Name = "data" }), false},
		"of another namespace": {aSession(func(s *v1alpha1.UploadSession) { s.Namespace = "kube-system" }), false},
	} {
		if got := here.holds(c.session); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
