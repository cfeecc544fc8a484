package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// baseline judges as a framework does that keeps nothing between two requests: it decodes
// the object for each policy that has a match, converts the review by way of JSON, and asks
// each policy by a query of its own, which is parsed and compiled then, with an input that
// is converted then. Policies are compiled once, as there. Constraints are asked through an
// entry rule that takes their parameters from the store, as the constraint framework has it.
type baseline struct {
	rules []rule
	store storage.Store
}

// rule is one policy of the baseline.
type rule struct {
	kinds      []kinds
	compiler   *ast.Compiler
	version    ast.RegoVersion
	query      string
	parameters any
	// constraint is which one it is, of Gatekeeper's.
	constraint *constraintKey
	// review is the name under which the policy sees the request.
	review string
}

type constraintKey struct{ kind, name string }

// entry asks the template about each constraint of its kind.
const entry = `package entry

found[answer] {
	asked := input.asked[_]
	seen := {"review": input.review, "parameters": data.constraints[asked.kind][asked.name]}
	data.template.violation[v] with input as seen
	answer := {"asked": asked, "msg": v.msg, "details": object.get(v, "details", {})}
}`

type kinds struct {
	Groups []string `json:"apiGroups"`
	Kinds  []string `json:"kinds"`
}

func newBaseline(p part) (*baseline, error) {
	b := &baseline{store: inmem.New()}
	if p.Library == "" {
		sources, err := deployPolicies(p.Policies)
		if err != nil {
			return nil, err
		}
		for _, s := range sources {
			r, err := ruleOfPolicy(s)
			if err != nil {
				return nil, err
			}
			b.rules = append(b.rules, r)
		}
		return b, nil
	}
	pairs, err := libraryPairs(p.Library, p.Group)
	if err != nil {
		return nil, err
	}
	constraints := map[string]any{}
	for _, p := range pairs {
		r, err := ruleOfConstraint(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.template.GetName(), err)
		}
		b.rules = append(b.rules, r)
		named, ok := constraints[r.constraint.kind].(map[string]any)
		if !ok {
			named = map[string]any{}
			constraints[r.constraint.kind] = named
		}
		named[r.constraint.name] = r.parameters
	}
	b.store = inmem.NewFromObject(map[string]any{"inventory": map[string]any{}, "constraints": constraints})
	return b, nil
}

func ruleOfPolicy(s eval.Source) (rule, error) {
	r := rule{version: ast.RegoV1, review: "request", parameters: map[string]any{}}
	if s.RegoVersion == v1alpha1.RegoV0 {
		r.version = ast.RegoV0
	}
	for _, k := range s.Match.Kinds {
		r.kinds = append(r.kinds, kinds{Groups: []string{k.Group}, Kinds: k.Kinds})
	}
	modules := map[string]string{"policy": s.Rego}
	for i, lib := range s.Libs {
		modules[fmt.Sprint("lib", i)] = lib
	}
	var entry *ast.Module
	var err error
	if r.compiler, entry, err = compiled(modules, "policy", r.version); err != nil {
		return r, fmt.Errorf("compiling %s: %w", s.Name, err)
	}
	r.query = entry.Package.Path.String() + ".deny[r]"
	// The defaults of the schema.
	var schema struct {
		Properties map[string]struct {
			Default any `json:"default"`
		} `json:"properties"`
	}
	if len(s.ParametersSchema) > 0 {
		if err := json.Unmarshal(s.ParametersSchema, &schema); err != nil {
			return r, fmt.Errorf("reading the schema of %s: %w", s.Name, err)
		}
	}
	parameters := map[string]any{}
	for name, p := range schema.Properties {
		if p.Default != nil {
			parameters[name] = p.Default
		}
	}
	if len(s.Parameters) > 0 {
		if err := json.Unmarshal(s.Parameters, &parameters); err != nil {
			return r, fmt.Errorf("reading the parameters of %s: %w", s.Name, err)
		}
	}
	r.parameters = parameters
	return r, nil
}

// ruleOfConstraint reads the Rego of a template, from either of the two places.
func ruleOfConstraint(p pair) (rule, error) {
	r := rule{
		version: ast.RegoV0, review: "review", query: "data.entry.found[r]",
		constraint: &constraintKey{p.constraint.GetKind(), p.constraint.GetName()},
	}
	var d struct {
		Spec struct {
			Targets []struct {
				Rego string   `json:"rego"`
				Libs []string `json:"libs"`
				Code []struct {
					Engine string `json:"engine"`
					Source struct {
						Rego string   `json:"rego"`
						Libs []string `json:"libs"`
					} `json:"source"`
				} `json:"code"`
			} `json:"targets"`
		} `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(p.template.Object, &d); err != nil {
		return r, fmt.Errorf("reading the template: %w", err)
	}
	if len(d.Spec.Targets) != 1 {
		return r, fmt.Errorf("wanted one target, found %d", len(d.Spec.Targets))
	}
	source, libs := d.Spec.Targets[0].Rego, d.Spec.Targets[0].Libs
	for _, c := range d.Spec.Targets[0].Code {
		if source == "" && c.Engine == "Rego" {
			source, libs = c.Source.Rego, c.Source.Libs
		}
	}
	modules := map[string]string{"template": source, "entry": entry}
	for i, lib := range libs {
		modules[fmt.Sprint("lib", i)] = lib
	}
	var err error
	if r.compiler, _, err = compiled(modules, "template", r.version); err != nil {
		return r, err
	}
	var c struct {
		Spec struct {
			Match struct {
				Kinds []kinds `json:"kinds"`
			} `json:"match"`
			Parameters map[string]any `json:"parameters"`
		} `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(p.constraint.Object, &c); err != nil {
		return r, fmt.Errorf("reading the constraint: %w", err)
	}
	r.kinds, r.parameters = c.Spec.Match.Kinds, c.Spec.Parameters
	return r, nil
}

// compiled compiles modules. The entry is renamed to package template where it is one.
func compiled(sources map[string]string, entry string, v ast.RegoVersion) (*ast.Compiler, *ast.Module, error) {
	modules := map[string]*ast.Module{}
	for name, text := range sources {
		m, err := ast.ParseModuleWithOpts(name, text, ast.ParserOptions{RegoVersion: v})
		if err != nil {
			return nil, nil, fmt.Errorf("parsing: %w", err)
		}
		modules[name] = m
	}
	if entry == "template" {
		modules[entry].Package.Path = ast.Ref{ast.DefaultRootDocument, ast.StringTerm(entry)}
	}
	c := ast.NewCompiler().WithDefaultRegoVersion(v)
	if c.Compile(modules); c.Failed() {
		return nil, nil, c.Errors
	}
	return c, modules[entry], nil
}

func (r *rule) matches(group, kind string) bool {
	has := func(list []string, one string) bool {
		return len(list) == 0 || slices.Contains(list, "*") || slices.Contains(list, one)
	}
	return len(r.kinds) == 0 || slices.ContainsFunc(r.kinds, func(k kinds) bool { return has(k.Groups, group) && has(k.Kinds, kind) })
}

// Handle implements admission.Handler.
func (b *baseline) Handle(ctx context.Context, q admission.Request) admission.Response {
	found, err := b.judge(ctx, q)
	switch {
	case err != nil:
		return admission.Errored(http.StatusInternalServerError, err)
	case found > 0:
		return admission.Denied(fmt.Sprintf("%d violations", found))
	}
	return admission.Allowed("")
}

func (b *baseline) judge(ctx context.Context, q admission.Request) (found int, err error) {
	var asked []*rule
	for i := range b.rules {
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(q.Object.Raw); err != nil {
			return 0, fmt.Errorf("decoding the object: %w", err)
		}
		if gvk := u.GroupVersionKind(); b.rules[i].matches(gvk.Group, gvk.Kind) {
			asked = append(asked, &b.rules[i])
		}
	}
	if len(asked) == 0 {
		return 0, nil
	}
	raw, err := json.Marshal(q.AdmissionRequest)
	if err != nil {
		return 0, fmt.Errorf("writing the review: %w", err)
	}
	var review map[string]any
	if err := json.Unmarshal(raw, &review); err != nil {
		return 0, fmt.Errorf("reading the review: %w", err)
	}
	review["namespaceObject"] = map[string]any{}
	for _, r := range asked {
		n, err := r.ask(ctx, b.store, review)
		if err != nil {
			return 0, err
		}
		found += n
	}
	return found, nil
}

func (r *rule) ask(ctx context.Context, store storage.Store, review map[string]any) (int, error) {
	document := map[string]any{r.review: review}
	if c := r.constraint; c != nil {
		document["asked"] = []any{map[string]any{"kind": c.kind, "name": c.name}}
	} else {
		document["parameters"] = r.parameters
		document["object"], document["moment"] = review["object"], string(v1alpha1.AtAdmission)
	}
	input, err := ast.InterfaceToValue(document)
	if err != nil {
		return 0, fmt.Errorf("converting the input: %w", err)
	}
	results, err := rego.New(rego.Compiler(r.compiler), rego.Store(store), rego.ParsedInput(input), rego.Query(r.query), rego.SetRegoVersion(r.version)).Eval(ctx)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.query, err)
	}
	return len(results), nil
}
