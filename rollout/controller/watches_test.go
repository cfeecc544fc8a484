package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func slice(release string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "cart-x", Labels: map[string]string{v1alpha1.LabelRelease: release},
	}}
}

func TestWhoIsToldOfEndpoints(t *testing.T) {
	t.Parallel()
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", UID: "mine"}}
	one := attempt(1, "one", v1alpha1.RolloutSucceeded, ofRelease("mine"))
	two := attempt(2, "two", v1alpha1.RolloutProgressing, ofRelease("mine"))
	other := attempt(3, "three", v1alpha1.RolloutProgressing, ofRelease("former"))
	c := newCluster(t, release, &one, &two, &other)
	loop := &rolloutLoop{client: c}
	for name, tc := range map[string]struct {
		release string
		want    []string
	}{
		"the Rollout that moves":                {"cart", []string{"cart-2"}},
		"nobody, of a Release that is gone":     {"basket", nil},
		"nobody, of a Service that is nobody's": {"", nil},
	} {
		var names []string
		for _, r := range loop.ofListed(t.Context(), slice(tc.release)) {
			names = append(names, r.Name)
		}
		if diff := cmp.Diff(tc.want, names); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEndpointsOfAManagerThatBeginsAreNoNews(t *testing.T) {
	t.Parallel()
	p := listing()
	if p.Create(event.CreateEvent{Object: slice("cart"), IsInInitialList: true}) {
		t.Error("what is there when a manager begins is told")
	}
	if !p.Create(event.CreateEvent{Object: slice("cart")}) ||
		!p.Update(event.UpdateEvent{ObjectOld: slice("cart"), ObjectNew: slice("cart")}) ||
		!p.Delete(event.DeleteEvent{Object: slice("cart")}) {
		t.Error("what changes later is not told")
	}
}
