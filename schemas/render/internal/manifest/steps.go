package manifest

import (
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

var (
	hookName   = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$")
)

// stepKinds are the fields of a step, of which each step has one, as JSON has them.
func stepKinds() []string {
	var out []string
	for f := range reflect.TypeFor[v1alpha1.Step]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, name)
	}
	return out
}

// kindsOf are those of them that a step sets.
func kindsOf(s v1alpha1.Step) []string {
	var out []string
	v := reflect.ValueOf(s)
	for i, name := range stepKinds() {
		if !v.Field(i).IsZero() {
			out = append(out, name)
		}
	}
	return out
}

// walk is what the steps up to one have set.
type walk struct {
	weight, scale  int32
	header, mirror bool
	baseline       bool
	analyzed       bool
}

// steps checks the steps one by one, each against what those before it have set.
func (c *checker) steps(s v1alpha1.Strategy) {
	if n := len(s.Steps); n > maxSteps {
		c.failf("rollout.steps", "wanted at most %d steps, found %d", maxSteps, n)
		return
	} else if n == maxSteps && !whole(s) {
		c.failf("rollout.steps", "wanted at most %d steps where none of them brings the weight to %d, since that comes after the last, found %d", maxSteps-1, fullExposure, n)
	}
	if s.Type == v1alpha1.StrategyCanary && len(s.Steps) == 0 {
		c.failf("rollout.steps", "wanted 1 to %d steps, found none; for none at all use the strategy blueGreen or rolling", maxSteps)
	}
	var w walk
	for i, step := range s.Steps {
		path := fmt.Sprintf("rollout.steps[%d]", i)
		kinds := kindsOf(step)
		if len(kinds) != 1 {
			c.failf(path, "wanted exactly one of %s, found %s", strings.Join(stepKinds(), ", "), listed(kinds))
			continue
		}
		c.fits(path+"."+kinds[0], kinds[0], s)
		c.step(path, step, s, &w)
	}
	if w.analyzed && w.weight == fullExposure || w.analyzed && s.Type == v1alpha1.StrategyBlueGreen {
		c.lastAnalysis(s)
	}
	if s.Analysis != nil && !w.analyzed {
		c.failf("rollout.analysis", "wanted a step that measures by it, such as {analyze: {}}, found none; add one, or leave the analysis out")
	}
}

func listed(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, " and ")
}

// fits refuses a kind of step that a type of strategy has nothing to do with.
func (c *checker) fits(path, kind string, s v1alpha1.Strategy) {
	notRolling := []string{"setScale", "setHeaderRoute", "setMirrorRoute", "setBaseline"}
	if s.Type == v1alpha1.StrategyRolling && slices.Contains(notRolling, kind) {
		c.failf(path, "wanted none with rolling, where no requests are spread over two sets, found one")
	}
	if s.Type == v1alpha1.StrategyBlueGreen && (kind == "setScale" || kind == "setBaseline") {
		c.failf(path, "wanted none with blueGreen, whose set is whole before the switch, found one; see preview.replicas, or use canary")
	}
}

func (c *checker) step(path string, step v1alpha1.Step, s v1alpha1.Strategy, w *walk) {
	switch {
	case step.SetWeight != nil:
		c.setWeight(path+".setWeight", *step.SetWeight, s, w)
	case step.Pause != nil:
		c.pause(path+".pause", *step.Pause)
	case step.Analyze != nil:
		c.analyze(path+".analyze", *step.Analyze, s, w)
	case step.SetScale != nil:
		c.setScale(path+".setScale", *step.SetScale, w)
	case step.SetHeaderRoute != nil:
		c.headerRoute(path+".setHeaderRoute", *step.SetHeaderRoute, w)
	case step.SetMirrorRoute != nil:
		c.mirrorRoute(path+".setMirrorRoute", step.SetMirrorRoute.Percent, w)
	case step.SetBaseline != nil:
		c.setBaseline(path+".setBaseline", *step.SetBaseline, w)
	default:
		c.check(path, step, s)
	}
}

// analyze refuses what would be waited for in vain. In the background nothing waits at the
// weight that is the last.
func (c *checker) analyze(path string, a v1alpha1.Analyze, s v1alpha1.Strategy, w *walk) {
	w.analyzed = true
	if s.Analysis == nil {
		c.failf(path, "wanted rollout.analysis to say what to measure, found none")
		return
	}
	compares := slices.ContainsFunc(s.Analysis.Metrics, func(m v1alpha1.Metric) bool { return m.Ratio != nil })
	if s.Type == v1alpha1.StrategyCanary && w.weight == fullExposure && compares && !a.Background {
		c.failf(path, "wanted it at a weight below %d where a metric has a ratio, since the old revision then gets no request to compare with, found it at %d; move it before, or use threshold", fullExposure, w.weight)
	}
}

func (c *checker) setBaseline(path string, on bool, w *walk) {
	switch {
	case on == w.baseline:
		c.failf(path, "wanted a change, found %t, which is so already", on)
	case on && w.weight > halfExposure:
		c.failf(path, "wanted it at a weight of at most %d, since the baseline gets as much as the new revision, found it at %d", halfExposure, w.weight)
	}
	w.baseline = on
}

// check checks the steps that set nothing: they ask somebody, or tell somebody.
func (c *checker) check(path string, step v1alpha1.Step, s v1alpha1.Strategy) {
	switch {
	case step.Hook != nil:
		if !slices.ContainsFunc(s.Hooks, func(h v1alpha1.Hook) bool { return h.Name == step.Hook.Name }) {
			c.failf(path+".hook.name", "wanted the name of one of rollout.hooks, found %q", step.Hook.Name)
		}
	case step.Job != nil:
		if n := len(step.Job.Object); n < 1 || n > maxWord {
			c.failf(path+".job.object", "wanted the name of a Job among objects, of at most %d characters, found %q", maxWord, step.Job.Object)
		}
	case step.Notify != nil:
		if n := len(step.Notify.Message); n < 1 || n > maxMessage {
			c.failf(path+".notify.message", "wanted 1 to %d characters, found %d", maxMessage, n)
		}
		if n := len(step.Notify.Sink); n > maxWord {
			c.failf(path+".notify.sink", "wanted at most %d characters, found %d", maxWord, n)
		}
	}
}

func (c *checker) setWeight(path string, n int32, s v1alpha1.Strategy, w *walk) {
	was := w.weight
	w.weight = n
	switch {
	case n < 0 || n > fullExposure:
		c.failf(path, "wanted 0 to %d, found %d", fullExposure, n)
	case n == was:
		c.failf(path, "wanted a change of the weight, found %d, which it is already", n)
	case s.Type == v1alpha1.StrategyBlueGreen && n != fullExposure:
		c.failf(path, "wanted %d with blueGreen, since there is one switch, found %d; for other weights use canary", fullExposure, n)
	case s.Type == v1alpha1.StrategyRolling && n < was:
		c.failf(path, "wanted more than the %d before with rolling, since pods that were replaced do not come back, found %d", was, n)
	case w.scale > 0 && n > w.scale:
		c.failf(path, "wanted at most %d, the percent of a setScale before, since the pods of the set have to carry it, found %d; add setScale: matchWeight: true before", w.scale, n)
	case w.baseline && n > halfExposure && n < fullExposure:
		c.failf(path, "wanted at most %d while a baseline set gets as much, found %d; add setBaseline: false before", halfExposure, n)
	}
}

func (c *checker) pause(path string, p v1alpha1.Pause) {
	switch {
	case (p.Duration != nil) == p.Approval:
		c.failf(path, "wanted either a duration or approval: true, found %s", map[bool]string{true: "both", false: "neither"}[p.Approval])
	case p.Duration != nil && p.Duration.Duration < 0:
		c.failf(path+".duration", "wanted a duration of at least 0s, found %v", p.Duration.Duration)
	}
}

func (c *checker) setScale(path string, scale v1alpha1.Scale, w *walk) {
	given := 0
	for _, set := range []bool{scale.Replicas != nil, scale.Percent != nil, scale.MatchWeight} {
		if set {
			given++
		}
	}
	w.scale = 0
	switch {
	case given != 1:
		c.failf(path, "wanted exactly one of replicas, percent and matchWeight: true, found %d of them", given)
	case scale.Replicas != nil && *scale.Replicas < 1:
		c.failf(path+".replicas", "wanted at least 1, found %d", *scale.Replicas)
	case scale.Percent == nil:
	case *scale.Percent < 1 || *scale.Percent > fullExposure:
		c.failf(path+".percent", "wanted 1 to %d, found %d", fullExposure, *scale.Percent)
	case *scale.Percent < w.weight:
		c.failf(path+".percent", "wanted at least the weight of %d, since the pods of the set have to carry it, found %d", w.weight, *scale.Percent)
	default:
		w.scale = *scale.Percent
	}
}

func (c *checker) headerRoute(path string, r v1alpha1.HeaderRoute, w *walk) {
	if len(r.Matches) == 0 && !w.header {
		c.failf(path+".matches", "wanted matches, or an earlier header route to take away, found neither")
	}
	w.header = len(r.Matches) > 0
	if len(r.Matches) > maxMatches {
		c.failf(path+".matches", "wanted at most %d, found %d", maxMatches, len(r.Matches))
	}
	for i, m := range r.Matches {
		at := fmt.Sprintf("%s.matches[%d]", path, i)
		if len(m.Headers)+len(m.Cookies) == 0 {
			c.failf(at, "wanted headers, cookies or both, found neither")
		}
		if len(m.Headers) > maxMatches || len(m.Cookies) > maxCookies {
			c.failf(at, "wanted at most %d headers and %d cookies, found %d and %d", maxMatches, maxCookies, len(m.Headers), len(m.Cookies))
		}
		for j, v := range m.Headers {
			header := fmt.Sprintf("%s.headers[%d]", at, j)
			c.valueMatch(header, v)
			c.agrees(header, v, m.Headers[:j], strings.EqualFold)
		}
		for j, v := range m.Cookies {
			cookie := fmt.Sprintf("%s.cookies[%d]", at, j)
			c.valueMatch(cookie, v)
			c.agrees(cookie, v, m.Cookies[:j], func(a, b string) bool { return a == b })
		}
	}
}

// agrees refuses a value where another one is asked for: no request would fit.
func (c *checker) agrees(path string, v v1alpha1.ValueMatch, before []v1alpha1.ValueMatch, same func(a, b string) bool) {
	for _, other := range before {
		if same(v.Name, other.Name) && v.Exact != nil && other.Exact != nil && *v.Exact != *other.Exact {
			c.failf(path, "wanted one value of %s, since a match fits where all of it does, found %q and %q; write a match for each", v.Name, *other.Exact, *v.Exact)
		}
	}
}

func (c *checker) valueMatch(path string, v v1alpha1.ValueMatch) {
	if !headerName.MatchString(v.Name) {
		c.failf(path+".name", "wanted the name of a header or a cookie, found %q", v.Name)
	}
	given := 0
	for _, said := range []struct {
		field string
		text  *string
	}{{"exact", v.Exact}, {"prefix", v.Prefix}, {"regex", v.Regex}} {
		if said.text == nil {
			continue
		}
		given++
		switch n := len(*said.text); {
		case n > maxMatchValue:
			c.failf(path, "wanted at most %d characters, found %d", maxMatchValue, n)
		case n == 0 && said.field != "exact":
			c.failf(path+"."+said.field, "wanted at least one character, found none")
		}
	}
	if given != 1 {
		c.failf(path, "wanted exactly one of exact, prefix and regex, found %d of them", given)
	}
	if v.Regex != nil {
		if _, err := regexp.Compile(*v.Regex); err != nil {
			c.failf(path+".regex", "wanted an RE2 expression, found %v", err)
		}
	}
}

func (c *checker) mirrorRoute(path string, percent int32, w *walk) {
	switch {
	case percent < 0 || percent > fullExposure:
		c.failf(path+".percent", "wanted 0 to %d, found %d", fullExposure, percent)
	case percent == 0 && !w.mirror:
		c.failf(path+".percent", "wanted more than 0, or an earlier mirror route to take away, found neither")
	}
	w.mirror = percent > 0
}

// lastAnalysis refuses comparisons where nothing of the old revision is left to compare with.
func (c *checker) lastAnalysis(s v1alpha1.Strategy) {
	switch s.Type {
	case v1alpha1.StrategyRolling:
		c.ratios(s, "at the end no pod of the old revision is left")
	case v1alpha1.StrategyBlueGreen:
		c.ratios(s, "on either side of the switch one set gets no request")
	case v1alpha1.StrategyCanary:
	}
}

func (c *checker) hooks(s v1alpha1.Strategy) {
	if n := len(s.Hooks); n > maxHooks {
		c.failf("rollout.hooks", "wanted at most %d, found %d", maxHooks, n)
	}
	names := map[string]bool{}
	for i, h := range s.Hooks {
		at := fmt.Sprintf("rollout.hooks[%d]", i)
		if len(h.On) == 0 && !slices.ContainsFunc(s.Steps, func(s v1alpha1.Step) bool { return s.Hook != nil && s.Hook.Name == h.Name }) {
			c.failf(at, "wanted it to be called, at an event (on: [%q]) or by a step ({hook: name: %q}), found neither", v1alpha1.HookPromote, h.Name)
		}
		if len(h.Name) > maxMetricName || !hookName.MatchString(h.Name) {
			c.failf(at+".name", "wanted at most %d lower case letters, digits and dashes, found %q", maxMetricName, h.Name)
		}
		if names[h.Name] {
			c.failf(at+".name", "wanted each name once, found %q again", h.Name)
		}
		names[h.Name] = true
		c.hook(at, h)
	}
}

func (c *checker) hook(at string, h v1alpha1.Hook) {
	u, err := url.Parse(h.URL)
	if err != nil || len(h.URL) > maxHookURL || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		c.failf(at+".url", "wanted an address such as https://checks.example.com/rollout, without a user name, found %q", h.URL)
	}
	known := []v1alpha1.HookEvent{v1alpha1.HookBegin, v1alpha1.HookStepEvent, v1alpha1.HookPromote, v1alpha1.HookRollback}
	for i, event := range h.On {
		if !slices.Contains(known, event) || slices.Contains(h.On[:i], event) {
			c.failf(fmt.Sprintf("%s.on[%d]", at, i), "wanted one of %s, each once, found %q", strings.ReplaceAll(wordsOf(known), " and ", ", "), event)
		}
	}
	c.tries(at, h)
	for field, ref := range map[string]*v1alpha1.KeyReference{"secretRef": h.SecretRef, "caSecretRef": h.CASecretRef} {
		if ref != nil && len(validation.IsDNS1123Subdomain(ref.Name))+len(validation.IsConfigMapKey(ref.Key)) > 0 {
			c.failf(at+"."+field, "wanted the name and the key of a Secret in the namespace of the manager, found %q and %q", ref.Name, ref.Key)
		}
	}
}

// tries checks how often a hook is tried, and what follows then.
func (c *checker) tries(at string, h v1alpha1.Hook) {
	if h.Timeout.Duration <= 0 || h.Interval.Duration <= 0 {
		c.failf(at, "wanted a timeout and an interval above 0s, found %v and %v", h.Timeout.Duration, h.Interval.Duration)
	}
	if h.Timeout.Duration > maxHookTimeout {
		c.failf(at+".timeout", "wanted at most %v, since only so many calls are under way at a time, found %v; for what takes longer use a job, or onFailure: hold", maxHookTimeout, h.Timeout.Duration)
	}
	if h.Retries != nil && (*h.Retries < 0 || *h.Retries > maxRetries) {
		c.failf(at+".retries", "wanted 0 to %d, found %d", maxRetries, *h.Retries)
	}
	outcomes := []v1alpha1.HookFailure{v1alpha1.HookAborts, v1alpha1.HookHolds, v1alpha1.HookIgnored}
	if !slices.Contains(outcomes, h.OnFailure) {
		c.failf(at+".onFailure", "wanted one of %s, found %q", strings.ReplaceAll(wordsOf(outcomes), " and ", ", "), h.OnFailure)
	}
}
