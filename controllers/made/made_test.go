package made

import (
	"encoding/pem"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

func certificate(content string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(content)})
}

func TestKeys(t *testing.T) {
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(after time.Duration) metav1.Time { return metav1.NewTime(noon.Add(after)) }
	store := v1alpha1.UploadStore{ObjectMeta: metav1.ObjectMeta{UID: "models", CreationTimestamp: at(0)}}
	store.Status.CABundle = append(certificate("of another replica"), certificate("the CA")...)
	younger := v1alpha1.UploadStore{ObjectMeta: metav1.ObjectMeta{UID: "data", CreationTimestamp: at(time.Hour)}}
	for name, test := range map[string]struct {
		age    time.Duration // before the older store
		change func(*corev1.Secret)
		want   bool
	}{
		"after a store":                          {age: -time.Minute, want: true},
		"in the second of a store":               {want: true},
		"before all stores":                      {age: time.Second},
		"before all, and one owns it":            {age: time.Hour, change: owned("data"), want: true},
		"before all, and another one owned it":   {age: time.Hour, change: owned("earlier")},
		"before all, and its CA is trusted":      {age: time.Hour, change: holding("tls.crt", "the CA"), want: true},
		"before all, and its bundle is trusted":  {age: time.Hour, change: holding("ca.crt", "next", "the CA"), want: true},
		"before all, and has a CA of its own":    {age: time.Hour, change: holding("tls.crt", "mine")},
		"before all, and what should be is none": {age: time.Hour, change: holding("models.crt", "the CA")},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at(-test.age)}, Data: map[string][]byte{}}
		if test.change != nil {
			test.change(secret)
		}
		if got := Keys(secret, []v1alpha1.UploadStore{younger, store}); got != test.want {
			t.Errorf("made %s: the operator's is %v, want %v", name, got, test.want)
		}
	}
}

func owned(by types.UID) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.OwnerReferences = []metav1.OwnerReference{{UID: "other"}, {UID: by}} }
}

func holding(entry string, certificates ...string) func(*corev1.Secret) {
	return func(s *corev1.Secret) {
		for _, c := range certificates {
			s.Data[entry] = append(s.Data[entry], certificate(c)...)
		}
	}
}
