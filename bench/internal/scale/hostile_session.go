package scale

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// hostileSession is a session of the hostile namespace with a store that is not there. No two share what their user
// chose, so that nothing is kept once for all of them.
func hostileSession(name string, shape Shape) *v1alpha1.UploadSession {
	own := func(bytes int) string { return (name + "-" + strings.Repeat("x", bytes))[:bytes] }
	s := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostileNamespace, Name: name},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: "absent"}, Key: key(own(shape.KeyBytes)), SizeBytes: ptr.To[int64](1),
		},
	}
	if shape.AnnotationBytes > 0 {
		s.Annotations = map[string]string{"hostile": own(shape.AnnotationBytes)}
	}
	for i := range shape.Attributes {
		if s.Spec.Attributes == nil {
			s.Spec.Attributes = map[string]v1alpha1.AttributeValue{}
		}
		// 256 characters of four bytes each.
		s.Spec.Attributes[fmt.Sprintf("attribute-%d", i)] = v1alpha1.AttributeValue(own(64) + strings.Repeat("\U0001F6A2", 192))
	}
	for i := range shape.Uploaders {
		s.Spec.Uploaders = append(s.Spec.Uploaders, fmt.Sprintf("%s-%02d", own(250), i))
	}
	for i := range shape.Labels {
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[fmt.Sprintf("%s-%05d", own(57), i)] = own(63)
	}
	for i := range shape.Finalizers {
		s.Finalizers = append(s.Finalizers, fmt.Sprintf("%s.example/%s-%05d", strings.Repeat("f", 63), own(57), i))
	}
	return s
}

// key makes a key of a text: its elements have 200 bytes at most.
func key(text string) string {
	b := []byte(text)
	for i := 200; i < len(b)-1; i += 200 {
		b[i] = '/'
	}
	return string(b)
}
