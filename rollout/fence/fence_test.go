package fence

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// lagging writes to the server and reads from a cache that follows it only when told to.
type lagging struct {
	client.Client
	cache client.Client
}

func (l lagging) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	return l.cache.Get(ctx, key, obj, opts...)
}

func (l lagging) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return l.cache.List(ctx, list, opts...)
}

// counting counts what is read of the server.
type counting struct {
	client.Reader
	reads int
}

func (c *counting) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	c.reads++
	return c.Reader.Get(ctx, key, obj, opts...)
}

func (c *counting) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	c.reads++
	return c.Reader.List(ctx, list, opts...)
}

type bench struct {
	*testing.T
	fence  *Client
	server client.Client
	cache  client.Client
	live   *counting
}

func deployment(replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}, Spec: appsv1.DeploymentSpec{Replicas: &replicas}}
}

var key = client.ObjectKey{Namespace: "shop", Name: "cart"}

func newBench(t *testing.T) *bench {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	build := func() client.Client {
		return fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&appsv1.Deployment{}).Build()
	}
	b := &bench{T: t, server: build(), cache: build()}
	b.live = &counting{Reader: b.server}
	var err error
	if b.fence, err = New(lagging{b.server, b.cache}, b.live, &appsv1.Deployment{}); err != nil {
		t.Fatal(err)
	}
	return b
}

// follow lets the cache catch up.
func (b *bench) follow() {
	b.Helper()
	ctx := b.Context()
	var now, then appsv1.Deployment
	missing := apierrors.IsNotFound(b.server.Get(ctx, key, &now))
	if err := b.cache.Get(ctx, key, &then); err == nil {
		b.must(b.cache.Delete(ctx, &then))
	}
	if missing {
		return
	}
	// The tracker of a fake client keeps the version of what it is built with.
	b.cache = fake.NewClientBuilder().WithScheme(b.server.Scheme()).WithObjects(&now).Build()
	b.fence.Client = lagging{b.server, b.cache}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// replicas reads the Deployment, typed and bare, and wants both to agree; -1 is none.
func (b *bench) replicas() int64 {
	b.Helper()
	var typed appsv1.Deployment
	bare := &unstructured.Unstructured{}
	bare.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("Deployment"))
	errTyped, errBare := b.fence.Get(b.Context(), key, &typed), b.fence.Get(b.Context(), key, bare)
	if apierrors.IsNotFound(errTyped) && apierrors.IsNotFound(errBare) {
		return -1
	}
	b.must(errTyped)
	b.must(errBare)
	n, _, _ := unstructured.NestedInt64(bare.Object, "spec", "replicas")
	if n != int64(*typed.Spec.Replicas) {
		b.Fatalf("bare has %d replicas and typed %d", n, *typed.Spec.Replicas)
	}
	if bare.GetKind() != "Deployment" || bare.GetAPIVersion() != "apps/v1" {
		b.Fatalf("bare is a %s of %s", bare.GetKind(), bare.GetAPIVersion())
	}
	return n
}

func TestOwnWritesAreReadWhileTheCacheIsBehind(t *testing.T) {
	t.Parallel()
	set := func(b *bench, n int32) *appsv1.Deployment {
		b.Helper()
		var d appsv1.Deployment
		b.must(b.server.Get(b.Context(), key, &d))
		d.Spec.Replicas = &n
		return &d
	}
	for name, c := range map[string]struct {
		write func(b *bench) error
		want  int64
	}{
		"an update": {func(b *bench) error { return b.fence.Update(b.Context(), set(b, 5)) }, 5},
		"a patch": {func(b *bench) error {
			return b.fence.Patch(b.Context(), deployment(1), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":6}}`)))
		}, 6},
		"an apply": {func(b *bench) error {
			u := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"namespace": "shop", "name": "cart"},
				"spec": map[string]any{"replicas": int64(7)},
			}}
			return b.fence.Apply(b.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("tidegate"), client.ForceOwnership)
		}, 7},
		"a status": {func(b *bench) error {
			d := set(b, 1)
			d.Status.ReadyReplicas = 1
			return b.fence.Status().Update(b.Context(), d)
		}, 1},
		"a deletion": {func(b *bench) error { return b.fence.Delete(b.Context(), set(b, 1)) }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.must(b.server.Create(t.Context(), deployment(1)))
			b.follow()
			if got := b.replicas(); got != 1 || b.live.reads != 0 {
				t.Fatalf("before: %d replicas, %d live reads; want 1 and 0", got, b.live.reads)
			}
			b.must(c.write(b))
			if got := b.replicas(); got != c.want {
				t.Errorf("after the write: %d replicas, want %d", got, c.want)
			}
			if b.live.reads == 0 {
				t.Error("a cache that is behind was asked alone")
			}
			b.follow()
			b.live.reads = 0
			if got := b.replicas(); got != c.want {
				t.Errorf("when the cache has followed: %d replicas, want %d", got, c.want)
			}
			if b.live.reads != 0 && c.want >= 0 {
				t.Errorf("a cache that has followed is not believed: %d live reads", b.live.reads)
			}
		})
	}
}

func TestWhatTheCacheDoesNotHaveIsAskedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.server.Create(t.Context(), deployment(3)))
	if got := b.replicas(); got != 3 {
		t.Errorf("%d replicas, want 3: an object without the label of the cache is there all the same", got)
	}
}

func TestOtherKindsAreReadLive(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.server.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}}))
	var got corev1.ConfigMap
	b.must(b.fence.Get(t.Context(), key, &got))
	var all corev1.ConfigMapList
	b.must(b.fence.List(t.Context(), &all))
	if b.live.reads != 2 || len(all.Items) != 1 {
		t.Errorf("%d live reads and %d items, want 2 and 1", b.live.reads, len(all.Items))
	}
}

func TestAListIsNotOlderThanAnOwnWrite(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.server.Create(t.Context(), deployment(1)))
	b.follow()
	list := func() int32 {
		t.Helper()
		var all appsv1.DeploymentList
		b.must(b.fence.List(t.Context(), &all, client.InNamespace("shop")))
		if len(all.Items) != 1 {
			t.Fatalf("%d items, want 1", len(all.Items))
		}
		return *all.Items[0].Spec.Replicas
	}
	if got := list(); got != 1 || b.live.reads != 0 {
		t.Fatalf("before: %d replicas, %d live reads; want 1 and 0", got, b.live.reads)
	}
	var d appsv1.Deployment
	b.must(b.server.Get(t.Context(), key, &d))
	d.Spec.Replicas = new(int32(4))
	b.must(b.fence.Update(t.Context(), &d))
	if got := list(); got != 4 {
		t.Errorf("after the write: %d replicas, want 4", got)
	}
}

func TestKeepFieldsKeepsWhatTidegateApplied(t *testing.T) {
	t.Parallel()
	d := deployment(1)
	d.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "tidegate", Operation: metav1.ManagedFieldsOperationApply},
		{Manager: "tidegate", Operation: metav1.ManagedFieldsOperationApply, Subresource: "status"},
		{Manager: "tidegate", Operation: metav1.ManagedFieldsOperationUpdate},
		{Manager: "kubectl", Operation: metav1.ManagedFieldsOperationApply},
	}
	if _, err := KeepFields("tidegate")(d); err != nil {
		t.Fatal(err)
	}
	if len(d.ManagedFields) != 1 || d.ManagedFields[0].Manager != "tidegate" || d.ManagedFields[0].Subresource != "" {
		t.Errorf("kept %v, want the one entry of the last apply", d.ManagedFields)
	}
	if got, err := KeepFields("tidegate")("tombstone"); err != nil || got != "tombstone" {
		t.Errorf("what is no object comes back as %v, %v", got, err)
	}
}

func TestWhatIsTakenForAbsent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(b *bench)
		// live is how often the API server is asked by a reader of each Absence.
		live map[Absence]int
	}{
		"what the cache never had may be without the label": {
			func(*bench) {}, map[Absence]int{Asked: 1, OwnDeletions: 1, Believed: 0},
		},
		"what this process deleted is gone when the cache says so": {func(b *bench) {
			made := deployment(1)
			made.UID = "u1"
			b.must(b.server.Create(b.Context(), made))
			b.follow()
			var d appsv1.Deployment
			b.must(b.server.Get(b.Context(), key, &d))
			b.must(b.fence.Delete(b.Context(), &d))
			b.follow()
		}, map[Absence]int{Asked: 1, OwnDeletions: 0, Believed: 0}},
		"what this process made is there, though the cache has not heard of it": {func(b *bench) {
			b.must(b.fence.Create(b.Context(), deployment(1)))
		}, map[Absence]int{Asked: 1, OwnDeletions: 1, Believed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			c.before(b)
			want := b.server.Get(t.Context(), key, &appsv1.Deployment{})
			for absence, reads := range c.live {
				b.live.reads = 0
				var got appsv1.Deployment
				err := b.fence.Reader(absence).Get(t.Context(), key, &got)
				if apierrors.IsNotFound(err) != apierrors.IsNotFound(want) || b.live.reads != reads {
					t.Errorf("absence %d: %v after %d live reads, want %v after %d", absence, err, b.live.reads, want, reads)
				}
			}
		})
	}
}
