package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestTemplateRevision(t *testing.T) {
	t.Parallel()
	revisions := func(n int64) (out []client.Object) {
		for i := range n {
			out = append(out, &v1alpha1.TemplateRevision{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i+1)},
				Spec:       v1alpha1.TemplateRevisionSpec{Template: "web", Number: i + 1},
			})
		}
		return append(out, &v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: "web-extra-1"},
			Spec:       v1alpha1.TemplateRevisionSpec{Template: "web-extra", Number: 1},
		})
	}
	web := &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
	web.Status.Sync = &v1alpha1.TemplateSyncStatus{Target: "web-3", Phase: v1alpha1.SyncSynced}
	lost := &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
	for name, c := range map[string]struct {
		objects []client.Object
		release func(*v1alpha1.Release)
		want    string
		missing string
	}{
		"of a template whose sync has not begun it takes the first revision": {objects: append(revisions(1), lost), want: "web-1"},
		"of a template whose status is lost it does not take the newest by itself": {
			objects: append(revisions(3), lost), missing: "found that the sync has not begun",
		},
		"of a template whose status is lost it keeps what it has": {
			objects: append(revisions(3), lost), release: func(r *v1alpha1.Release) { r.Status.TemplateRevision = "web-2" }, want: "web-2",
		},
		"a new Release does not begin with a template that is gone": {objects: revisions(3), missing: "found \"web\", which does not exist"},

		"a new Release takes the target of the sync": {objects: append(revisions(4), web), want: "web-3"},
		"a Release has what is assigned to it": {
			objects: append(revisions(4), web),
			release: func(r *v1alpha1.Release) { r.Status.Assigned = &v1alpha1.AssignedRevision{Name: "web-2"} }, want: "web-2",
		},
		"without a template it keeps what it has": {
			objects: revisions(3), release: func(r *v1alpha1.Release) { r.Status.TemplateRevision = "web-2" }, want: "web-2",
		},
		"a pin to a revision that is not there is waited for": {
			objects: append(revisions(3), web), release: func(r *v1alpha1.Release) { r.Spec.Template.Revision = 4 },
			missing: "wanted revision 4",
		},
		"a template that has no revision yet is waited for":       {objects: append(revisions(0), web), missing: "found \"web\", which has none"},
		"a Release is not served by a template of a similar name": {objects: revisions(0), missing: "found \"web\", which does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loop := &releaseLoop{client: newCluster(t, c.objects...)}
			release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Generation: 5}}
			release.Spec.Template.Name = "web"
			if c.release != nil {
				c.release(release)
			}
			got, err := loop.templateRevision(t.Context(), release)
			if cause, stalled := causeOf(err); c.missing != "" {
				if cause == nil || cause.Code != ReasonTemplateMissing || stalled || !strings.Contains(cause.Message, c.missing) {
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

// always renders to the same.
type always render.Result

func (a always) Render(context.Context, *v1alpha1.TemplateRevision, *runtime.RawExtension, render.Context) (*render.Result, error) {
	result := render.Result(a)
	return &result, nil
}

// newCluster has the objects, and selects Rollouts and commands as the API server does.
func newCluster(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...)
	for _, index := range followIndexes() {
		builder = builder.WithIndex(index.object, index.field, index.values)
	}
	return builder.
		WithStatusSubresource(&v1alpha1.Release{}, &v1alpha1.Rollout{}, &v1alpha1.RolloutCommand{}).
		WithIndex(&v1alpha1.Rollout{}, observe.FieldRelease, func(o client.Object) []string {
			return []string{o.(*v1alpha1.Rollout).Spec.Release}
		}).
		WithIndex(&v1alpha1.RolloutCommand{}, observe.FieldRollout, func(o client.Object) []string {
			return []string{o.(*v1alpha1.RolloutCommand).Spec.Rollout}
		}).
		Build()
}

func ofRelease(uid types.UID) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) {
		owner := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: r.Spec.Release, UID: uid}}
		r.OwnerReferences = []metav1.OwnerReference{manifest.Owner(owner)}
		r.UID = types.UID(r.Name)
	}
}

// aNewCart is a Release of a name that a former one had, with what it left behind.
func aNewCart(left ...client.Object) []client.Object {
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "new", Generation: 1}}
	release.Spec.Template.Name = "web"
	return append(left, release, webTemplate("one"), &v1alpha1.TemplateRevision{
		ObjectMeta: metav1.ObjectMeta{Name: full("web-1")}, Spec: v1alpha1.TemplateRevisionSpec{Template: "web", Number: 1},
	})
}

// While something of a former Release of its name is there, a Release is no first install,
// which would skip the steps and what is asked of them.
func TestAReleaseAfterAFormerOneOfItsName(t *testing.T) {
	t.Parallel()
	orphan := func(number int64, word string, phase v1alpha1.RolloutPhase) client.Object {
		r := attempt(number, word, phase, ofRelease("old"))
		r.OwnerReferences = nil
		return &r
	}
	ending := func(number int64) client.Object {
		r := attempt(number, "one", v1alpha1.RolloutSucceeded, ofRelease("old"))
		return &r
	}
	taken := func(number int64, word string, phase v1alpha1.RolloutPhase) client.Object {
		r := attempt(number, word, phase, ofRelease("new"))
		r.Annotations = map[string]string{v1alpha1.AnnotationAdopted: "new"}
		return &r
	}
	for name, c := range map[string]struct {
		left []client.Object
		// render is what the new Release renders to.
		render string
		// rollouts are those of the new Release afterwards, and stable that of the newest.
		rollouts []string
		stable   string
		reason   string
	}{
		"where nothing is left it is a first install": {
			render: "one", rollouts: []string{"cart-1"},
		},
		"what is about to go with the former one is waited for": {
			left: []client.Object{ending(1), ending(2)}, render: "two", reason: "ReleaseFormer",
		},
		"and before that nothing is taken over": {
			left: []client.Object{orphan(1, "one", v1alpha1.RolloutSucceeded), ending(2)}, render: "two", reason: "ReleaseFormer",
		},
		"what nobody owns any more is its history: what served is what it goes over from": {
			left:   []client.Object{orphan(6, "one", v1alpha1.RolloutSucceeded)},
			render: "two", rollouts: []string{"cart-6", "cart-7"}, stable: "cart-6",
		},
		"a Rollout that was under way is the older one, which gives way": {
			left:   []client.Object{orphan(6, "one", v1alpha1.RolloutSucceeded), orphan(7, "two", v1alpha1.RolloutProgressing)},
			render: "three", rollouts: []string{"cart-6", "cart-7", "cart-8"}, stable: "cart-6",
		},
		"a manager that died while it took over is followed by one that goes on": {
			left:   []client.Object{orphan(6, "one", v1alpha1.RolloutSucceeded), taken(7, "two", v1alpha1.RolloutProgressing)},
			render: "three", rollouts: []string{"cart-6", "cart-7", "cart-8"}, stable: "cart-6",
		},
		"also where the newest is what is asked for": {
			left:   []client.Object{orphan(6, "one", v1alpha1.RolloutSucceeded), taken(7, "two", v1alpha1.RolloutProgressing)},
			render: "two", rollouts: []string{"cart-6", "cart-7"},
		},
		"or goes on, being what is asked for": {
			left:   []client.Object{orphan(6, "one", v1alpha1.RolloutSucceeded), orphan(7, "two", v1alpha1.RolloutProgressing)},
			render: "two", rollouts: []string{"cart-6", "cart-7"},
		},
		"what was rejected is tried again, since somebody applied it anew": {
			left:   []client.Object{orphan(1, "one", v1alpha1.RolloutSucceeded), orphan(2, "two", v1alpha1.RolloutAborted)},
			render: "two", rollouts: []string{"cart-1", "cart-2", "cart-3"}, stable: "cart-1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := newCluster(t, aNewCart(c.left...)...)
			loop := &releaseLoop{
				client: cluster, live: cluster, renderer: always{Revision: "rev-" + c.render, Digest: "sha256:" + c.render, Replicas: 3},
				recorder: events.NewFakeRecorder(10), clock: testclock.NewFakePassiveClock(time.Unix(100, 0)),
			}
			key := client.ObjectKey{Namespace: "shop", Name: "cart"}
			for range 3 {
				if _, err := loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
					t.Fatal(err)
				}
			}
			all, err := observe.Rollouts(t.Context(), cluster, "shop", "cart")
			if err != nil {
				t.Fatal(err)
			}
			var own []string
			var newest v1alpha1.Rollout
			for _, newest = range observe.Controlled(all, "new") {
				own = append(own, newest.Name)
			}
			if diff := cmp.Diff(c.rollouts, own); diff != "" {
				t.Errorf("its Rollouts (-want +got):\n%s", diff)
			}
			if newest.Spec.Stable != nil && newest.Spec.Stable.Rollout != c.stable || newest.Spec.Stable == nil && c.stable != "" {
				t.Errorf("the newest goes over from %+v, want %q", newest.Spec.Stable, c.stable)
			}
			var after v1alpha1.Release
			if err := cluster.Get(t.Context(), key, &after); err != nil {
				t.Fatal(err)
			}
			ready := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady)
			if c.reason != "" && (ready == nil || ready.Reason != c.reason || after.Status.Phase != v1alpha1.ReleasePending) {
				t.Errorf("wanted it to wait for %s, found %s: %+v", c.reason, after.Status.Phase, ready)
			}
		})
	}
}

// Were an older one the newest for a moment, it would put back what it brought into service.
func TestTheNewestIsTakenOverFirst(t *testing.T) {
	t.Parallel()
	left := []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutSucceeded)}
	var order []string
	c := interceptor.NewClient(newCluster(t, aNewCart(&left[0], &left[1])...), interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			order = append(order, obj.GetName())
			return c.Update(ctx, obj, opts...)
		},
	})
	all, err := observe.Rollouts(t.Context(), c, "shop", "cart")
	if err != nil {
		t.Fatal(err)
	}
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "new"}}
	if err := (&releaseLoop{client: c, live: c}).inherit(t.Context(), release, all); !errors.Is(err, errOvertaken) {
		t.Errorf("it ends with %v", err)
	}
	if diff := cmp.Diff([]string{"cart-2", "cart-1"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// A manager whose cache is late gives nothing to a Release that is gone: it would go with it.
func TestNothingIsTakenOverByAReleaseThatIsGone(t *testing.T) {
	t.Parallel()
	left := attempt(1, "one", v1alpha1.RolloutSucceeded)
	c := newCluster(t, aNewCart(&left)...)
	loop := &releaseLoop{client: c, live: c}
	stale := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "old"}}
	if err := loop.inherit(t.Context(), stale, []v1alpha1.Rollout{left}); !errors.Is(err, errOvertaken) {
		t.Errorf("it ends with %v", err)
	}
	all, err := observe.Rollouts(t.Context(), c, "shop", "cart")
	if err != nil || len(all) != 1 || len(all[0].OwnerReferences) != 0 {
		t.Errorf("there is %+v, %v", all, err)
	}
}

// A Rollout that has ended and is the newest of its Release goes on looking after what
// serves, whatever bears a higher number without being of the Release.
func TestARolloutIsNotOverForOneOfAnotherRelease(t *testing.T) {
	t.Parallel()
	mine, other := attempt(1, "one", v1alpha1.RolloutSucceeded, ofRelease("mine")), attempt(2, "two", v1alpha1.RolloutSucceeded, ofRelease("other"))
	c := newCluster(t, &mine, &other)
	loop := &rolloutLoop{client: c, reader: observe.Reader{Live: c}}
	if over, _, err := loop.over(t.Context(), client.ObjectKeyFromObject(&mine)); over || err != nil {
		t.Errorf("over: %t, %v", over, err)
	}
}

func TestPruneLeavesTheRolloutsOfAFormerRelease(t *testing.T) {
	t.Parallel()
	former := attempt(1, "former", v1alpha1.RolloutAborted, ofRelease("old"))
	objects, own := []client.Object{&former}, []v1alpha1.Rollout{}
	for n := range int64(11) {
		r := attempt(n+2, "own", v1alpha1.RolloutAborted, ofRelease("new"))
		own, objects = append(own, r), append(objects, &r)
	}
	c := newCluster(t, objects...)
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "new"}}
	if err := (&releaseLoop{client: c, live: c}).prune(t.Context(), release, own); err != nil {
		t.Fatal(err)
	}
	left, err := observe.Rollouts(t.Context(), c, "shop", "cart")
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 11 || left[0].Name != "cart-1" || left[1].Name != "cart-3" {
		t.Errorf("wanted all but cart-2, found %d from %s on", len(left), left[0].Name)
	}
}

func TestAReleaseThatTheEngineWouldRenderDifferentlySaysSo(t *testing.T) {
	t.Parallel()
	release := serves("cart", "web-1")
	release.Spec.Values = &runtime.RawExtension{Raw: []byte(`{"image":"one"}`)}
	release.Status.Assigned = &v1alpha1.AssignedRevision{Name: full("web-1"), Generation: 1}
	rollout := attempt(1, "one", v1alpha1.RolloutSucceeded, ofRelease(release.UID))
	c := newCluster(t, release, &rollout, snapshot(1, "one"))
	engine := always{Revision: "rev-one", Digest: "sha256:one"}
	loop := &releaseLoop{
		client: c, live: c, renderer: &engine, recorder: events.NewFakeRecorder(10), clock: testclock.NewFakePassiveClock(time.Unix(0, 0)),
	}
	look := func() *v1alpha1.Release {
		t.Helper()
		request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(release)}
		if _, err := loop.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		var r v1alpha1.Release
		if err := c.Get(t.Context(), request.NamespacedName, &r); err != nil {
			t.Fatal(err)
		}
		return &r
	}
	if r := look(); drifted(r) || brief(r.Status.Tried) != "web-1" || r.Status.Assigned == nil {
		t.Errorf("before, it says %+v", r.Status)
	}
	engine.Revision, engine.Digest = "rev-other", "sha256:other"
	r := look()
	if !drifted(r) || r.Status.Phase != v1alpha1.ReleaseServing {
		t.Errorf("under another engine it says %+v", r.Status)
	}
	var rollouts v1alpha1.RolloutList
	if err := c.List(t.Context(), &rollouts); err != nil || len(rollouts.Items) != 1 {
		t.Errorf("there are %d Rollouts, want 1: nothing is applied (%v)", len(rollouts.Items), err)
	}
	engine.Revision, engine.Digest = "rev-one", "sha256:one"
	if r := look(); drifted(r) {
		t.Errorf("under the first engine again it says %+v", r.Status)
	}
}
