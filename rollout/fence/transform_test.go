package fence

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestOfAWorkloadItsSizeIsKeptAndNotItsPods(t *testing.T) {
	t.Parallel()
	three := int32(3)
	meta := metav1.ObjectMeta{Name: "cart", Annotations: map[string]string{"digest": "d"}, ManagedFields: []metav1.ManagedFieldsEntry{
		{Manager: "tidegate", Operation: metav1.ManagedFieldsOperationApply}, {Manager: "kubectl", Operation: metav1.ManagedFieldsOperationUpdate},
	}}
	pods := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"revision": "a"}, Annotations: map[string]string{"long": "x"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
	}
	for name, o := range map[string]client.Object{
		"a Deployment":  &appsv1.Deployment{ObjectMeta: *meta.DeepCopy(), Spec: appsv1.DeploymentSpec{Replicas: &three, Template: *pods.DeepCopy()}},
		"a StatefulSet": &appsv1.StatefulSet{ObjectMeta: *meta.DeepCopy(), Spec: appsv1.StatefulSetSpec{Replicas: &three, Template: *pods.DeepCopy(), VolumeClaimTemplates: make([]corev1.PersistentVolumeClaim, 1)}},
		"a DaemonSet":   &appsv1.DaemonSet{ObjectMeta: *meta.DeepCopy(), Spec: appsv1.DaemonSetSpec{Template: *pods.DeepCopy()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := KeepSizes("tidegate")(o); err != nil {
				t.Fatal(err)
			}
			var left corev1.PodTemplateSpec
			replicas := &three
			switch o := o.(type) {
			case *appsv1.Deployment:
				left, replicas = o.Spec.Template, o.Spec.Replicas
			case *appsv1.StatefulSet:
				left, replicas = o.Spec.Template, o.Spec.Replicas
				if o.Spec.VolumeClaimTemplates != nil {
					t.Error("its claims are kept")
				}
			case *appsv1.DaemonSet:
				left = o.Spec.Template
			}
			if left.Labels["revision"] != "a" || left.Annotations != nil || left.Spec.Containers != nil {
				t.Errorf("of the pods are kept %+v, want the labels alone", left)
			}
			if replicas == nil || *replicas != 3 || o.GetAnnotations()["digest"] != "d" {
				t.Errorf("lost what is compared: %v, %v", replicas, o.GetAnnotations())
			}
			if owners := o.GetManagedFields(); len(owners) != 1 || owners[0].Manager != "tidegate" {
				t.Errorf("owners of fields are %v, want tidegate alone", owners)
			}
		})
	}
}

func TestWhoMayHaveTouchedAnObject(t *testing.T) {
	t.Parallel()
	at := func(second int64) *metav1.Time { return new(metav1.Unix(second, 0)) }
	applied := metav1.ManagedFieldsEntry{Manager: "tidegate", Operation: metav1.ManagedFieldsOperationApply, Time: at(10)}
	foreign := func(second int64, subresource string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{
			Manager: "kubectl", Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource, Time: at(second),
			FieldsV1: metav1.NewFieldsV1("{}"),
		}
	}
	for name, c := range map[string]struct {
		entries []metav1.ManagedFieldsEntry
		want    bool
	}{
		"nobody since it was applied":            {[]metav1.ManagedFieldsEntry{applied}, false},
		"somebody before it was applied":         {[]metav1.ManagedFieldsEntry{foreign(9, ""), applied}, false},
		"somebody since":                         {[]metav1.ManagedFieldsEntry{applied, foreign(11, "")}, true},
		"somebody in the same second, as it may": {[]metav1.ManagedFieldsEntry{foreign(10, ""), applied}, true},
		"its size":                               {[]metav1.ManagedFieldsEntry{applied, foreign(11, "scale")}, true},
		"a controller, its status":               {[]metav1.ManagedFieldsEntry{applied, foreign(11, "status")}, false},
		"somebody who took all of it over":       {[]metav1.ManagedFieldsEntry{foreign(11, "")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{ManagedFields: c.entries}}
			if _, err := KeepFields("tidegate")(o); err != nil {
				t.Fatal(err)
			}
			if got := Touched(o, "tidegate"); got != c.want {
				t.Errorf("touched %t, want %t: %v", got, c.want, o.ManagedFields)
			}
			for i := range o.ManagedFields {
				if e := &o.ManagedFields[i]; e.Manager != "tidegate" && e.FieldsV1 != nil {
					t.Errorf("the fields of %s are kept", e.Manager)
				}
			}
		})
	}
}

func TestOfAnEndpointSliceItsPodsAreKept(t *testing.T) {
	t.Parallel()
	ready, not := true, false
	name, node := "pod-a", "node-1"
	full := func(addresses []string, ref *corev1.ObjectReference, ready *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{
			Addresses: addresses, TargetRef: ref, Hostname: &name, NodeName: &node, Zone: &node,
			Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: &not, Terminating: &not},
		}
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: "a", Labels: map[string]string{discoveryv1.LabelServiceName: "cart"},
			Annotations: map[string]string{"endpoints": "x"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "x"}},
		},
		Ports: []discoveryv1.EndpointPort{{Name: &name}},
		Endpoints: []discoveryv1.Endpoint{
			full([]string{"10.0.0.1"}, &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: "a", UID: "1"}, &ready),
			full([]string{"10.0.0.2", "10.0.0.3"}, nil, &not),
			full(nil, nil, nil),
		},
	}
	if _, err := KeepReady(slice); err != nil {
		t.Fatal(err)
	}
	want := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{discoveryv1.LabelServiceName: "cart"}},
		Endpoints: []discoveryv1.Endpoint{
			{TargetRef: &corev1.ObjectReference{Kind: "Pod", UID: "1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}},
			{Addresses: []string{"10.0.0.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &not}},
			{},
		},
	}
	if diff := cmp.Diff(want, slice); diff != "" {
		t.Errorf("kept otherwise (-want +got):\n%s", diff)
	}
}
