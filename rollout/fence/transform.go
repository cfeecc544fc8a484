package fence

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// KeepFields is a transform of a cache: of the managed fields of an object it keeps what manager
// has applied last, by which a foreign change of one of these fields is seen, and who else has
// written the object since then, without the fields; see Touched.
func KeepFields(manager string) func(any) (any, error) {
	return func(in any) (any, error) {
		obj, err := meta.Accessor(in)
		if err != nil {
			return in, nil //nolint:nilerr // no object, such as a tombstone: nothing to take away
		}
		own := func(e *metav1.ManagedFieldsEntry) bool {
			return e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
		}
		var kept []metav1.ManagedFieldsEntry
		var applied *metav1.Time
		entries := obj.GetManagedFields()
		for i := range entries {
			if own(&entries[i]) {
				kept, applied = append(kept, entries[i]), entries[i].Time
			}
		}
		for i := range entries {
			e := &entries[i]
			if !own(e) && e.Subresource != "status" && applied != nil && !e.Time.Before(applied) {
				kept = append(kept, metav1.ManagedFieldsEntry{Manager: e.Manager, Operation: e.Operation, Subresource: e.Subresource, Time: e.Time})
			}
		}
		obj.SetManagedFields(kept)
		return in, nil
	}
}

// KeepReady is a transform of a cache for EndpointSlices: of each endpoint it keeps which pod it is,
// or an address where it says of none, and whether it is ready.
func KeepReady(in any) (any, error) {
	slice, ok := in.(*discoveryv1.EndpointSlice)
	if !ok {
		return in, nil
	}
	slice.ManagedFields, slice.Annotations, slice.Ports = nil, nil, nil
	for i := range slice.Endpoints {
		e := &slice.Endpoints[i]
		kept := discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: e.Conditions.Ready}}
		if ref := e.TargetRef; ref != nil {
			kept.TargetRef = &corev1.ObjectReference{Kind: ref.Kind, UID: ref.UID}
		} else if len(e.Addresses) > 0 {
			kept.Addresses = e.Addresses[:1:1]
		}
		slice.Endpoints[i] = kept
	}
	return in, nil
}

// Touched says of an object from a cache with KeepFields or KeepSizes whether anybody else may
// have written it since manager applied it last, its status aside. It tells what to look at
// first, not what to do: times are whole seconds, and most who write change nothing that matters.
func Touched(obj client.Object, manager string) bool {
	entries := obj.GetManagedFields()
	for i := range entries {
		if entries[i].Manager != manager || entries[i].Operation != metav1.ManagedFieldsOperationApply {
			return true
		}
	}
	return len(entries) == 0
}

// KeepSizes is KeepFields for workloads, of whose pods it keeps no more than the labels: most of
// a workload is what its pods are made from, which nobody reads here. What is as it was applied
// is seen by the digest and by who owns the fields. So nobody may write what a cache with this
// gives out; it would take the pods away, which the API server refuses.
func KeepSizes(manager string) func(any) (any, error) {
	fields := KeepFields(manager)
	return func(in any) (any, error) {
		switch o := in.(type) {
		case *appsv1.Deployment:
			bare(&o.Spec.Template)
		case *appsv1.StatefulSet:
			bare(&o.Spec.Template)
			o.Spec.VolumeClaimTemplates = nil
		case *appsv1.DaemonSet:
			bare(&o.Spec.Template)
		}
		return fields(in)
	}
}

func bare(template *corev1.PodTemplateSpec) {
	*template = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: template.Labels}}
}
