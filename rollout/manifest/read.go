package manifest

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// unasked is the number of a step that there is not: of a mirror that no step has set.
const unasked = -1

// Expected returns the exposure that a route has where everything went as status says.
func Expected(spec v1alpha1.RolloutSpec, status *v1alpha1.RolloutStatus) plan.Exposure {
	levels := plan.Levels(plan.Walked(spec))
	if status.Phase != v1alpha1.RolloutProgressing || InPlace(spec) {
		return plan.Exposure{Weight: status.ApprovedWeight}
	}
	out := levels[min(max(int(status.Step), 0), len(levels)-1)].Exposure
	out.Weight = status.ApprovedWeight
	return out
}

// Exposure returns what live gives to the revisions of spec, and true for a plain Service
// that selects the pods of both, whose weight follows from their numbers.
//
// Weights are percentages among the Services of the revisions, rounded up, and where rules do
// not agree the greatest: the exposure that has to be answered for. The rules that only
// testers reach are told by their matches, and are no weight; a rule that gives requests to
// the new revision and is no step's is. Where several steps say the same, expected decides
// which one it is.
func Exposure(live *unstructured.Unstructured, spec v1alpha1.RolloutSpec, expected plan.Exposure) (e plan.Exposure, split bool) {
	d := dialectOf(live)
	if d == nil {
		return selectedShare(live, spec)
	}
	steps := testerSteps(d, spec)
	for _, rule := range rulesOf(d, live) {
		if to := steps.fit(d, rule, spec.Revision); len(to) > 0 {
			e.Header = choose(e.Header, to, expected.Header)
		} else {
			canary, baseline := sharesOf(d, rule, spec)
			e.Weight = max(e.Weight, canary)
			e.Baseline = max(e.Baseline, baseline)
		}
		for _, m := range d.mirrors(rule) {
			if _, ours := stemOf(m.service, spec.Revision); ours && m.percent > 0 {
				e.Mirror = choose(e.Mirror, mirrorSteps(spec, m.percent), expected.Mirror)
			}
		}
	}
	return e, false
}

// choose returns which of the steps is in force, of which expected may be one. What is not as
// expected in one rule is not made good by another.
func choose(before int32, steps []int32, expected int32) int32 {
	switch {
	case before != 0 && before != expected:
		return before
	case slices.Contains(steps, expected) && expected != 0:
		return expected
	case len(steps) == 0:
		return unasked
	}
	return steps[0]
}

// testers are the matches of header routes by the number of their step.
type testers struct {
	numbers []int32
	matches [][]alternative
}

func testerSteps(d dialect, spec v1alpha1.RolloutSpec) testers {
	var out testers
	for i, step := range plan.Walked(spec) {
		if step.SetHeaderRoute == nil || len(step.SetHeaderRoute.Matches) == 0 {
			continue
		}
		if all, err := alternatives(d, step.SetHeaderRoute); err == nil {
			out.numbers = append(out.numbers, int32(i+1))
			out.matches = append(out.matches, all)
		}
	}
	return out
}

// fit returns the steps whose testers alone reach a rule that has nothing but the revision:
// of those that ask for exactly its matches where there are such, else all.
func (t testers) fit(d dialect, rule map[string]any, revision string) []int32 {
	refs := maps(rule[d.refsKey()])
	carries := false
	for _, ref := range refs {
		w := d.weight(ref, len(refs))
		_, ours := stemOf(d.service(ref), revision)
		if !ours && w > 0 {
			return nil
		}
		carries = carries || w > 0
	}
	if !carries {
		return nil
	}
	var exact, loose []int32
	for i, all := range t.matches {
		used := make([]bool, len(all))
		within := true
		for _, match := range matchesOf(d, rule) {
			at := slices.IndexFunc(all, func(a alternative) bool { return a.within(d.conditions(match)) })
			if at < 0 {
				within = false
				break
			}
			for j, a := range all {
				used[j] = used[j] || a.within(d.conditions(match))
			}
		}
		switch {
		case !within:
		case !slices.Contains(used, false):
			exact = append(exact, t.numbers[i])
		default:
			loose = append(loose, t.numbers[i])
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return loose
}

// mirrorSteps returns the steps that copy percent of the requests.
func mirrorSteps(spec v1alpha1.RolloutSpec, percent int32) []int32 {
	var out []int32
	for i, step := range plan.Walked(spec) {
		if step.SetMirrorRoute != nil && step.SetMirrorRoute.Percent == percent {
			out = append(out, int32(i+1))
		}
	}
	return out
}

// sharesOf returns the percentages that a rule gives to the canary and the baseline revision
// among the Services of all sets.
func sharesOf(d dialect, rule map[string]any, spec v1alpha1.RolloutSpec) (canary, baseline int32) {
	var stableRevision string
	if spec.Stable != nil {
		stableRevision = spec.Stable.Revision
	}
	var ofCanary, ofBaseline, all int64
	refs := maps(rule[d.refsKey()])
	for _, ref := range refs {
		w, service := d.weight(ref, len(refs)), d.service(ref)
		if _, ok := stemIn(spec, service, spec.Revision); ok {
			ofCanary, all = ofCanary+w, all+w
		} else if _, ok := stemOf(service, BaselineRevision(stableRevision)); ok {
			ofBaseline, all = ofBaseline+w, all+w
		} else if _, ok := stemIn(spec, service, stableRevision); ok {
			all += w
		}
	}
	if all <= 0 {
		return 0, 0
	}
	percent := func(part int64) int32 {
		return int32(min((part*fullWeight+all-1)/all, fullWeight)) //nolint:gosec // 0 to 100
	}
	return percent(ofCanary), percent(ofBaseline)
}

// Carries says whether route gives any requests, or copies of them, to a Service of revision.
func Carries(route *unstructured.Unstructured, revision string) bool {
	if dialectOf(route) == nil {
		return selects(route, revision)
	}
	return carries(route, func(service string) bool {
		_, ofSet := stemOf(service, revision)
		return ofSet
	})
}

// carries says whether route gives any requests, or copies of them, to one of the Services.
func carries(route *unstructured.Unstructured, one func(service string) bool) bool {
	d := dialectOf(route)
	for _, rule := range rulesOf(d, route) {
		refs := maps(rule[d.refsKey()])
		for _, ref := range refs {
			if one(d.service(ref)) && d.weight(ref, len(refs)) > 0 {
				return true
			}
		}
		for _, m := range d.mirrors(rule) {
			if one(m.service) && m.percent > 0 {
				return true
			}
		}
	}
	return false
}

// SameRoute compares what Tidegate changes from step to step in two routes, which UpToDate
// leaves out: whom the rules lead to in which shares, with which conditions on headers, and
// what they copy.
func SameRoute(live, want *unstructured.Unstructured) bool {
	d := dialectOf(want)
	if d == nil {
		return sameSelector(live, want)
	}
	return dialectOf(live) == d && slices.EqualFunc(rulesOf(d, live), rulesOf(d, want), func(a, b map[string]any) bool {
		return sameRefs(d, a, b) && sameMatches(d, a, b) && slices.Equal(d.mirrors(a), d.mirrors(b))
	})
}

func sameRefs(d dialect, a, b map[string]any) bool {
	x, y := maps(a[d.refsKey()]), maps(b[d.refsKey()])
	return slices.EqualFunc(x, y, func(p, q map[string]any) bool {
		return d.service(p) == d.service(q) && d.weight(p, len(x)) == d.weight(q, len(y)) && equalJSON(d.port(p), d.port(q))
	})
}

func sameMatches(d dialect, a, b map[string]any) bool {
	return slices.EqualFunc(matchesOf(d, a), matchesOf(d, b), func(p, q map[string]any) bool {
		return slices.EqualFunc(d.conditions(p), d.conditions(q), condition.same)
	})
}

// WithoutCanary returns a copy of live in which the canary revision has no share, made
// from nothing but live and spec. It is how an abort takes the traffic away when the
// revisions cannot be rendered any more. The baseline's share goes with it.
func WithoutCanary(live *unstructured.Unstructured, spec v1alpha1.RolloutSpec) (*unstructured.Unstructured, error) {
	out := live.DeepCopy()
	d := dialectOf(out)
	if d == nil {
		return out, selectShare(out, spec, plan.Exposure{})
	}
	rules, _, err := unstructured.NestedSlice(out.Object, d.rulesPath()...)
	if err != nil {
		return nil, fmt.Errorf("reading the rules of %s: %w", described(live), err)
	}
	steps := testerSteps(d, spec)
	kept := make([]any, 0, len(rules))
	for _, each := range rules {
		rule, _ := each.(map[string]any)
		if len(steps.fit(d, rule, spec.Revision)) > 0 {
			continue
		}
		d.unmirror(rule, func(m mirror) bool {
			_, ours := stemOf(m.service, spec.Revision)
			return ours
		})
		withoutCanary(d, rule, spec)
		kept = append(kept, rule)
	}
	if err := unstructured.SetNestedSlice(out.Object, kept, d.rulesPath()...); err != nil {
		return nil, fmt.Errorf("writing the rules of %s: %w", described(live), err)
	}
	return out, nil
}

// withoutCanary gives what a rule gives to the canary and the baseline to the stable revision.
func withoutCanary(d dialect, rule map[string]any, spec v1alpha1.RolloutSpec) {
	refs := maps(rule[d.refsKey()])
	if len(refs) == 0 {
		return
	}
	var kept []any
	for _, ref := range refs {
		stem, ofCanary := stemIn(spec, d.service(ref), spec.Revision)
		if !ofCanary && spec.Stable != nil {
			stem, ofCanary = stemOf(d.service(ref), BaselineRevision(spec.Stable.Revision))
		}
		switch {
		case !ofCanary:
			kept = append(kept, ref)
		case spec.Stable != nil && !names(d, refs, serviceIn(spec, stem, spec.Stable.Revision)) && !names(d, maps(kept), serviceIn(spec, stem, spec.Stable.Revision)):
			// All of the weight was the canary's.
			d.rename(ref, serviceIn(spec, stem, spec.Stable.Revision))
			ref["weight"] = int64(fullWeight)
			kept = append(kept, ref)
		}
	}
	if len(kept) == 0 {
		delete(rule, d.refsKey())
		d.silence(rule)
		return
	}
	rule[d.refsKey()] = kept
}

func names(d dialect, refs []map[string]any, service string) bool {
	return slices.ContainsFunc(refs, func(ref map[string]any) bool { return d.service(ref) == service })
}
