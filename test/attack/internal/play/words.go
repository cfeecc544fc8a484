package play

import (
	"fmt"
	"strings"

	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/attack/internal/world"
)

// who is the identity in the table.
func (s *scene) who() string {
	if s.attempt.Review != nil {
		return "whoever reaches the port"
	}
	var out []string
	for _, r := range s.attempt.All() {
		as := r.As
		if as == nil {
			as = s.attempt.As
		}
		out = append(out, world.Describe(as))
	}
	return strings.Join(once(out), ", ")
}

// what is the request in the table.
func (s *scene) what() string {
	if r := s.attempt.Review; r != nil {
		return "review at " + r.Path
	}
	var out []string
	for _, r := range s.attempt.All() {
		if c, err := attempt.Expanded(r, s.variables()); err == nil {
			r = c
		}
		out = append(out, summary(r))
	}
	return strings.Join(once(out), ", ")
}

// summary is a request in a few words.
func summary(r attempt.Request) string {
	verb := r.Verb
	if verb == "" {
		verb = r.Method
	}
	what := r.Resource
	if what == "" {
		if o, ok := r.Body.(map[string]any); ok && o["kind"] != nil {
			what = strings.ToLower(fmt.Sprint(o["kind"]))
		}
	}
	if what == "" {
		what = r.Path
	}
	if r.Subresource != "" {
		what += "/" + r.Subresource
	}
	if r.DryRun {
		what += " (dry run)"
	}
	return strings.TrimSpace(verb + " " + what)
}

// expected is the expectation in the table.
func (s *scene) expected() string {
	var out []string
	add := func(e *attempt.Expect) {
		if e == nil {
			return
		}
		text := words(e.Result)
		if len(e.Code) > 0 {
			text += " " + strings.Join(e.Code, " or ")
		}
		out = append(out, text)
	}
	if s.attempt.Review != nil {
		add(s.attempt.Expect)
	}
	for _, r := range s.attempt.All() {
		add(cmpExpect(r.Expect, s.attempt.Expect))
	}
	return strings.Join(once(out), "; ")
}

// once leaves out what was said before.
func once(lines []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, l := range lines {
		if !seen[l] {
			seen[l] = true
			out = append(out, l)
		}
	}
	return out
}
