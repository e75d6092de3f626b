package injection

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

const (
	// maxStoreName is how long the name of an UploadStore may be.
	maxStoreName = 52
	// maxEndpoint is how long an endpoint in the status of an UploadStore may be.
	maxEndpoint = 512
)

// rules are the reasons to refuse a Pod, in the order in which they are told.
// Each returns why, or nothing.
var rules = []func(Request) string{
	storeIsNamed,
	storeIsOurs,
	labelIsFree,
	endpointIsURL,
	networkIsOwn,
	tokenIsMounted,
	portsAreFree,
	keysNameIsFree,
}

func storeIsNamed(r Request) string {
	name := storeOf(r.Pod)
	switch {
	case name == "":
		return fmt.Sprintf("annotation %s is missing: name the UploadStore whose dataplane the Pod is to carry", v1alpha1.InjectStoreAnnotation)
	case len(validation.IsDNS1123Label(name)) > 0 || len(name) > maxStoreName:
		return fmt.Sprintf("annotation %s is %q, which can't be the name of an UploadStore: that is a DNS label of at most %d characters",
			v1alpha1.InjectStoreAnnotation, abridged(name), maxStoreName)
	}
	return ""
}

func storeIsOurs(r Request) string {
	if r.Store == nil || r.Store.Spec.Dataplane.Mode == v1alpha1.DataplaneModeSidecar {
		return ""
	}
	return fmt.Sprintf("UploadStore %q has mode %s: the operator runs its dataplane, and a second one on the volume is one too many. "+
		"Take the label %s off the Pod, which sees what is published if it mounts the claim, or give the store mode %s",
		r.Store.Name, r.Store.Spec.Dataplane.Mode, v1alpha1.InjectLabel, v1alpha1.DataplaneModeSidecar)
}

func labelIsFree(r Request) string {
	if label, has := r.Pod.Labels[v1alpha1.StoreLabel]; has && label != storeOf(r.Pod) {
		return fmt.Sprintf("label %s is %q, and annotation %s is %q: a Pod carries the dataplane of one store; leave the label out",
			v1alpha1.StoreLabel, label, v1alpha1.InjectStoreAnnotation, storeOf(r.Pod))
	}
	return ""
}

func endpointIsURL(r Request) string {
	endpoint, has := r.Pod.Annotations[v1alpha1.InjectEndpointAnnotation]
	if !has {
		return ""
	}
	// A "$(" would be the kubelet's to expand.
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		len(endpoint) > maxEndpoint || strings.Contains(endpoint, "$") {
		return fmt.Sprintf("annotation %s is %q, which is not a base URL such as https://uploads.example.com, of at most %d characters",
			v1alpha1.InjectEndpointAnnotation, abridged(endpoint), maxEndpoint)
	}
	return ""
}

func networkIsOwn(r Request) string {
	if r.Pod.Spec.HostNetwork {
		return "the Pod has hostNetwork: its dataplane would listen on the node's addresses; give the Pod a network of its own"
	}
	return ""
}

func tokenIsMounted(r Request) string {
	if auto := r.Pod.Spec.AutomountServiceAccountToken; auto != nil && !*auto {
		return "automountServiceAccountToken is false: the dataplane follows its sessions with the token of the Pod's ServiceAccount; " +
			"leave the field out, and bind that ServiceAccount to ClusterRole slipway-dataplane-role"
	}
	return ""
}

func portsAreFree(r Request) string {
	for _, c := range slices.Concat(r.Pod.Spec.InitContainers, r.Pod.Spec.Containers) {
		for _, p := range c.Ports {
			if (p.Protocol == corev1.ProtocolTCP || p.Protocol == "") && (p.ContainerPort == uploadPort || p.ContainerPort == healthPort) {
				return fmt.Sprintf("container %q has port %d, on which the dataplane listens in the same Pod (%d and %d): move it to another port",
					c.Name, p.ContainerPort, uploadPort, healthPort)
			}
		}
	}
	return ""
}

func keysNameIsFree(r Request) string {
	for _, v := range r.Pod.Spec.Volumes {
		if v.Name == v1alpha1.SidecarKeysVolumeName {
			return fmt.Sprintf("the Pod has a volume %q, which is the name of the one with the dataplane's keys: give it another name", v.Name)
		}
	}
	return ""
}

// volumeOf finds the Pod's volume that is the store's, or says why there is none.
func volumeOf(r Request) (volume, refusal string) {
	// Each volume with a claim, as the user would have to name it.
	var claims []corev1.Volume
	for _, v := range r.Pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			claims = append(claims, v)
		}
	}
	found := slices.Clone(claims)
	named, isNamed := r.Pod.Annotations[v1alpha1.InjectVolumeAnnotation]
	if isNamed {
		found = slices.DeleteFunc(found, func(v corev1.Volume) bool { return v.Name != named })
		if len(found) == 0 {
			return "", fmt.Sprintf("annotation %s is %q, and the Pod has no volume of that name with a persistentVolumeClaim; it has %s",
				v1alpha1.InjectVolumeAnnotation, abridged(named), listed(claims))
		}
	}
	if r.Store != nil {
		found = slices.DeleteFunc(found, func(v corev1.Volume) bool { return v.PersistentVolumeClaim.ClaimName != r.Store.Spec.Volume.ClaimName })
	}
	switch {
	case len(found) == 0 && r.Store != nil && isNamed:
		return "", fmt.Sprintf("volume %q has another claim than UploadStore %q: the two must be the same (kubectl get uploadstore %s -n %s shows it)",
			named, r.Store.Name, r.Store.Name, r.Namespace)
	case len(found) == 0 && r.Store != nil:
		return "", fmt.Sprintf("no volume of the Pod has the claim of UploadStore %q (kubectl get uploadstore %s -n %s shows it); it has %s",
			r.Store.Name, r.Store.Name, r.Namespace, listed(claims))
	case len(found) == 0:
		return "", fmt.Sprintf("the Pod has no volume with a persistentVolumeClaim: add one with the claim of UploadStore %q", storeOf(r.Pod))
	case len(found) > 1 && r.Store == nil:
		return "", fmt.Sprintf("there is no UploadStore %q in namespace %q yet, and the Pod has several volumes with claims, %s: create the store, or name its volume with annotation %s",
			storeOf(r.Pod), r.Namespace, listed(claims), v1alpha1.InjectVolumeAnnotation)
	case found[0].PersistentVolumeClaim.ReadOnly:
		return "", fmt.Sprintf("volume %q has its claim with readOnly: the dataplane writes to it; leave that out, and set readOnly where your containers mount the volume",
			found[0].Name)
	}
	// Several volumes with the same claim are the same; the first will do.
	return found[0].Name, ""
}

// listed names volumes for a person.
func listed(volumes []corev1.Volume) string {
	const most = 8
	if len(volumes) == 0 {
		return "none"
	}
	var names []string
	for _, v := range volumes[:min(len(volumes), most)] {
		names = append(names, fmt.Sprintf("%q (claim %q)", abridged(v.Name), abridged(v.PersistentVolumeClaim.ClaimName)))
	}
	if len(volumes) > most {
		names = append(names, "and more")
	}
	return strings.Join(names, ", ")
}

// abridged bounds what of the user's own words is told back.
func abridged(s string) string {
	const most = 80
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
