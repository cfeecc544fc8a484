package main

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestReplicasAreThePodsOfTheManager(t *testing.T) {
	labels := map[string]string{"app.kubernetes.io/name": "tidegate", "app.kubernetes.io/component": "manager"}
	pod := func(namespace, name string, labels map[string]string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
	}
	c := fake.NewClientBuilder().WithObjects(pod("tidegate", "a", labels), pod("tidegate", "b", labels), pod("tidegate", "other", nil), pod("shop", "c", labels)).Build()
	clock := testclock.NewFakeClock(time.Unix(1e9, 0))
	for name, want := range map[string][]string{"a": {"a", "b"}, "laptop": nil} {
		r := &replicas{reader: c, clock: clock, namespace: "tidegate", name: name}
		got, err := r.All(t.Context())
		if err != nil || !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("replica %s: %v, %v", name, got, err)
		}
	}
	r := &replicas{reader: c, clock: clock, namespace: "tidegate", name: "a"}
	if _, err := r.All(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), pod("tidegate", "b", nil)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		after time.Duration
		want  int
	}{{replicasAge / 2, 2}, {replicasAge, 1}} {
		clock.Step(tc.after)
		if got, err := r.All(t.Context()); err != nil || len(got) != tc.want {
			t.Errorf("after %s: %v, %v", tc.after, got, err)
		}
	}
}
