package manifest

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Defaults and bounds of a strategy; the same as those of the Rollout's schema, which
// sees a strategy only when it is too late to tell the author.
const (
	defaultDrainDelay       = 30 * time.Second
	defaultScaleDownDelay   = 10 * time.Minute
	defaultProgressDeadline = 10 * time.Minute
	defaultInterval         = 10 * time.Second
	defaultWindow           = 60 * time.Second
	defaultMinSamples       = 100

	defaultHookTimeout  = 10 * time.Second
	defaultHookInterval = 10 * time.Second
	defaultHookRetries  = 3
	maxHookTimeout      = 5 * time.Minute
	// minPeriod keeps rounds of analysis from following one another without a rest.
	minPeriod = 100 * time.Millisecond

	maxSteps      = 50
	maxMetrics    = 20
	maxQuery      = 4096
	maxMetricName = 40
	maxHistory    = 100
	maxHooks      = 10
	maxRetries    = 20
	maxHookURL    = 2048
	maxMatches    = 8
	maxCookies    = 4
	maxMatchValue = 1024
	maxMessage    = 1024
	maxWord       = 63
	fullExposure  = 100
	halfExposure  = 50
)

var metricName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// Strategy reads the JSON of a template's rollout field, fills in the defaults and checks
// it. Said is what the template said, decoded. It returns a line for each mistake.
func Strategy(data []byte) (s v1alpha1.Strategy, said any, lines []string) {
	said, err := Decode(data)
	if err != nil {
		return s, nil, []string{"rollout: " + err.Error()}
	}
	c := &checker{}
	content, _ := said.(map[string]any)
	if lines = former(content); len(lines) > 0 {
		return s, said, lines
	}
	c.periods("rollout", content)
	if len(c.lines) > 0 {
		return s, said, c.lines
	}
	wrong, err := kjson.UnmarshalStrict(data, &s)
	if err != nil {
		if lines = mistyped(reflect.TypeOf(s), said, "rollout"); len(lines) == 0 {
			lines = []string{fmt.Sprintf("rollout: wanted a strategy, found: %v", err)}
		}
		return s, said, lines
	}
	for _, w := range wrong {
		c.failf("rollout", "wanted the fields of a strategy, found: %v", w)
	}
	fill(&s, content)
	c.strategy(s, content)
	complete(&s)
	return s, said, c.lines
}

type checker struct{ lines []string }

func (c *checker) failf(path, format string, args ...any) {
	c.lines = append(c.lines, path+": "+fmt.Sprintf(format, args...))
}

// periods finds durations and quantities that do not parse, which decoding would report
// without their path.
func (c *checker) periods(path string, v any) {
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			c.periods(fmt.Sprintf("%s[%d]", path, i), item)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			field := path + "." + key
			switch text, ok := v[key].(string); {
			case slices.Contains([]string{"duration", "routeGrace", "timeout", "drainDelay", "scaleDownDelay", "progressDeadline", "interval", "window"}, key):
				if _, err := time.ParseDuration(text); err != nil || !ok {
					c.failf(field, `wanted a duration such as "30s" or "5m", found %v`, v[key])
				}
			case slices.Contains([]string{"max", "min", "minDifference"}, key):
				if _, err := resource.ParseQuantity(fmt.Sprint(v[key])); err != nil {
					c.failf(field, `wanted a quantity such as "0.01", found %v`, v[key])
				}
			default:
				c.periods(field, v[key])
			}
		}
	}
}

// fill sets what raw does not mention; a zero that was written is kept.
func fill(s *v1alpha1.Strategy, raw map[string]any) {
	duration := func(into *metav1.Duration, in map[string]any, key string, value time.Duration) {
		if _, set := in[key]; !set {
			into.Duration = value
		}
	}
	if s.Type.InSets() {
		duration(&s.DrainDelay, raw, "drainDelay", defaultDrainDelay)
	}
	if s.Type == v1alpha1.StrategyBlueGreen && s.ScaleDownDelay == nil {
		s.ScaleDownDelay = &metav1.Duration{Duration: defaultScaleDownDelay}
	}
	if s.Steps == nil {
		s.Steps = []v1alpha1.Step{}
	}
	hooks, _ := raw["hooks"].([]any)
	for i := range s.Hooks {
		hook, _ := hooks[i].(map[string]any)
		duration(&s.Hooks[i].Timeout, hook, "timeout", defaultHookTimeout)
		duration(&s.Hooks[i].Interval, hook, "interval", defaultHookInterval)
		if s.Hooks[i].Retries == nil {
			s.Hooks[i].Retries = new(int32(defaultHookRetries))
		}
		if s.Hooks[i].OnFailure == "" {
			s.Hooks[i].OnFailure = v1alpha1.HookAborts
		}
	}
	duration(&s.ProgressDeadline, raw, "progressDeadline", defaultProgressDeadline)
	if s.Analysis == nil {
		return
	}
	analysis := child(raw, "analysis")
	duration(&s.Analysis.Interval, analysis, "interval", defaultInterval)
	duration(&s.Analysis.Window, analysis, "window", defaultWindow)
	metrics, _ := analysis["metrics"].([]any)
	for i := range s.Analysis.Metrics {
		if i >= len(metrics) {
			continue
		}
		if m, _ := metrics[i].(map[string]any); m["minSamples"] == nil {
			s.Analysis.Metrics[i].MinSamples = defaultMinSamples
		}
	}
}

// complete adds the last of the traffic where no step says when it comes.
func complete(s *v1alpha1.Strategy) {
	if !whole(*s) {
		s.Steps = append(s.Steps, v1alpha1.Step{SetWeight: new(int32(fullExposure))})
	}
}

// whole says whether the steps bring all of the traffic.
func whole(s v1alpha1.Strategy) bool {
	weight := int32(0)
	for _, step := range s.Steps {
		if step.SetWeight != nil {
			weight = *step.SetWeight
		}
	}
	return weight == fullExposure
}

func (c *checker) strategy(s v1alpha1.Strategy, raw map[string]any) {
	known := []v1alpha1.StrategyType{v1alpha1.StrategyCanary, v1alpha1.StrategyBlueGreen, v1alpha1.StrategyRolling}
	if !slices.Contains(known, s.Type) {
		c.failf("rollout.type", "wanted %q, %q or %q, found %q", known[0], known[1], known[2], s.Type)
	}
	c.typed(s, raw)
	c.hooks(s)
	c.steps(s)
	if s.RouteGrace.Duration < 0 {
		c.failf("rollout.routeGrace", "wanted a duration of at least 0s, found %v", s.RouteGrace.Duration)
	}
	if s.DrainDelay.Duration < 0 {
		c.failf("rollout.drainDelay", "wanted a duration of at least 0s, found %v", s.DrainDelay.Duration)
	}
	if s.ProgressDeadline.Duration <= 0 {
		c.failf("rollout.progressDeadline", "wanted a duration above 0s, found %v", s.ProgressDeadline.Duration)
	}
	if s.Analysis != nil {
		c.analysis(*s.Analysis)
	}
}

// typed checks what belongs to one type of strategy alone.
func (c *checker) typed(s v1alpha1.Strategy, raw map[string]any) {
	only := func(field string, types ...v1alpha1.StrategyType) {
		if _, set := raw[field]; set && !slices.Contains(types, s.Type) {
			c.failf("rollout."+field, "wanted none with %s, found one; it belongs to %s", s.Type, wordsOf(types))
		}
	}
	only("preview", v1alpha1.StrategyBlueGreen)
	only("scaleDownDelay", v1alpha1.StrategyBlueGreen)
	only("drainDelay", v1alpha1.StrategyCanary, v1alpha1.StrategyBlueGreen)
	only("routeGrace", v1alpha1.StrategyCanary, v1alpha1.StrategyBlueGreen)
	only("walkFirstInstall", v1alpha1.StrategyCanary, v1alpha1.StrategyBlueGreen)
	only("dynamicStableScale", v1alpha1.StrategyCanary)
	if d := s.ScaleDownDelay; d != nil && d.Duration < s.DrainDelay.Duration {
		c.failf("rollout.scaleDownDelay", "wanted at least the drainDelay of %v, found %v", s.DrainDelay.Duration, d.Duration)
	}
	if p := s.Preview; p != nil && p.Replicas != nil && *p.Replicas < 1 {
		c.failf("rollout.preview.replicas", "wanted at least 1, found %d", *p.Replicas)
	}
	c.bounds(s)
}

func wordsOf[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, one := range all {
		words[i] = string(one)
	}
	return strings.Join(words, " and ")
}

// bounds checks numbers that any type of strategy may have.
func (c *checker) bounds(s v1alpha1.Strategy) {
	if w := s.RollbackWindow; w != nil && (w.Revisions < 1 || w.Revisions > maxHistory) {
		c.failf("rollout.rollbackWindow.revisions", "wanted 1 to %d, found %d", maxHistory, w.Revisions)
	}
	if n := s.HistoryLimit; n != nil && (*n < 0 || *n > maxHistory) {
		c.failf("rollout.historyLimit", "wanted 0 to %d, found %d", maxHistory, *n)
	}
	known := []v1alpha1.CommandAction{
		v1alpha1.CommandApprove, v1alpha1.CommandPause, v1alpha1.CommandResume, v1alpha1.CommandAbort,
		v1alpha1.CommandSkipStep, v1alpha1.CommandPromote, v1alpha1.CommandRetry, v1alpha1.CommandRollBack,
	}
	for i, action := range s.RequireReason {
		if !slices.Contains(known, action) || slices.Contains(s.RequireReason[:i], action) {
			c.failf(fmt.Sprintf("rollout.requireReason[%d]", i), "wanted one of %s, each once, found %q", strings.ReplaceAll(wordsOf(known), " and ", ", "), action)
		}
	}
}

// ratios refuses metrics that compare with the old revision when that does not serve: they
// would never get evidence, and hold for ever.
func (c *checker) ratios(s v1alpha1.Strategy, why string) {
	if s.Analysis == nil {
		return
	}
	for i, m := range s.Analysis.Metrics {
		if m.Ratio != nil {
			c.failf(fmt.Sprintf("rollout.analysis.metrics[%d].ratio", i), "wanted none with %s, since %s to compare with, found one; use threshold", s.Type, why)
		}
	}
}

func (c *checker) analysis(a v1alpha1.Analysis) {
	const path = "rollout.analysis"
	if a.Source == "" {
		c.failf(path+".source", "wanted the name of a MetricSource, found none")
	}
	if a.Interval.Duration < minPeriod {
		c.failf(path+".interval", "wanted a duration of at least %v, found %v", minPeriod, a.Interval.Duration)
	}
	if a.Window.Duration < minPeriod {
		c.failf(path+".window", "wanted a duration of at least %v, found %v", minPeriod, a.Window.Duration)
	}
	if n := len(a.Metrics); n == 0 || n > maxMetrics {
		c.failf(path+".metrics", "wanted 1 to %d metrics, found %d", maxMetrics, n)
	}
	names := map[string]bool{}
	for i, m := range a.Metrics {
		at := fmt.Sprintf("%s.metrics[%d]", path, i)
		if names[m.Name] {
			c.failf(at+".name", "wanted each name once, found %q again", m.Name)
		}
		names[m.Name] = true
		c.metric(at, m)
	}
}

func (c *checker) metric(path string, m v1alpha1.Metric) {
	if len(m.Name) > maxMetricName || !metricName.MatchString(m.Name) {
		c.failf(path+".name", "wanted at most %d lower case letters, digits and dashes, found %q", maxMetricName, m.Name)
	}
	if !slices.Contains([]string{"", "%", "ms", "s"}, m.Unit) {
		c.failf(path+".unit", `wanted "", "%%", "ms" or "s", found %q`, m.Unit)
	}
	for _, q := range []struct{ field, text string }{{"query", m.Query}, {"samples", m.Samples}} {
		if strings.TrimSpace(q.text) == "" || len(q.text) > maxQuery {
			c.failf(path+"."+q.field, "wanted a PromQL expression of 1 to %d characters, found %d", maxQuery, len(q.text))
		}
	}
	if m.MinSamples < 1 {
		c.failf(path+".minSamples", "wanted at least 1, found %d", m.MinSamples)
	}
	c.judges(path, m)
}

func (c *checker) judges(path string, m v1alpha1.Metric) {
	if m.Threshold == nil && m.Ratio == nil {
		c.failf(path, "wanted a judge, threshold or ratio or both, found none")
	}
	if t := m.Threshold; t != nil {
		switch {
		case t.Max == nil && t.Min == nil:
			c.failf(path+".threshold", "wanted max, min or both, found neither")
		case t.Max != nil && t.Min != nil && t.Min.Cmp(*t.Max) > 0:
			c.failf(path+".threshold", "wanted min to be at most max, found min %v and max %v", t.Min, t.Max)
		}
	}
	if r := m.Ratio; r != nil {
		if r.Max.Cmp(resource.MustParse("1")) < 0 {
			c.failf(path+".ratio.max", "wanted a ratio of at least 1, found %v", r.Max.String())
		}
		if r.MinDifference != nil && r.MinDifference.Sign() < 0 {
			c.failf(path+".ratio.minDifference", "wanted at least 0, found %v", r.MinDifference)
		}
	}
}
