package manifest

import (
	"fmt"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// fullWeight is all of the requests, in percent.
const fullWeight = 100

// Promoted says whether the route is the new revision's own in phase: its matches,
// filters and hostnames change hands together with the last of the traffic.
func Promoted(phase v1alpha1.RolloutPhase) bool {
	return phase == v1alpha1.RolloutPromoting || phase == v1alpha1.RolloutSucceeded
}

// BaseRoute returns the side whose route, weights aside, is wanted in phase: the stable
// revision's until the new one is promoted, since a change of hostnames or matches
// concerns every request at once.
func BaseRoute(s Sides, spec v1alpha1.RolloutSpec, phase v1alpha1.RolloutPhase) *render.Result {
	aborted := phase == v1alpha1.RolloutAborting || phase == v1alpha1.RolloutAborted
	switch {
	case spec.Stable == nil, Promoted(phase), InPlace(spec) && !aborted:
		return s.Canary
	}
	return s.Stable
}

// Route returns the HTTPRoute as it is applied in phase with weight percent of the
// requests for the canary: the base route, in which each reference to a Service of a set
// is split into one for the stable and one for the canary revision. References of weight
// 0 are left out, so that none ever names a Service that is not there yet or no longer.
// Where there is no stable revision, weight 0 leaves no reference at all and the gateway
// answers with an error status.
func Route(s Sides, spec v1alpha1.RolloutSpec, phase v1alpha1.RolloutPhase, release *v1alpha1.Release, weight int32) (*unstructured.Unstructured, error) {
	base := BaseRoute(s, spec, phase)
	if base == nil || base.Route == nil {
		return nil, fmt.Errorf("making the route of %s: no rendered route to start from", release.Name)
	}
	// The digest is of the base, so it stays while the weights change.
	out, err := Wanted(base.Route, release)
	if err != nil {
		return nil, err
	}
	rules, _, err := unstructured.NestedSlice(out.Object, "spec", "rules")
	if err != nil {
		return nil, fmt.Errorf("reading the rules of HTTPRoute %s: %w", out.GetName(), err)
	}
	split := splitter{spec: spec, base: base.Revision, weight: weight}
	if s.Stable != nil {
		split.stable = referencesOf(s.Stable)
	}
	if s.Canary != nil {
		split.canary = referencesOf(s.Canary)
	}
	for i := range rules {
		rule, ok := rules[i].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("reading the rules of HTTPRoute %s: rule %d is not an object", out.GetName(), i)
		}
		split.rule(rule)
	}
	if err := unstructured.SetNestedSlice(out.Object, rules, "spec", "rules"); err != nil {
		return nil, fmt.Errorf("writing the rules of HTTPRoute %s: %w", out.GetName(), err)
	}
	return out, nil
}

// splitter turns references of the base route into weighted ones.
type splitter struct {
	spec           v1alpha1.RolloutSpec
	base           string
	weight         int32
	stable, canary map[string]map[string]any
}

func (s splitter) rule(rule map[string]any) {
	refs, found := rule["backendRefs"].([]any)
	if !found {
		return
	}
	out := make([]any, 0, len(refs)+1)
	for _, each := range refs {
		ref, ok := each.(map[string]any)
		if !ok {
			continue
		}
		stem, ofSet := stemOf(ref, s.base)
		if !ofSet {
			out = append(out, ref)
			continue
		}
		out = append(out, s.reference(ref, stem, len(refs) > 1)...)
	}
	if len(out) == 0 {
		delete(rule, "backendRefs")
		return
	}
	rule["backendRefs"] = out
}

// reference splits ref. A weight that the template gave it counts only beside others in
// the same rule.
func (s splitter) reference(ref map[string]any, stem string, beside bool) []any {
	share := int64(1)
	if beside {
		share = weightOf(ref)
	}
	stable, canary := int64(fullWeight-s.weight), int64(s.weight)
	switch {
	case InPlace(s.spec):
		return weighted(ref, share*fullWeight)
	case s.spec.Stable == nil:
		return weighted(ref, share*canary)
	case s.stable[stem] == nil:
		// Only one of the revisions has this Service; there is nothing to split.
		return weighted(ref, share*fullWeight)
	case s.canary[stem] == nil:
		return weighted(ref, share*fullWeight)
	}
	return append(weighted(s.stable[stem], share*stable), weighted(s.canary[stem], share*canary)...)
}

func weighted(ref map[string]any, weight int64) []any {
	if weight == 0 {
		return nil
	}
	out := make(map[string]any, len(ref)+1)
	maps.Copy(out, ref)
	out["weight"] = weight
	return []any{out}
}

// referencesOf returns the first reference to each Service of the revision in its own
// route, by the Service's name without the revision.
func referencesOf(r *render.Result) map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, refs := range rulesOf(r.Route) {
		for _, ref := range refs {
			stem, ofSet := stemOf(ref, r.Revision)
			if ofSet && out[stem] == nil {
				out[stem] = ref
			}
		}
	}
	return out
}

// stemOf returns the name of the Service that ref names without the suffix of revision,
// and whether it has that suffix.
func stemOf(ref map[string]any, revision string) (string, bool) {
	name, ok := ref["name"].(string)
	if !ok || revision == "" {
		return "", false
	}
	return strings.CutSuffix(name, "-"+revision)
}

// weightOf returns the weight of ref; the API's default is 1.
func weightOf(ref map[string]any) int64 {
	switch w := ref["weight"].(type) {
	case int64:
		return w
	case int32:
		return int64(w)
	case int:
		return int64(w)
	case float64:
		return int64(w)
	default:
		return 1
	}
}

// rulesOf returns the references of each rule of route.
func rulesOf(route *unstructured.Unstructured) [][]map[string]any {
	if route == nil {
		return nil
	}
	rules, _, _ := unstructured.NestedFieldNoCopy(route.Object, "spec", "rules")
	list, _ := rules.([]any)
	out := make([][]map[string]any, 0, len(list))
	for _, each := range list {
		rule, _ := each.(map[string]any)
		refs, _ := rule["backendRefs"].([]any)
		var kept []map[string]any
		for _, r := range refs {
			if ref, ok := r.(map[string]any); ok {
				kept = append(kept, ref)
			}
		}
		out = append(out, kept)
	}
	return out
}

// CanaryWeight returns the percentage of requests that route gives to the Services of the
// canary revision. Where its rules do not agree it is the greatest, rounded up: the
// exposure that has to be answered for. SameBackends tells whether the rules are as
// wanted at that weight.
func CanaryWeight(route *unstructured.Unstructured, spec v1alpha1.RolloutSpec) int32 {
	var weight int32
	for _, refs := range rulesOf(route) {
		var canary, total int64
		for _, ref := range refs {
			w := weightOf(ref)
			total += w
			if _, ok := stemOf(ref, spec.Revision); ok {
				canary += w
			}
		}
		if total > 0 {
			weight = max(weight, int32((canary*fullWeight+total-1)/total)) //nolint:gosec // 0 to 100
		}
	}
	return weight
}

// Carries says whether route gives any requests to a Service of revision.
func Carries(route *unstructured.Unstructured, revision string) bool {
	for _, refs := range rulesOf(route) {
		for _, ref := range refs {
			if _, ok := stemOf(ref, revision); ok && weightOf(ref) > 0 {
				return true
			}
		}
	}
	return false
}

// SameBackends says whether the rules of the two routes name the same Services and ports
// with the same weights, in the same order.
func SameBackends(live, want *unstructured.Unstructured) bool {
	a, b := rulesOf(live), rulesOf(want)
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if len(a[i]) != len(b[i]) {
			return false
		}
		for j := range a[i] {
			if a[i][j]["name"] != b[i][j]["name"] || weightOf(a[i][j]) != weightOf(b[i][j]) ||
				!equalJSON(a[i][j]["port"], b[i][j]["port"]) {
				return false
			}
		}
	}
	return true
}

// WithoutCanary returns a copy of live in which the canary revision has no weight, made
// from nothing but live and spec. It is how an abort takes the traffic away when the
// revisions cannot be rendered any more. It fails when a rule would be left without any
// weight though there is a stable revision.
func WithoutCanary(live *unstructured.Unstructured, spec v1alpha1.RolloutSpec) (*unstructured.Unstructured, error) {
	out := live.DeepCopy()
	rules, _, err := unstructured.NestedSlice(out.Object, "spec", "rules")
	if err != nil {
		return nil, fmt.Errorf("reading the rules of HTTPRoute %s: %w", live.GetName(), err)
	}
	for i := range rules {
		rule, _ := rules[i].(map[string]any)
		refs, _ := rule["backendRefs"].([]any)
		var kept []any
		for _, each := range refs {
			ref, _ := each.(map[string]any)
			if _, ofCanary := stemOf(ref, spec.Revision); !ofCanary {
				kept = append(kept, each)
				continue
			}
			if spec.Stable == nil {
				continue
			}
			name, _ := ref["name"].(string)
			stable := strings.TrimSuffix(name, spec.Revision) + spec.Stable.Revision
			if !names(refs, stable) {
				// All of the weight was the canary's.
				moved := weighted(ref, fullWeight)
				moved[0].(map[string]any)["name"] = stable //nolint:forcetypeassert // made by weighted
				kept = append(kept, moved...)
			}
		}
		if len(kept) == 0 {
			delete(rule, "backendRefs")
		} else {
			rule["backendRefs"] = kept
		}
	}
	if err := unstructured.SetNestedSlice(out.Object, rules, "spec", "rules"); err != nil {
		return nil, fmt.Errorf("writing the rules of HTTPRoute %s: %w", live.GetName(), err)
	}
	return out, nil
}

func names(refs []any, name string) bool {
	for _, each := range refs {
		if ref, ok := each.(map[string]any); ok && ref["name"] == name {
			return true
		}
	}
	return false
}
