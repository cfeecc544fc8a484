package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/library"
	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// The loops ask it.
var _ controller.Promotion = (*promotions)(nil)

var (
	saturdayNoon  = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	wednesdayNoon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
)

// promoted are a Release on its second Rollout, which waits to rise.
func promoted() []client.Object {
	rollout := func(number int64, revision string) *v1alpha1.Rollout {
		r := &v1alpha1.Rollout{}
		r.Namespace, r.Name = "shop", "cart-"+string(rune('0'+number))
		r.Spec = v1alpha1.RolloutSpec{Release: "cart", Number: number, ReleaseGeneration: 4, TemplateRevision: revision, Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyCanary}}
		return r
	}
	second := rollout(2, "web-3")
	second.Spec.Revision, second.Spec.Stable = "cccccccccc", &v1alpha1.StableReference{Rollout: "cart-1", Revision: "bbbbbbbbbb"}
	release := &v1alpha1.Release{}
	release.Namespace, release.Name, release.Labels = "shop", "cart", map[string]string{"tier": "web"}
	template := &v1alpha1.ReleaseTemplate{}
	template.Name = "web"
	template.Status.Sync = &v1alpha1.TemplateSyncStatus{Target: "web-3", From: "web-2", Phase: v1alpha1.SyncSyncing}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"stage": "prod"}}}
	return []client.Object{rollout(1, "web-2"), second, release, template, namespace}
}

func newAsked(t *testing.T, objects []client.Object, funcs interceptor.Funcs, log logr.Logger, sources ...eval.Source) *promotions {
	t.Helper()
	s, err := scheme()
	if err != nil {
		t.Fatal(err)
	}
	store := eval.NewStore()
	for _, source := range sources {
		source.At = []v1alpha1.PolicyMoment{v1alpha1.AtPromotion}
		if err := store.Put(source); err != nil {
			t.Fatal(err)
		}
	}
	reader := fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithInterceptorFuncs(funcs).
		WithIndex(&v1alpha1.Rollout{}, observe.FieldRelease, func(o client.Object) []string { return []string{o.(*v1alpha1.Rollout).Spec.Release} }).Build()
	p, err := newPromotions(reader, store, func() error { return nil }, newPromotionMetrics(), log)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func second(t *testing.T, p *promotions) *v1alpha1.Rollout {
	t.Helper()
	var r v1alpha1.Rollout
	if err := p.reader.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "cart-2"}, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func shippedPolicy(name, parameters string) eval.Source {
	s, err := library.Source(name, []byte(parameters))
	if err != nil {
		panic(err)
	}
	return s
}

func freeze(exceptions string) eval.Source {
	return shippedPolicy("freeze-windows", `{"windows": [{"name": "weekend", "from": "Fri 16:00", "to": "Mon 08:00"}], "exceptions": [`+exceptions+`]}`)
}

func TestAPolicyHoldsARise(t *testing.T) {
	monday := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		source  eval.Source
		now     time.Time
		change  func([]client.Object)
		allowed bool
		code    string
		message string
		until   time.Time
	}{
		"in a freeze window": {
			source: freeze(""), now: saturdayNoon, code: "TG-FREEZE-WINDOW", message: "Release shop/cart to 25 %: wanted a time outside of every freeze window", until: monday,
		},
		"outside of one": {source: freeze(""), now: wednesdayNoon, allowed: true},
		"with an exception by the Release's name":     {source: freeze(`{"releases": ["shop/cart"]}`), now: saturdayNoon, allowed: true},
		"with an exception by the namespace's labels": {source: freeze(`{"namespaceLabels": {"stage": "prod"}}`), now: saturdayNoon, allowed: true},
		"where an exception is another's":             {source: freeze(`{"releases": ["shop/db"]}`), now: saturdayNoon, code: "TG-FREEZE-WINDOW", until: monday},
		"where the template was rolled back and this brings it back": {
			source: freeze(""), now: saturdayNoon, allowed: true,
			change: func(o []client.Object) { o[3].(*v1alpha1.ReleaseTemplate).Status.Sync.RolledBackFrom = "web-2" },
		},
		"where the team changed its Release as well": {
			source: freeze(""), now: saturdayNoon, code: "TG-FREEZE-WINDOW", until: monday,
			change: func(o []client.Object) {
				o[3].(*v1alpha1.ReleaseTemplate).Status.Sync.RolledBackFrom = "web-2"
				o[1].(*v1alpha1.Rollout).Spec.ReleaseGeneration = 5
			},
		},
		"where it is on the target already": {
			source: freeze(""), now: saturdayNoon, code: "TG-FREEZE-WINDOW", until: monday,
			change: func(o []client.Object) {
				o[3].(*v1alpha1.ReleaseTemplate).Status.Sync.RolledBackFrom = "web-2"
				o[0].(*v1alpha1.Rollout).Spec.TemplateRevision = "web-3"
			},
		},
		"where the rollback is to another revision": {
			source: freeze(""), now: saturdayNoon, code: "TG-FREEZE-WINDOW", until: monday,
			change: func(o []client.Object) {
				s := o[3].(*v1alpha1.ReleaseTemplate).Status.Sync
				s.RolledBackFrom, s.Target = "web-3", "web-2"
			},
		},
		"by what is asked": {
			source: eval.Source{Name: "p", Rego: `package p
deny contains msg if {
	r := input.rollout
	msg := sprintf("%s %s %d to %d, step %d, template %s %s", [r.name, r.strategy, r.from, r.weight, r.step, input.template.name, input.template.revision])
}`},
			now: saturdayNoon, code: "TG-POLICY-DENY", message: "cart-2 canary 5 to 25, step 2, template web web-3 (policy p)",
			change: func(o []client.Object) { o[1].(*v1alpha1.Rollout).Status.ApprovedWeight = 5 },
		},
		"by labels of the Release": {
			source: eval.Source{Name: "p", Rego: "package p\ndeny contains input.release.labels.tier if true"}, now: saturdayNoon, code: "TG-POLICY-DENY", message: "web (policy p)",
		},
		"that only warns":   {source: eval.Source{Name: "p", Rego: "package p\nwarn contains \"hm\" if true"}, now: saturdayNoon, allowed: true},
		"that runs dry":     {source: eval.Source{Name: "p", Rego: "package p\ndeny contains \"hm\" if true", Enforcement: v1alpha1.EnforcementDryrun}, now: saturdayNoon, allowed: true},
		"that fails":        {source: eval.Source{Name: "p", Rego: "package p\ndeny contains \"x\" if { 1 / (input.rollout.weight - 25) > 0 }"}, now: saturdayNoon, code: "TG-POLICY-ERROR"},
		"of another moment": {source: eval.Source{Name: "p", Rego: "package p\ndeny contains \"x\" if input.moment != \"promotion\""}, now: saturdayNoon, allowed: true},
	} {
		t.Run(name, func(t *testing.T) {
			objects := promoted()
			if tc.change != nil {
				tc.change(objects)
			}
			p := newAsked(t, objects, interceptor.Funcs{}, logr.Discard(), tc.source)
			got, err := p.Allowed(t.Context(), second(t, p), "web", 2, 25, tc.now)
			if err != nil {
				t.Fatal(err)
			}
			if got.Allowed != tc.allowed || got.Code != tc.code || !strings.Contains(got.Message, tc.message) || !got.Until.Equal(tc.until) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestAPolicyHoldsAWave(t *testing.T) {
	p := newAsked(t, nil, interceptor.Funcs{}, logr.Discard(), freeze(`{"namespaces": ["*"]}`))
	allowed, code, message, until, err := p.Permit(t.Context(), "web", "web-3", "canaries", saturdayNoon)
	if err != nil || allowed || code != "TG-FREEZE-WINDOW" || !strings.Contains(message, "wave canaries of template web") || until.IsZero() {
		t.Errorf("in the window: %v %s %s %s %v", allowed, code, message, until, err)
	}
	if allowed, _, _, _, err := p.Permit(t.Context(), "web", "web-3", "canaries", wednesdayNoon); err != nil || !allowed {
		t.Errorf("outside of it: %v %v", allowed, err)
	}
}

func TestWhatCannotBeAskedDoesNotRise(t *testing.T) {
	broken := errors.New("the cache is broken")
	for _, kind := range []string{"Release", "Namespace", "ReleaseTemplate", "Rollout", "store"} {
		t.Run(kind, func(t *testing.T) {
			p := newAsked(t, promoted(), interceptor.Funcs{}, logr.Discard(), freeze(""))
			r := second(t, p)
			if kind == "store" {
				p.loaded = func() error { return broken }
				if allowed, _, _, _, err := p.Permit(t.Context(), "web", "web-3", "x", wednesdayNoon); allowed || !errors.Is(err, broken) {
					t.Errorf("a wave: %v, %v", allowed, err)
				}
			}
			objects := promoted()
			objects[3].(*v1alpha1.ReleaseTemplate).Status.Sync.RolledBackFrom = "web-2"
			failing := newAsked(t, objects, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				gvk, err := c.GroupVersionKindFor(o)
				if err != nil || gvk.Kind == kind {
					return broken
				}
				return c.Get(ctx, key, o, opts...)
			}}, logr.Discard(), freeze(""))
			failing.loaded = p.loaded
			got, err := failing.Allowed(t.Context(), r, "web", 2, 25, wednesdayNoon)
			if got.Allowed || !errors.Is(err, broken) {
				t.Errorf("got %+v, %v", got, err)
			}
			if n := testutil.ToFloat64(failing.metrics.asked.WithLabelValues(promotionErrored)); n != 1 {
				t.Errorf("counted %v errors", n)
			}
		})
	}
	t.Run("time that is up is an objection", func(t *testing.T) {
		p := newAsked(t, promoted(), interceptor.Funcs{}, logr.Discard(), freeze(""))
		r := second(t, p)
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		if got, err := p.Allowed(ctx, r, "web", 2, 25, wednesdayNoon); err == nil && (got.Allowed || got.Code != eval.ReasonPolicyError) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

// Without policies nothing is read and everything is allowed.
func TestWithoutAPolicyNothingIsRead(t *testing.T) {
	p := newAsked(t, promoted(), interceptor.Funcs{}, logr.Discard())
	r := second(t, p)
	p.reader = nil
	if got, err := p.Allowed(t.Context(), r, "web", 2, 25, saturdayNoon); err != nil || !got.Allowed {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAPolicyThatTakesTooMuchHoldsAndIsNamed(t *testing.T) {
	p := newAsked(t, promoted(), interceptor.Funcs{}, logr.Discard(), eval.Source{Name: "bomb", Rego: `package p
deny contains "x" if count([1 | numbers.range(1, 3000)[_]; numbers.range(1, 3000)[_]; numbers.range(1, 3000)[_]; input.rollout]) < 0`}, freeze(""))
	got, err := p.Allowed(t.Context(), second(t, p), "web", 2, 25, wednesdayNoon)
	if err != nil || got.Allowed || got.Code != eval.ReasonPolicyBudget || !strings.Contains(got.Message, "bomb") {
		t.Errorf("wanted it held with %s, found %+v, %v", eval.ReasonPolicyBudget, got, err)
	}
	if n := testutil.ToFloat64(p.metrics.overBudget.WithLabelValues("bomb")); n != 1 {
		t.Errorf("wanted policy bomb counted once, found %v", n)
	}
	if n := testutil.CollectAndCount(p.metrics.overBudget); n != 1 {
		t.Errorf("wanted nobody else counted, found %d", n)
	}
}

func TestWhatDoesNotHoldIsToldOnce(t *testing.T) {
	var said bytes.Buffer
	log := funcr.New(func(_, args string) { said.WriteString(args + "\n") }, funcr.Options{})
	p := newAsked(t, promoted(), interceptor.Funcs{}, log, eval.Source{
		Name: "p", Rego: "package p\ndeny contains \"hm\" if input.rollout.weight == 25", Enforcement: v1alpha1.EnforcementDryrun,
	}, eval.Source{Name: "q", Rego: "package q\nwarn contains \"ho\" if input.rollout.weight == 25"})
	r := second(t, p)
	for _, weight := range []int32{25, 25, 25, 50, 25} {
		if _, err := p.Allowed(t.Context(), r, "web", 2, weight, saturdayNoon); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(said.String(), "objects to a promotion"); n != 2 {
		t.Errorf("a dry run was told %d times:\n%s", n, said.String())
	}
	if n := strings.Count(said.String(), "warns of a promotion"); n != 2 {
		t.Errorf("a warning was told %d times:\n%s", n, said.String())
	}
	registry := prometheus.NewPedanticRegistry()
	if err := p.metrics.register(registry); err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	if n := testutil.ToFloat64(p.metrics.findings.WithLabelValues("dryrun")); n != 2 {
		t.Errorf("counted %v dry runs", n)
	}
	if n := testutil.ToFloat64(p.metrics.asked.WithLabelValues(promotionAllowed)); n != 5 {
		t.Errorf("counted %v questions", n)
	}
}
