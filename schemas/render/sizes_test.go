package render

import "testing"

func TestWhatDiffersInSizeAlone(t *testing.T) {
	t.Parallel()
	plain := edit(t)
	scaled := edit(t, "replicas: values.replicas\n", "", "rollout: {", `objects: scaler: {
	apiVersion: "autoscaling/v2"
	kind:       "HorizontalPodAutoscaler"
	metadata: name: _set
	spec: {minReplicas: values.replicas, maxReplicas: 3 * values.replicas, scaleTargetRef: {apiVersion: "apps/v1", kind: "Deployment", name: _set}}
}
rollout: {`)
	counted := edit(t, "rollout: {", `objects: config: {apiVersion: "v1", kind: "ConfigMap", metadata: name: context.name, data: pods: "\(values.replicas)"}
rollout: {`)
	budgeted := edit(t, "rollout: {", `objects: budget: {apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata: name: _set, spec: {minAvailable: values.replicas - 1, selector: matchLabels: _pods}}
rollout: {`)
	stepped := edit(t, "setWeight: 10", "setWeight: 10 + values.replicas")
	for name, c := range map[string]struct {
		source, was, is string
		same            bool
	}{
		"the number of pods":                  {plain, `{"image":"a","replicas":4}`, `{"image":"a","replicas":8}`, true},
		"a number that was not said before":   {plain, `{"image":"a"}`, `{"image":"a","replicas":8}`, true},
		"the bounds of an autoscaler":         {scaled, `{"image":"a","replicas":4}`, `{"image":"a","replicas":8}`, true},
		"nothing at all":                      {plain, `{"image":"a"}`, `{"image":"a","replicas":2}`, true},
		"the image too":                       {plain, `{"image":"a","replicas":4}`, `{"image":"b","replicas":8}`, false},
		"a variable too":                      {plain, `{"image":"a","replicas":4}`, `{"image":"a","replicas":8,"env":{"A":"b"}}`, false},
		"a shared object that counts":         {counted, `{"image":"a","replicas":4}`, `{"image":"a","replicas":8}`, false},
		"how many pods may be missing":        {budgeted, `{"image":"a","replicas":4}`, `{"image":"a","replicas":8}`, false},
		"a step that is made of their number": {stepped, `{"image":"a","replicas":4}`, `{"image":"a","replicas":8}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template := compile(t, c.source)
			was, is := render(t, template, c.was, cart), render(t, template, c.is, cart)
			before := text(t, was) + text(t, is)
			if got := SameButSizes(was, is); got != c.same || SameButSizes(is, was) != c.same || !SameButSizes(was, was) {
				t.Errorf("the same but for sizes: %t, want %t", got, c.same)
			}
			if text(t, was)+text(t, is) != before {
				t.Error("what is compared is changed")
			}
		})
	}
}
