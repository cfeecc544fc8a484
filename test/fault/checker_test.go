package fault

import (
	"encoding/json"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestCheckerSees gives the checker logs of what must never be, each one write away from one that
// is good.
func TestCheckerSees(t *testing.T) {
	for name, c := range map[string]struct {
		// last is what is written after v1 serves and v2 has passed its first step.
		last []client.Object
		want string
	}{
		"a good rise is fine":                          {[]client.Object{second(50, true, ""), split(50)}, ""},
		"a fall needs nobody's leave":                  {[]client.Object{split(0)}, ""},
		"what served before may serve again":           {[]client.Object{second(0, true, v1alpha1.RolloutAborting), split(0)}, ""},
		"what was replaced may not serve again":        {[]client.Object{second(100, true, ""), split(100), second(100, true, v1alpha1.RolloutSucceeded), split(0)}, "has replaced it"},
		"a rise above what is approved":                {[]client.Object{second(20, true, ""), split(50)}, "I4"},
		"a rise before it is approved":                 {[]client.Object{split(50), second(50, true, "")}, "I4"},
		"an approval without a pass":                   {[]client.Object{second(50, false, "")}, "I2"},
		"a rise after an abort":                        {[]client.Object{second(20, true, v1alpha1.RolloutAborting), split(0), split(20)}, "I3"},
		"an aborted Rollout that goes on":              {[]client.Object{second(20, true, v1alpha1.RolloutAborted), second(20, true, v1alpha1.RolloutProgressing)}, "I3"},
		"a rise without enough pods":                   {[]client.Object{second(50, true, ""), pods("v2", "v2", 1), split(100)}, "I1"},
		"traffic for a set that loses its pods":        {[]client.Object{pods("v1", "v1", 0)}, "I1"},
		"a verdict on something else":                  {[]client.Object{verdictOn("sha256:other")}, "I4"},
		"pods that run something else than was judged": {[]client.Object{pods("v2", "evil", 2)}, "I4"},
		"another number of pods, noted, is fine":       {[]client.Object{sized("sha256:four", 2, "sha256:v2")}, ""},
		"what is pinned has changed":                   {[]client.Object{sized("sha256:four", 0, "")}, "what Rollout cart-2 has pinned has changed"},
		"what is pinned has changed under a pretext":   {[]client.Object{sized("sha256:four", 2, "sha256:other")}, "what Rollout cart-2 has pinned has changed"},
		"a revision that nobody asked for":             {[]client.Object{pods("v9", "v9", 2)}, "I4"},
	} {
		t.Run(name, func(t *testing.T) {
			var entries []entry
			for i, o := range append(begun(), c.last...) {
				entries = append(entries, entry{version: uint64(i + 1), object: o})
			}
			got := strings.Join(check(entries).violations, "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// begun is: v1 serves, and v2 has 20 % by an approval.
func begun() []client.Object {
	first := rollout(1, "v1")
	first.Status = v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutProgressing, ApprovedWeight: 100}
	good := first.DeepCopy()
	good.Status.Phase = v1alpha1.RolloutSucceeded
	return []client.Object{
		first, service("v1"), pods("v1", "v1", 2), routed(map[string]int32{"v1": 100}), good,
		second(20, false, ""), service("v2"), pods("v2", "v2", 2), split(20),
	}
}

func rollout(n int64, image string) *v1alpha1.Rollout {
	values, _ := json.Marshal(map[string]any{"image": image})
	weight := func(w int32) v1alpha1.Step { return v1alpha1.Step{SetWeight: &w} }
	return &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Name: release + "-" + string(rune('0'+n)), UID: "a"},
		Spec: v1alpha1.RolloutSpec{
			Number: n, Revision: image, Digest: "sha256:" + image, Replicas: 2, Values: &runtime.RawExtension{Raw: values},
			Strategy: v1alpha1.Strategy{
				Type: v1alpha1.StrategyCanary, Steps: []v1alpha1.Step{weight(20), {Analyze: &v1alpha1.Analyze{}}, weight(50), weight(100)},
			},
		},
	}
}

// second is the Rollout of v2 with an approved weight, and with a pass of the second step or without.
func second(approved int32, passed bool, phase v1alpha1.RolloutPhase) *v1alpha1.Rollout {
	r := rollout(2, "v2")
	r.Spec.Stable = &v1alpha1.StableReference{Rollout: "cart-1", Revision: "v1", Replicas: 2}
	r.Status = v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutProgressing, ApprovedWeight: approved}
	if passed {
		r.Status.Analysis = &v1alpha1.AnalysisRound{Verdict: v1alpha1.VerdictPass, Step: 2, Digest: r.Spec.Digest}
	}
	if phase != "" {
		r.Status.Phase = phase
	}
	if phase == v1alpha1.RolloutAborting || phase == v1alpha1.RolloutAborted {
		r.Status.AbortCause = &v1alpha1.Cause{Code: "TG-X"}
	}
	return r
}

func verdictOn(digest string) *v1alpha1.Rollout {
	r := second(20, true, "")
	r.Status.Analysis.Digest = digest
	return r
}

// sized is the Rollout of v2 with four pods and another digest, which notes a former size unless that is 0.
func sized(digest string, former int32, was string) *v1alpha1.Rollout {
	r := second(20, false, "")
	r.Spec.Digest, r.Spec.Replicas = digest, 4
	if former > 0 {
		r.Spec.Resized = []v1alpha1.FormerSize{{Replicas: former, Digest: was}}
	}
	return r
}

func service(revision string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: release + "-" + revision}}
}

func pods(revision, image string, available int32) *appsv1.Deployment {
	two := int32(2)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: release + "-" + revision},
		Spec: appsv1.DeploymentSpec{Replicas: &two, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelRevision: revision}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Image: image}}},
		}},
		Status: appsv1.DeploymentStatus{AvailableReplicas: available},
	}
}

func split(second int32) *gatewayv1.HTTPRoute {
	return routed(map[string]int32{"v1": 100 - second, "v2": second})
}

func routed(shares map[string]int32) *gatewayv1.HTTPRoute {
	r := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Name: release}, Spec: gatewayv1.HTTPRouteSpec{Rules: []gatewayv1.HTTPRouteRule{{}}}}
	for revision, share := range shares {
		ref := gatewayv1.HTTPBackendRef{}
		ref.Name, ref.Weight = gatewayv1.ObjectName(release+"-"+revision), &share
		r.Spec.Rules[0].BackendRefs = append(r.Spec.Rules[0].BackendRefs, ref)
	}
	return r
}
