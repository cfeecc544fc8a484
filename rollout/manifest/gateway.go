package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Limits of the Gateway API on one route.
const (
	maxRules      = 16
	maxMatches    = 64
	maxAllMatches = 128
	maxConditions = 16
	maxFilters    = 16
	maxValue      = 4096
)

const mirrorFilter = "RequestMirror"

// gateway is how an HTTPRoute and a GRPCRoute of the Gateway API speak.
type gateway struct{ kind string }

func (gateway) rulesPath() []string { return []string{"spec", "rules"} }
func (gateway) refsKey() string     { return "backendRefs" }
func (gateway) matchKey() string    { return "matches" }

func (gateway) service(ref map[string]any) string {
	if kind, given := ref["kind"]; given && kind != "Service" {
		return ""
	}
	name, _ := ref["name"].(string)
	return name
}

func (gateway) rename(ref map[string]any, service string) { ref["name"] = service }

// weight is 1 by the API's default.
func (gateway) weight(ref map[string]any, _ int) int64 {
	if w, given := number(ref["weight"]); given {
		return w
	}
	return 1
}

func (gateway) port(ref map[string]any) any { return ref["port"] }

func (gateway) conditions(match map[string]any) []condition {
	var out []condition
	for _, h := range maps(match["headers"]) {
		c := condition{form: formExact}
		c.name, _ = h["name"].(string)
		c.value, _ = h["value"].(string)
		if h["type"] == "RegularExpression" {
			c.form = formRegex
		}
		out = append(out, c)
	}
	return out
}

func (gateway) require(match map[string]any, all []condition) {
	headers := make([]any, 0, len(all))
	for _, c := range all {
		h := map[string]any{"type": "Exact", "name": c.name, "value": c.value}
		if c.form == formRegex {
			h["type"] = "RegularExpression"
		}
		headers = append(headers, h)
	}
	match["headers"] = headers
}

// form has no prefix, and no exact value that is empty.
func (gateway) form(c condition) condition {
	switch {
	case c.form == formPrefix:
		return condition{c.name, formRegex, "^" + regexp.QuoteMeta(c.value) + ".*$"}
	case c.form == formExact && c.value == "":
		return condition{c.name, formRegex, "^$"}
	}
	return c
}

func (gateway) mirrors(rule map[string]any) []mirror {
	var out []mirror
	for _, f := range maps(rule["filters"]) {
		if m, ok := mirrorOf(f); ok {
			out = append(out, m)
		}
	}
	return out
}

func mirrorOf(filter map[string]any) (mirror, bool) {
	spec, ok := filter["requestMirror"].(map[string]any)
	if !ok || filter["type"] != mirrorFilter {
		return mirror{}, false
	}
	out := mirror{percent: fullWeight}
	ref, _ := spec["backendRef"].(map[string]any)
	out.service = gateway{}.service(ref)
	if percent, given := number(spec["percent"]); given {
		out.percent = int32(min(max(percent, 0), fullWeight))
	} else if fraction, ok := spec["fraction"].(map[string]any); ok {
		part, _ := number(fraction["numerator"])
		whole, given := number(fraction["denominator"])
		if !given || whole <= 0 {
			whole = fullWeight
		}
		out.percent = int32(min(max((part*fullWeight+whole-1)/whole, 0), fullWeight))
	}
	return out, true
}

func (gateway) mirror(rule, ref map[string]any, percent int32) {
	to := map[string]any{}
	for _, key := range []string{"group", "kind", "name", "namespace", "port"} {
		if value, given := ref[key]; given {
			to[key] = value
		}
	}
	spec := map[string]any{"backendRef": to}
	if percent != fullWeight {
		spec["percent"] = int64(percent)
	}
	filters, _ := rule["filters"].([]any)
	rule["filters"] = append(slices.Clip(filters), any(map[string]any{"type": mirrorFilter, "requestMirror": spec}))
}

func (gateway) unmirror(rule map[string]any, drop func(mirror) bool) {
	filters, _ := rule["filters"].([]any)
	kept := slices.DeleteFunc(slices.Clone(filters), func(each any) bool {
		filter, _ := each.(map[string]any)
		m, ok := mirrorOf(filter)
		return ok && drop(m)
	})
	if len(kept) == 0 {
		delete(rule, "filters")
		return
	}
	rule["filters"] = kept
}

// silence needs nothing: the Gateway API has a rule without references answer with an error.
func (gateway) silence(map[string]any) {}

// fits keeps to the limits that the API server would refuse the route for.
func (g gateway) fits(rules []any) error {
	all := 0
	if n := len(rules); n > maxRules {
		return limit("a rule for testers before each rule", "rules in one "+g.kind, maxRules, n)
	}
	for _, rule := range maps(rules) {
		matches := maps(rule["matches"])
		all += max(1, len(matches))
		if n := len(matches); n > maxMatches {
			return limit("each match of a rule with each match of the step", "matches in one rule", maxMatches, n)
		}
		for _, match := range matches {
			if err := g.fitsMatch(match); err != nil {
				return err
			}
		}
		if n := len(maps(rule["filters"])); n > maxFilters {
			return limit("the filter that mirrors beside the rule's own", "filters in one rule", maxFilters, n)
		}
	}
	if all > maxAllMatches {
		return limit("each match of a rule with each match of the step", "matches in one "+g.kind, maxAllMatches, all)
	}
	return nil
}

func (g gateway) fitsMatch(match map[string]any) error {
	all := g.conditions(match)
	if n := len(all); n > maxConditions {
		return limit("the conditions of a rule with those of the step", "headers in one match", maxConditions, n)
	}
	for _, c := range all {
		if n := len(c.value); n > maxValue {
			return limit("the value of header "+strings.ToLower(c.name), "characters in one value", maxValue, n)
		}
	}
	return nil
}

func limit(what, of string, most, found int) error {
	return fmt.Errorf("%s: wanted at most %d %s, which is what the Gateway API takes, found %d; have fewer rules or matches in the template's route or in the step",
		what, most, of, found)
}
