package telemetry

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Reconciler makes a span of each reconcile of a controller, where there are traces.
func Reconciler(controller string, next reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
		ctx, span := otel.Tracer(scope).Start(ctx, "reconcile "+controller, trace.WithAttributes(
			attribute.String("k8s.namespace.name", r.Namespace), attribute.String("slipway."+controller+".name", r.Name)))
		defer span.End()
		result, err := next.Reconcile(ctx, r)
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		return result, err
	})
}

const scope = "github.com/slipway-dev/slipway/telemetry"
