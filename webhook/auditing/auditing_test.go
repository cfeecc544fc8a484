package auditing_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	openreports "github.com/openreports/reports-api/apis/openreports.io/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/auditing"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

var (
	configMaps  = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	deployments = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	noNames     = schema.GroupVersionKind{Group: "constraints.gatekeeper.sh", Version: "v1beta1", Kind: "NoName"}
	jobs        = schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}
	openReports = audit.APIs()[0]
)

// world is an API server that gives objects page by page, and counts.
type world struct {
	*testing.T
	client client.Client
	clock  *clocktesting.FakeClock
	store  *eval.Store
	// many is how many ConfigMaps there seem to be, each of size bytes.
	many, size int
	// ending is a namespace that is being deleted; empty for none.
	ending string
	// fail, if set, is what listing a kind comes to.
	fail func(kind, again string) error
	// pages counts those that were given of the many, largest is the largest of them.
	pages, largest int
	// heap is the most memory in use when a page was asked for, in bytes, and base the least.
	heap, base uint64
	writes     int
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	s := kruntime.NewScheme()
	for _, add := range []func(*kruntime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, openreports.Install} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Version: "v1"}, {Group: "apps", Version: "v1"}, jobs.GroupVersion(), openReports.GroupVersion()})
	for _, gvk := range []schema.GroupVersionKind{
		configMaps,
		{Version: "v1", Kind: "Pod"},
		{Version: "v1", Kind: "Service"},
		deployments,
		{Group: "apps", Version: "v1", Kind: "ReplicaSet"},
		{Group: "apps", Version: "v1", Kind: "StatefulSet"},
		jobs,
		openReports.GroupVersion().WithKind(openReports.Kind),
	} {
		mapper.Add(gvk, meta.RESTScopeNamespace)
	}
	mapper.Add(openReports.GroupVersion().WithKind(openReports.ClusterKind), meta.RESTScopeRoot)
	w := &world{T: t, clock: clocktesting.NewFakeClock(noon), store: eval.NewStore()}
	noName := &unstructured.Unstructured{}
	noName.SetGroupVersionKind(noNames)
	mapper.Add(noNames, meta.RESTScopeRoot)
	w.client = fake.NewClientBuilder().WithScheme(s).WithRESTMapper(mapper).WithObjects(objects...).WithStatusSubresource(noName).WithInterceptorFuncs(interceptor.Funcs{
		List: w.list,
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			w.writes++
			if w.ending != "" && o.GetNamespace() == w.ending {
				return ending(o)
			}
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			w.writes++
			return c.Update(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			w.writes++
			return c.Delete(ctx, o, opts...)
		},
	}).Build()
	return w
}

// ending is what the API server says to what is created in a namespace that is being deleted.
func ending(o client.Object) error {
	err := apierrors.NewForbidden(schema.GroupResource{Group: openReports.Group, Resource: "reports"}, o.GetName(), errors.New("the namespace is being terminated"))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	return err
}

// list pages through the many, and leaves all else to the fake.
func (w *world) list(ctx context.Context, c client.WithWatch, into client.ObjectList, opts ...client.ListOption) error {
	o := client.ListOptions{}
	o.ApplyOptions(opts)
	list, plain := into.(*unstructured.UnstructuredList)
	if _, rollouts := into.(*v1alpha1.RolloutList); rollouts && w.fail != nil {
		if err := w.fail("Rollout", ""); err != nil {
			return err
		}
	}
	if !plain {
		return c.List(ctx, into, opts...)
	}
	if w.fail != nil {
		if err := w.fail(list.GetKind(), o.Continue); err != nil {
			return err
		}
	}
	if w.many == 0 || list.GroupVersionKind() != configMaps {
		return c.List(ctx, into, opts...)
	}
	w.measure()
	from, _ := strconv.Atoi(o.Continue)
	to := min(from+int(o.Limit), w.many)
	for n := from; n < to; n++ {
		list.Items = append(list.Items, unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"namespace": o.Namespace, "name": fmt.Sprintf("c-%05d", n), "labels": map[string]any{"n": "x"}},
			"data":     map[string]any{"text": strings.Repeat(string(rune('a'+n%26)), w.size)},
		}})
	}
	w.pages, w.largest = w.pages+1, max(w.largest, to-from)
	if to < w.many {
		list.SetContinue(strconv.Itoa(to))
	}
	return nil
}

func (w *world) measure() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if w.base == 0 {
		w.base = m.HeapAlloc
	}
	w.heap = max(w.heap, m.HeapAlloc)
}

// policy puts a Rego policy about a kind into force, which objects to every object by name.
func (w *world) policy(name string, gk schema.GroupKind) {
	w.Helper()
	p := &v1alpha1.DeployPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.DeployPolicySpec{
		Rego:        "package p\n\ndeny contains sprintf(\"no %s in %s\", [input.object.metadata.name, input.namespace.labels.env])\n",
		Enforcement: v1alpha1.EnforcementDeny,
		Match:       v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: gk.Group, Kinds: []string{gk.Kind}}}},
	}}
	if err := w.client.Create(w.Context(), p); err != nil {
		w.Fatal(err)
	}
	if err := w.store.Put(eval.FromDeployPolicy(p)); err != nil {
		w.Fatal(err)
	}
	w.writes = 0
}

func (w *world) auditor() *auditing.Auditor {
	return &auditing.Auditor{Client: w.client, Policies: w.store.Set, ManagerNamespace: "tidegate-system", Clock: w.clock}
}

// run audits into reports.
func (w *world) run() (*auditing.Totals, error) {
	return w.auditor().Run(w.Context(), auditing.Scope{}, &auditing.Reports{Client: w.client, API: openReports})
}

func (w *world) mustRun() *auditing.Totals {
	w.Helper()
	totals, err := w.run()
	if err != nil {
		w.Fatal(err)
	}
	return totals
}

// found are the findings in the reports, each as "CODE kind/name: message".
func (w *world) found() []string {
	w.Helper()
	var out []string
	err := auditing.Read(w.Context(), w.client, openReports, "", func(list []audit.Finding) {
		for _, f := range list {
			out = append(out, fmt.Sprintf("%s %s/%s: %s", f.Code, f.Object.Kind, f.Object.Name, f.Message))
		}
	})
	if err != nil {
		w.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// reports are the names of all reports.
func (w *world) reports() []string {
	w.Helper()
	var out []string
	for _, kind := range []string{openReports.Kind, openReports.ClusterKind} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(openReports.GroupVersion().WithKind(kind + "List"))
		if err := w.client.List(w.Context(), list); err != nil {
			w.Fatal(err)
		}
		for i := range list.Items {
			out = append(out, strings.TrimPrefix(list.Items[i].GetNamespace()+"/"+list.Items[i].GetName(), "/"))
		}
	}
	slices.Sort(out)
	return out
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"env": "prod"}}}
}

func gate() *v1alpha1.Gate {
	return &v1alpha1.Gate{
		ObjectMeta: metav1.ObjectMeta{Name: "prod", UID: "gate", CreationTimestamp: metav1.NewTime(noon)},
		Spec: v1alpha1.GateSpec{
			Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop", "till"}},
			Kinds:      []v1alpha1.GovernedKind{{Group: "", Resources: []string{"configmaps"}}},
		},
	}
}

// deployment is one that nobody manages.
func deployment(namespace, name string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(namespace + name), CreationTimestamp: metav1.NewTime(noon.Add(time.Hour)),
	}}
}

func TestEveryViolationOfManyIsKeptInBoundedMemory(t *testing.T) {
	w := newWorld(t, namespace("shop"), gate())
	w.policy("strict", configMaps.GroupKind())
	w.many, w.size = 5000, 20<<10
	totals := w.mustRun()
	if totals.Objects != 5000 {
		t.Errorf("looked at %d of 5000", totals.Objects)
	}
	got := w.found()
	// Each is found by the policy, and for want of a Rollout.
	if len(got) != 10_000 {
		t.Errorf("wanted 10000 findings, got %d", len(got))
	}
	for n := range 5000 {
		want := fmt.Sprintf("TG-POLICY-DENY ConfigMap/c-%05d: no c-%05d in prod", n, n)
		if _, ok := slices.BinarySearch(got, want); !ok {
			t.Fatalf("%q is lost", want)
		}
	}
	if w.largest > 500 || w.pages < 10 {
		t.Errorf("%d pages of %d at most", w.pages, w.largest)
	}
	// All objects are 100 MB; the findings, which this fake server keeps, are a tenth of it.
	if grown := int64(w.heap) - int64(w.base); grown > 50<<20 {
		t.Errorf("memory grew by %d MB", grown>>20)
	}
	if n := len(w.reports()); n != 26 {
		t.Errorf("wanted 25 reports of 400 and one that sums up, got %d", n)
	}
}

func TestASettledClusterCostsNoWrites(t *testing.T) {
	w := newWorld(t, namespace("shop"), namespace("till"), gate(), deployment("shop", "a"), deployment("shop", "b"), deployment("till", "c"))
	w.policy("strict", deployments.GroupKind())
	w.mustRun()
	first, names := w.found(), w.reports()
	if len(first) != 6 || w.writes != 3 {
		t.Errorf("%d writes for %q", w.writes, first)
	}
	if want := []string{"shop/tidegate-deployments.apps", "tidegate-summary", "till/tidegate-deployments.apps"}; !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
	w.writes = 0
	w.mustRun() // by another process: nothing is remembered
	if w.writes != 0 || !slices.Equal(w.found(), first) {
		t.Errorf("%d writes on a settled cluster, and then %q", w.writes, w.found())
	}
	if err := w.client.Delete(t.Context(), deployment("till", "c")); err != nil {
		t.Fatal(err)
	}
	w.writes = 0
	w.mustRun()
	if want := []string{"shop/tidegate-deployments.apps", "tidegate-summary"}; w.writes != 2 || !slices.Equal(w.reports(), want) {
		t.Errorf("%d writes; of what is clean the report stays: %q", w.writes, w.reports())
	}
}

func TestReportsOfWhatIsGovernedNoMoreGo(t *testing.T) {
	w := newWorld(t, namespace("shop"), namespace("till"), gate(), deployment("shop", "a"), deployment("till", "c"))
	w.mustRun()
	g := gate()
	if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(g), g); err != nil {
		t.Fatal(err)
	}
	g.Spec.Namespaces.Names = []string{"till"}
	if err := w.client.Update(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	w.mustRun()
	if want := []string{"tidegate-summary", "till/tidegate-deployments.apps"}; !slices.Equal(w.reports(), want) {
		t.Errorf("got %q", w.reports())
	}
}

func TestWhatCannotBeListedIsSaidAndHidesNothing(t *testing.T) {
	w := newWorld(t, namespace("shop"), gate(), deployment("shop", "a"), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "s", CreationTimestamp: metav1.NewTime(noon.Add(time.Hour))}})
	w.mustRun()
	before := w.found()
	for name, refusal := range map[string]error{
		"forbidden": apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "", errors.New("no such right")),
		"broken":    apierrors.NewInternalError(errors.New("no such right: it burns")),
	} {
		t.Run(name, func(t *testing.T) {
			w.fail = func(kind, _ string) error {
				if kind == "Deployment" || kind == "DeploymentList" {
					return refusal
				}
				return nil
			}
			totals := w.mustRun()
			got := w.found()
			if len(got) != len(before)+1 || !strings.HasPrefix(got[0], "TG-AUDIT-INCOMPLETE Namespace/shop: wanted to look at deployments.apps, found: ") || !slices.Equal(got[1:], before) {
				t.Errorf("wanted what was known, and that nothing new is, got %q", got)
			}
			if totals.Unread != 1 || totals.ByResult()[audit.Fail] != 2 || totals.ByResult()[audit.Errored] != 1 {
				t.Errorf("the counts are %+v", totals)
			}
		})
	}
	w.fail = nil
	w.mustRun()
	if got := w.found(); !slices.Equal(got, before) {
		t.Errorf("when it works again, got %q", got)
	}
}

func TestWhoStandsBehindWhatIsNotForgottenWhileItCannotBeRead(t *testing.T) {
	w := newWorld(t, namespace("shop"), gate(), deployment("shop", "a"))
	w.policy("strict", deployments.GroupKind())
	w.mustRun()
	before := w.found()
	var refusal error
	w.fail = func(kind, _ string) error {
		if kind == "Rollout" {
			return refusal
		}
		return nil
	}
	refusal = apierrors.NewInternalError(errors.New("it burns"))
	w.mustRun()
	got := w.found()
	if rest := slices.DeleteFunc(slices.Clone(got), func(f string) bool { return strings.Contains(f, "TG-AUDIT-INCOMPLETE") }); !slices.Equal(rest, before) || len(got) == len(before) {
		t.Errorf("wanted %q and what is incomplete, got %q", before, got)
	}
	// Who may not read Rollouts at all gets the findings of policies.
	refusal = apierrors.NewForbidden(schema.GroupResource{Group: "tidegate.io", Resource: "rollouts"}, "", errors.New("no such right"))
	w.mustRun()
	got = w.found()
	if len(got) != 2 || !strings.HasPrefix(got[0], "TG-AUDIT-INCOMPLETE Namespace/shop") || !strings.HasPrefix(got[1], "TG-POLICY-DENY Deployment/a") {
		t.Errorf("got %q", got)
	}
}

func TestAListThatExpiresIsBegunAgain(t *testing.T) {
	w := newWorld(t, namespace("shop"), gate())
	w.policy("strict", configMaps.GroupKind())
	w.many = 2000
	expired := 0
	w.fail = func(kind, again string) error {
		if n, _ := strconv.Atoi(again); strings.HasPrefix(kind, "ConfigMap") && n > 1000 && expired == 0 {
			expired++
			return apierrors.NewResourceExpired("the continue token is too old")
		}
		return nil
	}
	totals := w.mustRun()
	if expired != 1 || totals.Objects != 2000 || totals.ByResult()[audit.Fail] != 4000 || len(w.found()) != 4000 {
		t.Errorf("expired %d times; counted %d objects and %d findings, of which %d are there", expired, totals.Objects, totals.ByResult()[audit.Fail], len(w.found()))
	}
}

func TestAListThatAlwaysExpiresIsSaid(t *testing.T) {
	w := newWorld(t, namespace("shop"), gate())
	w.many = 2000
	w.fail = func(kind, again string) error {
		if strings.HasPrefix(kind, "ConfigMap") && again != "" {
			return apierrors.NewResourceExpired("too old")
		}
		return nil
	}
	w.mustRun()
	if got := w.found(); len(got) != 1 || !strings.Contains(got[0], "configmaps, found: too old") {
		t.Errorf("got %q", got)
	}
}

func TestAProcessThatEndsInBetweenIsFollowedByOneThatEndsTheSame(t *testing.T) {
	w := newWorld(t, namespace("shop"), gate())
	w.policy("strict", configMaps.GroupKind())
	w.many = 1000
	ctx, cancel := context.WithCancel(t.Context())
	w.fail = func(kind, again string) error {
		if n, _ := strconv.Atoi(again); strings.HasPrefix(kind, "ConfigMap") && n > 500 {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	if _, err := w.auditor().Run(ctx, auditing.Scope{}, &auditing.Reports{Client: w.client, API: openReports}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if n := len(w.reports()); n == 0 {
		t.Error("the one that ended had written nothing yet, so this tests nothing")
	}
	w.fail = nil
	totals := w.mustRun()
	if totals.ByResult()[audit.Fail] != 2000 || len(w.found()) != 2000 {
		t.Errorf("counted %d, and %d are there", totals.ByResult()[audit.Fail], len(w.found()))
	}
}

func TestTheOrderIsStable(t *testing.T) {
	objects := func() []client.Object {
		out := []client.Object{namespace("till"), namespace("shop"), gate()}
		for _, name := range []string{"z", "a", "m"} {
			out = append(out, deployment("till", name), deployment("shop", name))
		}
		return out
	}
	var last []audit.Finding
	for range 3 {
		w := newWorld(t, objects()...)
		w.policy("strict", deployments.GroupKind())
		var c auditing.Collected
		if _, err := w.auditor().Run(t.Context(), auditing.Scope{}, &c); err != nil {
			t.Fatal(err)
		}
		got := c.Findings()
		if len(got) != 12 || (last != nil && !slices.Equal(got, last)) {
			t.Errorf("got %v\nafter %v", got, last)
		}
		last = got
	}
}

func TestOnlyWhatIsGovernedIsAskedAboutUnlessWanted(t *testing.T) {
	w := newWorld(t, namespace("shop"), namespace("lab"), namespace("kube-system"), gate(), deployment("lab", "a"), deployment("kube-system", "b"))
	w.policy("strict", deployments.GroupKind())
	w.mustRun()
	if got := w.found(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	var c auditing.Collected
	if _, err := w.auditor().Run(t.Context(), auditing.Scope{Outside: true}, &c); err != nil {
		t.Fatal(err)
	}
	if got := c.Findings(); len(got) != 2 || got[0].Code != "TG-POLICY-DENY" {
		t.Errorf("got %+v", got)
	}
}

func TestANamespaceThatNeverEndsFailsNoAudit(t *testing.T) {
	w := newWorld(t, namespace("shop"), namespace("till"), deployment("shop", "x"), deployment("till", "y"), gate())
	w.ending = "shop"
	if n := w.mustRun().ByResult()[audit.Fail]; n != 2 {
		t.Errorf("wanted what is found in both to be counted, found %d", n)
	}
	if got := w.found(); len(got) != 1 || !strings.Contains(got[0], "Deployment/y") {
		t.Errorf("wanted a report of the other, found %q", got)
	}
}
