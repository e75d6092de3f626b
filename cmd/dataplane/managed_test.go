package main

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/managed"
)

// The Pods of a Managed store start with the flags that the operator gives them.
func TestTheOperatorsPodStarts(t *testing.T) {
	store := &v1alpha1.UploadStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "models"},
		Spec: v1alpha1.UploadStoreSpec{
			Limits:    v1alpha1.StoreLimits{MaxConcurrentChunks: mostChunks},
			Dataplane: v1alpha1.DataplaneSpec{Pod: v1alpha1.DataplanePod{ExtraArgs: []v1alpha1.ExtraArg{"--log-format=text"}}},
		},
	}
	var args []string
	for _, object := range managed.Objects(store, 1, managed.Options{}) {
		if set, ok := object.(*appsv1.StatefulSet); ok {
			for _, arg := range set.Spec.Template.Spec.Containers[0].Args {
				args = append(args, strings.ReplaceAll(arg, "$(POD_NAME)", "models-3"))
			}
		}
	}
	o, err := parse(t, append(args, "--insecure-no-auth=false")...)
	if err != nil {
		t.Fatal(err)
	}
	if o.insecureNoAuth || o.replica != "models-3" || o.maxConcurrentChunks != mostChunks || o.logFormat != "text" ||
		o.advertiseURL != "https://models-3.models-replicas.ml.svc:8443" {
		t.Errorf("options: %+v", o)
	}
}
