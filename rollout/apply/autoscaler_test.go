package apply_test

import (
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
)

const scalerKind = "HorizontalPodAutoscaler"

// leaves changes what the autoscaler of the old set leaves it at least, as somebody does.
func (b *bench) leaves(least int64) {
	b.t.Helper()
	live := b.get("autoscaling/v2", scalerKind, "cart-"+oldRevision)
	if err := unstructured.SetNestedField(live.Object, least, "spec", "minReplicas"); err != nil {
		b.t.Fatal(err)
	}
	if err := b.client.Update(b.t.Context(), live, client.FieldOwner("somebody")); err != nil {
		b.t.Fatal(err)
	}
}

// autoscaled gives the old set an autoscaler of 4 to 30 pods, which it returns as rendered.
func (b *bench) autoscaled() *unstructured.Unstructured {
	rendered := object("autoscaling/v2", scalerKind, "cart-"+oldRevision, map[string]any{"spec": map[string]any{
		"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart-" + oldRevision},
		"minReplicas":    int64(4), "maxReplicas": int64(30),
	}})
	b.target.Sides.Stable.Set = append(b.target.Sides.Stable.Set, rendered)
	return rendered
}

func ensure(replicas, least int32) plan.Action {
	return plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleStable, Replicas: replicas, Least: least}
}

// The old set of a Rollout keeps its pods: its autoscaler is told so once, and is told what was rendered when that is over.
func TestAnAutoscalerIsToldOnceHowManyPodsToLeave(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rendered := b.autoscaled()
	wants := func(what string, want int32) {
		t.Helper()
		live := b.get("autoscaling/v2", scalerKind, "cart-"+oldRevision)
		if got := manifest.Lifted(live); got != want {
			t.Errorf("%s: lifted to %d, want %d", what, got, want)
		}
		full, err := manifest.Wanted(rendered, b.target.Release)
		if err != nil {
			t.Fatal(err)
		}
		if !manifest.UpToDate(live, full) {
			t.Errorf("%s: it is not as rendered", what)
		}
	}
	b.must(ensure(4, 0))
	b.wantWrites("apply Service", "apply "+scalerKind, "apply Deployment")
	wants("when it is made", 0)
	b.must(ensure(20, 20))
	b.wantWrites("apply "+scalerKind, "apply Deployment")
	wants("when a Rollout begins", 20)
	b.must(ensure(20, 20))
	b.wantWrites()
	b.leaves(5)
	b.must(ensure(20, 20))
	b.wantWrites("apply " + scalerKind)
	wants("when somebody has edited it", 20)
	b.must(ensure(20, 40))
	b.wantWrites("apply " + scalerKind)
	wants("when it has grown beyond what it lets the set have", 30)
	b.must(ensure(20, 0))
	b.wantWrites("apply " + scalerKind)
	wants("when the Rollout has ended", 0)
	b.must(ensure(20, 0))
	b.wantWrites()
}

// Policies refuse with codes of their own, or with none, which is 400 then. Whatever else is wrong is tried again.
func TestWhereAnAutoscalerMayNotBeToldTheSetIsAsRendered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code    int32
		refused bool
	}{
		"by a Kyverno policy":        {http.StatusBadRequest, true},
		"by a webhook":               {http.StatusForbidden, true},
		"by the API server":          {http.StatusUnprocessableEntity, true},
		"by a code of its own":       {http.StatusUnavailableForLegalReasons, true},
		"it has changed meanwhile":   {http.StatusConflict, false},
		"there are too many":         {http.StatusTooManyRequests, false},
		"the server is at its end":   {http.StatusInternalServerError, false},
		"its namespace is not there": {http.StatusNotFound, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, clock := newBench(t), testclock.NewFakePassiveClock(time.Unix(0, 0))
			b.autoscaled()
			var err error
			if b.refusals, err = apply.NewRefusals(clock); err != nil {
				t.Fatal(err)
			}
			b.tooMany = &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: c.code, Message: "at most 10 pods"}}
			err = b.do(ensure(20, 20))
			if !c.refused {
				if err == nil {
					t.Error("the set was made without asking again")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b.wantWrites("apply Service", "refused 20", "apply "+scalerKind, "apply Deployment")
			b.must(ensure(20, 20), ensure(20, 20))
			b.wantWrites()
			b.must(ensure(20, 24))
			b.wantWrites("refused 24")
			clock.SetTime(clock.Now().Add(2 * time.Minute))
			b.must(ensure(20, 20))
			b.wantWrites("refused 20")
			b.tooMany = nil
			clock.SetTime(clock.Now().Add(2 * time.Minute))
			b.must(ensure(20, 20))
			b.wantWrites("apply " + scalerKind)
		})
	}
}
