package manifest

import (
	"fmt"
	stdmaps "maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/plan"
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

// Route returns the object that spreads the requests as it is applied in phase: the base
// route, in which each reference to a Service of a set is split into one for each set that
// has a share. References of weight 0 are left out, so that none ever names a Service that
// is not there yet or no longer. Where there is no stable revision, weight 0 leaves no
// reference at all and the gateway answers with an error status.
//
// For testers each rule that is split has another one before it, with the matches of both
// and with the new revision alone. A mirror copies from each rule that is split.
//
// With all of the requests on the new revision, its own route may differ from the base of the
// stable one in nothing but the digest. Then it is that already, and its promotion no write.
func Route(s Sides, spec v1alpha1.RolloutSpec, phase v1alpha1.RolloutPhase, release *v1alpha1.Release, e plan.Exposure) (*unstructured.Unstructured, error) {
	out, err := routeIn(s, spec, phase, release, e)
	forward := phase == v1alpha1.RolloutPending || phase == v1alpha1.RolloutProgressing
	if err != nil || !forward || spec.Stable == nil || e != (plan.Exposure{Weight: fullWeight}) {
		return out, err
	}
	own, err := routeIn(s, spec, v1alpha1.RolloutPromoting, release, e)
	if err != nil || !sameButDigest(out, own) {
		return out, nil //nolint:nilerr // what stops the promotion is said when it comes to it
	}
	return own, nil
}

// sameButDigest compares two objects as they are applied, but for the digest of what they were
// made from.
func sameButDigest(a, b *unstructured.Unstructured) bool {
	said := func(o *unstructured.Unstructured) map[string]any {
		out := o.DeepCopy()
		annotations := out.GetAnnotations()
		delete(annotations, AnnotationAppliedDigest)
		out.SetAnnotations(annotations)
		return out.Object
	}
	return equality.Semantic.DeepEqual(said(a), said(b))
}

// routeIn is Route with the base of the phase.
func routeIn(s Sides, spec v1alpha1.RolloutSpec, phase v1alpha1.RolloutPhase, release *v1alpha1.Release, e plan.Exposure) (*unstructured.Unstructured, error) {
	base := BaseRoute(s, spec, phase)
	if base == nil || base.Route == nil {
		return nil, fmt.Errorf("making the route of %s: no rendered route to start from", release.Name)
	}
	// The digest is of the base, so it stays while the weights change.
	out, err := Wanted(base.Route, release)
	if err != nil {
		return nil, err
	}
	d := dialectOf(out)
	if d == nil {
		return out, selectShare(out, spec, e)
	}
	fail := func(err error) error {
		return fmt.Errorf("making the rules of %s: %w", described(out), err)
	}
	split := splitter{dialect: d, spec: spec, base: base.Revision, exposure: e}
	if err := split.prepare(s); err != nil {
		return nil, fail(err)
	}
	rules, _, err := unstructured.NestedSlice(out.Object, d.rulesPath()...)
	if err != nil {
		return nil, fail(err)
	}
	made := make([]any, 0, len(rules))
	for i := range rules {
		rule, ok := rules[i].(map[string]any)
		if !ok {
			return nil, fail(fmt.Errorf("rule %d is not an object", i))
		}
		all, err := split.rule(rule)
		if err != nil {
			return nil, fail(fmt.Errorf("rule %d: %w", i+1, err))
		}
		made = append(made, all...)
	}
	if err := d.fits(made); err != nil {
		return nil, fail(err)
	}
	if err := unstructured.SetNestedSlice(out.Object, made, d.rulesPath()...); err != nil {
		return nil, fail(err)
	}
	return out, nil
}

// splitter turns rules of the base route into those that are wanted.
type splitter struct {
	dialect
	spec     v1alpha1.RolloutSpec
	base     string
	exposure plan.Exposure
	// stable and canary are the references of the two revisions, by stem.
	stable, canary map[string]map[string]any
	// testers are the matches of the step whose header route is wanted.
	testers []alternative
	// percent is what is mirrored, 0 for nothing.
	percent int32
}

// prepare reads the steps that the exposure names, and the sides.
func (s *splitter) prepare(sides Sides) error {
	if sides.Stable != nil {
		s.stable = referencesOf(s.dialect, s.spec, sides.Stable)
	}
	if sides.Canary != nil {
		s.canary = referencesOf(s.dialect, s.spec, sides.Canary)
	}
	if n := s.exposure.Header; n != 0 {
		step := stepOf(s.spec, n)
		if step == nil || step.SetHeaderRoute == nil {
			return fmt.Errorf("wanted the header route of step %d, found that the step has none", n)
		}
		testers, err := alternatives(s.dialect, step.SetHeaderRoute)
		if err != nil {
			return fmt.Errorf("step %d: %w", n, err)
		}
		s.testers = testers
	}
	if n := s.exposure.Mirror; n != 0 {
		step := stepOf(s.spec, n)
		if step == nil || step.SetMirrorRoute == nil {
			return fmt.Errorf("wanted the mirror route of step %d, found that the step has none", n)
		}
		s.percent = step.SetMirrorRoute.Percent
	}
	return nil
}

// stepOf returns a step by its number, nil where there is none.
func stepOf(spec v1alpha1.RolloutSpec, number int32) *v1alpha1.Step {
	steps := plan.Walked(spec)
	if number < 1 || int(number) > len(steps) {
		return nil
	}
	return &steps[number-1]
}

// rule returns what a rule of the base route becomes: itself, split, and the one for testers
// before it.
func (s *splitter) rule(rule map[string]any) ([]any, error) {
	refs, found := rule[s.refsKey()].([]any)
	if !found {
		return []any{rule}, nil
	}
	tester, err := s.tester(rule, maps(refs))
	if err != nil {
		return nil, err
	}
	var mirrored map[string]any
	out := make([]any, 0, len(refs)+2)
	for _, ref := range maps(refs) {
		stem, ofSet := stemIn(s.spec, s.service(ref), s.base)
		if !ofSet {
			out = append(out, ref)
			continue
		}
		out = append(out, s.reference(ref, stem, len(refs))...)
		if to := s.canary[stem]; to != nil && mirrored == nil {
			mirrored = to
		}
	}
	if s.percent > 0 && mirrored != nil {
		s.mirror(rule, mirrored, s.percent)
	}
	if len(out) == 0 {
		delete(rule, s.refsKey())
		s.silence(rule)
	} else {
		rule[s.refsKey()] = out
	}
	if tester != nil {
		return []any{tester, rule}, nil
	}
	return []any{rule}, nil
}

// tester returns the rule that takes the requests of testers from rule, nil where there are
// none to be taken.
func (s *splitter) tester(rule map[string]any, refs []map[string]any) (map[string]any, error) {
	var to []any
	for _, ref := range refs {
		stem, ofSet := stemIn(s.spec, s.service(ref), s.base)
		if theirs := s.canary[stem]; ofSet && theirs != nil {
			to = append(to, s.weighted(theirs, s.share(ref, len(refs))*fullWeight)...)
		}
	}
	var matches []any
	for _, match := range matchesOf(s.dialect, rule) {
		for _, one := range s.testers {
			all, err := merge(s.conditions(match), one)
			switch {
			case err == errNever: //nolint:errorlint // never wrapped there
				continue
			case err != nil:
				return nil, err
			}
			both := stdmaps.Clone(match)
			s.require(both, all)
			matches = append(matches, both)
		}
	}
	if len(to) == 0 || len(matches) == 0 {
		return nil, nil //nolint:nilnil // no rule is an answer
	}
	out := stdmaps.Clone(rule)
	delete(out, "name") // must be unique in a route
	out[s.matchKey()] = matches
	out[s.refsKey()] = to
	return out, nil
}

// share is the weight that the template gave a reference, which counts only beside others in
// the same rule.
func (s *splitter) share(ref map[string]any, beside int) int64 {
	if beside > 1 {
		return s.weight(ref, beside)
	}
	return 1
}

// reference splits ref.
func (s *splitter) reference(ref map[string]any, stem string, beside int) []any {
	share := s.share(ref, beside)
	canary, baseline := int64(s.exposure.Weight), int64(s.exposure.Baseline)
	stable := max(0, fullWeight-canary-baseline)
	switch {
	case InPlace(s.spec):
		return s.weighted(ref, share*fullWeight)
	case s.spec.Stable == nil:
		return s.weighted(ref, share*canary)
	case s.stable[stem] == nil, s.canary[stem] == nil:
		// Only one of the revisions has this Service; there is nothing to split.
		return s.weighted(ref, share*fullWeight)
	}
	fresh := stdmaps.Clone(s.stable[stem])
	s.rename(fresh, s.service(fresh)+BaselineSuffix)
	return slices.Concat(
		s.weighted(s.stable[stem], share*stable),
		s.weighted(s.canary[stem], share*canary),
		s.weighted(fresh, share*baseline))
}

func (s *splitter) weighted(ref map[string]any, weight int64) []any {
	if weight == 0 {
		return nil
	}
	out := make(map[string]any, len(ref)+1)
	stdmaps.Copy(out, ref)
	out["weight"] = weight
	return []any{out}
}

// referencesOf returns the first reference to each Service of the revision in its own
// route, by the Service's name without the revision.
func referencesOf(d dialect, spec v1alpha1.RolloutSpec, r *render.Result) map[string]map[string]any {
	out := map[string]map[string]any{}
	if r.Route == nil || dialectOf(r.Route) != d {
		return out
	}
	for _, rule := range rulesOf(d, r.Route) {
		for _, ref := range maps(rule[d.refsKey()]) {
			stem, ofSet := stemIn(spec, d.service(ref), r.Revision)
			if ofSet && out[stem] == nil {
				out[stem] = ref
			}
		}
	}
	return out
}

// stemOf returns the name of a Service without the suffix of revision, and whether it has
// that suffix.
func stemOf(service, revision string) (string, bool) {
	if revision == "" {
		return "", false
	}
	return strings.CutSuffix(service, "-"+revision)
}
