package retry

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// However long a fault lasts, no request waits for longer than Last after it.
func TestNothingWaitsForLongAfterAFault(t *testing.T) {
	limiter := Limiter()
	request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "a", Name: "b"}}
	if got := limiter.When(request); got != First {
		t.Errorf("the first retry is after %v, want %v", got, First)
	}
	for range 10_000 {
		if got := limiter.When(request); got > Last {
			t.Fatalf("a retry is after %v, want no more than %v", got, Last)
		}
	}
	if got := limiter.When(request); got != Last {
		t.Errorf("after many failures a retry is after %v, want %v", got, Last)
	}
	// Many that fail at once do not wait for each other.
	for i := range 10_000 {
		other := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: string(rune(i))}}
		if got := limiter.When(other); got > Last {
			t.Fatalf("request %d is tried again after %v", i, got)
		}
	}
}

// A controller that says nothing of it has a limit of a quarter of an hour.
func TestEveryControllerHasTheLimiter(t *testing.T) {
	controllers := 0
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile("../" + path)
		if err != nil {
			return err
		}
		made := strings.Count(string(content), "ctrl.NewControllerManagedBy(")
		if limited := strings.Count(string(content), "RateLimiter: retry.Limiter()"); limited != made {
			t.Errorf("%s makes %d controllers, of which %d have the limiter", path, made, limited)
		}
		controllers += made
		return nil
	})
	if err != nil || controllers == 0 {
		t.Errorf("%d controllers, %v", controllers, err)
	}
}
