package cluster

import (
	"testing"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

func TestOnlyTheReplicasOwnSessionsAreWatched(t *testing.T) {
	options := managerOptions(Config{}.withDefaults(), here, runtime.NewScheme()).Cache
	if _, ok := options.DefaultNamespaces["ml"]; !ok || len(options.DefaultNamespaces) != 1 {
		t.Errorf("namespaces: %v", options.DefaultNamespaces)
	}
	for object, by := range options.ByObject {
		for _, test := range []struct {
			store, replica string
			watched        bool
		}{
			{"models", "models-0", true}, {"models", "models-1", false}, {"models", "", false}, {"other", "models-0", false},
		} {
			session := fields.Set{"spec.storeRef.name": test.store, "status.admission.replica": test.replica}
			if _, ok := object.(*v1alpha1.UploadSession); !ok || by.Field.Matches(session) != test.watched {
				t.Errorf("%T with %s: want it watched: %v", object, session, test.watched)
			}
		}
	}
	if len(options.ByObject) != 1 {
		t.Errorf("watched: %v", options.ByObject)
	}
}

func TestEveryDefaultIsSet(t *testing.T) {
	c := Config{ProgressInterval: 1}.withDefaults()
	if c.ProgressInterval != 1 || c.HeartbeatInterval != DefaultHeartbeatInterval || c.LeaseDuration != DefaultLeaseDuration ||
		c.SweepInterval != DefaultSweepInterval || c.SweepGrace != DefaultSweepGrace ||
		c.ProgressWritesPerSecond != DefaultProgressWritesPerSecond || c.Clock == nil || c.Log == nil {
		t.Errorf("got %+v", c)
	}
}
