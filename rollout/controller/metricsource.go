package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/prom"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Reason codes of the metric source loop.
const (
	// ReasonSourceUnusable is: a MetricSource cannot be used until a person mends it.
	ReasonSourceUnusable = "TG-SOURCE-UNUSABLE"
	// ReasonSourceDown is: a MetricSource does not answer, or not as a Prometheus does.
	ReasonSourceDown = "TG-SOURCE-DOWN"
)

const (
	// probeInterval is the time between two looks at a source that answers.
	probeInterval = time.Minute
	// probeRetry is the time between two looks at one that does not.
	probeRetry = 15 * time.Second
)

// Prober asks MetricSources whether they can be asked. *prom.Sources is one.
type Prober interface {
	// Probe returns nil, a *prom.SourceError when a person has to mend the source, or why
	// it does not answer as of now.
	Probe(ctx context.Context, source string, now time.Time) error
	// Forget drops what is held of a source that is gone.
	Forget(source string)
}

// MetricSourceOptions are what the metric source loop needs.
type MetricSourceOptions struct {
	// Prober asks the sources. Required.
	Prober Prober
	// Clock tells the time. The real one if nil.
	Clock clock.PassiveClock
	// SkipNameValidation lets several managers run in one process, as tests do.
	SkipNameValidation bool
}

// SetupMetricSources adds the loop that says of every MetricSource whether it answers.
// Nothing waits for it: a Rollout whose source is down holds by its own measurements.
func SetupMetricSources(mgr manager.Manager, opts MetricSourceOptions) error {
	if opts.Prober == nil {
		return errors.New("checking the options of the metric source controller: set Prober")
	}
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("metricsource").
		For(&v1alpha1.MetricSource{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, SkipNameValidation: &opts.SkipNameValidation}).
		Complete(&metricSources{client: mgr.GetClient(), prober: opts.Prober, clock: opts.Clock})
	if err != nil {
		return fmt.Errorf("setting up the metric source controller: %w", err)
	}
	return nil
}

type metricSources struct {
	client client.Client
	prober Prober
	clock  clock.PassiveClock
}

// Reconcile implements reconcile.Reconciler.
func (r *metricSources) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var source v1alpha1.MetricSource
	if err := r.client.Get(ctx, req.NamespacedName, &source); err != nil {
		if apierrors.IsNotFound(err) {
			r.prober.Forget(req.Name)
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reading MetricSource %s: %w", req.Name, err)
	}
	stands, again := r.look(ctx, source.Name)
	if err := ctx.Err(); err != nil {
		return reconcile.Result{}, fmt.Errorf("probing MetricSource %s: %w", req.Name, err)
	}
	wanted := source.DeepCopy()
	wanted.Status.ObservedGeneration = source.Generation
	stands.conditions(&wanted.Status.Conditions, source.Generation)
	if !equality.Semantic.DeepEqual(source.Status, wanted.Status) {
		if err := r.client.Status().Update(ctx, wanted); err != nil {
			return result(0, fmt.Errorf("recording the status of MetricSource %s: %w", req.Name, err))
		}
	}
	return reconcile.Result{RequeueAfter: again}, nil
}

// look probes the source and says when to look again.
func (r *metricSources) look(ctx context.Context, name string) (standing, time.Duration) {
	err := r.prober.Probe(ctx, name, r.clock.Now())
	var unusable *prom.SourceError
	switch {
	case err == nil:
		return standing{kind: v1alpha1.ConditionReady, message: "The source answers queries."}, probeInterval
	case errors.As(err, &unusable):
		return standing{kind: v1alpha1.ConditionStalled, code: ReasonSourceUnusable, message: unusable.Error()}, probeInterval
	default:
		return standing{
			kind: v1alpha1.ConditionReconciling, code: ReasonSourceDown,
			message: fmt.Sprintf("The source does not answer: %v. Rollouts that need it hold where they are; check its address and that it runs.", err),
		}, probeRetry
	}
}
