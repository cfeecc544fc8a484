package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Renderer renders values with a template revision. It returns *render.ValuesError or
// *render.SourceError when a person has to change something; any other error may pass.
type Renderer interface {
	Render(ctx context.Context, revision *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error)
}

// Measurer takes one round of analysis of a Rollout as of now: it queries the source and
// judges. A source that is down is a round whose verdict is Unknown, not an error.
type Measurer interface {
	Measure(ctx context.Context, rollout *v1alpha1.Rollout, now time.Time) (v1alpha1.AnalysisRound, error)
}

// PromotionVerdict is what the policies about promotion say.
type PromotionVerdict struct {
	Allowed bool
	// Code and Message are those of the policy that does not allow it.
	Code, Message string
	// Until is when it may be allowed again; zero if that is not known.
	Until time.Time
}

// Promotion asks the policies about promotion whether a Rollout may raise its exposure to
// the weight of a step now. template is the name of its ReleaseTemplate; step counts from 1
// and is 0 for a first install. Nothing rises after an error.
type Promotion interface {
	Allowed(ctx context.Context, rollout *v1alpha1.Rollout, template string, step, weight int32, now time.Time) (PromotionVerdict, error)
}

// Options are what the release and the rollout loop need.
type Options struct {
	// Renderer renders Releases and Rollouts. Required.
	Renderer Renderer
	// Measurer takes rounds of analysis. Required.
	Measurer Measurer
	// Promotion is asked before every rise of exposure. Everything is allowed if nil.
	Promotion Promotion
	// Notifier is told of what becomes of Rollouts. Nobody is told if nil.
	Notifier Notifier
	// Hooks calls the hooks of Rollouts. A Rollout that has any does not go on if nil.
	Hooks Hooks
	// Live reads from the API server, not from a cache. The manager's API reader if nil.
	Live client.Reader
	// Recorder writes events. The manager's if nil.
	Recorder events.EventRecorder
	// Clock tells the time. The real one if nil.
	Clock clock.PassiveClock
	// MaxConcurrentReconciles is how many Releases, and how many Rollouts, are worked on at
	// the same time. Default 8.
	MaxConcurrentReconciles int
	// SkipNameValidation lets several managers run in one process, as tests do.
	SkipNameValidation bool
}

// Validate reports what is missing.
func (o Options) Validate() error {
	var errs []error
	if o.Renderer == nil {
		errs = append(errs, errors.New("set Renderer"))
	}
	if o.Measurer == nil {
		errs = append(errs, errors.New("set Measurer"))
	}
	if o.MaxConcurrentReconciles < 0 {
		errs = append(errs, fmt.Errorf("set MaxConcurrentReconciles to 0 or more, not %d", o.MaxConcurrentReconciles))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("checking the options of the rollout controllers: %w", err)
	}
	return nil
}

// withDefaults fills in what was left out.
func (o Options) withDefaults(mgr manager.Manager) Options {
	if o.Live == nil {
		o.Live = mgr.GetAPIReader()
	}
	if o.Recorder == nil {
		o.Recorder = mgr.GetEventRecorder("tidegate")
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Hooks == nil {
		o.Hooks = noHooks{}
	}
	if o.MaxConcurrentReconciles == 0 {
		o.MaxConcurrentReconciles = 8
	}
	return o
}

// Setup adds the release loop and the rollout loop to the manager. The manager's scheme
// must know the types of v1alpha1, apps/v1, batch/v1 and gateway.networking.k8s.io/v1.
func Setup(ctx context.Context, mgr manager.Manager, opts Options) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	opts = opts.withDefaults(mgr)
	indexer := mgr.GetFieldIndexer()
	if err := indexer.IndexField(ctx, &v1alpha1.Rollout{}, observe.FieldRelease, func(o client.Object) []string {
		rollout, ok := o.(*v1alpha1.Rollout)
		if !ok {
			return nil
		}
		return []string{rollout.Spec.Release}
	}); err != nil {
		return fmt.Errorf("indexing Rollouts by Release: %w", err)
	}
	if err := indexer.IndexField(ctx, &v1alpha1.RolloutCommand{}, observe.FieldRollout, func(o client.Object) []string {
		command, ok := o.(*v1alpha1.RolloutCommand)
		if !ok {
			return nil
		}
		return []string{command.Spec.Rollout}
	}); err != nil {
		return fmt.Errorf("indexing RolloutCommands by Rollout: %w", err)
	}
	if err := addIndexes(ctx, mgr, followIndexes()); err != nil {
		return err
	}
	registerPhases(mgr)
	if err := setupRelease(mgr, opts); err != nil {
		return err
	}
	return setupRollout(mgr, opts)
}
