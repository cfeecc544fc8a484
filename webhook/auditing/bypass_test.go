package auditing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
	"tidegate.io/tidegate/webhook/auditing"
)

const revision = "0123456789"

// rendering renders one Deployment with one container, of the image that the values say.
type rendering struct{ err error }

func (r rendering) Render(_ context.Context, _ webhook.Source, values []byte, c render.Context) (*render.Result, error) {
	if r.err != nil {
		return nil, r.err
	}
	d := workload(c.Namespace, c.Name+"-"+revision, c.Name, string(values))
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(d)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: object}
	u.SetGroupVersionKind(deployments)
	return &render.Result{Revision: revision, Digest: "sha256:" + c.Name, Set: []*unstructured.Unstructured{u}}, nil
}

// workload is the Deployment of a Release.
func workload(namespace, name, release, image string) *appsv1.Deployment {
	d := deployment(namespace, name)
	d.Labels = map[string]string{v1alpha1.LabelRelease: release}
	d.Spec.Template.Labels = map[string]string{v1alpha1.LabelRevision: revision}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: image}}
	return d
}

// released are a Release and its Rollout.
func released(namespace, name string) []client.Object {
	return []client.Object{
		&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "web"}}},
		&v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "-1"},
			Spec: v1alpha1.RolloutSpec{
				Release: name, Number: 1, Revision: revision, TemplateRevision: "web-1", Digest: "sha256:" + name,
				Values: &runtime.RawExtension{Raw: []byte(`"good"`)},
			},
		},
	}
}

// over is a Rollout of another revision over the first of a Release, with or without a baseline.
func over(name string, baseline bool) *v1alpha1.Rollout {
	out, _ := released("shop", name)[1].(*v1alpha1.Rollout)
	out.Name, out.Spec.Number, out.Spec.Revision = name+"-2", 2, "9876543210"
	out.Spec.Stable = &v1alpha1.StableReference{Rollout: name + "-1", Revision: revision}
	out.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.StrategyCanary, Steps: []v1alpha1.Step{{SetBaseline: &baseline}}}
	return out
}

// baseline is the Deployment of fresh pods of what Release cart serves.
func baseline(image string) *appsv1.Deployment {
	out := workload("shop", "cart-"+revision+"-baseline", "cart", image)
	out.Spec.Template.Labels[v1alpha1.LabelRevision] = revision + "-baseline"
	return out
}

// owned sets the controller of an object.
func owned[T client.Object](o T, apiVersion, kind, name string, uid types.UID) T {
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, UID: uid, Controller: new(true)}})
	return o
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.NewTime(noon.Add(time.Hour))}}
}

func replicaSet(name string) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("rs" + name), CreationTimestamp: metav1.NewTime(noon.Add(time.Hour))}}
}

// glass is an exemption that was used for a Deployment, and ends so long after noon.
func glass(name string, ends time.Duration, afterwards v1alpha1.BreakGlassAfterwards, operation string) *v1alpha1.BreakGlass {
	object := v1alpha1.ObjectName{Group: "apps", Resource: "deployments", Name: name}
	return &v1alpha1.BreakGlass{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "fire"},
		Spec:       v1alpha1.BreakGlassSpec{Objects: []v1alpha1.ObjectName{object}, ExpiresAt: metav1.NewTime(noon.Add(ends))},
		Status:     v1alpha1.BreakGlassStatus{UseCount: 1, Afterwards: afterwards, Uses: []v1alpha1.BreakGlassUse{{Operation: operation, Object: object}}},
	}
}

// at is an object that was made so long after noon.
func at(o client.Object, after time.Duration) client.Object {
	o.SetCreationTimestamp(metav1.NewTime(noon.Add(after)))
	return o
}

// deleted is a pod that was deleted, with a grace that ends so long after noon.
func deleted(p *corev1.Pod, ends time.Duration) *corev1.Pod {
	p.DeletionTimestamp, p.Finalizers = new(metav1.NewTime(noon.Add(ends))), []string{"example.com/held"}
	return p
}

// shop is a governed namespace in which Release cart is as it should be.
func shop(more ...client.Object) []client.Object {
	cart := workload("shop", "cart-"+revision, "cart", `"good"`)
	out := []client.Object{
		namespace("shop"), gate(), cart,
		&v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Spec: v1alpha1.TemplateRevisionSpec{Template: "web"}},
		owned(replicaSet("cart"), "apps/v1", "Deployment", cart.Name, cart.UID),
		owned(pod("cart-1"), "apps/v1", "ReplicaSet", "cart", "rscart"),
	}
	return append(append(out, released("shop", "cart")...), more...)
}

func (w *world) bypasses(r auditing.Renderer) []string {
	w.Helper()
	a := w.auditor()
	a.Renderer = r
	var c auditing.Collected
	if _, err := a.Run(w.Context(), auditing.Scope{}, &c); err != nil {
		w.Fatal(err)
	}
	var out []string
	for _, f := range c.Findings() {
		out = append(out, fmt.Sprintf("%s %s %s/%s", f.Result, f.Code, f.Object.Kind, f.Object.Name))
	}
	slices.Sort(out)
	return out
}

func TestTheBypassFinder(t *testing.T) {
	older := metav1.NewTime(noon.Add(-time.Hour))
	old := pod("old")
	old.CreationTimestamp = older
	oldDeployment := deployment("shop", "before")
	oldDeployment.CreationTimestamp = older
	mirror := owned(pod("static"), "v1", "Node", "n1", "n1")
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	done := pod("done")
	done.Status.Phase = corev1.PodSucceeded
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "door", CreationTimestamp: metav1.NewTime(noon.Add(time.Hour))}}
	for name, tc := range map[string]struct {
		objects []client.Object
		want    []string
	}{
		"a Release as it should be has nothing to be found": {nil, nil},
		"a workload that differs from what was rendered": {
			[]client.Object{workload("shop", "till-"+revision, "till", `"evil"`), released("shop", "till")[0], released("shop", "till")[1]},
			[]string{"fail TG-AUDIT-DRIFT Deployment/till-" + revision},
		},
		"the baseline set of a Rollout that has one": {[]client.Object{baseline(`"good"`), over("cart", true)}, nil},
		"a baseline set that differs from what was rendered": {
			[]client.Object{baseline(`"evil"`), over("cart", true)}, []string{"fail TG-AUDIT-DRIFT Deployment/cart-" + revision + "-baseline"},
		},
		"a baseline set that no Rollout has": {
			[]client.Object{baseline(`"good"`), over("cart", false)}, []string{"fail TG-AUDIT-UNMANAGED Deployment/cart-" + revision + "-baseline"},
		},
		"a workload without a label": {[]client.Object{deployment("shop", "x")}, []string{"fail TG-AUDIT-UNMANAGED Deployment/x"}},
		"a workload with the label of a Release that does not render it": {
			[]client.Object{workload("shop", "x", "cart", "evil")}, []string{"fail TG-AUDIT-UNMANAGED Deployment/x"},
		},
		"a workload with the label of no Release": {[]client.Object{workload("shop", "x", "nobody", "evil")}, []string{"fail TG-AUDIT-UNMANAGED Deployment/x"}},
		"a workload that is older than the Gate":  {[]client.Object{oldDeployment}, []string{"fail TG-AUDIT-OLDER Deployment/before"}},
		"a Service that nobody rendered":          {[]client.Object{service}, []string{"fail TG-AUDIT-UNMANAGED Service/door"}},
		"a mirror pod":                            {[]client.Object{mirror}, []string{"fail TG-AUDIT-STATIC-POD Pod/static"}},
		"a pod of nobody":                         {[]client.Object{pod("bare")}, []string{"fail TG-AUDIT-POD-OWNER Pod/bare"}},
		"a pod of nobody, older than the Gate":    {[]client.Object{old}, []string{"fail TG-AUDIT-OLDER Pod/old"}},
		"a pod that has ended":                    {[]client.Object{done}, nil},
		"a pod whose ReplicaSet is another by now": {
			[]client.Object{owned(pod("late"), "apps/v1", "ReplicaSet", "cart", "another")}, []string{"fail TG-AUDIT-POD-OWNER Pod/late"},
		},
		"a pod of a kind that nobody knows": {
			[]client.Object{owned(pod("robot"), "example.com/v1", "Robot", "r", "r")}, []string{"fail TG-AUDIT-POD-OWNER Pod/robot"},
		},
		"a pod of a ReplicaSet of nobody": {
			[]client.Object{replicaSet("lone"), owned(pod("lone-1"), "apps/v1", "ReplicaSet", "lone", "rslone")},
			[]string{"fail TG-AUDIT-POD-OWNER Pod/lone-1", "fail TG-AUDIT-POD-OWNER ReplicaSet/lone"},
		},
		"a pod of an unmanaged workload": {
			[]client.Object{deployment("shop", "x"), owned(replicaSet("x"), "apps/v1", "Deployment", "x", "shopx"), owned(pod("x-1"), "apps/v1", "ReplicaSet", "x", "rsx")},
			[]string{"fail TG-AUDIT-POD-OWNER Pod/x-1", "fail TG-AUDIT-UNMANAGED Deployment/x"},
		},
		"a workload for which a BreakGlass was used that lasts": {
			[]client.Object{deployment("shop", "x"), glass("x", 3*time.Hour, v1alpha1.AfterwardsReconcile, "UPDATE")},
			[]string{"warn TG-AUDIT-UNMANAGED Deployment/x"},
		},
		"one of which only a connection was used": {
			[]client.Object{deployment("shop", "x"), glass("x", 3*time.Hour, v1alpha1.AfterwardsReconcile, "CONNECT")},
			[]string{"fail TG-AUDIT-UNMANAGED Deployment/x"},
		},
		"one that has ended": {
			[]client.Object{deployment("shop", "x"), glass("x", time.Hour, v1alpha1.AfterwardsReconcile, "UPDATE")},
			[]string{"fail TG-AUDIT-UNMANAGED Deployment/x"},
		},
		"one that has ended, whose Gate keeps what Rollouts change, and there is none": {
			[]client.Object{deployment("shop", "x"), glass("x", time.Hour, v1alpha1.AfterwardsKeep, "UPDATE")},
			[]string{"fail TG-AUDIT-UNMANAGED Deployment/x"},
		},
		"a difference that the Gate keeps until the next Rollout": {
			[]client.Object{workload("shop", "till-"+revision, "till", `"evil"`), released("shop", "till")[0], at(released("shop", "till")[1], 0), glass("till-"+revision, time.Hour, v1alpha1.AfterwardsKeep, "UPDATE")},
			[]string{"warn TG-AUDIT-DRIFT Deployment/till-" + revision},
		},
		"one that there was another Rollout since": {
			[]client.Object{workload("shop", "till-"+revision, "till", `"evil"`), released("shop", "till")[0], at(released("shop", "till")[1], 90*time.Minute), glass("till-"+revision, time.Hour, v1alpha1.AfterwardsKeep, "UPDATE")},
			[]string{"fail TG-AUDIT-DRIFT Deployment/till-" + revision},
		},
		"one that the Gate keeps not": {
			[]client.Object{workload("shop", "till-"+revision, "till", `"evil"`), released("shop", "till")[0], at(released("shop", "till")[1], 0), glass("till-"+revision, time.Hour, v1alpha1.AfterwardsReconcile, "UPDATE")},
			[]string{"fail TG-AUDIT-DRIFT Deployment/till-" + revision},
		},
		"a pod of nobody that is about to end":          {[]client.Object{deleted(pod("bare"), 150*time.Minute)}, nil},
		"a pod of nobody that ended a moment ago":       {[]client.Object{deleted(pod("bare"), 119*time.Minute)}, nil},
		"a pod of nobody that should have ended":        {[]client.Object{deleted(pod("bare"), 100*time.Minute)}, []string{"fail TG-AUDIT-POD-OWNER Pod/bare"}},
		"a pod of nobody that was given a year to end":  {[]client.Object{deleted(pod("bare"), 365*24*time.Hour)}, []string{"fail TG-AUDIT-POD-OWNER Pod/bare"}},
		"a mirror pod of a static pod that was deleted": {[]client.Object{deleted(mirror.DeepCopy(), 150*time.Minute)}, []string{"fail TG-AUDIT-STATIC-POD Pod/static"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, shop(tc.objects...)...)
			w.clock.Step(2 * time.Hour)
			if got := w.bypasses(rendering{}); !slices.Equal(got, tc.want) {
				t.Errorf("wanted %q, got %q", tc.want, got)
			}
		})
	}
}

func TestWhatIsNotKnownIsHeldAgainstNobody(t *testing.T) {
	w := newWorld(t, shop(owned(pod("lost"), "apps/v1", "ReplicaSet", "lost", "rslost"))...)
	if got, want := w.bypasses(rendering{err: errors.New("the engine is another")}), []string{"error TG-AUDIT-INCOMPLETE Deployment/cart-" + revision, "fail TG-AUDIT-POD-OWNER Pod/lost"}; !slices.Equal(got, want) {
		t.Errorf("where nothing renders: wanted %q, got %q", want, got)
	}
	w.fail = func(kind, _ string) error {
		if strings.HasPrefix(kind, "ReplicaSet") {
			return apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "replicasets"}, "", errors.New("no"))
		}
		return nil
	}
	if got, want := w.bypasses(rendering{}), []string{"error TG-AUDIT-INCOMPLETE Namespace/shop"}; !slices.Equal(got, want) {
		t.Errorf("where ReplicaSets cannot be listed: wanted %q, got %q", want, got)
	}
}

func TestAnOwnerThatCameAfterItsKindWasListedIsNotGone(t *testing.T) {
	w := newWorld(t, shop(owned(pod("new-1"), "apps/v1", "ReplicaSet", "new", "rsnew"))...)
	w.fail = func(kind, _ string) error {
		if strings.HasPrefix(kind, "Pod") {
			return client.IgnoreAlreadyExists(w.client.Create(t.Context(), replicaSet("new")))
		}
		return nil
	}
	if got := w.bypasses(rendering{}); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

func TestReleasePoliciesAreAskedAboutWhatAReleaseBecame(t *testing.T) {
	w := newWorld(t, shop(deployment("shop", "x"))...)
	p := &v1alpha1.DeployPolicy{ObjectMeta: metav1.ObjectMeta{Name: "released"}, Spec: v1alpha1.DeployPolicySpec{
		Rego: "package p\n\ndeny contains input.release.name if input.object.kind == \"Deployment\"\n",
		At:   []v1alpha1.PolicyMoment{v1alpha1.AtRelease},
	}}
	source := eval.FromDeployPolicy(p)
	if err := w.store.Put(source); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	a := w.auditor()
	a.Renderer = rendering{}
	var c auditing.Collected
	if _, err := a.Run(t.Context(), auditing.Scope{}, &c); err != nil {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(c.Findings(), func(f audit.Finding) bool { return f.Policy == "" })
	if len(got) != 1 || got[0].Message != "cart" || got[0].Object.Name != "cart-"+revision {
		t.Errorf("got %+v", got)
	}
}

func TestCopiesAreJudgedWhereTheyComeFrom(t *testing.T) {
	job := func(name string) *batchv1.Job {
		return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(noon.Add(time.Hour))}}
	}
	w := newWorld(t, shop(
		deployment("shop", "x"), owned(replicaSet("x"), "apps/v1", "Deployment", "x", "shopx"), replicaSet("lone"),
		owned(replicaSet("forged"), "apps/v1", "Deployment", "x", "another"), job("lone"),
	)...)
	w.policy("sets", schema.GroupKind{Group: "apps", Kind: "ReplicaSet"})
	w.policy("jobs", jobs.GroupKind())
	var c auditing.Collected
	if _, err := w.auditor().Run(t.Context(), auditing.Scope{}, &c); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range c.Findings() {
		if f.Policy != "" {
			got = append(got, f.Policy+" "+f.Object.Name)
		}
	}
	if want := []string{"sets forged", "sets lone", "jobs lone"}; !slices.Equal(got, want) {
		t.Errorf("wanted %q, got %q", want, got)
	}
}
