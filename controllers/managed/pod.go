package managed

import (
	"cmp"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// ContainerName is the name of the dataplane's container.
const ContainerName = "dataplane"

const (
	servicePort = 8443
	healthPort  = 8091
	httpsName   = "https"
	healthName  = "health"

	dataPath = "/data"
	keysPath = "/etc/slipway"

	// nonRoot is the user and the group of the image.
	nonRoot = 65532

	// shutdownGrace is how long what is in flight may take to end, and podGrace leaves time to close
	// the volume after that: a dataplane that is killed recovers, and takes longer to start.
	shutdownGrace = 30
	podGrace      = shutdownGrace + 15
)

// Memory of the container by default: what enough for the flag's own default of chunks at once
// takes, and the buffers of each one more.
const (
	defaultChunks       = 64
	defaultMemory       = 256 << 20
	memoryOfFurtherOnes = 512 << 10
)

// podTemplate is a replica: config/samples/sidecar/pod.yaml without the user's container.
func podTemplate(store *v1alpha1.UploadStore, options Options) corev1.PodTemplateSpec {
	pod := store.Spec.Dataplane.Pod
	podLabels := labels(store)
	maps.Copy(podLabels, plain(pod.Labels))
	annotations := map[string]string{"kubectl.kubernetes.io/default-container": ContainerName}
	maps.Copy(annotations, plain(pod.Annotations))
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: podLabels, Annotations: annotations},
		Spec: corev1.PodSpec{
			ServiceAccountName:            ServiceAccountName(store.Name),
			AutomountServiceAccountToken:  ptr.To(true), // it asks the API server
			TerminationGracePeriodSeconds: ptr.To[int64](podGrace),
			// Where a namespace has thousands of Services, their variables are more than a process can be started with.
			EnableServiceLinks: ptr.To(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true),
				RunAsUser:    ptr.To[int64](nonRoot),
				RunAsGroup:   ptr.To[int64](nonRoot),
				// The volume and the keys are readable for the dataplane alone. A volume with many
				// objects is not gone through at each start.
				FSGroup:             ptr.To[int64](nonRoot),
				FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
				SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers:                []corev1.Container{container(store, options)},
			Volumes:                   volumes(store),
			NodeSelector:              plain(pod.NodeSelector),
			Affinity:                  pod.Affinity,
			Tolerations:               pod.Tolerations,
			TopologySpreadConstraints: spread(store),
			PriorityClassName:         pod.PriorityClassName,
		},
	}
	for _, secret := range pod.ImagePullSecrets {
		template.Spec.ImagePullSecrets = append(template.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: secret.Name})
	}
	return template
}

// spread is about the store's own Pods where it does not say about which.
func spread(store *v1alpha1.UploadStore) []corev1.TopologySpreadConstraint {
	var constraints []corev1.TopologySpreadConstraint
	for _, c := range store.Spec.Dataplane.Pod.TopologySpreadConstraints {
		if c.LabelSelector == nil {
			c.LabelSelector = &metav1.LabelSelector{MatchLabels: identity(store)}
		}
		constraints = append(constraints, c)
	}
	return constraints
}

func container(store *v1alpha1.UploadStore, options Options) corev1.Container {
	pod := store.Spec.Dataplane.Pod
	return corev1.Container{
		Name:            ContainerName,
		Image:           cmp.Or(pod.Image, options.Image),
		ImagePullPolicy: pod.ImagePullPolicy,
		Args:            args(store),
		Env: []corev1.EnvVar{{
			Name:      "POD_NAME",
			ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}},
		}},
		Ports: []corev1.ContainerPort{
			{Name: httpsName, ContainerPort: servicePort, Protocol: corev1.ProtocolTCP},
			{Name: healthName, ContainerPort: healthPort, Protocol: corev1.ProtocolTCP},
		},
		// Until every session on the volume is taken up, for at most 5 minutes.
		StartupProbe:             probe("/readyz", 2, 150),
		LivenessProbe:            probe("/healthz", 10, 3),
		ReadinessProbe:           probe("/readyz", 10, 3),
		Resources:                resources(store),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError, // Ready tells of its last words
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "data", MountPath: dataPath},
			{Name: "keys", MountPath: keysPath, ReadOnly: true},
		},
	}
}

func args(store *v1alpha1.UploadStore) []string {
	list := []string{
		"--root=" + dataPath,
		"--namespace=" + store.Namespace,
		"--store=" + store.Name,
		"--replica=$(POD_NAME)",
		fmt.Sprintf("--listen=:%d", servicePort),
		"--advertise-url=" + endpointOf(store, "$(POD_NAME)"),
		fmt.Sprintf("--health-address=:%d", healthPort),
		"--tls-dir=" + keysPath,
		"--ticket-keys=" + keysPath + "/tickets",
		fmt.Sprintf("--shutdown-grace=%ds", shutdownGrace),
	}
	if n := store.Spec.Limits.MaxConcurrentChunks; n != 0 {
		list = append(list, fmt.Sprintf("--max-concurrent-chunks=%d", n))
	}
	for _, extra := range store.Spec.Dataplane.Pod.ExtraArgs {
		list = append(list, string(extra))
	}
	return list
}

// probe sets what the API server would fill in, so that what is there can be compared.
func probe(path string, periodSeconds, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString(healthName)}},
		TimeoutSeconds:   5,
		PeriodSeconds:    periodSeconds,
		SuccessThreshold: 1,
		FailureThreshold: failures,
	}
}

func resources(store *v1alpha1.UploadStore) corev1.ResourceRequirements {
	if own := store.Spec.Dataplane.Pod.Resources; own != nil {
		return *own
	}
	further := max(0, int64(store.Spec.Limits.MaxConcurrentChunks)-defaultChunks)
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("100m"),
			corev1.ResourceMemory: resource.MustParse("128Mi"),
		},
		Limits: corev1.ResourceList{
			corev1.ResourceMemory: *resource.NewQuantity(defaultMemory+further*memoryOfFurtherOnes, resource.BinarySI),
		},
	}
}

// volumes are the store's claim, and of the namespace's keys those of this store and no other's.
func volumes(store *v1alpha1.UploadStore) []corev1.Volume {
	return []corev1.Volume{
		{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: store.Spec.Volume.ClaimName},
		}},
		{Name: "keys", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName:  v1alpha1.DataplaneSecretName,
			DefaultMode: ptr.To[int32](0o440),
			Items: []corev1.KeyToPath{
				{Key: store.Name + v1alpha1.CertificateSuffix, Path: corev1.TLSCertKey},
				{Key: store.Name + v1alpha1.PrivateKeySuffix, Path: corev1.TLSPrivateKeyKey},
				{Key: store.Name + v1alpha1.TicketKeysSuffix, Path: "tickets"},
				{Key: v1alpha1.CABundleEntry, Path: v1alpha1.CABundleEntry},
			},
		}}},
	}
}
