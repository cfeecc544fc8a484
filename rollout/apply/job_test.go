package apply_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const jobName = "cart-2-s1-1"

var runJob = plan.Action{Kind: plan.ActionRunJob, Step: 1, Job: jobName}

// withJob is a bench whose first step runs a Job with these fields in its spec.
func withJob(t *testing.T, spec map[string]any, objects ...client.Object) *bench {
	t.Helper()
	b := newBench(t, objects...)
	all := int32(100)
	b.target.Rollout.UID = "rollout-uid"
	b.target.Rollout.Spec.Replicas, b.target.Rollout.Spec.Stable.Replicas = 2, 2
	b.target.Rollout.Spec.Strategy.Steps = []v1alpha1.Step{{Job: &v1alpha1.JobStep{Object: "smoke"}}, {SetWeight: &all}}
	whole := map[string]any{"template": map[string]any{"spec": map[string]any{
		"restartPolicy": "Never", "containers": []any{map[string]any{"name": "smoke", "image": "smoke:1"}},
	}}}
	maps.Copy(whole, spec)
	b.target.Sides.Canary.Jobs = map[string]*unstructured.Unstructured{
		"smoke": object("batch/v1", "Job", "smoke", map[string]any{"spec": whole}),
	}
	return b
}

func (b *bench) job() *batchv1.Job {
	b.t.Helper()
	job := &batchv1.Job{}
	err := b.client.Get(b.t.Context(), client.ObjectKey{Namespace: "shop", Name: jobName}, job)
	if client.IgnoreNotFound(err) != nil {
		b.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return job
}

func TestJobIsMadeOutOfWhatWasRendered(t *testing.T) {
	b := withJob(t, nil)
	a := apply.Applier{Writer: b.client, Live: b.client}
	rendered := b.target.Sides.Canary.Jobs["smoke"].DeepCopy()
	for range 2 { // the second finds it there
		if err := a.Execute(t.Context(), b.target, runJob); err != nil {
			t.Fatal(err)
		}
	}
	job := b.job()
	if job == nil {
		t.Fatal("there is no Job")
	}
	for key, want := range map[string]string{
		v1alpha1.LabelManagedBy: v1alpha1.ManagedBy, v1alpha1.LabelRelease: "cart", v1alpha1.LabelRollout: "cart-2", v1alpha1.LabelRevision: newRevision,
	} {
		if got := job.Labels[key]; got != want {
			t.Errorf("label %s: wanted %q, found %q", key, want, got)
		}
	}
	if !metav1.IsControlledBy(job, b.target.Release) || !manifest.OwnJob(job, b.target.Release, b.target.Rollout) {
		t.Errorf("the owner is %+v", job.OwnerReferences)
	}
	if *job.Spec.TTLSecondsAfterFinished != 86400 || *job.Spec.ActiveDeadlineSeconds != 3600 || job.Spec.Template.Spec.Containers[0].Image != "smoke:1" {
		t.Errorf("the spec is %+v", job.Spec)
	}
	if len(job.Spec.Template.Labels) > 0 {
		t.Errorf("its pods have the labels %v, by which a Service may choose them", job.Spec.Template.Labels)
	}
	if got := b.target.Sides.Canary.Jobs["smoke"]; got.GetName() != rendered.GetName() || len(got.GetOwnerReferences()) > 0 {
		t.Error("what was rendered was changed")
	}
}

func TestJobKeepsTheBoundsOfItsTemplate(t *testing.T) {
	for name, c := range map[string]struct {
		spec          map[string]any
		ttl, deadline int64
	}{
		"its own": {map[string]any{"ttlSecondsAfterFinished": int64(7200), "activeDeadlineSeconds": int64(60)}, 7200, 60},
		// One that goes before it is read would be run for ever.
		"a result stays until it is read": {map[string]any{"ttlSecondsAfterFinished": int64(0)}, 600, 3600},
	} {
		b := withJob(t, c.spec)
		if err := (apply.Applier{Writer: b.client, Live: b.client}).Execute(t.Context(), b.target, runJob); err != nil {
			t.Fatal(err)
		}
		if s := b.job().Spec; int64(*s.TTLSecondsAfterFinished) != c.ttl || *s.ActiveDeadlineSeconds != c.deadline {
			t.Errorf("%s: kept for %d s, may take %d s", name, *s.TTLSecondsAfterFinished, *s.ActiveDeadlineSeconds)
		}
	}
}

func TestForeignJobIsRefused(t *testing.T) {
	yes := true
	other := []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x", Controller: &yes}}
	mine := map[string]string{manifest.AnnotationRolloutUID: "rollout-uid"}
	for name, meta := range map[string]metav1.ObjectMeta{
		"made by hand":                  {},
		"with our labels alone":         {Labels: map[string]string{v1alpha1.LabelRelease: "cart", v1alpha1.LabelRollout: "cart-2"}},
		"of a former Rollout":           {Annotations: map[string]string{manifest.AnnotationRolloutUID: "former"}},
		"that belongs to somebody else": {Annotations: mine, OwnerReferences: other},
	} {
		meta.Name, meta.Namespace = jobName, "shop"
		b := withJob(t, nil, &batchv1.Job{ObjectMeta: meta})
		a := apply.Applier{Writer: b.client, Live: b.client}
		for _, action := range []plan.Action{runJob, {Kind: plan.ActionStopJob, Job: jobName}} {
			err := a.Execute(t.Context(), b.target, action)
			if !errors.Is(err, apply.ErrForeign) || !strings.Contains(err.Error(), "kubectl delete job "+jobName+" -n shop") {
				t.Errorf("%s: %s gave %v", name, action.Kind, err)
			}
		}
		if b.job() == nil || len(b.writes) > 0 {
			t.Errorf("%s: it was touched: %v", name, b.writes)
		}
	}
}

func TestJobIsStopped(t *testing.T) {
	b := withJob(t, nil)
	a := apply.Applier{Writer: b.client, Live: b.client}
	stop := plan.Action{Kind: plan.ActionStopJob, Job: jobName}
	for _, action := range []plan.Action{runJob, stop, stop} {
		if err := a.Execute(t.Context(), b.target, action); err != nil {
			t.Fatalf("%s: %v", action.Kind, err)
		}
	}
	if b.job() != nil || len(b.writes) != 1 {
		t.Errorf("the Job is there, or was deleted more than once: %v", b.writes)
	}
}

func TestJobThatCannotBeMade(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*bench)
		want error
	}{
		"the revision cannot be rendered":  {func(b *bench) { b.target.Sides.Canary = nil }, apply.ErrNotRendered},
		"the template has no such object":  {func(b *bench) { delete(b.target.Sides.Canary.Jobs, "smoke") }, apply.ErrNotRendered},
		"the step runs none":               {func(b *bench) { b.target.Rollout.Spec.Strategy.Steps = b.target.Rollout.Spec.Strategy.Steps[1:] }, nil},
		"its spec is nothing that is read": {func(b *bench) { b.target.Sides.Canary.Jobs["smoke"].Object["spec"] = "none" }, nil},
	} {
		b := withJob(t, nil)
		c.edit(b)
		err := (apply.Applier{Writer: b.client, Live: b.client}).Execute(t.Context(), b.target, runJob)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", name, err)
		}
		if b.job() != nil || slices.Contains(b.writes, "delete Job") {
			t.Errorf("%s: something was written", name)
		}
	}
}
