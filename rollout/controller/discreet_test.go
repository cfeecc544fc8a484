package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	marker = `hunter2"hunter2`
	// before is what the revision was given that is returned to.
	before = "swordfish"
)

// guarded is a revision of template web with a sensitive variable.
func guarded() *v1alpha1.TemplateRevision {
	r := snapshot(1, "one")
	r.Spec.Schema = &runtime.RawExtension{Raw: []byte(`{"type":"object","properties":{"image":{"type":"string"},"token":{"type":"string","x-sensitive":true}}}`)}
	return r
}

// refused is what an API server answers, and an admission webhook of somebody else.
func refused(value string) []error {
	return []error{
		apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "cart", field.ErrorList{
			field.Invalid(field.NewPath("spec", "template", "env").Key(value), value, "must be something else"),
		}),
		apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "cart", errors.New("found TOKEN="+value)),
		apierrors.NewConflict(schema.GroupResource{Group: "apps", Resource: "deployments"}, "cart", fmt.Errorf("over %q", value)),
	}
}

func valuesOf(token string) *runtime.RawExtension {
	raw, err := json.Marshal(map[string]string{"image": "one", "token": token})
	if err != nil {
		panic(err)
	}
	return &runtime.RawExtension{Raw: raw}
}

func checkDiscreet(t *testing.T, what, text string) {
	t.Helper()
	for _, form := range []string{"hunter2", before} {
		if strings.Contains(text, form) {
			t.Errorf("%s has a sensitive value in it:\n%s", what, text)
		}
	}
}

// drained are the events there are.
func drained(r *events.FakeRecorder) string {
	var out []string
	for {
		select {
		case e := <-r.Events:
			out = append(out, e)
		default:
			return strings.Join(out, "\n")
		}
	}
}

// What an API server says of an object that it refuses goes to the status, to an event and to
// the log: without the sensitive values of the Release, of then and of now.
func TestWhatIsSensitiveIsInNoFailureToApply(t *testing.T) {
	t.Parallel()
	for _, value := range []string{marker, before} {
		for i, answer := range refused(value) {
			t.Run(fmt.Sprintf("%s %d", value[:3], i), func(t *testing.T) {
				t.Parallel()
				stable, rollout := attempt(1, "one", v1alpha1.RolloutSucceeded, ofRelease("uid")), attempt(2, "two", v1alpha1.RolloutProgressing, ofRelease("uid"))
				stable.Spec.Values, rollout.Spec.Values = valuesOf(before), valuesOf(marker)
				base := newCluster(t, &stable, &rollout, guarded())
				c := interceptor.NewClient(base, interceptor.Funcs{Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
					return answer
				}})
				recorder := events.NewFakeRecorder(10)
				loop := &rolloutLoop{
					client: c, applier: apply.Applier{Writer: c, Live: c}, recorder: recorder, clock: testclock.NewFakePassiveClock(time.Unix(0, 0)),
				}
				config := &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "cart", "namespace": "shop"},
				}}
				target := &apply.Target{
					Release: &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "uid"}}, Rollout: &rollout,
					Sides: manifest.Sides{Canary: &render.Result{Set: []*unstructured.Unstructured{config}}},
				}
				err := loop.act(t.Context(), target, []plan.Action{{Kind: plan.ActionEnsureSet, Role: plan.RoleCanary}})
				if err == nil || apierrors.ReasonForError(err) != apierrors.ReasonForError(answer) || !strings.Contains(err.Error(), "(sensitive)") {
					t.Errorf("got %v", err)
				}
				var after v1alpha1.Rollout
				if err := base.Get(t.Context(), client.ObjectKeyFromObject(&rollout), &after); err != nil {
					t.Fatal(err)
				}
				said := fmt.Sprintf("%+v", after.Status) + drained(recorder)
				if !apierrors.IsConflict(answer) && !strings.Contains(said, "(sensitive)") {
					t.Errorf("it is not reported: %s", said)
				}
				checkDiscreet(t, "the error", err.Error())
				checkDiscreet(t, "the status, or an event,", said)
			})
		}
	}
	t.Run("what cannot be told is not shown", func(t *testing.T) {
		t.Parallel()
		rollout := attempt(1, "one", v1alpha1.RolloutProgressing)
		rollout.Spec.Values = valuesOf(marker)
		c := interceptor.NewClient(newCluster(t, guarded()), interceptor.Funcs{
			Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return errors.New("the cache is broken")
			},
		})
		err := discreet(t.Context(), c, &rollout, refused(marker)[1])
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "the API server gave Forbidden") {
			t.Errorf("got %v", err)
		}
		checkDiscreet(t, "the error", err.Error())
	})
}

// The answer to a Rollout that is made goes the same ways.
func TestWhatIsSensitiveIsInNoReportAboutARelease(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		refusal error
	}{
		"a Rollout is refused":   {refusal: refused(marker)[0]},
		"a Rollout is forbidden": {refusal: refused(marker)[1]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := serves("cart", "")
			release.Spec.Values, release.Status = valuesOf(marker), v1alpha1.ReleaseStatus{ObservedGeneration: -1}
			base := newCluster(t, release, webTemplate("one"), guarded())
			cut := interceptor.NewClient(base, interceptor.Funcs{
				Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return c.refusal },
			})
			recorder := events.NewFakeRecorder(10)
			loop := &releaseLoop{
				client: cut, live: cut, renderer: always{Revision: "rev", Digest: "sha256:one", Replicas: 1},
				recorder: recorder, clock: testclock.NewFakePassiveClock(time.Unix(0, 0)),
			}
			var said strings.Builder
			ctx := log.IntoContext(t.Context(), funcr.New(func(_, args string) { said.WriteString(args + "\n") }, funcr.Options{Verbosity: 10}))
			_, err := loop.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(release)})
			var after v1alpha1.Release
			if err := base.Get(t.Context(), client.ObjectKeyFromObject(release), &after); err != nil {
				t.Fatal(err)
			}
			all := fmt.Sprintf("%v %+v %s %s", err, after.Status, drained(recorder), said.String())
			if !strings.Contains(all, "(sensitive)") {
				t.Errorf("it is not reported: %s", all)
			}
			checkDiscreet(t, "what is said", all)
		})
	}
}
