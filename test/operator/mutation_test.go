package operator_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// mutatesStatefulSets adds an argument to whatever StatefulSet is written in the namespace, as a policy of
// Kyverno's would.
func (w *world) mutatesStatefulSets(ctx context.Context, argument string) {
	GinkgoHelper()
	policy := &admissionregistrationv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec: admissionregistrationv1.MutatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
					Rule: admissionregistrationv1.Rule{
						APIGroups: []string{appsv1.GroupName}, APIVersions: []string{"v1"}, Resources: []string{"statefulsets"},
					},
				}}},
			},
			MatchConditions: []admissionregistrationv1.MatchCondition{{
				Name:       "once",
				Expression: "!object.spec.template.spec.containers[0].args.exists(a, a == '" + argument + "')",
			}},
			Mutations: []admissionregistrationv1.Mutation{{
				PatchType: admissionregistrationv1.PatchTypeJSONPatch,
				JSONPatch: &admissionregistrationv1.JSONPatch{
					Expression: "[JSONPatch{op: 'add', path: '/spec/template/spec/containers/0/args/-', value: '" + argument + "'}]",
				},
			}},
			ReinvocationPolicy: admissionregistrationv1.NeverReinvocationPolicy,
		},
	}
	Expect(user.Create(ctx, policy)).To(Succeed())
	DeferCleanup(func(ctx context.Context) { Expect(user.Delete(ctx, policy)).To(Succeed()) })
	binding := &admissionregistrationv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec:       admissionregistrationv1.MutatingAdmissionPolicyBindingSpec{PolicyName: w.namespace},
	}
	Expect(user.Create(ctx, binding)).To(Succeed())
	DeferCleanup(func(ctx context.Context) { Expect(user.Delete(ctx, binding)).To(Succeed()) })

	labels := map[string]string{"app": "probe"}
	probe := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "probe"},
		Spec: appsv1.StatefulSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: "probe", Args: []string{"first"}}}},
			},
		},
	}
	Eventually(ctx, func() ([]string, error) {
		try := probe.DeepCopy()
		err := user.Create(ctx, try, client.DryRunAll)
		return try.Spec.Template.Spec.Containers[0].Args, err
	}).WithTimeout(time.Minute).Should(ContainElement(argument), "the API server has taken up the policy")
}
