package webhook_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

var told = regexp.MustCompile(`"minReplicas":(\d+)`)

// scaledRenderer renders revisions that an autoscaler sizes, from 2 pods to 5.
type scaledRenderer struct{ steppedRenderer }

func (s scaledRenderer) scaler(revision string) *unstructured.Unstructured {
	u := parsed(s.t, strings.Replace(strings.ReplaceAll(cartScaler, "REV", revision), "maxReplicas: 5", "maxReplicas: 5, minReplicas: 2", 1))
	u.SetNamespace("shop")
	return u
}

func (s scaledRenderer) Render(_ context.Context, _ webhook.Source, values []byte, _ render.Context) (*render.Result, error) {
	out := s.of(strings.Trim(string(values), `"`))
	out.Set = append(out.Set, s.scaler(out.Revision))
	return out, nil
}

// TestAnAutoscalerMayKeepThePodsOfASet puts to the gate an autoscaler that leaves a set more pods than was rendered.
func TestAnAutoscalerMayKeepThePodsOfASet(t *testing.T) {
	t.Parallel()
	in := func(phase v1alpha1.RolloutPhase, change func(*v1alpha1.Rollout)) *v1alpha1.Rollout {
		out := stepped(2, newer, plainWalk)
		out.Status.Phase = phase
		if change != nil {
			change(out)
		}
		return out
	}
	going := in(v1alpha1.RolloutProgressing, nil)
	for name, tc := range map[string]struct {
		rollout         *v1alpha1.Rollout
		revision        string
		from, to, wants string
	}{
		"as it was rendered":                  {going, older, "", "", ""},
		"all that it lets the set have":       {going, older, `"minReplicas":2`, `"minReplicas":5`, ""},
		"while the old set is warm":           {in(v1alpha1.RolloutPromoting, nil), older, `"minReplicas":2`, `"minReplicas":4`, ""},
		"on the way back":                     {in(v1alpha1.RolloutAborting, nil), older, `"minReplicas":2`, `"minReplicas":4`, ""},
		"for a moment after that":             {in(v1alpha1.RolloutAborted, nil), older, `"minReplicas":2`, `"minReplicas":4`, ""},
		"more than it lets the set have":      {going, older, `"minReplicas":2`, `"minReplicas":6`, "spec.minReplicas: rendered 2, found 6"},
		"fewer than was rendered":             {going, older, `"minReplicas":2`, `"minReplicas":1`, "spec.minReplicas: rendered 2, found 1"},
		"none":                                {going, older, `"minReplicas":2`, `"minReplicas":0`, "spec.minReplicas"},
		"both bounds":                         {going, older, `"maxReplicas":5,"minReplicas":2`, `"maxReplicas":9,"minReplicas":9`, "spec.maxReplicas"},
		"another workload with it":            {going, older, `"minReplicas":2,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"cart-`, `"minReplicas":4,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"evil-`, "spec.scaleTargetRef.name"},
		"the new set":                         {going, newer, `"minReplicas":2`, `"minReplicas":4`, ""},
		"the new set when all is over":        {in(v1alpha1.RolloutSucceeded, nil), newer, `"minReplicas":2`, `"minReplicas":4`, "spec.minReplicas: rendered 2, found 4"},
		"the new set of one that just begins": {in(v1alpha1.RolloutPending, nil), newer, `"minReplicas":2`, `"minReplicas":4`, ""},
		"the new set with all requests":       {in(v1alpha1.RolloutPromoting, nil), newer, `"minReplicas":2`, `"minReplicas":4`, ""},
		"more than it lets the new set have":  {going, newer, `"minReplicas":2`, `"minReplicas":6`, "spec.minReplicas: rendered 2, found 6"},
		"the new set on its way out":          {in(v1alpha1.RolloutAborting, nil), newer, `"minReplicas":2`, `"minReplicas":4`, "spec.minReplicas: rendered 2, found 4"},
		"the new set after an abort":          {in(v1alpha1.RolloutAborted, nil), newer, `"minReplicas":2`, `"minReplicas":4`, "spec.minReplicas: rendered 2, found 4"},
		"an old set that is to be gone":       {in(v1alpha1.RolloutSucceeded, nil), older, `"minReplicas":2`, `"minReplicas":4`, "spec.minReplicas: rendered 2, found 4"},
		"an old set that is to give up pods":  {in(v1alpha1.RolloutProgressing, func(r *v1alpha1.Rollout) { r.Spec.Strategy.DynamicStableScale = true }), older, `"minReplicas":2`, `"minReplicas":4`, "spec.minReplicas"},
		"a workload that is changed in place": {in(v1alpha1.RolloutProgressing, func(r *v1alpha1.Rollout) { r.Spec.Strategy.Type = v1alpha1.StrategyRolling }), older, `"minReplicas":2`, `"minReplicas":4`, "spec.minReplicas"},
		"what serves again, in the place of what was aborted": {in(v1alpha1.RolloutSucceeded, func(r *v1alpha1.Rollout) {
			was := stepped(1, older, plainWalk).Spec
			r.Spec.Values, r.Spec.Digest, r.Spec.Revision = was.Values, was.Digest, older
		}), older, `"minReplicas":2`, `"minReplicas":4`, ""},
		"what serves, though nothing is to take its place": {nil, older, `"minReplicas":2`, `"minReplicas":4`, "spec.minReplicas"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			renders := scaledRenderer{steppedRenderer{t: t, route: cartRoute}}
			rollouts := []*v1alpha1.Rollout{stepped(1, older, plainWalk)}
			rollouts[0].Status.Phase = v1alpha1.RolloutSucceeded
			if tc.rollout != nil {
				rollouts = append(rollouts, tc.rollout)
			}
			code := int32(200)
			if tc.wants != "" {
				code = 403
			}
			scaler := renders.scaler(tc.revision)
			if told := told.FindStringSubmatch(tc.to); told != nil {
				scaler.SetAnnotations(map[string]string{"tidegate.io/least": told[1]})
			}
			put(t, gated(t, renders, rollouts...), "autoscaling/horizontalpodautoscalers", scaler, tc.from, tc.to, code, tc.wants)
		})
	}
}
