package keyring

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

const (
	// lookAtWebhookAfter is when the webhook's certificate is looked at again: within it, every
	// replica serves what another one has renewed, and what somebody deleted is made anew.
	lookAtWebhookAfter = 30 * time.Second
	// retryErrorAfter is how long a step that failed waits.
	retryErrorAfter = 5 * time.Second
)

// WebhookKeeper keeps the certificate of the operator's webhook, in every
// replica of the operator: each serves what the Secret has, whichever of them
// wrote it. A write holds for what was read or not at all, so none of them leads.
type WebhookKeeper struct {
	// Client reads and writes without a cache.
	Client client.Client
	// Clock sets all times.
	Clock clock.Clock
	// Random is a source of randomness for keys.
	Random io.Reader
	// Namespace is the operator's own, where the webhook's Service and Secret are.
	Namespace string

	served atomic.Pointer[tls.Certificate]
}

// NeedLeaderElection says that every replica runs it.
func (*WebhookKeeper) NeedLeaderElection() bool { return false }

// GetCertificate is what a TLS server calls for each connection.
func (k *WebhookKeeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if certificate := k.served.Load(); certificate != nil {
		return certificate, nil
	}
	return nil, errors.New("the webhook has no certificate yet")
}

// Start keeps the certificate until the context is done.
func (k *WebhookKeeper) Start(ctx context.Context) error {
	for {
		again, err := k.Step(ctx)
		if err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "the webhook's certificate can't be kept; it is tried again", "after", again)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.Clock.After(again):
		}
	}
}

// Step looks once, writes what is not as it should be, serves what is, and
// returns when to look again.
func (k *WebhookKeeper) Step(ctx context.Context) (again time.Duration, err error) {
	o, err := k.observe(ctx)
	if err != nil {
		return retryErrorAfter, err
	}
	p, err := planWebhook(o, k.Clock.Now(), k.Random)
	switch {
	case err != nil:
		return retryErrorAfter, err
	case p.obstacle != "":
		return lookAtWebhookAfter, errors.New(p.obstacle)
	}
	err = k.apply(ctx, o, p)
	switch {
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		return retryConflictAfter, nil // another replica was faster
	case err != nil:
		return retryErrorAfter, err
	}
	return lookAtWebhookAfter, nil
}

// observe does all the reads of a step. The configuration comes first: whoever
// then finds it unchanged has a Secret that is no older, so that no bundle is
// written over a newer one.
func (k *WebhookKeeper) observe(ctx context.Context) (webhookObservation, error) {
	o := webhookObservation{namespace: k.Namespace}
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	switch err := k.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.InjectionConfigurationName}, &configuration); {
	case err == nil:
		o.configuration = &configuration
	case !apierrors.IsNotFound(err):
		return o, fmt.Errorf("read MutatingWebhookConfiguration %s: %w", v1alpha1.InjectionConfigurationName, err)
	}
	var secret corev1.Secret
	switch err := k.Client.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: v1alpha1.WebhookName}, &secret); {
	case err == nil:
		o.secret = &secret
	case !apierrors.IsNotFound(err):
		return o, fmt.Errorf("read Secret %s: %w", v1alpha1.WebhookName, err)
	}
	return o, nil
}

// apply writes the Secret, then serves it, then has it trusted.
func (k *WebhookKeeper) apply(ctx context.Context, o webhookObservation, p webhookPlan) error {
	if p.secret != nil {
		if err := writeSecret(ctx, k.Client, p.secret); err != nil {
			return err
		}
	}
	if len(p.changes) > 0 {
		log.FromContext(ctx).Info("the webhook's certificate is new", "what", p.changes)
	}
	k.served.Store(p.serve)
	if p.configuration != nil {
		// What else is in the configuration belongs to whoever installed it.
		change := client.StrategicMergeFrom(o.configuration, client.MergeFromWithOptimisticLock{})
		if err := k.Client.Patch(ctx, p.configuration, change, client.FieldOwner(v1alpha1.OperatorFieldManager)); err != nil {
			return fmt.Errorf("tell the API server what to trust, in MutatingWebhookConfiguration %s: %w", p.configuration.Name, err)
		}
	}
	return nil
}
