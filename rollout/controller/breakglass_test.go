package controller

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/fence"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestWhatWasTouchedUnderAnExemptionIsSpared(t *testing.T) {
	start := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	cart := v1alpha1.ObjectName{Group: "apps", Resource: "deployments", Name: "cart"}
	use := v1alpha1.BreakGlassUse{Operation: "UPDATE", Object: cart, Release: "cart"}
	for name, tc := range map[string]struct {
		edit  func(*v1alpha1.BreakGlass)
		phase v1alpha1.RolloutPhase
		after time.Duration
		kind  string
		// made is when the Rollout was made, after the start.
		made time.Duration
		want bool
	}{
		"while it lasts":                          {want: true},
		"until its end":                           {after: time.Hour - time.Second, want: true},
		"not from its end":                        {after: time.Hour},
		"not after it was revoked":                {after: time.Minute, edit: func(b *v1alpha1.BreakGlass) { at := metav1.NewTime(start); b.Status.EndedAt = &at }},
		"another object":                          {kind: "StatefulSet"},
		"not when it was named and not touched":   {edit: func(b *v1alpha1.BreakGlass) { b.Status.UseCount, b.Status.Uses = 0, nil }},
		"not when it was only connected to":       {edit: func(b *v1alpha1.BreakGlass) { b.Status.Uses[0].Operation = "CONNECT" }},
		"all that it names when uses are gone":    {edit: func(b *v1alpha1.BreakGlass) { b.Status.Uses, b.Status.UseCount = nil, 51 }, want: true},
		"I3 not from an abort":                    {phase: v1alpha1.RolloutAborting},
		"afterwards where the Gate says Keep":     {after: 2 * time.Hour, edit: keeping, want: true},
		"not from the next Rollout where it does": {after: 3 * time.Hour, made: 2 * time.Hour, edit: keeping},
	} {
		t.Run(name, func(t *testing.T) {
			b := &v1alpha1.BreakGlass{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "night"},
				Spec:       v1alpha1.BreakGlassSpec{Objects: []v1alpha1.ObjectName{cart}, ExpiresAt: metav1.NewTime(start.Add(time.Hour))},
				Status:     v1alpha1.BreakGlassStatus{UseCount: 1, Uses: []v1alpha1.BreakGlassUse{use}},
			}
			if tc.edit != nil {
				tc.edit(b)
			}
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			server, behind := fake.NewClientBuilder().WithScheme(scheme).WithObjects(b).Build(), fake.NewClientBuilder().WithScheme(scheme).Build()
			rollout := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", CreationTimestamp: metav1.NewTime(start.Add(tc.made - time.Minute))}}
			if tc.kind == "" {
				tc.kind = "Deployment"
			}
			o := &unstructured.Unstructured{}
			o.SetAPIVersion("apps/v1")
			o.SetKind(tc.kind)
			o.SetName("cart")
			for what, cache := range map[string]client.Client{"a cache that knows of it": server, "a cache that does not yet": behind} {
				l := &rolloutLoop{client: cache, live: observe.Reader{Live: server}}
				s, err := l.sparing(t.Context(), rollout, v1alpha1.RolloutStatus{Phase: tc.phase}, []plan.Action{{Kind: plan.ActionEnsureSet}}, start.Add(tc.after))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := s.left(o, true); got != tc.want || s.spared != tc.want || err != nil {
					t.Errorf("%s: wanted spared %v, found %v, %v", what, tc.want, got, err)
				}
			}
		})
	}
}

// What is as it was applied is not asked about, so that the steps of a rollout cost no reads.
func TestNobodyIsAskedAboutWhatNobodyTouched(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, gatewayv1.Install, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	reads := 0
	empty := fake.NewClientBuilder().WithScheme(scheme).Build()
	live := interceptor.NewClient(empty, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			reads++
			return c.List(ctx, list, opts...)
		},
	})
	fenced, err := fence.New(empty, live, kept...)
	if err != nil {
		t.Fatal(err)
	}
	l := &rolloutLoop{client: fenced, live: observe.Reader{Live: live}}
	rollout := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
	s, err := l.sparing(t.Context(), rollout, v1alpha1.RolloutStatus{}, []plan.Action{{Kind: plan.ActionSetWeight}}, time.Unix(100, 0))
	if err != nil {
		t.Fatal(err)
	}
	for step, c := range []struct {
		touched bool
		reads   int
	}{{false, 0}, {true, 1}, {true, 1}} {
		if left, err := s.left(&unstructured.Unstructured{Object: map[string]any{}}, c.touched); left || err != nil || reads != c.reads {
			t.Errorf("%d: left alone %t, %v, after %d reads; want %d", step, left, err, reads, c.reads)
		}
	}
}

func keeping(b *v1alpha1.BreakGlass) {
	b.Status.Afterwards, b.Status.Phase = v1alpha1.AfterwardsKeep, v1alpha1.BreakGlassEnded
}

func TestTheReleaseListsItsExemptions(t *testing.T) {
	at := func(minute int) metav1.Time {
		return metav1.NewTime(time.Date(2026, 11, 23, 3, minute, 0, 0, time.UTC))
	}
	glass := func(name string, uses ...v1alpha1.BreakGlassUse) v1alpha1.BreakGlass {
		return v1alpha1.BreakGlass{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1alpha1.BreakGlassStatus{Uses: uses}}
	}
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart"}}
	release.Status.BreakGlass = []v1alpha1.ReleaseBreakGlass{{Name: "gone", Uses: 3, Last: v1alpha1.BreakGlassUse{Time: at(5)}}}
	for minute := range 20 {
		release.Status.BreakGlass = append(release.Status.BreakGlass, v1alpha1.ReleaseBreakGlass{Name: "older-" + string(rune('a'+minute)), Last: v1alpha1.BreakGlassUse{Time: at(0)}, Uses: int32(minute)})
	}
	got := usesOf(release, []v1alpha1.BreakGlass{
		glass("night", v1alpha1.BreakGlassUse{Release: "cart", Time: at(1)}, v1alpha1.BreakGlassUse{Release: "db", Time: at(2)}, v1alpha1.BreakGlassUse{Release: "cart", Time: at(3)}),
		glass("day", v1alpha1.BreakGlassUse{Release: "cart", Time: at(9)}),
		glass("another", v1alpha1.BreakGlassUse{Release: "db", Time: at(9)}),
		glass("unused"),
	})
	if len(got) != maxBreakGlasses || got[0].Name != "day" || got[1].Name != "gone" || got[2].Name != "night" || got[2].Uses != 2 || !got[2].Last.Time.Equal(new(at(3))) {
		t.Errorf("wanted day, gone, night with 2 uses and the rest up to %d, found %+v", maxBreakGlasses, got)
	}
}
