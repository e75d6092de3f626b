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
	// restPerSession is how long a namespace is not looked at again for each session that waits there, in steps of
	// restStep. A look goes through all of them under the lock that the watch, which is one for all namespaces, waits
	// for at each event.
	restPerSession = 10 * time.Microsecond
	restStep       = 10 * time.Millisecond
	// listPage is how many sessions come in one answer, whole: what users put into them is in memory while it
	// is read, beside the cache's own list.
	listPage = 20
)

// Queue is the ledgers of the process that leads, one of each namespace: fed by the watches, asked by
// the reconciler. Before the first question it reads everything from the API
// server itself, because a leader's cache may lag behind what the leader before
// it wrote; from then on nobody else admits.
//
// Each namespace has a lock of its own, so that nobody waits for a look at the many sessions of another. The lock of
// the queue is held for moments only, and never while one of a namespace is waited for; under the lock of a namespace
// it may be taken.
type Queue struct {
	live      client.Reader // no cache
	namespace string        // the only one; empty for all
	filling   sync.Mutex

	mu      sync.Mutex
	ledgers map[string]*namespaceLedger
	// gone is the sessions that went while the queue was being filled.
	gone   map[types.UID]bool
	filled bool
	wake   func(reconcile.Request)
}

// namespaceLedger is the ledger of one namespace and its lock.
type namespaceLedger struct {
	mu     sync.Mutex
	ledger *admission.Ledger
	// rested is when the namespace may be looked at again.
	rested time.Time
	// dropped means that nothing was left in it, and that another one has its place since.
	dropped bool
}

// NewQueue returns a queue that fills itself through the reader, which must
// not be a cache, with one namespace or all.
func NewQueue(live client.Reader, namespace string) *Queue {
	return &Queue{
		live: live, namespace: namespace, ledgers: map[string]*namespaceLedger{}, gone: map[types.UID]bool{},
		wake: func(reconcile.Request) {},
	}
}

// with does something with the ledger of a namespace, under its lock. One that is empty then is dropped.
func (q *Queue) with(namespace string, do func(*admission.Ledger)) {
	q.withLedger(namespace, func(l *namespaceLedger) { do(l.ledger) })
}

// withLedger is with, for who needs more than the ledger.
func (q *Queue) withLedger(namespace string, do func(*namespaceLedger)) {
	l := q.lock(namespace)
	defer l.mu.Unlock()
	do(l)
	if l.ledger.Empty(namespace) {
		l.dropped = true
		q.mu.Lock()
		delete(q.ledgers, namespace)
		q.mu.Unlock()
	}
}

// lock returns the ledger of a namespace with its lock held.
func (q *Queue) lock(namespace string) *namespaceLedger {
	for {
		l := q.of(namespace)
		l.mu.Lock()
		if !l.dropped {
			return l
		}
		l.mu.Unlock()
	}
}

func (q *Queue) of(namespace string) *namespaceLedger {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.ledgers[namespace]
	if l == nil {
		l = &namespaceLedger{ledger: admission.NewLedger()}
		q.ledgers[namespace] = l
	}
	return l
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
	for i := range quotas.Items {
		quota := &quotas.Items[i]
		q.with(quota.Namespace, func(l *admission.Ledger) { l.SetQuota(quota) })
	}
	for i := range stores.Items {
		store := &stores.Items[i]
		q.with(store.Namespace, func(l *admission.Ledger) { l.SetStore(store) })
	}
	for i := range leases.Items {
		lease := &leases.Items[i]
		q.with(lease.Namespace, func(l *admission.Ledger) { report(l, lease) })
	}
	var page v1alpha1.UploadSessionList
	for {
		if err := q.live.List(ctx, &page, client.InNamespace(q.namespace), client.Limit(listPage), client.Continue(page.Continue)); err != nil {
			return fmt.Errorf("list the sessions: %w", err)
		}
		for i := range page.Items {
			s := &page.Items[i]
			q.with(s.Namespace, func(l *admission.Ledger) {
				if !q.isGone(s) {
					l.Observe(s)
				}
			})
		}
		if page.Continue == "" {
			break
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.filled, q.gone = true, nil
	return nil
}

func (q *Queue) isGone(s *v1alpha1.UploadSession) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.gone[s.UID]
}

// remember takes note of a session that goes while the queue is being filled.
func (q *Queue) remember(s *v1alpha1.UploadSession) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.filled {
		q.gone[s.UID] = true
	}
}

// ask is admission.Ledger.Ask for a session that was just read.
func (q *Queue) ask(s *v1alpha1.UploadSession, now time.Time) (granted v1alpha1.UploadSessionAdmission, refusal *admission.Refusal, known bool) {
	q.with(s.Namespace, func(l *admission.Ledger) {
		var changed bool
		if known, changed = l.Refresh(s); changed {
			q.wakeNamespace(s.Namespace)
		}
		if known {
			granted, refusal = l.Ask(s, now)
		}
	})
	return granted, refusal, known
}

// settle is admission.Ledger.Settle.
func (q *Queue) settle(s *v1alpha1.UploadSession, outcome admission.Settled) {
	q.with(s.Namespace, func(l *admission.Ledger) { l.Settle(s, outcome) })
	if outcome.Version == "" {
		q.wakeNamespace(s.Namespace) // what was granted is free again, perhaps
	}
}

// look wakes the sessions of a namespace that concern a change, and returns
// when to look again for those that it left for later; 0 when there are none. The
// more sessions wait, the longer it is until it looks again.
func (q *Queue) look(namespace string, now time.Time) time.Duration {
	var names []string
	var more bool
	var wait time.Duration
	q.withLedger(namespace, func(l *namespaceLedger) {
		rest := (time.Duration(l.ledger.Asking(namespace)) * restPerSession).Truncate(restStep)
		// A clock that was set back makes nobody wait for long.
		if wait = min(l.rested.Sub(now), rest); wait > 0 {
			return
		}
		names, more = l.ledger.Look(namespace, now, looksAtOnce, refreshesAtOnce)
		l.rested = now.Add(rest)
	})
	if wait > 0 {
		return wait
	}
	for _, name := range names {
		q.add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
	if more {
		return refreshEvery
	}
	return 0
}

// observe takes note of a session.
func (q *Queue) observe(s *v1alpha1.UploadSession) {
	q.change(s.Namespace, func(l *admission.Ledger) bool { return l.Observe(s) })
}

// forget takes note that a session is there no more.
func (q *Queue) forget(s *v1alpha1.UploadSession) {
	q.change(s.Namespace, func(l *admission.Ledger) bool {
		q.remember(s)
		return l.Gone(s)
	})
}

// change lets something in the ledger of a namespace change and looks at the namespace if that matters.
func (q *Queue) change(namespace string, f func(*admission.Ledger) bool) {
	var matters bool
	q.with(namespace, func(l *admission.Ledger) { matters = f(l) })
	if matters {
		q.wakeNamespace(namespace)
	}
}

// report takes what a Lease says of a volume. One that says nothing of use is
// the store's to complain about.
func report(l *admission.Ledger, lease *coordinationv1.Lease) bool {
	report, err := heartbeat.Read(lease)
	if err != nil {
		return false
	}
	return l.SetReport(lease.Namespace, report.Replica.Name, admission.Report{
		Store: lease.Labels[v1alpha1.StoreLabel], AvailableBytes: report.AvailableBytes, MeasuredAt: heartbeat.LastSeen(lease),
		Version: lease.ResourceVersion,
	})
}

// holders is admission.Ledger.Holders.
func (q *Queue) holders(namespace, store string) []reconcile.Request {
	var names []string
	q.with(namespace, func(l *admission.Ledger) { names = slices.Sorted(l.Holders(namespace, store)) })
	var requests []reconcile.Request
	for _, name := range names {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
	return requests
}

func (q *Queue) wakeNamespace(namespace string) { q.add(ofNamespace(namespace)) }

// add asks for a reconcile.
func (q *Queue) add(request reconcile.Request) {
	q.mu.Lock()
	wake := q.wake
	q.mu.Unlock()
	wake(request)
}

// ofNamespace asks for a look at who waits in a namespace, however many changes it comes of.
func ofNamespace(namespace string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace}}
}
