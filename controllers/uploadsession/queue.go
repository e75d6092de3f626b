package uploadsession

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/heartbeat"
)

const (
	// looksAtOnce is how many sessions one look at a namespace wakes; each that is admitted
	// brings on the next look.
	looksAtOnce = 100
	// refreshesAtOnce is how many sessions far back in a line are told in refreshEvery that they
	// wait for something else by now. It bounds what a limit that comes and goes costs.
	refreshesAtOnce = 10
	refreshEvery    = time.Second
	// listPage is how many sessions come in one answer, whole: what users put into them is in memory while it
	// is read, beside the cache's own list.
	listPage = 100
)

// Queue is the ledger of the process that leads: fed by the watches, asked by
// the reconciler. Before the first question it reads everything from the API
// server itself, because a leader's cache may lag behind what the leader before
// it wrote; from then on nobody else admits.
type Queue struct {
	live      client.Reader // no cache
	namespace string        // the only one; empty for all

	mu     sync.Mutex
	ledger *admission.Ledger
	// gone is the sessions that went while the queue was being filled.
	gone    map[types.UID]bool
	filled  bool
	filling sync.Mutex
	wake    func(reconcile.Request)
}

// NewQueue returns a queue that fills itself through the reader, which must
// not be a cache, with one namespace or all.
func NewQueue(live client.Reader, namespace string) *Queue {
	return &Queue{
		live: live, namespace: namespace, ledger: admission.NewLedger(), gone: map[types.UID]bool{},
		wake: func(reconcile.Request) {},
	}
}

// fill reads everything once, from the API server.
func (q *Queue) fill(ctx context.Context) error {
	q.filling.Lock()
	defer q.filling.Unlock()
	if q.filled {
		return nil
	}
	var quotas v1alpha1.UploadQuotaList
	if err := q.live.List(ctx, &quotas, client.InNamespace(q.namespace)); err != nil {
		return fmt.Errorf("list the quotas: %w", err)
	}
	var stores v1alpha1.UploadStoreList
	if err := q.live.List(ctx, &stores, client.InNamespace(q.namespace)); err != nil {
		return fmt.Errorf("list the stores: %w", err)
	}
	var leases coordinationv1.LeaseList
	if err := q.live.List(ctx, &leases, client.InNamespace(q.namespace), client.HasLabels{v1alpha1.StoreLabel}); err != nil {
		return fmt.Errorf("list the Leases of the dataplane: %w", err)
	}
	q.mu.Lock()
	for i := range quotas.Items {
		q.ledger.SetQuota(&quotas.Items[i])
	}
	for i := range stores.Items {
		q.ledger.SetStore(&stores.Items[i])
	}
	for i := range leases.Items {
		q.report(&leases.Items[i])
	}
	q.mu.Unlock()
	var page v1alpha1.UploadSessionList
	for {
		if err := q.live.List(ctx, &page, client.InNamespace(q.namespace), client.Limit(listPage), client.Continue(page.Continue)); err != nil {
			return fmt.Errorf("list the sessions: %w", err)
		}
		q.mu.Lock()
		for i := range page.Items {
			if s := &page.Items[i]; !q.gone[s.UID] {
				q.ledger.Observe(s)
			}
		}
		q.mu.Unlock()
		if page.Continue == "" {
			break
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.filled, q.gone = true, nil
	return nil
}

// ask is admission.Ledger.Ask for a session that was just read.
func (q *Queue) ask(s *v1alpha1.UploadSession, now time.Time) (v1alpha1.UploadSessionAdmission, *admission.Refusal, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	known, changed := q.ledger.Refresh(s)
	if changed {
		q.wakeNamespace(s.Namespace)
	}
	if !known {
		return v1alpha1.UploadSessionAdmission{}, nil, false
	}
	granted, refusal := q.ledger.Ask(s, now)
	return granted, refusal, true
}

// settle is admission.Ledger.Settle.
func (q *Queue) settle(s *v1alpha1.UploadSession, outcome admission.Settled) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ledger.Settle(s, outcome)
	if outcome.Version == "" {
		q.wakeNamespace(s.Namespace) // what was granted is free again, perhaps
	}
}

// look wakes the sessions of a namespace that concern a change, and returns
// when to look again for those that it left for later; 0 when there are none.
func (q *Queue) look(namespace string, now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	names, more := q.ledger.Look(namespace, now, looksAtOnce, refreshesAtOnce)
	for _, name := range names {
		q.wake(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
	if more {
		return refreshEvery
	}
	return 0
}

// observe takes note of a session.
func (q *Queue) observe(s *v1alpha1.UploadSession) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ledger.Observe(s) {
		q.wakeNamespace(s.Namespace)
	}
}

// forget takes note that a session is there no more.
func (q *Queue) forget(s *v1alpha1.UploadSession) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.filled {
		q.gone[s.UID] = true
	}
	if q.ledger.Gone(s) {
		q.wakeNamespace(s.Namespace)
	}
}

// change lets something else in the ledger change and looks at the namespace if that matters.
func (q *Queue) change(namespace string, f func(*admission.Ledger) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if f(q.ledger) {
		q.wakeNamespace(namespace)
	}
}

// report takes what a Lease says of a volume. One that says nothing of use is
// the store's to complain about. The caller holds q.mu.
func (q *Queue) report(lease *coordinationv1.Lease) bool {
	report, err := heartbeat.Read(lease)
	if err != nil {
		return false
	}
	return q.ledger.SetReport(lease.Namespace, report.Replica.Name, admission.Report{
		Store: lease.Labels[v1alpha1.StoreLabel], AvailableBytes: report.AvailableBytes, MeasuredAt: heartbeat.LastSeen(lease),
	})
}

// holders is admission.Ledger.Holders.
func (q *Queue) holders(namespace, store string) []reconcile.Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	var requests []reconcile.Request
	for _, name := range slices.Sorted(q.ledger.Holders(namespace, store)) {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
	return requests
}

func (q *Queue) wakeNamespace(namespace string) { q.wake(ofNamespace(namespace)) }

// ofNamespace asks for a look at who waits in a namespace, however many changes it comes of.
func ofNamespace(namespace string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace}}
}
