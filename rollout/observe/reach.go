package observe

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const serviceKind = "Service"

// reachable is how many of a set's available pods its Services lead to. A pod is available a
// moment before it is listed in the EndpointSlices that proxies go by; a weight that came in
// between would send requests to nobody. A plain Service, which all revisions share, is read back
// as a route is.
func (r Reader) reachable(ctx context.Context, router v1alpha1.Router, rendered *render.Result, available int32) (int32, error) {
	if router == v1alpha1.RouterService {
		return available, nil
	}
	workload := manifest.Workload(rendered)
	if workload == nil {
		return available, nil
	}
	pods, _, _ := unstructured.NestedStringMap(workload.Object, "spec", "template", "metadata", "labels")
	for _, obj := range rendered.Set {
		if available == 0 {
			break
		}
		if !leadsTo(obj, pods) {
			continue
		}
		n, err := r.ready(ctx, obj)
		if err != nil {
			return 0, err
		}
		available = min(available, n)
	}
	return available, nil
}

// leadsTo says whether an object is a Service that selects pods with the labels.
func leadsTo(obj *unstructured.Unstructured, pods map[string]string) bool {
	if obj.GetKind() != serviceKind || obj.GroupVersionKind().Group != corev1.GroupName {
		return false
	}
	selector, _, err := unstructured.NestedStringMap(obj.Object, "spec", "selector")
	return err == nil && len(selector) > 0 && labels.SelectorFromSet(selector).Matches(labels.Set(pods))
}

// ready counts the pods that the EndpointSlices of a Service list as ready, each once though it
// may have addresses of two families.
func (r Reader) ready(ctx context.Context, service *unstructured.Unstructured) (int32, error) {
	list, err := r.slices(ctx, service)
	if err != nil {
		return 0, err
	}
	type pod struct{ uid, address string }
	listed := map[pod]bool{}
	for i := range list {
		for _, e := range list[i].Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			switch {
			case e.TargetRef != nil:
				listed[pod{uid: string(e.TargetRef.UID)}] = true
			case len(e.Addresses) > 0:
				listed[pod{address: e.Addresses[0]}] = true
			}
		}
	}
	return int32(len(listed)), nil //nolint:gosec // far fewer pods than that
}

// slices are the EndpointSlices of a Service. What is returned is not to be changed.
func (r Reader) slices(ctx context.Context, service *unstructured.Unstructured) ([]discoveryv1.EndpointSlice, error) {
	var list discoveryv1.EndpointSliceList
	if err := r.Live.List(ctx, &list, client.InNamespace(service.GetNamespace()),
		client.MatchingLabels{discoveryv1.LabelServiceName: service.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the EndpointSlices of Service %s/%s: %w", service.GetNamespace(), service.GetName(), err)
	}
	return list.Items, nil
}
