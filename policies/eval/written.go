package eval

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// What the CustomResourceDefinition refuses is refused here too: a DeployPolicy also comes
// from files, and a word that nothing can equal would leave the policy silent.

const (
	// maxModule is how long one module may be, in bytes.
	maxModule = 128 << 10
	// maxLibs is how many modules there may be besides, and maxCases how many cases.
	maxLibs, maxCases = 32, 256
)

// The form of what match compares. The same patterns are in the CustomResourceDefinition.
var (
	namespaceForm = regexp.MustCompile(`^\*?[a-z0-9-]*\*?$`)
	templateForm  = regexp.MustCompile(`^\*?[a-z0-9.-]*\*?$`)
	nameForm      = regexp.MustCompile(`^\*?[^*?/%\s]*\*?$`)
	groupForm     = regexp.MustCompile(`^(\*|[a-z0-9.-]*)$`)
	kindForm      = regexp.MustCompile(`^(\*|[A-Za-z][A-Za-z0-9-]*)$`)
)

// written collects what is wrong with the words of a policy.
type written []string

func (w *written) add(path, wanted string, found any) {
	*w = append(*w, fmt.Sprintf("%s: wanted %s, found %q", path, wanted, found))
}

// mistakes are those of a source, in what is neither code nor parameters.
func mistakes(s Source) []string {
	var w written
	w.words(s)
	w.match(s.Match)
	w.sizes(s)
	return w
}

func one[T ~string](w *written, path string, found T, known ...T) {
	if slices.Contains(known, found) {
		return
	}
	texts := make([]string, 0, len(known))
	for _, k := range known {
		texts = append(texts, string(k))
	}
	w.add(path, "one of "+strings.Join(texts, ", "), found)
}

func (w *written) words(s Source) {
	enforcement := func(path string, e v1alpha1.Enforcement) {
		one(w, path, e, v1alpha1.EnforcementDeny, v1alpha1.EnforcementWarn, v1alpha1.EnforcementDryrun)
	}
	enforcement("enforcement", s.Enforcement)
	for i, e := range s.EnforcementIn {
		path := fmt.Sprintf("enforcementIn[%d].", i)
		if len(e.Namespaces) == 0 {
			*w = append(*w, path+"namespaces: wanted at least one name, found none")
		}
		w.all(path+"namespaces", namespaceForm, textNamespace, e.Namespaces)
		enforcement(path+"enforcement", e.Enforcement)
	}
	one(w, "regoVersion", s.RegoVersion, v1alpha1.RegoV1, v1alpha1.RegoV0)
	for i, at := range s.At {
		one(w, fmt.Sprintf("at[%d]", i), at, v1alpha1.AtAdmission, v1alpha1.AtRelease, v1alpha1.AtPromotion)
	}
	for i, c := range s.Tests.Cases {
		one(w, fmt.Sprintf("tests.cases[%d].want", i), c.Want, v1alpha1.OutcomeAllowed, v1alpha1.OutcomeDenied, v1alpha1.OutcomeWarned)
	}
}

const (
	textNamespace = "the name of a namespace, with * at its beginning or end at most"
	textName      = "a name, with * at its beginning or end at most"
)

func (w *written) match(m v1alpha1.PolicyMatch) {
	for i, k := range m.Kinds {
		path := fmt.Sprintf("match.kinds[%d].", i)
		if !groupForm.MatchString(k.Group) {
			w.add(path+"group", `an API group without its version, such as apps, or ""`, k.Group)
		}
		if len(k.Kinds) == 0 {
			*w = append(*w, path+`kinds: wanted at least one kind, or "*", found none`)
		}
		w.all(path+"kinds", kindForm, "a kind, such as Deployment", k.Kinds)
		for n, kind := range k.Kinds {
			// No kind of Kubernetes itself begins so; it is the name of a resource.
			if !strings.ContainsAny(k.Group, ".*") && kind != "" && kind[0] >= 'a' && kind[0] <= 'z' {
				w.add(fmt.Sprintf("%skinds[%d]", path, n), "a kind as it is written in objects, such as Deployment", kind)
			}
		}
	}
	w.all("match.namespaces", namespaceForm, textNamespace, m.Namespaces)
	w.all("match.excludedNamespaces", namespaceForm, textNamespace, m.ExcludedNamespaces)
	w.all("match.names", nameForm, textName, m.Names)
	w.all("match.templates", templateForm, textName, m.Templates)
	for i, o := range m.Operations {
		one(w, fmt.Sprintf("match.operations[%d]", i), o, "CREATE", "UPDATE", "DELETE", "CONNECT", "*")
	}
}

// readable is a match without the lists that have mistakes, so that it matches what they
// may have been meant to match.
func readable(m v1alpha1.PolicyMatch) v1alpha1.PolicyMatch {
	mistaken := func(part v1alpha1.PolicyMatch) bool {
		var w written
		w.match(part)
		return len(w) > 0
	}
	if mistaken(v1alpha1.PolicyMatch{Kinds: m.Kinds}) {
		m.Kinds = nil
	}
	if mistaken(v1alpha1.PolicyMatch{Operations: m.Operations}) {
		m.Operations = nil
	}
	for list, part := range map[*[]string]v1alpha1.PolicyMatch{
		&m.Namespaces: {Namespaces: m.Namespaces}, &m.ExcludedNamespaces: {ExcludedNamespaces: m.ExcludedNamespaces},
		&m.Names: {Names: m.Names}, &m.Templates: {Templates: m.Templates},
	} {
		if mistaken(part) {
			*list = nil
		}
	}
	return m
}

// all says which of the texts have another form.
func (w *written) all(path string, form *regexp.Regexp, wanted string, list []string) {
	for i, text := range list {
		if text == "" || !form.MatchString(text) {
			w.add(fmt.Sprintf("%s[%d]", path, i), wanted, text)
		}
	}
}

func (w *written) sizes(s Source) {
	module := func(path, text string) {
		if len(text) > maxModule {
			*w = append(*w, fmt.Sprintf("%s: wanted at most %d KiB, found %d", path, maxModule>>10, len(text)>>10))
		}
	}
	atMost := func(path string, n, most int) {
		if n > most {
			*w = append(*w, fmt.Sprintf("%s: wanted at most %d, found %d", path, most, n))
		}
	}
	module("rego", s.Rego)
	module("cue", s.CUE)
	for path, list := range map[string][]string{"libs": s.Libs, "tests.rego": s.Tests.Rego} {
		atMost(path, len(list), maxLibs)
		for i, text := range list {
			module(fmt.Sprintf("%s[%d]", path, i), text)
		}
	}
	atMost("tests.cases", len(s.Tests.Cases), maxCases)
	slices.Sort(*w)
}
