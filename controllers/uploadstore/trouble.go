package uploadstore

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/made"
	"github.com/slipway-dev/slipway/controllers/managed"
)

// trouble is why a Managed store is not all that its spec asks for, with what to do next.
type trouble struct{ reason, message string }

// troubles are asked in order, and the first that applies is told: what keeps
// anything from running comes before what keeps one replica.
var troubles = []func(observation) *trouble{
	objectInTheWay,
	objectRefused,
	claimNotFound,
	claimNotBound,
	podRefused,
	ofPods(podUnschedulable),
	ofPods(imageNotPulled),
	ofPods(dataplaneFailing),
	ofPods(podBeingSetUp),
	claimNotShared,
	scalingDown,
	updatePending,
	rollingOut,
}

func troubleOf(o observation) *trouble {
	for _, rule := range troubles {
		if t := rule(o); t != nil {
			return t
		}
	}
	return nil
}

func objectInTheWay(o observation) *trouble {
	for _, desired := range managed.Objects(o.store, 1, o.run.options) {
		kind := desired.GetObjectKind().GroupVersionKind()
		observed := o.run.objects[keyOf(desired, kind)]
		if observed == nil || managed.Owns(o.store, observed) {
			continue
		}
		why := "exists and is not this store's"
		if _, ok := observed.(*corev1.ServiceAccount); ok && !made.For(observed, *o.store) {
			why = "is older than the store, so that somebody may have tokens of it"
		}
		return &trouble{v1alpha1.ReasonObjectInTheWay, fmt.Sprintf("%s %q %s. Slipway leaves it alone and changes nothing "+
			"of the store until somebody deletes it, or gives the store another name.", kind.Kind, desired.GetName(), why)}
	}
	return nil
}

func objectRefused(o observation) *trouble {
	if o.run.refusal == "" {
		return nil
	}
	return &trouble{v1alpha1.ReasonDataplaneRefused, "The API server refuses what the store needs, which is tried again: " + sentence(o.run.refusal)}
}

func claimNotFound(o observation) *trouble {
	if o.run.claim != nil {
		return nil
	}
	return &trouble{v1alpha1.ReasonClaimNotFound, fmt.Sprintf("There is no PersistentVolumeClaim %q in namespace %q: create it.",
		o.store.Spec.Volume.ClaimName, o.store.Namespace)}
}

// claimNotBound leaves a claim that waits for a Pod to whatever keeps the Pod from its node.
func claimNotBound(o observation) *trouble {
	claim := o.run.claim
	if claim.Status.Phase == corev1.ClaimBound {
		return nil
	}
	said := o.run.notes[claim.UID]
	waitsForPod := said.reason == "WaitForFirstConsumer" || said.reason == "WaitForPodScheduled"
	if waitsForPod && cmp.Or(podRefused(o), ofPods(podUnschedulable)(o)) != nil {
		return nil
	}
	why := "Nothing is known of why: see kubectl describe pvc " + claim.Name + "."
	if said.message != "" {
		why = fmt.Sprintf("%s: %s", said.reason, sentence(said.message))
	}
	if claim.Status.Phase == corev1.ClaimLost {
		why = "Its volume is gone, with what was on it: make another claim, and another store for it."
	}
	return &trouble{v1alpha1.ReasonClaimNotBound, fmt.Sprintf("PersistentVolumeClaim %q is %s. %s", claim.Name, cmp.Or(claim.Status.Phase, corev1.ClaimPending), why)}
}

func podRefused(o observation) *trouble {
	if o.run.set == nil {
		return nil
	}
	said, ok := o.run.notes[o.run.set.UID]
	if !ok || said.reason != "FailedCreate" {
		return nil
	}
	return &trouble{v1alpha1.ReasonPodRefused, "A Pod of the store is not let in: " + sentence(said.message)}
}

// ofPods asks a rule about each Pod in turn, but for those that are on their way out.
func ofPods(rule func(observation, *corev1.Pod) *trouble) func(observation) *trouble {
	return func(o observation) *trouble {
		for i := range o.run.pods {
			pod := &o.run.pods[i]
			if !pod.DeletionTimestamp.IsZero() {
				continue
			}
			if t := rule(o, pod); t != nil {
				return t
			}
		}
		return nil
	}
}

func podUnschedulable(_ observation, pod *corev1.Pod) *trouble {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return &trouble{v1alpha1.ReasonPodUnschedulable, fmt.Sprintf("No node takes Pod %q: %s", pod.Name, sentence(cmp.Or(c.Message, c.Reason)))}
		}
	}
	return nil
}

func imageNotPulled(_ observation, pod *corev1.Pod) *trouble {
	s := statusOf(pod)
	if s == nil || s.State.Waiting == nil {
		return nil
	}
	switch w := s.State.Waiting; w.Reason {
	case "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed":
		return &trouble{v1alpha1.ReasonImageNotPulled, fmt.Sprintf("Image %q of Pod %q can't be pulled (%s): %s", s.Image, pod.Name, w.Reason, sentence(cmp.Or(w.Message, w.Reason)))}
	}
	return nil
}

// dataplaneFailing is about a container that is not ready and has ended, or can't be made.
func dataplaneFailing(_ observation, pod *corev1.Pod) *trouble {
	s := statusOf(pod)
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return &trouble{v1alpha1.ReasonDataplaneFailing, fmt.Sprintf("Pod %q failed (%s): %s", pod.Name, pod.Status.Reason, sentence(pod.Status.Message))}
	}
	if s == nil || s.Ready {
		return nil
	}
	if w := s.State.Waiting; w != nil && (w.Reason == "CreateContainerConfigError" || w.Reason == "CreateContainerError" || w.Reason == "RunContainerError") {
		return &trouble{v1alpha1.ReasonDataplaneFailing, fmt.Sprintf("The container of Pod %q can't be started (%s): %s", pod.Name, w.Reason, sentence(w.Message))}
	}
	ended := cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated)
	if ended == nil {
		return nil
	}
	words := "it left no last words."
	if ended.Message != "" {
		words = "its last words: " + sentence(tail(ended.Message))
	}
	return &trouble{v1alpha1.ReasonDataplaneFailing, fmt.Sprintf("The dataplane in Pod %q has ended with exit code %d (%s, %s); %s",
		pod.Name, ended.ExitCode, cmp.Or(ended.Reason, "Error"), counted(int(s.RestartCount), "restart"), words)}
}

// podBeingSetUp tells what the kubelet last complained of.
func podBeingSetUp(o observation, pod *corev1.Pod) *trouble {
	said, ok := o.run.notes[pod.UID]
	if !ok || !isBeingSetUp(pod) {
		return nil
	}
	return &trouble{v1alpha1.ReasonDataplaneStarting, fmt.Sprintf("Pod %q is being set up (%s): %s", pod.Name, said.reason, sentence(said.message))}
}

func claimNotShared(o observation) *trouble {
	asked := admission.Replicas(o.store)
	if asked == 1 || isShared(o.run.claim) {
		return nil
	}
	return &trouble{v1alpha1.ReasonClaimNotShared, fmt.Sprintf("One of %d replicas is run, as only a ReadWriteMany claim can be shared and %q is %v: "+
		"set replicas to 1, or create a store on a claim that is.", asked, o.run.claim.Name, o.run.claim.Spec.AccessModes)}
}

func scalingDown(o observation) *trouble {
	wanted, running := admission.Replicas(o.store), replicasToRun(o)
	if running <= wanted {
		return nil
	}
	n := 0
	for i := range o.sessions {
		if ordinal, ok := admission.Ordinal(o.store.Name, o.sessions[i].Status.Admission.Replica); ok && ordinal >= wanted && admission.Occupies(&o.sessions[i]) {
			n++
		}
	}
	return &trouble{v1alpha1.ReasonScalingDown, fmt.Sprintf("From Pod %q on, replicas take no new session and go when theirs have ended: %d still active.",
		fmt.Sprintf("%s-%d", o.store.Name, wanted), n)}
}

// rollingOut is about replicas that are not there, not ready or not as the spec says, and nothing else is known of.
func rollingOut(o observation) *trouble {
	running := replicasToRun(o)
	set := o.run.set
	if set == nil || *set.Spec.Replicas != running || set.Status.ObservedGeneration < set.Generation {
		return &trouble{v1alpha1.ReasonRollingOut, "The StatefulSet is being changed."}
	}
	if s := set.Status; s.UpdatedReplicas < running || s.ReadyReplicas < running || s.Replicas > running {
		return &trouble{v1alpha1.ReasonRollingOut, fmt.Sprintf("Of %d replicas %d are as the spec says and %d are ready.",
			running, min(s.UpdatedReplicas, running), min(s.ReadyReplicas, running))}
	}
	return nil
}

// mostWords bounds what others say in a message, which the API server bounds.
const mostWords = 1024

// sentence ends what others say, bounded, with a full stop.
func sentence(words string) string {
	words = strings.TrimSpace(words)
	if len(words) > mostWords {
		words = strings.ToValidUTF8(words[:mostWords], "") + "..."
	}
	if words == "" || strings.HasSuffix(words, ".") {
		return words
	}
	return words + "."
}

// tail is the end of what a container said, where it tells why it ended.
func tail(words string) string {
	words = strings.TrimSpace(words)
	if len(words) <= mostWords {
		return words
	}
	words = words[len(words)-mostWords:]
	for words != "" && !utf8.RuneStart(words[0]) {
		words = words[1:]
	}
	return words
}
