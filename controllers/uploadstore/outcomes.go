package uploadstore

import (
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// outcomes is what came of the objects that were applied last, of each store. It is of the process alone, so that
// another leader applies once more what others change. It is safe for concurrent use.
type outcomes struct {
	mu     sync.Mutex
	stores map[types.NamespacedName]map[objectKey]string
}

func (a *outcomes) of(store types.NamespacedName) map[objectKey]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.stores[store])
}

func (a *outcomes) set(store types.NamespacedName, object objectKey, outcome string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stores == nil {
		a.stores = map[types.NamespacedName]map[objectKey]string{}
	}
	if a.stores[store] == nil {
		a.stores[store] = map[objectKey]string{}
	}
	a.stores[store][object] = outcome
}

func (a *outcomes) forget(store types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.stores, store)
}
