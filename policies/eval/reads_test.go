package eval_test

import (
	"testing"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestOnlyAPolicyThatMayLookAtMeasurementsNeedsThem(t *testing.T) {
	at := []v1alpha1.PolicyMoment{v1alpha1.AtPromotion}
	rollouts := v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: "tidegate.io", Kinds: []string{"Rollout"}}}}
	rego := func(body string) eval.Source {
		return eval.Source{Name: "p", At: at, Match: rollouts, Rego: "package p\ndeny contains \"x\" if { " + body + " }"}
	}
	for name, c := range map[string]struct {
		source eval.Source
		want   bool
	}{
		"one that looks at something else":      {rego(`input.rollout.weight > 5`), false},
		"one that names them":                   {rego(`input.measurements["main/left"] < 1`), true},
		"one that names them in brackets":       {rego(`input["measurements"][_] < 1`), true},
		"one that names them inside of another": {rego(`input.rollout[input.measurements.x]`), true},
		"one that takes a part by a variable":   {rego(`some k; input[k] == 1`), true},
		"one that takes the whole input":        {rego(`x := input; x.measurements`), true},
		"one that passes the input on":          {rego(`object.get(input, "measurements", null) == null`), true},
		"one that goes through the input":       {rego(`some _, v in input; v == 1`), true},
		"one whose lib names them": {eval.Source{
			Name: "p", At: at, Match: rollouts, Rego: "package p\nimport data.lib.m\ndeny contains \"x\" if m.low", Libs: []string{"package lib.m\nlow if input.measurements.x < 1"},
		}, true},
		"one that names another part of that name": {rego(`input.rollout.measurements`), false},
		"one that is asked about something else": {
			eval.Source{Name: "p", At: at, Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: "tidegate.io", Kinds: []string{"ReleaseTemplate"}}}}, Rego: "package p\ndeny contains \"x\" if input.measurements.x"}, false,
		},
		"one that is asked at another moment": {eval.Source{Name: "p", Match: rollouts, Rego: "package p\ndeny contains \"x\" if input.measurements.x"}, false},
		"one in CUE may":                      {eval.Source{Name: "p", At: at, Match: rollouts, CUE: "object: kind: string"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			q := eval.Question{Moment: v1alpha1.AtPromotion, Group: "tidegate.io", Kind: "Rollout", Namespace: "shop"}
			if got := eval.NewSet(compile(t, c.source)).Reads(q, eval.PartMeasurements); got != c.want {
				t.Errorf("wanted %t, found %t", c.want, got)
			}
		})
	}
}
