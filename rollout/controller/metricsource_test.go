package controller

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/prom"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// catalogWorld is an API server in memory with the given objects.
func catalogWorld(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	b := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.MetricSource{}, &v1alpha1.ReleaseTemplate{}, &v1alpha1.TemplateRevision{},
			&v1alpha1.TemplateCommand{}, &v1alpha1.Release{}, &v1alpha1.Rollout{})
	for _, index := range slices.Concat(followIndexes(), templateIndexes()) {
		b = b.WithIndex(index.object, index.field, index.values)
	}
	return b.Build()
}

func named(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

// checkStanding checks a kstatus condition set: one of the three, and the others fit.
func checkStanding(t *testing.T, conditions []metav1.Condition, want string) {
	t.Helper()
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
		if is := meta.IsStatusConditionTrue(conditions, kind); is != (kind == want) {
			t.Errorf("condition %s is %v, wanted only %s to be true: %+v", kind, is, want, conditions)
		}
	}
	for _, c := range conditions {
		if c.Reason == "" || c.Message == "" || c.ObservedGeneration == 0 {
			t.Errorf("condition %s lacks a reason, message or generation: %+v", c.Type, c)
		}
	}
}

type scriptedProber struct {
	err       error
	forgotten string
}

func (p *scriptedProber) Probe(context.Context, string, time.Time) error { return p.err }
func (p *scriptedProber) Forget(name string)                             { p.forgotten = name }

func TestAMetricSourceSaysWhetherItAnswers(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		err   error
		want  string
		again time.Duration
	}{
		"one that answers is Ready":                          {nil, v1alpha1.ConditionReady, probeInterval},
		"one that is down is waited for":                     {&prom.ProbeError{Cause: v1alpha1.CauseSourceDown, Detail: "no answer within 5s"}, v1alpha1.ConditionReconciling, probeRetry},
		"one that is no Prometheus is waited for":            {&prom.ProbeError{Cause: v1alpha1.CauseQueryError, Detail: "odd"}, v1alpha1.ConditionReconciling, probeRetry},
		"one whose Secret is missing waits for a person":     {&prom.SourceError{Source: "p", Err: errors.New("there is no Secret")}, v1alpha1.ConditionStalled, probeInterval},
		"one that cannot be asked for now is looked at anew": {errors.New("the API server is away"), v1alpha1.ConditionReconciling, probeRetry},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := catalogWorld(t, &v1alpha1.MetricSource{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 3}})
			r := &metricSources{client: c, prober: &scriptedProber{err: tc.err}, clock: clocktesting.NewFakePassiveClock(time.Unix(1, 0))}
			look := func() v1alpha1.MetricSource {
				t.Helper()
				res, err := r.Reconcile(t.Context(), named("p"))
				if err != nil || res.RequeueAfter != tc.again {
					t.Fatalf("%+v, %v; wanted another look after %s", res, err, tc.again)
				}
				var got v1alpha1.MetricSource
				if err := c.Get(t.Context(), types.NamespacedName{Name: "p"}, &got); err != nil {
					t.Fatal(err)
				}
				return got
			}
			first := look()
			checkStanding(t, first.Status.Conditions, tc.want)
			if first.Status.ObservedGeneration != 3 {
				t.Errorf("observedGeneration %d", first.Status.ObservedGeneration)
			}
			if look().ResourceVersion != first.ResourceVersion {
				t.Error("I5: an unchanged status was written")
			}
		})
	}
}

func TestAMetricSourceRecovers(t *testing.T) {
	t.Parallel()
	c := catalogWorld(t, &v1alpha1.MetricSource{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1}})
	prober := &scriptedProber{}
	r := &metricSources{client: c, prober: prober, clock: clocktesting.NewFakePassiveClock(time.Unix(1, 0))}
	for _, step := range []struct {
		err  error
		want string
	}{
		{&prom.SourceError{Source: "p", Err: errors.New("no Secret")}, v1alpha1.ConditionStalled},
		{&prom.ProbeError{Cause: v1alpha1.CauseSourceDown, Detail: "down"}, v1alpha1.ConditionReconciling},
		{nil, v1alpha1.ConditionReady},
	} {
		prober.err = step.err
		if _, err := r.Reconcile(t.Context(), named("p")); err != nil {
			t.Fatal(err)
		}
		var got v1alpha1.MetricSource
		if err := c.Get(t.Context(), types.NamespacedName{Name: "p"}, &got); err != nil {
			t.Fatal(err)
		}
		checkStanding(t, got.Status.Conditions, step.want)
	}
	if _, err := r.Reconcile(t.Context(), named("gone")); err != nil || prober.forgotten != "gone" {
		t.Errorf("a source that is gone: %v, forgotten %q", err, prober.forgotten)
	}
}
