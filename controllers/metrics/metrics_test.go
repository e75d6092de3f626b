package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func session(name string, status v1alpha1.UploadSessionStatus) *v1alpha1.UploadSession {
	return &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: name, CreationTimestamp: metav1.NewTime(noon.Add(-time.Minute))},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: "models"}, DesiredState: v1alpha1.DesiredStateActive, Owner: "somebody",
		},
		Status: status,
	}
}

func told(reason, message string) v1alpha1.UploadSessionStatus {
	return v1alpha1.UploadSessionStatus{Conditions: []metav1.Condition{{
		Type: v1alpha1.ConditionAdmitted, Status: metav1.ConditionFalse, Reason: reason, Message: message,
	}}}
}

func holds(bytes int64) v1alpha1.UploadSessionStatus {
	return v1alpha1.UploadSessionStatus{Admission: v1alpha1.UploadSessionAdmission{Replica: "models-0", ReservedBytes: &bytes}}
}

// everything is a namespace with one of each.
func everything() []client.Object {
	heldUp := holds(200)
	heldUp.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonReplicaNotReady,
	}}
	ended := holds(100)
	ended.CompletionTime = metav1.NewTime(noon)
	return []client.Object{
		&v1alpha1.UploadStore{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "models"},
			Spec: v1alpha1.UploadStoreSpec{
				Dataplane: v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeManaged, Replicas: 2},
				Limits:    v1alpha1.StoreLimits{MinFreeBytes: ptr.To[int64](10)},
			},
			Status: v1alpha1.UploadStoreStatus{
				Conditions:    []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}},
				CapacityBytes: ptr.To[int64](1000), AvailableBytes: ptr.To[int64](900), ReservedBytes: ptr.To[int64](0), // late
				Replicas: []v1alpha1.UploadStoreReplica{{Name: "models-0"}},
			},
		},
		&v1alpha1.UploadQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "team"},
			Spec:       v1alpha1.UploadQuotaSpec{Hard: v1alpha1.UploadQuotaHard{ActiveSessions: ptr.To[int32](2), ReservedBytes: ptr.To[int64](500)}},
			Status: v1alpha1.UploadQuotaStatus{Used: v1alpha1.UploadQuotaUsed{
				ActiveSessions: ptr.To[int32](2), ReservedBytes: ptr.To[int64](300),
			}},
		},
		session("a", holds(100)), session("b", heldUp), session("c", ended), session("g", heldUp),
		session("d", told(v1alpha1.ReasonQuotaExceeded, `Waits for activeSessions of UploadQuota "team": needs 1`)),
		session("e", told(v1alpha1.ReasonQuotaExceeded, `Waits for activeSessions of UploadQuota "team": needs 1`)),
		session("f", v1alpha1.UploadSessionStatus{}),
	}
}

func registryOf(t *testing.T, elected bool, objects ...client.Object) (*prometheus.Registry, client.Client) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	leads := make(chan struct{})
	if elected {
		close(leads)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&Standing{Reader: reader, Clock: clocktesting.NewFakePassiveClock(noon), Elected: leads})
	return registry, reader
}

// scrape returns every series and its value; a histogram's is how many were observed.
func scrape(t *testing.T, registry prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			series[family.GetName()+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return series
}

func TestStanding(t *testing.T) {
	registry, api := registryOf(t, true, everything()...)
	want := map[string]float64{
		"slipway_collect_success{}":                                                             1,
		"slipway_store_ready{namespace=ml,store=models}":                                        1,
		"slipway_store_capacity_bytes{namespace=ml,store=models}":                               1000,
		"slipway_store_available_bytes{namespace=ml,store=models}":                              900,
		"slipway_store_reserved_bytes{namespace=ml,store=models}":                               500,
		"slipway_store_active_sessions{namespace=ml,store=models}":                              3,
		"slipway_store_min_free_bytes{namespace=ml,store=models}":                               10,
		"slipway_store_replicas{namespace=ml,store=models}":                                     1,
		"slipway_store_desired_replicas{namespace=ml,store=models}":                             2,
		"slipway_sessions_active{namespace=ml,reason=None,store=models}":                        1,
		"slipway_sessions_active{namespace=ml,reason=ReplicaNotReady,store=models}":             2,
		"slipway_quota_hard_sessions{limit=activeSessions,namespace=ml,quota=team}":             2,
		"slipway_quota_used_sessions{limit=activeSessions,namespace=ml,quota=team}":             2,
		"slipway_quota_hard_bytes{limit=reservedBytes,namespace=ml,quota=team}":                 500,
		"slipway_quota_used_bytes{limit=reservedBytes,namespace=ml,quota=team}":                 300,
		"slipway_sessions_waiting{namespace=ml,quota=team,reason=QuotaExceeded}":                2,
		"slipway_sessions_waiting{namespace=ml,quota=,reason=None}":                             1,
		"slipway_sessions_waiting_oldest_seconds{namespace=ml,quota=team,reason=QuotaExceeded}": 60,
		"slipway_sessions_waiting_oldest_seconds{namespace=ml,quota=,reason=None}":              60,
	}
	if diff := cmp.Diff(want, scrape(t, registry)); diff != "" {
		t.Errorf("the metrics differ (-want +got):\n%s", diff)
	}
	for _, gone := range everything() {
		if err := api.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]float64{"slipway_collect_success{}": 1}, scrape(t, registry)); diff != "" {
		t.Errorf("what is gone is not (-want +got):\n%s", diff)
	}
}

func TestWhoDoesNotLeadTellsNothing(t *testing.T) {
	registry, _ := registryOf(t, false, everything()...)
	if got := scrape(t, registry); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

func transitions() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	m := NewTransitions(registry)
	m.Admitted(session("a", v1alpha1.UploadSessionStatus{}), "models", noon)
	m.Admitted(session("d", told(v1alpha1.ReasonQuotaExceeded, `Waits for UploadQuota "team" to be raised: `)), "models", noon)
	m.Rejected(session("r", v1alpha1.UploadSessionStatus{}), "models", v1alpha1.ReasonQuotaRejected)
	published := v1alpha1.UploadSessionStatus{Result: v1alpha1.UploadSessionResult{SizeBytes: ptr.To[int64](7)}}
	m.Ended(session("p", published), "models", v1alpha1.ReasonPublished)
	m.Ended(session("x", v1alpha1.UploadSessionStatus{}), "", "WhateverADataplaneSays")
	return registry
}

func secrets(is ...bool) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	m := NewSecrets(registry)
	for _, is := range is {
		m.InTheWay("ml", is)
	}
	return registry
}

func TestSecretInTheWay(t *testing.T) {
	if diff := cmp.Diff(map[string]float64{"slipway_secret_in_the_way{namespace=ml}": 1}, scrape(t, secrets(false, true))); diff != "" {
		t.Errorf("the metrics differ (-want +got):\n%s", diff)
	}
	if got := scrape(t, secrets(true, false)); len(got) > 0 {
		t.Errorf("%v is left of a Secret that is gone", got)
	}
}

func TestTransitions(t *testing.T) {
	want := map[string]float64{
		"slipway_sessions_admitted_total{namespace=ml,store=models}":                      2,
		"slipway_session_wait_seconds{namespace=ml,quota=,reason=None}":                   1,
		"slipway_session_wait_seconds{namespace=ml,quota=team,reason=QuotaExceeded}":      1,
		"slipway_sessions_rejected_total{namespace=ml,reason=QuotaRejected,store=models}": 1,
		"slipway_sessions_ended_total{namespace=ml,reason=Published,store=models}":        1,
		"slipway_sessions_ended_total{namespace=ml,reason=Other,store=}":                  1,
		"slipway_published_bytes_total{namespace=ml,store=models}":                        7,
	}
	if diff := cmp.Diff(want, scrape(t, transitions())); diff != "" {
		t.Errorf("the metrics differ (-want +got):\n%s", diff)
	}
}

// Every metric is documented, every one that is documented is there, and all are named as is usual.
func TestMetricsAreDocumented(t *testing.T) {
	standing, _ := registryOf(t, true, everything()...)
	families, err := prometheus.Gatherers{standing, transitions(), secrets(true)}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var have, documented []string
	for _, family := range families {
		have = append(have, family.GetName())
	}
	page, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(slipway_[a-z_]+)").FindAllSubmatch(page, -1) {
		if name := string(row[1]); !strings.HasPrefix(name, "slipway_dataplane_") {
			documented = append(documented, name)
		}
	}
	slices.Sort(documented)
	slices.Sort(have)
	if diff := cmp.Diff(documented, have); diff != "" {
		t.Errorf("the documented metrics are not those that there are (-documented +there):\n%s", diff)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint says %v, %v", problems, err)
	}
}
