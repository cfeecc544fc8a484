package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	lru "github.com/hashicorp/golang-lru/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// promotionTimeout bounds one question, what is measured for it aside. Policies that take
	// longer count as ones that object.
	promotionTimeout = 4 * time.Second
	// rememberedFindings bounds the memory of what was logged.
	rememberedFindings = 4096
)

// promotions asks the DeployPolicies in force before exposure rises. Whatever keeps it from
// asking is an error, on which nothing rises.
type promotions struct {
	// reader reads from the cache.
	reader   client.Reader
	policies *eval.Store
	// loaded is an error until the policies have been put into force: a store that is still
	// empty consents to everything.
	loaded  func() error
	metrics *promotionMetrics
	log     logr.Logger
	// said is what was logged last, by who asked.
	said *lru.Cache[string, string]
	// measure answers the queries of MetricSources about a Release, and says why some have no
	// answer; nil measures nothing. It has a limit of its own.
	measure func(ctx context.Context, namespace, release string, now time.Time) (values map[string]float64, why map[string]string)
	turns   *turns
}

func newPromotions(reader client.Reader, policies *eval.Store, loaded func() error, metrics *promotionMetrics, log logr.Logger) (*promotions, error) {
	said, err := lru.New[string, string](rememberedFindings)
	if err != nil {
		return nil, fmt.Errorf("making the memory of findings: %w", err)
	}
	return &promotions{reader: reader, policies: policies, loaded: loaded, metrics: metrics, log: log, said: said, turns: newTurns()}, nil
}

// Allowed implements controller.Promotion. Those of a namespace that are to begin ask one
// after the other: what each is told of the others holds when it begins.
func (p *promotions) Allowed(ctx context.Context, rollout *v1alpha1.Rollout, template string, step, weight int32, now time.Time) (controller.PromotionVerdict, error) {
	measured := p.measured(ctx, rollout, now) // before its turn, which others wait for
	first := begins(rollout)
	if first {
		leave, err := p.turns.enter(ctx, rollout.Namespace)
		if err != nil {
			return controller.PromotionVerdict{}, err
		}
		defer leave()
	}
	hold, err := p.ask(ctx, "rollout "+rollout.Namespace+"/"+rollout.Name, now, func(ctx context.Context) (eval.Promotion, error) {
		asked, err := p.ofRollout(ctx, rollout, template, step, weight, now)
		asked.Measurements, asked.Unmeasured = measured.values, measured.why
		return asked, err
	})
	switch {
	case err != nil:
		return controller.PromotionVerdict{}, err
	case hold != nil:
		return controller.PromotionVerdict{Code: hold.Code, Message: hold.Message, Until: hold.Until}, nil
	case first:
		p.turns.allow(rollout, now)
	}
	return controller.PromotionVerdict{Allowed: true}, nil
}

// measurements are what sources say of a Release, and why some say nothing.
type measurements struct {
	values map[string]float64
	why    map[string]string
}

// measured asks the sources where a policy about the Rollout may look at what they say.
func (p *promotions) measured(ctx context.Context, rollout *v1alpha1.Rollout, now time.Time) (out measurements) {
	about := eval.Question{Moment: v1alpha1.AtPromotion, Group: v1alpha1.GroupVersion.Group, Kind: "Rollout", Namespace: rollout.Namespace}
	if p.measure == nil || p.loaded() != nil || !p.policies.Set().Reads(about, eval.PartMeasurements) {
		return out
	}
	out.values, out.why = p.measure(ctx, rollout.Namespace, rollout.Spec.Release, now)
	return out
}

// Permit says whether the sync of a template may bring the Releases of a wave to a revision
// now.
func (p *promotions) Permit(ctx context.Context, template, revision, wave string, now time.Time) (allowed bool, code, message string, until time.Time, err error) {
	hold, err := p.ask(ctx, "template "+template, now, func(context.Context) (eval.Promotion, error) {
		return eval.Promotion{Template: eval.Template{Name: template, Revision: revision}, Wave: &eval.Wave{Name: wave}}, nil
	})
	switch {
	case err != nil:
		return false, "", "", time.Time{}, err
	case hold != nil:
		return false, hold.Code, hold.Message, hold.Until, nil
	}
	return true, "", "", time.Time{}, nil
}

// ask judges what gather finds out, which is done only where there is a policy to ask.
func (p *promotions) ask(ctx context.Context, who string, now time.Time, gather func(context.Context) (eval.Promotion, error)) (hold *eval.Hold, err error) {
	defer func() { p.metrics.count(hold, err) }()
	if err := p.loaded(); err != nil {
		return nil, fmt.Errorf("asking the policies about %s: %w", who, err)
	}
	set := p.policies.Set()
	if !set.Asks(v1alpha1.AtPromotion) {
		return nil, nil //nolint:nilnil // no hold is an answer
	}
	ctx, cancel := context.WithTimeout(ctx, promotionTimeout)
	defer cancel()
	promotion, err := gather(ctx)
	if err != nil {
		return nil, err
	}
	promotion.Time = now
	question, err := promotion.Question()
	if err != nil {
		return nil, err
	}
	verdict := set.Judge(ctx, question)
	p.metrics.spent(verdict.OverBudget)
	if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("asking the policies about %s: %w", who, err) // the manager stops
	}
	p.tell(who, verdict)
	return verdict.Hold(now), nil
}

// tell logs what objects without holding, once for each change of it. What holds is told by
// the status of who asked.
func (p *promotions) tell(who string, v eval.Verdict) {
	var lines []string
	for _, list := range []struct {
		enforcement v1alpha1.Enforcement
		violations  []eval.Violation
	}{{v1alpha1.EnforcementWarn, v.Warnings}, {v1alpha1.EnforcementDryrun, v.Dryrun}} {
		for _, violation := range list.violations {
			lines = append(lines, fmt.Sprintf("%s %s: %s", list.enforcement, violation.Policy, violation.Code))
		}
	}
	text := strings.Join(lines, "\n")
	if before, _ := p.said.Get(who); before == text {
		return
	}
	p.said.Add(who, text)
	p.metrics.quiet(len(v.Warnings), len(v.Dryrun))
	for _, violation := range v.Warnings {
		p.log.Info("Policy warns of a promotion", "about", who, "policy", violation.Policy, "code", violation.Code, "message", violation.Message)
	}
	for _, violation := range v.Dryrun {
		p.log.Info("Policy in dryrun objects to a promotion", "about", who, "policy", violation.Policy, "code", violation.Code, "message", violation.Message)
	}
}

// ofRollout gathers what policies are told. What is not there has no labels, and so no
// exceptions; what cannot be read is an error.
func (p *promotions) ofRollout(ctx context.Context, rollout *v1alpha1.Rollout, template string, step, weight int32, now time.Time) (eval.Promotion, error) {
	var release v1alpha1.Release
	if err := p.get(ctx, types.NamespacedName{Namespace: rollout.Namespace, Name: rollout.Spec.Release}, &release); err != nil {
		return eval.Promotion{}, err
	}
	var namespace corev1.Namespace
	if err := p.get(ctx, types.NamespacedName{Name: rollout.Namespace}, &namespace); err != nil {
		return eval.Promotion{}, err
	}
	rollback, err := p.rollback(ctx, rollout, template)
	if err != nil {
		return eval.Promotion{}, err
	}
	asked := eval.Rollout{
		Name: rollout.Name, Number: rollout.Spec.Number, Revision: rollout.Spec.Revision, Digest: rollout.Spec.Digest,
		Strategy: string(rollout.Spec.Strategy.Type), Phase: string(rollout.Status.Phase),
		First: rollout.Spec.Stable == nil, Rollback: rollback,
		Started: eval.Moment(rollout.CreationTimestamp.Time), Raised: eval.Moment(plan.Raised(rollout)),
		From: rollout.Status.ApprovedWeight, Weight: weight, Step: step, Steps: len(rollout.Spec.Strategy.Steps),
	}
	if a := rollout.Status.Analysis; a != nil {
		asked.Verdict = string(a.Verdict)
	}
	if asked.Approvals, err = p.approvals(ctx, rollout); err != nil {
		return eval.Promotion{}, err
	}
	history, err := p.history(ctx, rollout, now)
	if err != nil {
		return eval.Promotion{}, err
	}
	elsewhere, err := p.elsewhere(ctx, rollout)
	if err != nil {
		return eval.Promotion{}, err
	}
	values, err := valuesOf(rollout)
	if err != nil {
		return eval.Promotion{}, err
	}
	return eval.Promotion{
		Author: author(&release, rollout), Values: values, History: history, Elsewhere: elsewhere,
		Release:   &eval.Release{Name: rollout.Spec.Release, Namespace: rollout.Namespace, Template: template, Labels: release.Labels},
		Namespace: &eval.Namespace{Name: rollout.Namespace, Labels: namespace.Labels},
		Rollout:   &asked,
		Template:  eval.Template{Name: template, Revision: rollout.Spec.TemplateRevision},
	}, nil
}

// rollback says whether the Rollout brings a Release back from a template revision that was
// turned away from, and nothing else: a team that changes its Release meanwhile is not let
// through with it. So does a person who returns to a revision that was in service lately, as the
// template's rollback window says.
func (p *promotions) rollback(ctx context.Context, rollout *v1alpha1.Rollout, template string) (bool, error) {
	if rollout.Spec.Stable == nil {
		return false, nil
	}
	if rollout.Spec.Restores != nil && rollout.Spec.Known {
		return true, nil
	}
	var t v1alpha1.ReleaseTemplate
	if err := p.get(ctx, types.NamespacedName{Name: template}, &t); err != nil {
		return false, err
	}
	sync := t.Status.Sync
	if sync == nil || sync.RolledBackFrom == "" || sync.Target != rollout.Spec.TemplateRevision {
		return false, nil
	}
	var stable v1alpha1.Rollout
	if err := p.get(ctx, types.NamespacedName{Namespace: rollout.Namespace, Name: rollout.Spec.Stable.Rollout}, &stable); err != nil {
		return false, err
	}
	return stable.Name != "" && stable.AdmittedAt() > 0 && stable.AdmittedAt() == rollout.AdmittedAt() &&
		stable.Spec.TemplateRevision != rollout.Spec.TemplateRevision, nil
}

// get reads an object, and leaves it empty where there is none.
func (p *promotions) get(ctx context.Context, key types.NamespacedName, into client.Object) error {
	if err := p.reader.Get(ctx, key, into); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading %T %s: %w", into, key, err)
	}
	return nil
}
