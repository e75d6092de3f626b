package metrics

import (
	"cmp"
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
)

// readWithin bounds what a scrape waits for the cache.
const readWithin = 5 * time.Second

// Standing collects how stores, quotas and sessions stand at each scrape.
type Standing struct {
	// Reader reads them, from a cache.
	Reader client.Reader
	// Clock tells the time.
	Clock clock.PassiveClock
	// Elected is closed once this process leads. Until then there is nothing to tell.
	Elected <-chan struct{}
}

var (
	collected = prometheus.NewDesc("slipway_collect_success",
		"1 where the stores, quotas and sessions could be read for this scrape, otherwise 0 and their metrics are missing. Of the leader only.", nil, nil)

	storeReady = store("slipway_store_ready",
		"1 where the store's condition Ready is True, otherwise 0.")
	storeCapacity = store("slipway_store_capacity_bytes",
		"Size of the store's volume, as its replicas report it.")
	storeAvailable = store("slipway_store_available_bytes",
		"What the store's volume would have free with nothing staged, as its replicas report it.")
	storeReserved = store("slipway_store_reserved_bytes",
		"Bytes that admitted sessions which have not ended reserve on the store's volume.")
	storeSessions = store("slipway_store_active_sessions",
		"Sessions of the store that are admitted and have not ended.")
	storeMinFree = store("slipway_store_min_free_bytes",
		"What the store keeps free on its volume: limits.minFreeBytes.")
	storeReplicas = store("slipway_store_replicas",
		"Replicas of the store that are alive.")
	storeDesired = store("slipway_store_desired_replicas",
		"Replicas that a Managed store asks for.")

	quotaHardSessions = quota("slipway_quota_hard_sessions", "How many sessions a quota allows, by the limit of spec.hard.")
	quotaUsedSessions = quota("slipway_quota_used_sessions", "How many sessions are taken of a quota's limit, those of the owner who has most where it is one for each owner.")
	quotaHardBytes    = quota("slipway_quota_hard_bytes", "How many bytes a quota allows, by the limit of spec.hard.")
	quotaUsedBytes    = quota("slipway_quota_used_bytes", "How many bytes are taken of a quota's limit, those of the owner who has most where it is one for each owner.")

	active = prometheus.NewDesc("slipway_sessions_active",
		"Sessions that are admitted and have not ended, by how they stand (None where they have not been told yet).",
		[]string{"namespace", "store", "reason"}, nil)
	waiting = prometheus.NewDesc("slipway_sessions_waiting",
		"Sessions that wait to be admitted, by what they wait for (None where they have not been told yet) and the quota, if it is one.",
		[]string{"namespace", "reason", "quota"}, nil)
	waitingOldest = prometheus.NewDesc("slipway_sessions_waiting_oldest_seconds",
		"Age of the oldest of these sessions.", []string{"namespace", "reason", "quota"}, nil)
)

func store(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"namespace", "store"}, nil)
}

func quota(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"namespace", "quota", "limit"}, nil)
}

// Describe is for prometheus.Collector.
func (*Standing) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		collected, storeReady, storeCapacity, storeAvailable, storeReserved, storeSessions, storeMinFree, storeReplicas,
		storeDesired, quotaHardSessions, quotaUsedSessions, quotaHardBytes, quotaUsedBytes, active, waiting, waitingOldest,
	} {
		to <- desc
	}
}

// Collect is for prometheus.Collector.
func (c *Standing) Collect(to chan<- prometheus.Metric) {
	select {
	case <-c.Elected:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	var (
		stores   v1alpha1.UploadStoreList
		quotas   v1alpha1.UploadQuotaList
		sessions v1alpha1.UploadSessionList
	)
	for _, list := range []client.ObjectList{&stores, &quotas, &sessions} {
		// They are counted and left as they are.
		if err := c.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			gauge(to, collected, 0)
			return
		}
	}
	gauge(to, collected, 1)
	held, queue := c.count(sessions.Items)
	for i := range stores.Items {
		s := &stores.Items[i]
		tellStore(to, s, held[client.ObjectKeyFromObject(s)])
	}
	for i := range quotas.Items {
		tellQuota(to, &quotas.Items[i])
	}
	for store, h := range held {
		for reason, n := range h.sessions {
			gauge(to, active, float64(n), store.Namespace, store.Name, reason)
		}
	}
	for wanted, line := range queue {
		gauge(to, waiting, float64(line.sessions), wanted.namespace, wanted.reason, wanted.quota)
		gauge(to, waitingOldest, line.oldest.Seconds(), wanted.namespace, wanted.reason, wanted.quota)
	}
}

// holding is what the sessions of a store hold.
type holding struct {
	bytes int64
	// sessions are how many there are, by how they stand.
	sessions map[string]int64
}

// want is what sessions of a namespace wait for.
type want struct{ namespace, reason, quota string }

// line is the sessions that wait for the same.
type line struct {
	sessions int64
	oldest   time.Duration
}

func (c *Standing) count(sessions []v1alpha1.UploadSession) (map[client.ObjectKey]holding, map[want]line) {
	now := c.Clock.Now()
	held, queue := map[client.ObjectKey]holding{}, map[want]line{}
	for i := range sessions {
		s := &sessions[i]
		switch {
		case admission.Holds(s):
			key := client.ObjectKey{Namespace: s.Namespace, Name: s.Spec.StoreRef.Name}
			h, ok := held[key]
			if !ok {
				h.sessions = map[string]int64{}
			}
			h.bytes += *s.Status.Admission.ReservedBytes
			h.sessions[standsAs(s)]++
			held[key] = h
		case admission.Asks(s):
			reason, quota := admission.WaitsFor(s)
			key := want{s.Namespace, cmp.Or(known(reason), none), quota}
			l := queue[key]
			queue[key] = line{l.sessions + 1, max(l.oldest, now.Sub(s.CreationTimestamp.Time))}
		}
	}
	return held, queue
}

// standsAs is why a session that is admitted has not ended, as its status tells.
func standsAs(s *v1alpha1.UploadSession) string {
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return cmp.Or(known(c.Reason), none)
	}
	return none
}

func tellStore(to chan<- prometheus.Metric, s *v1alpha1.UploadStore, held holding) {
	tell := func(desc *prometheus.Desc, value float64) { gauge(to, desc, value, s.Namespace, s.Name) }
	ready := 0.0
	if meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionReady) {
		ready = 1
	}
	tell(storeReady, ready)
	tell(storeReserved, float64(held.bytes))
	sessions := int64(0)
	for _, n := range held.sessions {
		sessions += n
	}
	tell(storeSessions, float64(sessions))
	tell(storeReplicas, float64(len(s.Status.Replicas)))
	if s.Spec.Dataplane.Mode == v1alpha1.DataplaneModeManaged {
		tell(storeDesired, float64(admission.Replicas(s)))
	}
	for desc, bytes := range map[*prometheus.Desc]*int64{
		storeCapacity: s.Status.CapacityBytes, storeAvailable: s.Status.AvailableBytes, storeMinFree: s.Spec.Limits.MinFreeBytes,
	} {
		if bytes != nil {
			tell(desc, float64(*bytes))
		}
	}
}

func tellQuota(to chan<- prometheus.Metric, q *v1alpha1.UploadQuota) {
	hard, used := q.Spec.Hard, q.Status.Used
	sessions := func(limit string, hard, used *int32) {
		if hard != nil {
			gauge(to, quotaHardSessions, float64(*hard), q.Namespace, q.Name, limit)
		}
		if used != nil {
			gauge(to, quotaUsedSessions, float64(*used), q.Namespace, q.Name, limit)
		}
	}
	bytes := func(limit string, hard, used *int64) {
		if hard != nil {
			gauge(to, quotaHardBytes, float64(*hard), q.Namespace, q.Name, limit)
		}
		if used != nil {
			gauge(to, quotaUsedBytes, float64(*used), q.Namespace, q.Name, limit)
		}
	}
	sessions("activeSessions", hard.ActiveSessions, used.ActiveSessions)
	sessions("activeSessionsPerOwner", hard.ActiveSessionsPerOwner, used.ActiveSessionsPerOwner)
	bytes("reservedBytes", hard.ReservedBytes, used.ReservedBytes)
	bytes("reservedBytesPerOwner", hard.ReservedBytesPerOwner, used.ReservedBytesPerOwner)
	if hard.ObjectBytes != 0 {
		bytes("objectBytes", &hard.ObjectBytes, nil)
	}
}

func gauge(to chan<- prometheus.Metric, desc *prometheus.Desc, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}
