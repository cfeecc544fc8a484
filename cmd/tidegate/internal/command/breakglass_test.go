package command

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func newBreakGlass(name string, phase v1alpha1.BreakGlassPhase, expires time.Time) *v1alpha1.BreakGlass {
	return &v1alpha1.BreakGlass{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "uid-1", CreationTimestamp: metav1.NewTime(noon)},
		Spec: v1alpha1.BreakGlassSpec{
			Objects: []v1alpha1.ObjectName{{Group: "apps", Resource: "deployments", Name: "cart"}},
			Reason:  "INC-4711", Actor: "oncall", ExpiresAt: metav1.NewTime(expires),
		},
		Status: v1alpha1.BreakGlassStatus{Phase: phase, UseCount: 2},
	}
}

func TestBreakGlassCreateNamesObjectsAndAnEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		object string
		want   v1alpha1.ObjectName
		code   int
	}{
		"a resource whose group is known":  {"deployments/cart", v1alpha1.ObjectName{Group: "apps", Resource: "deployments", Name: "cart"}, ExitOK},
		"a kind":                           {"Deployment/cart", v1alpha1.ObjectName{Group: "apps", Resource: "deployments", Name: "cart"}, ExitOK},
		"a kind that ends in y":            {"networkpolicy/cart", v1alpha1.ObjectName{Group: "networking.k8s.io", Resource: "networkpolicies", Name: "cart"}, ExitOK},
		"a resource with its group":        {"widgets.example.com/x", v1alpha1.ObjectName{Group: "example.com", Resource: "widgets", Name: "x"}, ExitOK},
		"a pod":                            {"pods/cart-1", v1alpha1.ObjectName{Resource: "pods", Name: "cart-1"}, ExitOK},
		"a resource whose group is not":    {"widgets/x", v1alpha1.ObjectName{}, ExitError},
		"no name":                          {"deployments/", v1alpha1.ObjectName{}, ExitError},
		"a subresource":                    {"pods/cart-1/exec", v1alpha1.ObjectName{}, ExitError},
		"a name without anything about it": {"cart", v1alpha1.ObjectName{}, ExitError},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), "breakglass", "create", "night", "--object", tc.object, "--reason", "INC-4711", "--for", "20m", "--wait", "0"), tc.code)
			if tc.code != ExitOK {
				wantPart(t, "stderr", w.err.String(), "--object")
				return
			}
			var b v1alpha1.BreakGlass
			if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "night"}, &b); err != nil {
				t.Fatal(err)
			}
			if len(b.Spec.Objects) != 1 || b.Spec.Objects[0] != tc.want || b.Spec.Actor != "" {
				t.Errorf("wanted %+v and no claimed actor, found %+v", tc.want, b.Spec)
			}
			if left := b.Spec.ExpiresAt.Sub(noon); left != 20*time.Minute {
				t.Errorf("wanted it to end in 20m, found %s", left)
			}
		})
	}
}

func TestBreakGlassIsDecidedByUID(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, newBreakGlass("night", v1alpha1.BreakGlassPending, noon.Add(time.Hour)))
	w.wantCode(w.run(t.Context(), "breakglass", "approve", "night", "--reason", "seen", "--wait", "0"), ExitOK)
	wantPart(t, "stderr", w.err.String(), "oncall wants to touch deployments/cart until 2026-05-04T13:00:00Z: INC-4711")
	var list v1alpha1.BreakGlassCommandList
	if err := w.client.List(t.Context(), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("wanted one command, found %+v, %v", list.Items, err)
	}
	if c := list.Items[0].Spec; c.UID != "uid-1" || c.Action != v1alpha1.BreakGlassApprove || c.Actor != "" {
		t.Errorf("wanted an approval of uid-1 without a claimed actor, found %+v", c)
	}
	w.wantCode(w.run(t.Context(), "breakglass", "approve", "day", "--wait", "0"), ExitError)
}

func TestBreakGlassListDoesNotBelieveAnOldPhase(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, newBreakGlass("late", v1alpha1.BreakGlassLive, noon), newBreakGlass("open", v1alpha1.BreakGlassLive, noon.Add(time.Minute)))
	w.wantCode(w.run(t.Context(), "breakglass", "list"), ExitOK)
	wantText(t, "stdout", w.out.String(), `NAMESPACE   NAME   PHASE   ACTOR    APPROVED BY   EXPIRES                USES   OBJECTS            REASON
default     late   Ended   oncall   -             2026-05-04T12:00:00Z   2      deployments/cart   INC-4711
default     open   Live    oncall   -             2026-05-04T12:01:00Z   2      deployments/cart   INC-4711
`)
}
