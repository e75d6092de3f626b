package uploadsession

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func requestOf(namespace string, i int) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: fmt.Sprint(i)}}
}

// Another namespace's sessions wait for one of a namespace with very many, and not for all of them.
func TestNamespacesTakeTurns(t *testing.T) {
	queue := newFairQueue("", workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	const many = 1000
	for i := range many {
		queue.Add(requestOf("many", i))
	}
	for i := range 3 {
		queue.Add(requestOf("few", i))
	}
	queue.Add(requestOf("few", 0)) // once more, which is no other place
	queue.Add(requestOf("one", 0))
	var order []string
	for queue.Len() > 0 {
		r, _ := queue.Get()
		queue.Done(r)
		order = append(order, r.Namespace+"/"+r.Name)
	}
	want := []string{"many/0", "few/0", "one/0", "many/1", "few/1", "many/2", "few/2", "many/3", "many/4"}
	if got := order[:len(want)]; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
	if len(order) != many+4 {
		t.Errorf("%d requests were taken, want %d", len(order), many+4)
	}
}
