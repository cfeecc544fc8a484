package manifest

import (
	"errors"
	stdmaps "maps"
	"slices"
	"strings"
)

// istio is how a VirtualService speaks, of whose routes those for HTTP, gRPC among it, are
// split.
type istio struct{}

func (istio) rulesPath() []string { return []string{"spec", "http"} }
func (istio) refsKey() string     { return "route" }
func (istio) matchKey() string    { return "match" }

func destination(ref map[string]any) map[string]any {
	out, _ := ref["destination"].(map[string]any)
	return out
}

// service is the first part of the host, which may be followed by a namespace and the
// domain of the cluster.
func (istio) service(ref map[string]any) string {
	host, _ := destination(ref)["host"].(string)
	name, _, _ := strings.Cut(host, ".")
	return name
}

func (istio) rename(ref map[string]any, service string) {
	to := stdmaps.Clone(destination(ref))
	if to == nil {
		to = map[string]any{}
	}
	host, _ := to["host"].(string)
	_, domain, qualified := strings.Cut(host, ".")
	to["host"] = service
	if qualified {
		to["host"] = service + "." + domain
	}
	ref["destination"] = to
}

// weight is all of the requests for a destination alone; beside others it is 0 unless it is
// given.
func (istio) weight(ref map[string]any, beside int) int64 {
	w, _ := number(ref["weight"])
	if beside == 1 {
		return fullWeight
	}
	return w
}

func (istio) port(ref map[string]any) any { return destination(ref)["port"] }

func (istio) conditions(match map[string]any) []condition {
	headers, _ := match["headers"].(map[string]any)
	var out []condition
	for _, name := range slices.Sorted(stdmaps.Keys(headers)) {
		value, _ := headers[name].(map[string]any)
		c := condition{name: name, form: formPresent}
		for key, f := range map[string]form{"exact": formExact, "prefix": formPrefix, "regex": formRegex} {
			if text, ok := value[key].(string); ok {
				c.form, c.value = f, text
			}
		}
		out = append(out, c)
	}
	return out
}

func (istio) require(match map[string]any, all []condition) {
	headers := map[string]any{}
	for _, c := range all {
		value := map[string]any{}
		switch c.form {
		case formExact:
			value["exact"] = c.value
		case formPrefix:
			value["prefix"] = c.value
		case formRegex:
			value["regex"] = c.value
		case formPresent:
		}
		headers[c.name] = value
	}
	match["headers"] = headers
}

// form has names in lower case, and no exact value that is empty.
func (istio) form(c condition) condition {
	c.name = strings.ToLower(c.name)
	if c.form == formExact && c.value == "" {
		c.form, c.value = formRegex, "^$"
	}
	return c
}

func (istio) mirrors(rule map[string]any) []mirror {
	out := make([]mirror, 0, 1)
	for _, m := range maps(rule["mirrors"]) {
		out = append(out, mirror{istio{}.service(m), percentOf(m["percentage"])})
	}
	if to, ok := rule["mirror"].(map[string]any); ok {
		out = append(out, mirror{istio{}.service(map[string]any{"destination": to}), percentOf(rule["mirrorPercentage"])})
	}
	return out
}

// percentOf is rounded up; without a number all requests are copied.
func percentOf(value any) int32 {
	percent, ok := value.(map[string]any)
	if !ok {
		return fullWeight
	}
	n, _ := number(percent["value"])
	if f, ok := percent["value"].(float64); ok && f > float64(n) {
		n++
	}
	return int32(min(max(n, 0), fullWeight))
}

// mirror adds to the list of mirrors; the older field for a single one cannot stand beside
// it, and is moved there.
func (istio) mirror(rule, ref map[string]any, percent int32) {
	list, _ := rule["mirrors"].([]any)
	list = slices.Clip(list)
	if to, ok := rule["mirror"]; ok {
		moved := map[string]any{"destination": to}
		if p, given := rule["mirrorPercentage"]; given {
			moved["percentage"] = p
		}
		list = append(list, any(moved))
		delete(rule, "mirror")
		delete(rule, "mirrorPercentage")
	}
	rule["mirrors"] = append(list, any(map[string]any{
		"destination": stdmaps.Clone(destination(ref)),
		"percentage":  map[string]any{"value": int64(percent)},
	}))
}

func (i istio) unmirror(rule map[string]any, drop func(mirror) bool) {
	if to, ok := rule["mirror"].(map[string]any); ok && drop(mirror{service: i.service(map[string]any{"destination": to})}) {
		delete(rule, "mirror")
		delete(rule, "mirrorPercentage")
	}
	list, _ := rule["mirrors"].([]any)
	kept := slices.DeleteFunc(slices.Clone(list), func(each any) bool {
		m, _ := each.(map[string]any)
		return drop(mirror{service: i.service(m), percent: percentOf(m["percentage"])})
	})
	if len(kept) == 0 {
		delete(rule, "mirrors")
		return
	}
	rule["mirrors"] = kept
}

// silence is needed, since Istio refuses a rule that leads nowhere.
func (istio) silence(rule map[string]any) {
	rule["directResponse"] = map[string]any{"status": int64(503)}
}

func (istio) fits(rules []any) error {
	for _, rule := range maps(rules) {
		if _, old := rule["mirror"]; old && rule["mirrors"] != nil {
			return errors.New("wanted mirrors alone, found mirror beside it; write the older field as an entry of mirrors")
		}
	}
	return nil
}
