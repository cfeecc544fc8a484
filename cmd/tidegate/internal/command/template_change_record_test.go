package command

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/schemas/impact"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/source"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// recorded is some Releases of web-1, and the Rollouts that brought what they run.
func recorded(t *testing.T, files map[string]string) (releases []v1alpha1.Release, rollouts map[string]*v1alpha1.Rollout) {
	t.Helper()
	template, err := render.Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	rollouts = map[string]*v1alpha1.Rollout{}
	for i := range 8 {
		r := newRelease("shop", fmt.Sprintf("r%d", i), v1alpha1.ReleaseServing)
		values := fmt.Appendf(nil, `{"image": "shop/a:%d", "replicas": %d}`, i, i)
		r.Spec = v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "web"}, Values: &runtime.RawExtension{Raw: values}}
		r.Status.TemplateRevision, r.Status.Assigned = "web-1", &v1alpha1.AssignedRevision{Name: "web-1"}
		result, err := template.Render(values, render.Context{Name: r.Name, Namespace: r.Namespace, Template: "web"})
		if err != nil {
			t.Fatal(err)
		}
		r.Status.Rollout, r.Status.Revision, r.Status.ObservedGeneration = r.Name+"-1", result.Revision, r.Generation
		rollout := &v1alpha1.Rollout{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Rollout"},
			ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Status.Rollout},
			// The order of keys means nothing.
			Spec: v1alpha1.RolloutSpec{Release: r.Name, TemplateRevision: "web-1", Values: &runtime.RawExtension{Raw: fmt.Appendf(nil, `{"replicas":%d,"image":"shop/a:%d"}`, i, i)}, Revision: result.Revision, Digest: result.Digest},
		}
		rollout.Status.Phase = v1alpha1.RolloutSucceeded
		rollouts["shop/"+rollout.Name] = rollout
		r.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Release"}
		releases = append(releases, *r)
	}
	return releases, rollouts
}

func TestWhatIsOnRecordIsNotRenderedAgain(t *testing.T) {
	files := templateFiles(t)
	digests := map[string]string{"web-1": render.Digest(files)}
	for name, c := range map[string]struct {
		edits   []string
		objects bool
		// spoil makes the record say something else.
		spoil func(*v1alpha1.Release, *v1alpha1.Rollout)
		// renders is how often templates are rendered, with the record; 16 times without it.
		renders int64
	}{
		"nothing changes":  {renders: 9},
		"all of them roll": {edits: []string{"| *8080", "| *9999"}, renders: 9},
		"some break, and who is to blame is looked up":       {edits: []string{replicasWas, stricter}, renders: 12},
		"the differences are shown of those that differ":     {edits: []string{"| *8080", "| *9999"}, objects: true, renders: 17},
		"nothing is shown where nothing differs":             {objects: true, renders: 9},
		"another version of the program rendered the record": {edits: []string{"| *8080", "| *9999"}, spoil: func(_ *v1alpha1.Release, r *v1alpha1.Rollout) { r.Spec.Digest = "sha256:other" }, renders: 17},
		"the values have changed since":                      {spoil: func(_ *v1alpha1.Release, r *v1alpha1.Rollout) { r.Spec.Values.Raw = []byte(`{"image": "shop/a:0"}`) }, renders: 16},
		"the record is of another revision": {spoil: func(s *v1alpha1.Release, r *v1alpha1.Rollout) {
			r.Spec.TemplateRevision, s.Status.TemplateRevision = "web-0", "web-0"
		}, renders: 16},
		"the revision has changed since, and nothing with it": {spoil: func(_ *v1alpha1.Release, r *v1alpha1.Rollout) { r.Spec.TemplateRevision = "web-0" }, renders: 9},
		"the same, but the Rollout was aborted": {spoil: func(_ *v1alpha1.Release, r *v1alpha1.Rollout) {
			r.Spec.TemplateRevision, r.Status.Phase = "web-0", v1alpha1.RolloutAborted
		}, renders: 16},
		"the same, but the spec was not looked at yet": {spoil: func(s *v1alpha1.Release, r *v1alpha1.Rollout) { r.Spec.TemplateRevision = "web-0"; s.Generation++ }, renders: 16},
	} {
		t.Run(name, func(t *testing.T) {
			releases, rollouts := recorded(t, files)
			for i := range releases {
				if c.spoil != nil {
					c.spoil(&releases[i], rollouts["shop/"+releases[i].Status.Rollout])
				}
			}
			run := func(rollouts map[string]*v1alpha1.Rollout) (outcomes []impact.Outcome, s impact.Summary, renders int64) {
				var count atomic.Int64
				r := &report{diffOptions: &diffOptions{showObjects: c.objects}}
				options := r.options(&source.Template{Files: variantFiles(t, c.edits...)}, nil, nil)
				inner := options.Render
				options.Render = func(ctx context.Context, s impact.Source, values []byte, facts render.Context) (*render.Result, error) {
					count.Add(1)
					return inner(ctx, s, values, facts)
				}
				known := &records{rollouts: rollouts, revisions: digests, render: options.Render, alike: map[string]bool{}}
				s, err := impact.Run(t.Context(), *options, func(yield func(impact.Subject, error) bool) {
					for i := range releases {
						if !yield(known.add(t.Context(), impact.Subject{Release: &releases[i], Before: impact.Source{Name: "web-1", Digest: digests["web-1"], Files: files}}), nil) {
							return
						}
					}
				}, func(o impact.Outcome) error {
					outcomes = append(outcomes, o)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				return outcomes, s, count.Load()
			}
			plain, plainSummary, both := run(nil)
			got, summary, renders := run(rollouts)
			if !reflect.DeepEqual(got, plain) || summary != plainSummary {
				t.Errorf("wanted the same with the record as without it:\n%+v\nfound\n%+v", plain, got)
			}
			if both != 16 || renders != c.renders {
				t.Errorf("wanted 16 renderings without the record and %d with it, found %d and %d", c.renders, both, renders)
			}
		})
	}
}

func TestDiffReadsTheRecord(t *testing.T) {
	files := templateFiles(t)
	releases, rollouts := recorded(t, files)
	revision := &v1alpha1.TemplateRevision{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TemplateRevision"},
		ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Spec: v1alpha1.TemplateRevisionSpec{Template: "web", Number: 1, Digest: render.Digest(files), Files: files},
	}
	candidate := variant(t, replicasWas, stricter)
	t.Run("of an export", func(t *testing.T) {
		var reports []string
		for _, known := range []bool{false, true} {
			var b strings.Builder
			write := func(o any) {
				text, err := json.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				b.WriteString(string(text) + "\n---\n")
			}
			for i := range releases {
				write(&releases[i])
				if known {
					write(rollouts["shop/"+releases[i].Status.Rollout])
					write(revision)
				}
			}
			w := newWorld(t, interceptor.Funcs{})
			w.in = b.String()
			w.wantCode(w.run(t.Context(), "template", "diff", "testdata/web", candidate, "--releases", "-"), ExitRenderFindings)
			reports = append(reports, w.out.String())
		}
		if reports[0] != reports[1] || !strings.Contains(reports[0], "8 Releases: 5 unchanged, 0 change in place, 0 roll, 3 would break") {
			t.Errorf("wanted the same report twice, found\n%s\nand\n%s", reports[0], reports[1])
		}
	})
	t.Run("of the cluster", func(t *testing.T) {
		objects := []client.Object{&v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: "web"}}, revision}
		for i := range releases {
			objects = append(objects, &releases[i])
		}
		var reports []string
		for _, more := range [][]client.Object{nil, {rollouts["shop/r0-1"], rollouts["shop/r7-1"]}} {
			w := newWorld(t, interceptor.Funcs{}, slices.Concat(objects, more)...)
			w.wantCode(w.run(t.Context(), "template", "diff", candidate), ExitRenderFindings)
			reports = append(reports, w.out.String())
		}
		if reports[0] != reports[1] || !strings.Contains(reports[0], "8 Releases: 5 unchanged, 0 change in place, 0 roll, 3 would break") {
			t.Errorf("wanted the same report twice, found\n%s\nand\n%s", reports[0], reports[1])
		}
	})
}
