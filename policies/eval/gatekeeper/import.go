package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// importedPackage is what the template's own package is called in a DeployPolicy.
const importedPackage = "lib.tidegate_template"

// packageLine is the statement that names a module's package.
var packageLine = regexp.MustCompile(`^package\s+[^\s;#]+`)

// Import turns a constraint and its template into a DeployPolicy with the same verdicts and
// messages. What a DeployPolicy cannot say is an error. notes are what whoever applies it
// should know.
func (t *Template) Import(u *unstructured.Unstructured) (p *v1alpha1.DeployPolicy, notes []string, err error) {
	c, err := t.Constraint(u)
	if err != nil {
		return nil, nil, err
	}
	in := func(err error) error { return fmt.Errorf("importing %s: %w", c.key, err) }
	source, ok := t.Source()
	if !ok {
		return nil, nil, in(errors.New("wanted a template in Rego, found one in CEL; keep it as a ConstraintTemplate"))
	}
	p = &v1alpha1.DeployPolicy{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "DeployPolicy"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        strings.ToLower(c.key.Kind) + "-" + c.key.Name,
			Annotations: map[string]string{"tidegate.io/imported-from": c.key.String()},
		},
	}
	if p.Spec.Rego, p.Spec.Libs, err = importRego(source, c.match); err != nil {
		return nil, nil, in(err)
	}
	p.Spec.RegoVersion = v1alpha1.RegoV0
	if source.V1 {
		p.Spec.RegoVersion = v1alpha1.RegoV1
	}
	var at string
	if at, notes, err = c.importAction(); err != nil {
		return nil, nil, in(err)
	}
	p.Spec.Enforcement = v1alpha1.Enforcement(at)
	p.Spec.At = []v1alpha1.PolicyMoment{v1alpha1.AtAdmission, v1alpha1.AtRelease}
	if p.Spec.Match, err = c.importMatch(); err != nil {
		return nil, nil, in(err)
	}
	if parameters, ok, _ := unstructured.NestedMap(c.object.Object, "spec", "parameters"); ok {
		raw, err := json.Marshal(parameters)
		if err != nil {
			return nil, nil, in(fmt.Errorf("spec.parameters: %w", err))
		}
		p.Spec.Parameters = &runtime.RawExtension{Raw: raw}
	}
	if schema, ok := t.schema.v1.Properties["spec"].Properties["parameters"]; ok {
		raw, err := json.Marshal(schema)
		if err != nil {
			return nil, nil, in(fmt.Errorf("the schema of parameters: %w", err))
		}
		p.Spec.ParametersSchema = &runtime.RawExtension{Raw: raw}
	}
	if slices.ContainsFunc(p.Spec.Match.Kinds, func(k v1alpha1.KindMatch) bool { return slices.Contains(k.Kinds, "Pod") }) {
		notes = append(notes, "it is about Pods, which the webhook is not asked about; name the kinds that make them, such as Deployment, where its rules fit these too")
	}
	return p, notes, nil
}

// importAction returns the enforcement that the constraint has at admission.
func (c *Constraint) importAction() (action string, notes []string, err error) {
	actions := c.actions(PointWebhook)
	for _, known := range []string{ActionDeny, ActionWarn, ActionDryrun} {
		if slices.Contains(actions, known) {
			if len(actions) > 1 {
				notes = append(notes, fmt.Sprintf("it has several actions at admission, %s; the strictest is taken", strings.Join(actions, ", ")))
			}
			return known, notes, nil
		}
	}
	if len(actions) == 0 {
		return "", nil, fmt.Errorf("spec.scopedEnforcementActions: wanted an action at %s, found none", PointWebhook)
	}
	return "", nil, fmt.Errorf("spec.enforcementAction: wanted deny, warn or dryrun, found %s", strings.Join(actions, ", "))
}

func (c *Constraint) importMatch() (v1alpha1.PolicyMatch, error) {
	out := v1alpha1.PolicyMatch{Operations: slices.Clone(c.template.operations)}
	if len(out.Operations) == 0 {
		// What Gatekeeper's webhook is registered for unless somebody changes it.
		out.Operations = []string{"CREATE", "UPDATE"}
	}
	m := c.match
	if m == nil {
		return out, nil
	}
	if m.Source == SourceGenerated {
		return out, fmt.Errorf("spec.match.source: wanted objects that somebody writes, found %s; keep it as a constraint", m.Source)
	}
	for _, k := range m.Kinds {
		names := k.Kinds
		if anyOf(names, "*") {
			names = []string{"*"}
		}
		groups := k.APIGroups
		if anyOf(groups, "*") {
			groups = []string{"*"}
		}
		for _, group := range groups {
			out.Kinds = append(out.Kinds, v1alpha1.KindMatch{Group: group, Kinds: slices.Compact(slices.Sorted(slices.Values(names)))})
		}
	}
	texts := func(list []wildcard) []string {
		var out []string
		for _, w := range list {
			if !slices.Contains(out, string(w)) {
				out = append(out, string(w))
			}
		}
		return out
	}
	out.Namespaces, out.ExcludedNamespaces = texts(m.Namespaces), texts(m.ExcludedNamespaces)
	out.LabelSelector, out.NamespaceSelector = m.LabelSelector, m.NamespaceSelector
	return out, nil
}

// importRego returns the modules of a DeployPolicy: the template as a library, and a module
// that asks it with the input that it knows.
func importRego(s RegoSource, m *match) (main string, libs []string, err error) {
	version := ast.RegoV0
	if s.V1 {
		version = ast.RegoV1
	}
	for i, text := range append([]string{s.Rego}, s.Libs...) {
		module, err := parseModule(entryModule, text, version)
		if err != nil {
			return "", nil, err
		}
		if reads(module, inventoryRef) {
			return "", nil, errors.New("wanted a template that reads the request alone, found one that reads data.inventory; keep it as a ConstraintTemplate")
		}
		if i > 0 {
			libs = append(libs, text)
			continue
		}
		at := module.Package.Location.Offset
		statement := packageLine.FindString(text[at:])
		if statement == "" {
			return "", nil, fmt.Errorf("wanted the package on one line, found %q", module.Package.Location.Text)
		}
		libs = append(libs, text[:at]+"package "+importedPackage+text[at+len(statement):])
	}
	return wrapper(s.V1, m), libs, nil
}

func reads(m *ast.Module, prefix ast.Ref) bool {
	found := false
	ast.WalkRefs(m, func(r ast.Ref) bool {
		found = found || r.HasPrefix(prefix)
		return found
	})
	return found
}

// wrapper asks the template as Gatekeeper does. What a request does not have is null
// there. The parts of match that a DeployPolicy reads differently, or has not, are here.
func wrapper(v1 bool, m *match) string {
	head, then := `violation[{"msg": r.msg, "details": object.get(r, "details", {})}]`, ""
	if v1 {
		head, then = `violation contains {"msg": r.msg, "details": object.get(r, "details", {})}`, " if"
	}
	var b strings.Builder
	rule := func(head string, lines ...string) {
		b.WriteString("\n" + head + then + " {\n")
		for _, l := range lines {
			b.WriteString("\t" + l + "\n")
		}
		b.WriteString("}\n")
	}
	b.WriteString("package tidegate.imported\n")
	main := []string{"some r", "data." + importedPackage + `.violation[r] with input as {"review": review, "parameters": input.parameters}`}
	scope, name := "", wildcard("")
	if m != nil {
		scope, name = m.Scope, m.Name
	}
	if scope == "Cluster" || scope == "Namespaced" {
		main = append([]string{strings.ToLower(scope)}, main...)
	}
	if name != "" {
		main = append([]string{"named"}, main...)
	}
	rule(head, main...)
	b.WriteString(`
absent := {"oldObject": null, "options": null, "uid": "", "operation": "", "dryRun": false}

request := object.union(absent, object.remove(input.request, ["object"]))

review := object.union(request, {"object": object.get(input, "object", null), "namespaceObject": namespace})

namespace := {"metadata": input.namespace}

default namespace := {}
`)
	const isNamespace = `[input.request.kind.group, input.request.kind.kind] == ["", "Namespace"]`
	switch scope {
	case "Cluster":
		rule("cluster", isNamespace)
		rule("cluster", `object.get(input.request, "namespace", "") == ""`)
	case "Namespaced":
		rule("namespaced", `object.get(input.request, "namespace", "") != ""`, "not "+isNamespace)
	}
	if name != "" {
		for _, path := range []string{"object.metadata.name", "oldObject.metadata.name"} {
			rule("named", "name := input.request."+path, name.rego("name"))
		}
		if strings.HasSuffix(string(name), "*") {
			rule("named", "name := input.request.object.metadata.generateName", name.rego("name"))
		}
	}
	return b.String()
}

// rego is the wildcard as a condition on a variable.
func (w wildcard) rego(variable string) string {
	p := string(w)
	quoted := strconv.Quote(strings.TrimPrefix(strings.TrimSuffix(p, "*"), "*"))
	switch front, back := strings.HasPrefix(p, "*"), strings.HasSuffix(p, "*"); {
	case front && back:
		return "contains(" + variable + ", " + quoted + ")"
	case front:
		return "endswith(" + variable + ", " + quoted + ")"
	case back:
		return "startswith(" + variable + ", " + quoted + ")"
	default:
		return variable + " == " + quoted
	}
}
