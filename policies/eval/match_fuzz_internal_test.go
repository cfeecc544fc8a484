package eval

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// glob is wildcard said in another way.
func glob(t *testing.T, pattern, name string) bool {
	t.Helper()
	quoted := regexp.QuoteMeta(pattern)
	if strings.HasPrefix(pattern, "*") {
		quoted = ".*" + strings.TrimPrefix(quoted, `\*`)
	}
	if rest, ok := strings.CutSuffix(quoted, `\*`); ok && pattern != "*" {
		quoted = rest + ".*"
	}
	re, err := regexp.Compile(`(?s)\A` + quoted + `\z`)
	if err != nil {
		t.Fatal(err)
	}
	return re.MatchString(name)
}

// FuzzMatch holds what finds policies against what asks each one of them, and wildcards
// against regular expressions.
func FuzzMatch(f *testing.F) {
	f.Add(`{"kinds": [{"group": "apps", "kinds": ["Deployment"]}], "namespaces": ["shop-*"]}`, `{"labels": {"a": "b"}}`, "apps", "Deployment", "shop-eu", "CREATE", "web", "w*")
	f.Add(`{"kinds": [{"group": "*", "kinds": ["*"]}], "excludedNamespaces": ["*-dev"], "names": ["*x*"]}`, `{"generateName": "x-"}`, "", "Pod", "a-dev", "DELETE", "", "*")
	f.Add(`{"labelSelector": {"matchLabels": {"a": "b"}}, "operations": ["UPDATE"]}`, `{"labels": 7}`, "", "Pod", "", "", "", "**")
	f.Add(`{"kinds": [{"group": "", "kinds": []}], "names": ["a", "b*"]}`, `null`, "", "", "", "UPDATE", "b", "")
	f.Fuzz(func(t *testing.T, match, metadata, group, kind, namespace, operation, name, pattern string) {
		if utf8.ValidString(pattern) && utf8.ValidString(name) { // regular expressions take nothing else
			if got, want := wildcard(pattern, name), glob(t, pattern, name); got != want {
				t.Errorf("pattern %q, name %q: found %t", pattern, name, got)
			}
		}
		// Whatever a name that is not made yet becomes, its policy is asked.
		for i := range len(name) + 1 {
			if wildcard(pattern, name) && !couldBecome(pattern, name[:i]) {
				t.Errorf("pattern %q matches %q, and cannot become it from %q", pattern, name, name[:i])
			}
		}
		var m v1alpha1.PolicyMatch
		if json.Unmarshal([]byte(match), &m) != nil || !json.Valid([]byte(metadata)) {
			return
		}
		in, err := NewInput(map[string]any{"object": json.RawMessage(`{"metadata": ` + metadata + `}`), "request": map[string]any{"name": name}})
		if err != nil {
			return
		}
		matcher, problems := newMatcher(m)
		if len(problems) > 0 {
			return
		}
		policy := func(name string, m v1alpha1.PolicyMatch) *Policy {
			x, _ := newMatcher(m)
			return &Policy{source: Source{Name: name, Match: m, At: []v1alpha1.PolicyMoment{v1alpha1.AtAdmission}}, match: x}
		}
		one, all := policy("one", m), policy("all", v1alpha1.PolicyMatch{})
		other := policy("other", v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: group, Kinds: []string{kind}}}})
		q := Question{Moment: v1alpha1.AtAdmission, Group: group, Kind: kind, Namespace: namespace, Operation: operation, Input: in}
		found := NewSet(one, all, other).candidates(&q)
		if got, want := slices.Contains(found, one), matcher.outer(&q); got != want {
			t.Errorf("the index finds it: %t, it matches: %t", got, want)
		}
		if !slices.Contains(found, all) || !slices.Contains(found, other) {
			t.Error("a policy about everything, or about this kind, is not found")
		}
		if matcher.outer(&q) && anyWildcard(m.ExcludedNamespaces, namespace) {
			t.Error("a namespace that is left out matches")
		}
		simple, inner := matcher.simple(), matcher.inner(&q, &facts{document: in.object})
		if simple && !inner {
			t.Error("what needs no look at the object is refused after one")
		}
	})
}
