package render

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Bounds of what Vet renders to find out what a template does.
const (
	// maxProbes is how many values of variables are tried.
	maxProbes = 200
	// maxNumber is the greatest number that is tried: a template may build a list of that
	// length.
	maxNumber = 65535
	// maxVariants is how many different texts are made up for one place before it is said that
	// none can be rendered.
	maxVariants = 4
)

// rendered is one set of values that Vet knows of.
type rendered struct {
	// where names it in messages, such as tests."a name" or examples/cart.yaml.
	where    string
	position string
	values   []byte
	context  Context
	result   *Result
}

// lintObjects renders what is known to be good values, and looks at what comes out.
func (v *vetter) lintObjects() {
	good := slices.Concat(v.tests(), v.examples())
	base := v.minimal()
	switch {
	case len(good) == 0 && base == nil:
		if slices.ContainsFunc(v.findings, func(f Finding) bool { return f.Code == CodeObject || f.Code == CodeRollout }) {
			return
		}
		v.warn(CodeNotRendered, "", "wanted a test or an example, so that the objects can be looked at, found none, and no values could be made up; add tests: \"a name\": values: {...}")
		return
	case base == nil:
		base = &good[0]
	default:
		good = append(good, *base)
	}
	for _, r := range good {
		v.lintRendered(r)
	}
	v.lintContext(*base)
	if !v.options.Shallow {
		newProber(v, *base).run()
	}
}

// tests runs the template's tests and returns those that render.
func (v *vetter) tests() []rendered {
	results, err := v.template.Test(nil)
	if err != nil {
		v.sourceFindings(CodeTestFails, err)
	}
	if len(results) == 0 && err == nil {
		v.advise(CodeNoTests, "", "wanted tests, so that a change that breaks the template is found before it is published, found none; add tests: \"a name\": values: {...}")
	}
	var good []rendered
	for _, r := range results {
		if r.broken != nil {
			v.sourceFindings(CodeObject, r.broken)
			continue
		}
		for _, p := range r.Problems {
			v.fail(CodeTestFails, r.Position, "tests.%s: %s", label(r.Name), p)
		}
		if r.Result != nil && len(r.Problems) == 0 {
			good = append(good, rendered{where: "tests." + label(r.Name), position: r.Position, values: r.Values, context: r.Context, result: r.Result})
		}
	}
	return good
}

// examples renders the examples and returns those that do.
func (v *vetter) examples() []rendered {
	var good []rendered
	for _, name := range slices.Sorted(maps.Keys(v.options.Examples)) {
		r := rendered{where: name, position: name, values: v.options.Examples[name], context: v.options.Context}
		if v.render(&r, func(problem string) { v.fail(CodeExampleFails, name, "%s", problem) }) {
			good = append(good, r)
		}
	}
	return good
}

// render renders r. Mistakes in the values go to wrong, those of the template to the
// findings.
func (v *vetter) render(r *rendered, wrong func(string)) bool {
	var err error
	if r.result, err = v.template.Render(r.values, r.context); err == nil {
		return true
	}
	if mistakes, ok := errors.AsType[*ValuesError](err); ok {
		for _, p := range mistakes.Problems {
			wrong(p.String())
		}
		return false
	}
	v.sourceFindings(CodeObject, err)
	return false
}

// sourceFindings adds a finding for each line of an error about the template.
func (v *vetter) sourceFindings(code string, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		position, message := cutPosition(line)
		if position == "" {
			position = v.positionOf(message)
		}
		if strings.HasPrefix(message, "rollout") {
			v.fail(CodeRollout, position, "%s", anonymous(message))
			continue
		}
		v.fail(code, position, "%s", anonymous(message))
	}
}

var idPattern = regexp.MustCompile(`^objects\.("(?:[^"\\]|\\.)*"|[^\s.:([]+)`)

// positionOf is where the object stands that a message is about.
func (v *vetter) positionOf(message string) string {
	path := objectsPath
	if m := idPattern.FindStringSubmatch(message); m != nil {
		id := m[1]
		if text, err := strconv.Unquote(id); err == nil {
			id = text
		}
		path = cue.MakePath(append(objectsPath.Selectors(), cue.Str(id))...)
	} else if strings.HasPrefix(message, "rollout") {
		path = rolloutPath
	}
	return place(v.template.root.LookupPath(path).Pos())
}

var revisionPattern = regexp.MustCompile(`([-="])[0-9a-f]{10}\b`)

// anonymous is a message without revisions, which would make one mistake look like many.
func anonymous(message string) string {
	return revisionPattern.ReplaceAllString(message, "$1<revision>")
}

// lintRendered looks at the objects of one Release.
func (v *vetter) lintRendered(r rendered) {
	byID, _, err := v.template.raw(r.values, r.context, r.result.Revision)
	if err != nil {
		v.sourceFindings(CodeObject, err)
		return
	}
	finished := r.result.byKey()
	set := newObjectSet()
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		if o := finished[key(byID[id])]; o != nil {
			set.add(id, o)
		}
	}
	for _, m := range set.lint() {
		v.known[m.kind(set)] = true
		message := fmt.Sprintf("objects.%s: %s", label(m.id), m.message)
		v.fail(m.code, v.positionOf(message), "%s", anonymous(message))
	}
	for _, id := range set.ids {
		for _, check := range v.options.Checks {
			for _, line := range check.Check(set.objects[id]) {
				message := fmt.Sprintf("objects.%s: %s", label(id), line)
				v.fail(check.Code, v.positionOf(message), "%s", anonymous(message))
			}
		}
	}
	if _, err := v.template.RenderTwice(r.values, r.context); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			position, message := cutPosition(line)
			if position == "" {
				position = v.positionOf(message)
			}
			v.fail(CodeRevision, position, "%s", anonymous(message))
		}
	}
}

// lintContext renders the same values for a second Release, in the same namespace and in
// another, and finds what the two would fight over.
func (v *vetter) lintContext(r rendered) {
	byID, _, err := v.template.raw(r.values, r.context, r.result.Revision)
	if err != nil {
		return // Reported where it was rendered.
	}
	other := Context{Name: "second", Namespace: "elsewhere", Template: r.context.Template}
	second, err := v.template.Render(r.values, other)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			position, message := cutPosition(line)
			if position == "" {
				position = v.positionOf(message)
			}
			v.fail(CodeContext, position, "wanted names and namespaces made of #Context, found that what renders for one Release does not for another (%s, for the Release %s in namespace %s): %s", r.where, other.Name, other.Namespace, anonymous(message))
		}
		return
	}
	again, _, err := v.template.raw(r.values, other, second.Revision)
	if err != nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		a, b := podSelector(byID[id]), podSelector(again[id])
		if len(a) == 0 || !maps.Equal(a, b) || again[id] == nil {
			continue
		}
		message := "objects." + label(id)
		v.fail(CodeSelector, v.positionOf(message), "%s: wanted a selector made of #Context, found %s for every Release, so that two in one namespace would take each other's pods; add a label such as \"app.kubernetes.io/name\": context.name", message, brief(a))
	}
}

// podSelector is what o selects pods by; nil for objects that select none.
func podSelector(o *unstructured.Unstructured) map[string]string {
	if o == nil {
		return nil
	}
	path := []string{"spec", "selector", "matchLabels"}
	if o.GetKind() == "Service" {
		path = path[:2]
	}
	selector, _, err := unstructured.NestedStringMap(o.Object, path...)
	if err != nil {
		return nil
	}
	return selector
}

// minimal makes up the least values that #Variables accepts and that render. It returns
// nil where it finds none.
func (v *vetter) minimal() *rendered {
	var broken error
	for variant := range maxVariants {
		n := sampler{Template: v.template, variant: variant}.least(v.template.variables, 0)
		if n == nil {
			break
		}
		r := rendered{where: "the least values", values: []byte(jsonOf(n)), context: v.options.Context}
		result, err := v.template.Render(r.values, r.context)
		if err == nil {
			r.result = result
			return &r
		}
		if _, wrong := errors.AsType[*ValuesError](err); !wrong && broken == nil {
			broken = err
		}
	}
	if broken != nil {
		v.sourceFindings(CodeObject, broken)
	}
	return nil
}
