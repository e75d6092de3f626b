package injection

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// Options are what the operator gives every sidecar.
type Options struct {
	// Image is the image of the dataplane.
	Image string
}

// Request is a Pod that is about to be created, and what is known of its store.
type Request struct {
	// Pod is what the user, or a controller, asks for. It is not changed.
	Pod *corev1.Pod
	// Namespace is the Pod's, which the Pod itself need not say.
	Namespace string
	// Store is the store that the Pod names, nil where there is none yet.
	Store *v1alpha1.UploadStore
}

// Result is what becomes of the Pod.
type Result struct {
	// Patch adds the sidecar, empty where nothing is to be changed. It only adds, so that what a
	// newer API server knows of a Pod stays as it is.
	Patch []Operation
	// Refusal says why the Pod can't have its sidecar and what to do, empty when it can.
	Refusal string
	// Warnings tell the user what the Pod will wait for.
	Warnings []string
}

// Operation is one step of a JSON patch (RFC 6902).
type Operation struct {
	// Op is what the step does.
	Op string `json:"op"`
	// Path is where.
	Path string `json:"path"`
	// Value is what with.
	Value any `json:"value"`
}

// Wants reports whether the Pod asks for a sidecar that it does not have yet,
// and so whether its store matters.
func Wants(pod *corev1.Pod) bool {
	return pod.Labels[v1alpha1.InjectLabel] == v1alpha1.InjectEnabled && !carries(pod)
}

// carries reports whether the Pod has the sidecar, whoever put it there.
func carries(pod *corev1.Pod) bool {
	named := func(c corev1.Container) bool { return c.Name == v1alpha1.SidecarContainerName }
	return slices.ContainsFunc(pod.Spec.InitContainers, named) || slices.ContainsFunc(pod.Spec.Containers, named)
}

// Inject adds the sidecar to a Pod that wants one. A Pod that has been patched
// so is left as it is when it is shown again.
func Inject(r Request, o Options) Result {
	if !Wants(r.Pod) {
		return Result{}
	}
	for _, refuses := range rules {
		if why := refuses(r); why != "" {
			return Result{Refusal: why}
		}
	}
	volume, why := volumeOf(r)
	if why != "" {
		return Result{Refusal: why}
	}
	result := Result{Patch: patch(r, volume, o)}
	if r.Store == nil {
		result.Warnings = []string{fmt.Sprintf("there is no UploadStore %q in namespace %q yet: the Pod starts once there is one", storeOf(r.Pod), r.Namespace)}
	}
	return result
}

func patch(r Request, volume string, o Options) []Operation {
	store, container := storeOf(r.Pod), sidecar(r, volume, o)
	p := []Operation{
		// By this label Services, NetworkPolicies and monitors find the dataplanes of a store.
		add("/metadata/labels/"+escape.Replace(v1alpha1.StoreLabel), store),
		add("/spec/volumes/-", keysVolume(store)),
	}
	// What comes first is up, and its volume taken up, before any other container starts.
	if len(r.Pod.Spec.InitContainers) == 0 {
		p = append(p, add("/spec/initContainers", []corev1.Container{container}))
	} else {
		p = append(p, add("/spec/initContainers/0", container))
	}
	// The dataplane's user may write to the volume and read the keys by its group, which a Pod that
	// has one of its own already gives to every container.
	security := r.Pod.Spec.SecurityContext
	switch policy := corev1.FSGroupChangeOnRootMismatch; {
	case security == nil:
		p = append(p, add("/spec/securityContext", corev1.PodSecurityContext{FSGroup: ptr.To(user), FSGroupChangePolicy: &policy}))
	case security.FSGroup == nil:
		p = append(p, add("/spec/securityContext/fsGroup", user))
		if security.FSGroupChangePolicy == nil {
			p = append(p, add("/spec/securityContext/fsGroupChangePolicy", policy))
		}
	}
	return p
}

func add(path string, value any) Operation { return Operation{Op: "add", Path: path, Value: value} }

// escape writes a key as a part of a JSON pointer (RFC 6901).
var escape = strings.NewReplacer("~", "~0", "/", "~1")

func storeOf(pod *corev1.Pod) string { return pod.Annotations[v1alpha1.InjectStoreAnnotation] }
