package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// contenders are so many Releases of one namespace, each with a Rollout that has begun and
// was made a minute after the one before.
func contenders(n int) (objects []client.Object, rollouts []*v1alpha1.Rollout) {
	objects = []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}}
	for i := range n {
		release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("r%d", i)}}
		r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: release.Name + "-2", CreationTimestamp: metav1.NewTime(wednesdayNoon.Add(time.Duration(i-60) * time.Minute)),
		}}
		r.Spec = v1alpha1.RolloutSpec{Release: release.Name, Number: 2, Revision: "bbbbbbbbbb", Stable: &v1alpha1.StableReference{Rollout: release.Name + "-1", Revision: "aaaaaaaaaa"}}
		r.Status.Phase = v1alpha1.RolloutProgressing
		objects, rollouts = append(objects, release, r), append(rollouts, r)
	}
	return objects, rollouts
}

// risen is a Rollout that rose at a time.
func risen(r *v1alpha1.Rollout, at time.Time) {
	r.Status.Phase = v1alpha1.RolloutSucceeded
	r.Status.History = []v1alpha1.HistoryEntry{{At: metav1.NewMicroTime(at), Weight: 5}}
}

func allowed(t *testing.T, p *promotions, r *v1alpha1.Rollout, now time.Time) bool {
	t.Helper()
	verdict, err := p.Allowed(t.Context(), r, "web", 1, 5, now)
	if err != nil {
		t.Error(err)
	}
	return verdict.Allowed
}

const twoInAnHour = `{"max": 2, "window": "1h", "per": "namespace"}`

// The cache shows nothing of what was allowed meanwhile.
func TestOfThoseThatAskAtOnceOnlySoManyBegin(t *testing.T) {
	objects, rollouts := contenders(8)
	p := newAsked(t, objects, interceptor.Funcs{}, logr.Discard(), shippedPolicy("max-deployments", twoInAnHour))
	var (
		wg    sync.WaitGroup
		began atomic.Int32
	)
	for _, r := range rollouts {
		wg.Go(func() {
			if allowed(t, p, r, wednesdayNoon) {
				began.Add(1)
			}
		})
	}
	wg.Wait()
	if n := began.Load(); n != 2 {
		t.Errorf("wanted two to begin, found %d", n)
	}
}

func TestWhatWasAllowedCountsUntilItIsSeenOrCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		// then changes the first, which was allowed, before the second asks.
		then  func(r *v1alpha1.Rollout)
		after time.Duration
		want  bool
	}{
		"not seen yet":                            {after: time.Second},
		"seen":                                    {then: func(r *v1alpha1.Rollout) { risen(r, wednesdayNoon) }, after: time.Minute},
		"seen, and aborted since":                 {then: func(r *v1alpha1.Rollout) { risen(r, wednesdayNoon); r.Status.Phase = v1alpha1.RolloutAborted }, after: time.Minute},
		"aborted before it rose":                  {then: func(r *v1alpha1.Rollout) { r.Status.Phase = v1alpha1.RolloutAborted }, after: time.Second, want: true},
		"never recorded":                          {after: turnLife, want: true},
		"seen, and the window is over":            {then: func(r *v1alpha1.Rollout) { risen(r, wednesdayNoon) }, after: time.Hour, want: true},
		"never recorded, though it waits for now": {then: func(r *v1alpha1.Rollout) { r.Status.Reason = plan.ReasonHoldPolicy }, after: turnLife, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			objects, rollouts := contenders(2)
			p := newAsked(t, objects, interceptor.Funcs{}, logr.Discard(), shippedPolicy("max-deployments", `{"max": 1, "window": "1h", "per": "namespace"}`))
			for range 2 { // asked again it is still allowed
				if !allowed(t, p, rollouts[0], wednesdayNoon) {
					t.Fatal("wanted the first to begin, found it held")
				}
			}
			if c.then != nil {
				c.then(rollouts[0])
				if err := p.reader.(client.Client).Update(t.Context(), rollouts[0]); err != nil {
					t.Fatal(err)
				}
			}
			if got := allowed(t, p, rollouts[1], wednesdayNoon.Add(c.after)); got != c.want {
				t.Errorf("wanted the second allowed: %t, found %t", c.want, got)
			}
		})
	}
}

func TestWhoWaitsLongestBeginsFirst(t *testing.T) {
	objects, rollouts := contenders(3)
	risen(rollouts[0], wednesdayNoon.Add(-time.Hour))
	for _, r := range rollouts[1:] {
		r.Status.Reason = plan.ReasonHoldPolicy
	}
	p := newAsked(t, objects, interceptor.Funcs{}, logr.Discard(), shippedPolicy("max-deployments", `{"max": 1, "window": "1h", "per": "namespace"}`))
	if allowed(t, p, rollouts[2], wednesdayNoon) {
		t.Error("wanted the one that waits longer to go first")
	}
	if !allowed(t, p, rollouts[1], wednesdayNoon) {
		t.Error("wanted the one that waits longest to begin")
	}
	if allowed(t, p, rollouts[2], wednesdayNoon.Add(time.Second)) {
		t.Error("wanted the other to wait for the next window")
	}
}

func TestOnlyAPolicyThatMeasuresIsMeasuredFor(t *testing.T) {
	objects, rollouts := contenders(1)
	for name, c := range map[string]struct {
		policy, parameters string
		measured           int
		message            string
	}{
		"a policy that looks at something else": {policy: "max-deployments", parameters: twoInAnHour},
		"one that rests on a measurement":       {policy: "error-budget", parameters: `{"measurement": "main/left"}`, measured: 1, message: "found no number, asking main: no answer within 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			p, n := newAsked(t, objects, interceptor.Funcs{}, logr.Discard(), shippedPolicy(c.policy, c.parameters)), 0
			p.measure = func(ctx context.Context, namespace, release string, _ time.Time) (map[string]float64, map[string]string) {
				if _, limited := ctx.Deadline(); limited {
					t.Error("wanted the time of measuring not taken from that of the policies")
				}
				n++
				return nil, map[string]string{"main/left": "asking main: no answer within 5s", "other/left": "asking other: refused"}
			}
			verdict, err := p.Allowed(t.Context(), rollouts[0], "web", 1, 5, wednesdayNoon)
			if err != nil || verdict.Allowed != (c.message == "") || !strings.Contains(verdict.Message, c.message) || strings.Contains(verdict.Message, "other") {
				t.Errorf("wanted %q, found %+v, %v", c.message, verdict, err)
			}
			if n != c.measured {
				t.Errorf("wanted it measured %d times, found %d", c.measured, n)
			}
		})
	}
}

func TestATurnThatDoesNotComeRaisesNothing(t *testing.T) {
	objects, rollouts := contenders(1)
	p := newAsked(t, objects, interceptor.Funcs{}, logr.Discard(), shippedPolicy("max-deployments", twoInAnHour))
	leave, err := p.turns.enter(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := p.Allowed(ctx, rollouts[0], "web", 1, 5, wednesdayNoon); got.Allowed || !errors.Is(err, context.Canceled) {
		t.Errorf("wanted it to stop waiting, found %+v, %v", got, err)
	}
	risen(rollouts[0], wednesdayNoon)
	if !allowed(t, p, rollouts[0], wednesdayNoon) {
		t.Error("wanted one that has begun to wait for nobody")
	}
	leave()
}
