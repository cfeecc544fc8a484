package controller

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestTemplateRevision(t *testing.T) {
	t.Parallel()
	using := func(revision string, generation int64) []v1alpha1.Rollout {
		return []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded, func(r *v1alpha1.Rollout) {
			r.Spec.TemplateRevision, r.Spec.ReleaseGeneration = revision, generation
		})}
	}
	for name, c := range map[string]struct {
		// revisions of template web that there are.
		revisions int64
		sync      v1alpha1.SyncType
		pin       int64
		rollouts  []v1alpha1.Rollout
		want      string
		missing   bool
	}{
		"a new Release takes the latest":                          {revisions: 12, sync: v1alpha1.SyncManual, want: "web-12"},
		"a Release follows its template":                          {revisions: 3, sync: v1alpha1.SyncImmediate, rollouts: using("web-1", 5), want: "web-3"},
		"with manual sync it stays on what it has":                {revisions: 3, sync: v1alpha1.SyncManual, rollouts: using("web-1", 5), want: "web-1"},
		"with manual sync it takes the latest when applied anew":  {revisions: 3, sync: v1alpha1.SyncManual, rollouts: using("web-1", 4), want: "web-3"},
		"it stays on what it has when its template is gone":       {revisions: 3, rollouts: using("web-2", 5), want: "web-2"},
		"it takes the latest when what it has is gone":            {revisions: 3, sync: v1alpha1.SyncManual, rollouts: using("web-9", 5), want: "web-3"},
		"a pin holds against the latest":                          {revisions: 3, sync: v1alpha1.SyncImmediate, pin: 2, want: "web-2"},
		"a pin to a revision that is not there is waited for":     {revisions: 3, sync: v1alpha1.SyncImmediate, pin: 4, missing: true},
		"a template that has no revision yet is waited for":       {sync: v1alpha1.SyncImmediate, missing: true},
		"a Release is not served by a template of a similar name": {revisions: 0, missing: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(&v1alpha1.TemplateRevision{
				ObjectMeta: metav1.ObjectMeta{Name: "web-extra-1"},
				Spec:       v1alpha1.TemplateRevisionSpec{Template: "web-extra", Number: 1},
			})
			for n := range c.revisions {
				builder.WithObjects(&v1alpha1.TemplateRevision{
					ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", n+1)},
					Spec:       v1alpha1.TemplateRevisionSpec{Template: "web", Number: n + 1},
				})
			}
			if c.sync != "" {
				builder.WithObjects(&v1alpha1.ReleaseTemplate{
					ObjectMeta: metav1.ObjectMeta{Name: "web"},
					Spec:       v1alpha1.ReleaseTemplateSpec{Sync: v1alpha1.TemplateSync{Type: c.sync}},
				})
			}
			loop := &releaseLoop{client: builder.Build()}
			release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Generation: 5}}
			release.Spec.Template = v1alpha1.TemplateReference{Name: "web", Revision: c.pin}

			got, err := loop.templateRevision(t.Context(), release, c.rollouts)
			if cause, stalled := causeOf(err); c.missing {
				if cause == nil || cause.Code != ReasonTemplateMissing || stalled {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Name != c.want {
				t.Errorf("got %s, want %s", got.Name, c.want)
			}
		})
	}
}
