package gatekeeper

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
)

var owned = constraintKind("Owned")

// constraint has what the audit and another replica wrote.
func constraint() *unstructured.Unstructured {
	u := object(owned)
	u.SetName("all")
	u.SetUID("uid")
	u.SetGeneration(3)
	u.Object["status"] = map[string]any{
		"totalViolations": int64(7), "violations": []any{map[string]any{"name": "x"}},
		"byPod": []any{map[string]any{"id": "gone", "enforced": true}, map[string]any{"id": "two", "enforced": true}},
	}
	return u
}

func statusClient(t *testing.T, funcs interceptor.Funcs) client.Client {
	t.Helper()
	s := runtime.NewScheme()
	s.AddKnownTypeWithName(owned, &unstructured.Unstructured{})
	return fake.NewClientBuilder().WithScheme(s).WithObjects(constraint()).WithStatusSubresource(object(owned)).WithInterceptorFuncs(funcs).Build()
}

func TestEachReplicaWritesItsOwnEntryAndNothingElse(t *testing.T) {
	c := statusClient(t, interceptor.Funcs{})
	there := func(context.Context) ([]string, error) { return []string{"one", "two"}, nil }
	at := target{owned, "all"}
	for _, replica := range []string{"two", "one", "one"} {
		s := newStatuses(c, SyncOptions{Replica: replica, Replicas: there})
		s.say(at, constraintEntry(gatekeeper.State{InForce: true, Problem: errors.New("it does not fit")}, version{"uid", 3}), constraint())
		if s.queue.Len() != 1 {
			t.Fatalf("%s: wanted one to write, found %d", replica, s.queue.Len())
		}
		if err := s.write(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	got := object(owned)
	if err := c.Get(t.Context(), client.ObjectKey{Name: "all"}, got); err != nil {
		t.Fatal(err)
	}
	entry := func(id string) any {
		return map[string]any{
			"id": id, "observedGeneration": int64(3), "constraintUID": "uid", "enforced": true, "operations": []any{"webhook"},
			"errors": []any{map[string]any{"code": "create_error", "message": "it does not fit\nThe last version that worked stays in force."}},
		}
	}
	want := map[string]any{"totalViolations": int64(7), "violations": []any{map[string]any{"name": "x"}}, "byPod": []any{entry("one"), entry("two")}}
	if diff := cmp.Diff(want, got.Object["status"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What is there already is not written again.
	s := newStatuses(c, SyncOptions{Replica: "one"})
	s.say(at, constraintEntry(gatekeeper.State{InForce: true, Problem: errors.New("it does not fit")}, version{"uid", 3}), got)
	if s.queue.Len() != 0 {
		t.Error("wanted nothing to write")
	}
}

func TestOfTwoWhoWriteAtOnceOneTriesAgain(t *testing.T) {
	var mu sync.Mutex
	read, tries := "", 0
	c := statusClient(t, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			err := c.Get(ctx, key, o, opts...)
			mu.Lock()
			defer mu.Unlock()
			read = o.GetResourceVersion()
			return err
		},
		// As the API server does, which this client does not: the first is too late.
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			raw, err := p.Data(o)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if !strings.Contains(string(raw), `"resourceVersion":"`+read+`"`) {
				t.Errorf("wanted the version that was read, %q, in %s", read, raw)
			}
			if tries++; tries == 1 {
				return apierrors.NewConflict(schema.GroupResource{Resource: "owned"}, "all", errors.New("somebody was faster"))
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	s, at := newStatuses(c, SyncOptions{Replica: "one"}), target{owned, "all"}
	s.say(at, map[string]any{"enforced": false}, object(owned))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Start(ctx) }()
	got := object(owned)
	for range 5000 {
		if err := c.Get(t.Context(), client.ObjectKey{Name: "all"}, got); err != nil {
			t.Fatal(err)
		}
		if len(pods(got)) == 3 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Nobody knows which replicas there are, so none is taken out.
	if len(pods(got)) != 3 || tries != 2 {
		t.Errorf("wanted two tries, found %d, %v", tries, got.Object["status"])
	}
}

func TestAChangeOfTheStatusIsNoChangeOfTheConstraint(t *testing.T) {
	s := newStatuses(nil, SyncOptions{Replica: "one"})
	u := constraint()
	if !s.fresh(u) || s.fresh(u) {
		t.Error("wanted one version to be new once")
	}
	u.SetGeneration(4)
	if !s.fresh(u) {
		t.Error("wanted another generation to be new")
	}
	u.SetUID(types.UID("another"))
	if !s.fresh(u) {
		t.Error("wanted another of its name to be new")
	}
	s.forget(target{owned, "all"})
	if !s.fresh(u) {
		t.Error("wanted what was forgotten to be new")
	}
}

func TestAProblemIsCutToSize(t *testing.T) {
	p := problem(errors.New(strings.Repeat("x", 2*maxProblem)), false)
	if m, ok := p[0].(map[string]any); !ok || len(m["message"].(string)) != maxProblem {
		t.Errorf("found %v", p)
	}
}
