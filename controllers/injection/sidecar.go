package injection

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

const (
	// uploadPort and healthPort are where the dataplane listens.
	uploadPort = 8443
	healthPort = 8091
	// user is the dataplane's user and group, the same whatever Pod carries it: what is staged on a
	// volume belongs to it.
	user int64 = 65532
	// longestGrace is how long requests in flight may take to end; what the Pod leaves is less with
	// leftAtEnd kept for the last reports.
	longestGrace = 30 * time.Second
	leftAtEnd    = 5 * time.Second
)

const (
	dataPath = "/data"
	keysPath = "/etc/slipway"
)

// sidecar is the container of the dataplane.
func sidecar(r Request, volume string, o Options) corev1.Container {
	store := storeOf(r.Pod)
	probe := func(path string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(healthPort)}}
	}
	return corev1.Container{
		Name:          v1alpha1.SidecarContainerName,
		Image:         o.Image,
		RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
		Args: []string{
			"--root=" + dataPath,
			"--namespace=" + r.Namespace,
			"--store=" + store,
			"--replica=" + replicaOf(r.Pod),
			fmt.Sprintf("--listen=:%d", uploadPort),
			"--advertise-url=" + endpointOf(r),
			fmt.Sprintf("--health-address=:%d", healthPort),
			"--tls-dir=" + keysPath,
			"--ticket-keys=" + keysPath + "/tickets",
			"--shutdown-grace=" + graceOf(r.Pod).String(),
		},
		Ports: []corev1.ContainerPort{
			{Name: "https", ContainerPort: uploadPort, Protocol: corev1.ProtocolTCP},
			{Name: "health", ContainerPort: healthPort, Protocol: corev1.ProtocolTCP},
		},
		// Until every session on the volume is taken up, which is when the Pod's own containers start.
		StartupProbe:   &corev1.Probe{ProbeHandler: probe("/readyz"), PeriodSeconds: 2, FailureThreshold: 150},
		LivenessProbe:  &corev1.Probe{ProbeHandler: probe("/healthz")},
		ReadinessProbe: &corev1.Probe{ProbeHandler: probe("/readyz")},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
		},
		// Complete in itself, so that the Pod's own settings, which are for its own containers, neither
		// matter nor need to be restricted.
		SecurityContext: &corev1.SecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To(user), RunAsGroup: ptr.To(user),
			AllowPrivilegeEscalation: ptr.To(false),
			Privileged:               ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: volume, MountPath: dataPath},
			{Name: v1alpha1.SidecarKeysVolumeName, MountPath: keysPath, ReadOnly: true},
		},
	}
}

// keysVolume has the store's own certificate and keys, and no other store's. The
// operator makes them once there is a store; until then the Pod waits.
func keysVolume(store string) corev1.Volume {
	return corev1.Volume{
		Name: v1alpha1.SidecarKeysVolumeName,
		VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName:  v1alpha1.DataplaneSecretName,
			DefaultMode: ptr.To(int32(0o440)),
			Items: []corev1.KeyToPath{
				{Key: store + v1alpha1.CertificateSuffix, Path: corev1.TLSCertKey},
				{Key: store + v1alpha1.PrivateKeySuffix, Path: corev1.TLSPrivateKeyKey},
				{Key: store + v1alpha1.TicketKeysSuffix, Path: "tickets"},
				{Key: v1alpha1.CABundleEntry, Path: v1alpha1.CABundleEntry},
			},
		}},
	}
}

// replicaOf is the same name for a Pod's successor, whatever that is called: a
// session waits for the replica that holds it. A StatefulSet numbers its Pods, of
// which one replaces another of the same number; any other Pod is the only one.
func replicaOf(pod *corev1.Pod) string {
	index, has := pod.Labels["apps.kubernetes.io/pod-index"]
	if name := storeOf(pod) + "-" + index; has && len(validation.IsDNS1123Label(name)) == 0 {
		return name
	}
	return storeOf(pod) + "-0"
}

// endpointOf is where clients find the Pod. Its certificate is for each of these names.
func endpointOf(r Request) string {
	if endpoint, has := r.Pod.Annotations[v1alpha1.InjectEndpointAnnotation]; has {
		return endpoint
	}
	host := fmt.Sprintf("%s.%s.svc", storeOf(r.Pod), r.Namespace)
	if spec := r.Pod.Spec; spec.Subdomain == storeOf(r.Pod) && spec.Hostname != "" {
		host = spec.Hostname + "." + host
	}
	return fmt.Sprintf("https://%s:%d", host, uploadPort)
}

// graceOf is less than what the Pod has to end in, which begins for the
// dataplane when the Pod's own containers have ended.
func graceOf(pod *corev1.Pod) time.Duration {
	total := longestGrace
	if seconds := pod.Spec.TerminationGracePeriodSeconds; seconds != nil {
		total = time.Duration(min(*seconds, int64((longestGrace+leftAtEnd)/time.Second))) * time.Second
	}
	return max(total-leftAtEnd, time.Second)
}
