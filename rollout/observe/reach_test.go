package observe_test

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// listing is an EndpointSlice of a Service with ready pods, named by their numbers, and others.
func listing(name, service string, others int, pods ...int) *discoveryv1.EndpointSlice {
	ready, not := true, false
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service},
	}}
	add := func(id string, is *bool) {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Conditions: discoveryv1.EndpointConditions{Ready: is},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", UID: types.UID(id)},
		})
	}
	for _, n := range pods {
		add(fmt.Sprintf("pod-%d", n), &ready)
	}
	for n := range others {
		add(fmt.Sprintf("other-%d", n), &not)
	}
	return slice
}

func TestPodsCountWhenTheirServiceLeadsToThem(t *testing.T) {
	t.Parallel()
	canary := "cart-" + newRevision
	for name, tc := range map[string]struct {
		change func(*scene)
		want   int32
	}{
		"all are listed":           {func(s *scene) { s.extra = append(s.extra, listing("a", canary, 0, 1, 2, 3, 4)) }, 4},
		"three of four are":        {func(s *scene) { s.extra = append(s.extra, listing("a", canary, 0, 1, 2, 3)) }, 3},
		"one of four is not ready": {func(s *scene) { s.extra = append(s.extra, listing("a", canary, 1, 1, 2, 3)) }, 3},
		"in two slices": {func(s *scene) {
			s.extra = append(s.extra, listing("a", canary, 0, 1, 2), listing("b", canary, 0, 3, 4))
		}, 4},
		"each is listed once for every family of addresses": {func(s *scene) {
			s.extra = append(s.extra, listing("a", canary, 0, 1, 2), listing("b", canary, 0, 1, 2))
		}, 2},
		"addresses that are no pods count once each": {func(s *scene) {
			slice := listing("a", canary, 0)
			for _, address := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.1"} {
				slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
			}
			s.extra = append(s.extra, slice)
		}, 2},
		"no slice is there yet":    {func(*scene) {}, 0},
		"another Service has them": {func(s *scene) { s.extra = append(s.extra, listing("a", "cart-"+oldRevision, 0, 1, 2, 3, 4)) }, 0},
		"more are listed than are available": {func(s *scene) {
			s.extra = append(s.extra, listing("a", canary, 0, 1, 2, 3, 4))
			s.setNumbers(newRevision, 4, 2, 4, true)
		}, 2},
		"the Service selects nothing":    {func(s *scene) { s.selects(nil) }, 4},
		"the Service selects other pods": {func(s *scene) { s.selects(map[string]any{"app": "database"}) }, 4},
		"of a plain Service the endpoints are read back instead": {func(s *scene) {
			s.subject.Rollout.Spec.Router = v1alpha1.RouterService
		}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.selects(map[string]any{"app": "cart"})
			tc.change(s)
			w, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			if got := w.Canary; got.Knowledge != plan.Present || got.Available != tc.want {
				t.Errorf("wanted %d pods that count, found %+v", tc.want, got)
			}
		})
	}
}

func TestSlicesThatCannotBeReadMakeASetUnknown(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.selects(map[string]any{"app": "cart"})
	s.failSlices = errors.New("connection refused")
	w, err := s.observe()
	if err != nil {
		t.Fatal(err)
	}
	if w.Canary.Knowledge != plan.Unknown || len(w.Unread) == 0 {
		t.Errorf("wanted an unknown set and what could not be read, found %+v and %v", w.Canary, w.Unread)
	}
}

// selects gives the pods of the new set labels and its Service a selector.
func (s *scene) selects(selector map[string]any) {
	s.t.Helper()
	for _, obj := range s.subject.Sides.Canary.Set {
		path, value := []string{"spec", "selector"}, selector
		if obj.GetKind() == "Deployment" {
			path, value = []string{"spec", "template", "metadata", "labels"}, map[string]any{"app": "cart"}
		}
		if err := unstructured.SetNestedMap(obj.Object, value, path...); err != nil {
			s.t.Fatal(err)
		}
		s.put(obj)
	}
	s.setNumbers(newRevision, 4, 4, 4, true)
}
