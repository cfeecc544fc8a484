package eval

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// matcher is a PolicyMatch, read once.
type matcher struct {
	v1alpha1.PolicyMatch
	// namespaceLabels and labels are nil where there is no selector.
	namespaceLabels, labels labels.Selector
}

func newMatcher(m v1alpha1.PolicyMatch) (matcher, []string) {
	out := matcher{PolicyMatch: m}
	var problems []string
	for _, part := range []struct {
		path string
		from *metav1.LabelSelector
		to   *labels.Selector
	}{
		{"match.namespaceSelector", m.NamespaceSelector, &out.namespaceLabels},
		{"match.labelSelector", m.LabelSelector, &out.labels},
	} {
		if part.from == nil {
			continue
		}
		s, err := metav1.LabelSelectorAsSelector(part.from)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: wanted a selector, found: %v", part.path, err))
			continue
		}
		*part.to = s
	}
	return out, problems
}

// outer says whether the parts match that need nothing but the question: kinds,
// namespaces and operations.
func (m *matcher) outer(q *Question) bool {
	return (len(m.Kinds) == 0 || slices.ContainsFunc(m.Kinds, func(k v1alpha1.KindMatch) bool {
		return (k.Group == "*" || k.Group == q.Group) &&
			(slices.Contains(k.Kinds, "*") || slices.Contains(k.Kinds, q.Kind))
	})) &&
		(len(m.Namespaces) == 0 || anyWildcard(m.Namespaces, q.Namespace)) &&
		!anyWildcard(m.ExcludedNamespaces, q.Namespace) &&
		(len(m.Operations) == 0 || q.Operation == "" || slices.Contains(m.Operations, "*") || slices.Contains(m.Operations, q.Operation))
}

// inner says whether the parts match that need to look at the object, or what it belongs
// to. What is not known matches: a policy is asked once too often rather than once too
// seldom.
func (m *matcher) inner(q *Question, f *facts) bool {
	if m.namespaceLabels != nil {
		if q.Namespace == "" {
			return false
		}
		if set, known := f.namespaceLabels(q); known && !m.namespaceLabels.Matches(set) {
			return false
		}
	}
	if len(m.Names) > 0 && !f.named(m.Names) {
		return false
	}
	if len(m.Templates) > 0 {
		if name, known := f.template(q); known && (name == "" || !anyWildcard(m.Templates, name)) {
			return false
		}
	}
	return m.labels == nil || f.labelled(m.labels)
}

// simple says whether inner is true of everything.
func (m *matcher) simple() bool {
	return m.namespaceLabels == nil && m.labels == nil && len(m.Names) == 0 && len(m.Templates) == 0
}

func anyWildcard(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return wildcard(p, name) })
}

// wildcard matches a name against a pattern that may begin or end with *.
func wildcard(pattern, name string) bool {
	rest, suffix := strings.CutPrefix(pattern, "*")
	middle, prefix := strings.CutSuffix(rest, "*")
	switch {
	case suffix && prefix:
		return strings.Contains(name, middle)
	case suffix:
		return strings.HasSuffix(name, rest)
	case prefix:
		return strings.HasPrefix(name, middle)
	default:
		return pattern == name
	}
}

// couldBecome says whether a name that begins with prefix could match the pattern.
func couldBecome(pattern, prefix string) bool {
	if strings.HasPrefix(pattern, "*") {
		return true
	}
	if start, open := strings.CutSuffix(pattern, "*"); open {
		return strings.HasPrefix(start, prefix) || strings.HasPrefix(prefix, start)
	}
	return strings.HasPrefix(pattern, prefix)
}

// facts are what inner parts of a match need, read from the input when they are needed.
type facts struct {
	// document is the input, or nil where there is none.
	document ast.Object
}

// at returns what is at a path of the input, or nil.
func at(v ast.Value, path ...string) ast.Value {
	for _, key := range path {
		object, ok := v.(ast.Object)
		if !ok {
			return nil
		}
		term := object.Get(ast.StringTerm(key))
		if term == nil {
			return nil
		}
		v = term.Value
	}
	return v
}

func (f *facts) at(path ...string) ast.Value {
	if f.document == nil {
		return nil
	}
	return at(f.document, path...)
}

func text(v ast.Value) string {
	s, _ := v.(ast.String)
	return string(s)
}

// labelSet reads labels; known is false where there is no such object.
func labelSet(v ast.Value) labels.Set {
	set := labels.Set{}
	if object, ok := v.(ast.Object); ok {
		object.Foreach(func(k, v *ast.Term) { set[text(k.Value)] = text(v.Value) })
	}
	return set
}

func (f *facts) namespaceLabels(q *Question) (set labels.Set, known bool) {
	if q.NamespaceLabels != nil {
		return q.NamespaceLabels, true
	}
	namespace := f.at("namespace")
	return labelSet(at(namespace, "labels")), namespace != nil
}

// template is the template of the Release that the question is about; empty where there
// is none.
func (f *facts) template(q *Question) (name string, known bool) {
	if q.Template != nil {
		return q.Template()
	}
	if name := text(f.at("template", "name")); name != "" {
		return name, true
	}
	name = text(f.at("release", "template"))
	return name, name != ""
}

// objects are what the question is about, as it is and as it was.
func (f *facts) objects() []ast.Value {
	var out []ast.Value
	for _, path := range [][]string{{"request", "object"}, {"request", "oldObject"}} {
		if o, ok := f.at(path...).(ast.Object); ok {
			out = append(out, o)
		}
	}
	if len(out) == 0 {
		if o, ok := f.at("object").(ast.Object); ok {
			out = append(out, o)
		}
	}
	return out
}

func (f *facts) labelled(s labels.Selector) bool {
	objects := f.objects()
	if len(objects) == 0 {
		if release := f.at("release"); release != nil {
			return s.Matches(labelSet(at(release, "labels")))
		}
		return true
	}
	return slices.ContainsFunc(objects, func(o ast.Value) bool { return s.Matches(labelSet(at(o, "metadata", "labels"))) })
}

func (f *facts) named(patterns []string) bool {
	names := []string{text(f.at("request", "name"))}
	var prefix string
	for _, o := range f.objects() {
		names = append(names, text(at(o, "metadata", "name")))
		if generated := text(at(o, "metadata", "generateName")); generated != "" {
			prefix = generated
		}
	}
	if len(names) == 1 && names[0] == "" {
		names = append(names, text(f.at("release", "name")))
	}
	known := false
	for _, name := range names {
		if name == "" {
			continue
		}
		known = true
		if anyWildcard(patterns, name) {
			return true
		}
	}
	if known {
		return false
	}
	return prefix == "" || slices.ContainsFunc(patterns, func(p string) bool { return couldBecome(p, prefix) })
}
