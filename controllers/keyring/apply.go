package keyring

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// apply does all the writes of a reconcile. Each holds for the Secret as it was
// observed or not at all.
func (r *Reconciler) apply(ctx context.Context, o observation, p plan) error {
	r.Metrics.InTheWay(o.namespace, p.obstacle != "")
	if p.obstacle != "" {
		log.FromContext(ctx).Error(nil, "a Secret is in the way", "namespace", o.namespace, "why", p.obstacle)
		for i := range o.stores {
			r.Recorder.Eventf(&o.stores[i], nil, corev1.EventTypeWarning, v1alpha1.ReasonSecretInTheWay, "KeepKeys", "%s", p.obstacle)
		}
		return nil
	}
	if p.warning != "" {
		log.FromContext(ctx).Info("Secrets were made beforehand", "namespace", o.namespace, "what", p.warning)
		for i := range o.stores {
			r.Recorder.Eventf(&o.stores[i], nil, corev1.EventTypeWarning, v1alpha1.ReasonSecretReplaced, "KeepKeys", "%s", p.warning)
		}
	}
	for _, secret := range p.writes {
		if err := writeSecret(ctx, r.Client, secret); err != nil {
			return err
		}
	}
	for _, secret := range p.deletes {
		// As it was observed: the keys of a store that has come since are not lost.
		observed := client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion}
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, secret, observed)); err != nil {
			return fmt.Errorf("delete Secret %s: %w", secret.Name, err)
		}
	}
	if len(p.changes) > 0 {
		log.FromContext(ctx).Info("keys and certificates are new", "namespace", o.namespace, "what", p.changes)
	}
	return nil
}

func writeSecret(ctx context.Context, c client.Client, secret *corev1.Secret) error {
	owner := client.FieldOwner(v1alpha1.OperatorFieldManager)
	if secret.ResourceVersion == "" {
		if err := c.Create(ctx, secret, owner); err != nil {
			return fmt.Errorf("create Secret %s: %w", secret.Name, err)
		}
		return nil
	}
	if err := c.Update(ctx, secret, owner); err != nil {
		return fmt.Errorf("update Secret %s: %w", secret.Name, err)
	}
	return nil
}
