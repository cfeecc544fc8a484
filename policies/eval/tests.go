package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"

	"tidegate.io/tidegate/policies/eval/budget"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// testTime is how long one of a policy's own tests may take.
const testTime = time.Second

// test runs the tests that a policy brings along and returns what went wrong.
func (p *Policy) test(ctx context.Context, step *budget.Step, f fit) []string {
	var problems []string
	add := func(found []string) bool {
		problems = append(problems, found...)
		if len(problems) >= maxLines {
			problems = append(problems[:maxLines], "and more")
		}
		return len(problems) < maxLines && !step.Cancelled()
	}
	if !add(p.testRego(ctx)) {
		return problems
	}
	for i := range p.source.Tests.Cases {
		if !add(p.testCase(ctx, f, &p.source.Tests.Cases[i])) {
			return problems
		}
	}
	return problems
}

// testRego runs the rules test_* of the test modules.
func (p *Policy) testRego(ctx context.Context) []string {
	s := p.source
	if len(s.Tests.Rego) == 0 {
		return nil
	}
	if s.CUE != "" {
		return []string{"tests.rego: wanted tests.cases, since the policy is in CUE, found Rego"}
	}
	v := regoVersion(s.RegoVersion)
	all, _, problems := modules(s)
	if len(problems) > 0 {
		return problems
	}
	var tests []ast.Ref
	for i, text := range s.Tests.Rego {
		name := fmt.Sprintf("tests.rego[%d]", i)
		module, problems := parse(name, text, v)
		if len(problems) > 0 {
			return prefixed(name, problems)
		}
		all[name] = module
		for _, rule := range module.Rules {
			first, ok := rule.Head.Ref()[0].Value.(ast.Var)
			if !ok || !strings.HasPrefix(string(first), "test_") {
				continue
			}
			ref := append(slices.Clone(module.Package.Path), ast.StringTerm(string(first)))
			if !slices.ContainsFunc(tests, func(o ast.Ref) bool { return o.Equal(ref) }) {
				tests = append(tests, ref)
			}
		}
	}
	if len(tests) == 0 {
		return []string{"tests.rego: wanted rules whose names begin with test_, found none; write: test_it_objects if { ... }"}
	}
	compiler, problems := newCompiler(v, all)
	if len(problems) > 0 {
		return problems
	}
	e := &regoEngine{compiler: compiler, queries: compiler.QueryCompiler(), strict: s.RegoVersion != v1alpha1.RegoV0}
	//nolint:contextcheck // the step ends the engine, which does nothing else with a context
	outcomes := budget.Each(ctx, len(tests), testTime, nil, func(i int, step *budget.Step) (bool, error) {
		return e.holds(step, tests[i])
	})
	for i, o := range outcomes {
		name := strings.TrimPrefix(tests[i].String(), "data.")
		switch {
		case o.Err != nil:
			problems = append(problems, fmt.Sprintf("test %s: wanted it to pass, found: %v", name, o.Err))
		case !o.Value:
			problems = append(problems, fmt.Sprintf("test %s: wanted it to be true, found that it is not", name))
		}
	}
	return problems
}

// holds says whether a rule is true.
func (e *regoEngine) holds(step *budget.Step, rule ast.Ref) (bool, error) {
	query, err := e.queries.Compile(ast.NewBody(ast.Equality.Expr(ast.VarTerm("answer"), ast.NewTerm(rule))))
	if err != nil {
		return false, errors.New(strings.Join(lines(err), "; "))
	}
	holds := false
	err = e.ask(step, query, ast.NewObject(), func(r topdown.QueryResult) error {
		term := r[ast.Var("answer")]
		holds = term != nil && term.Value.Compare(ast.Boolean(true)) == 0
		return nil
	})
	return holds, err
}

// testCase puts one case to the policy.
func (p *Policy) testCase(ctx context.Context, f fit, c *v1alpha1.PolicyCase) []string {
	problem := func(format string, args ...any) []string {
		return []string{fmt.Sprintf("case %q: ", c.Name) + fmt.Sprintf(format, args...)}
	}
	in, err := CaseInput(p.source.At[0], c)
	if err != nil {
		return problem("%v", err)
	}
	parameters := p.parameters
	if c.Parameters != nil {
		var problems []string
		if parameters, problems = f.parameters(c.Parameters.Raw); len(problems) > 0 {
			return problem("%s", strings.Join(problems, "; "))
		}
	}
	found, err := budget.Once(ctx, testTime, nil, func(s *budget.Step) (Findings, error) {
		return p.eval(s, in.with("parameters", parameters))
	})
	if err != nil {
		return problem("wanted it %s, found: %v", c.Want, err)
	}
	got := v1alpha1.OutcomeAllowed
	switch {
	case len(found.Denials) > 0:
		got = v1alpha1.OutcomeDenied
	case len(found.Warnings) > 0:
		got = v1alpha1.OutcomeWarned
	}
	all := slices.Concat(found.Denials, found.Warnings)
	if got != c.Want {
		return problem("wanted it %s, found it %s%s", c.Want, got, quoted(all))
	}
	if c.Message != "" && !slices.ContainsFunc(all, func(v Violation) bool { return strings.Contains(v.String(), c.Message) }) {
		return problem("wanted a message with %q, found none%s", c.Message, quoted(all))
	}
	return nil
}

// quoted are the first violations.
func quoted(list []Violation) string {
	if len(list) == 0 {
		return ""
	}
	texts := make([]string, 0, 3)
	for _, v := range list[:min(len(list), 3)] {
		texts = append(texts, v.String())
	}
	return ": " + strings.Join(texts, " | ")
}

// CaseInput is the input of a case, as if its object were created at the moment. Where the
// case gives a whole input, it is that.
func CaseInput(moment v1alpha1.PolicyMoment, c *v1alpha1.PolicyCase) (Input, error) {
	switch {
	case (c.Object == nil) == (c.Input == nil):
		return Input{}, errors.New("wanted exactly one of object and input")
	case c.Input != nil:
		var document map[string]json.RawMessage
		if err := kjson.UnmarshalCaseSensitivePreserveInts(c.Input.Raw, &document); err != nil {
			return Input{}, fmt.Errorf("input: wanted a JSON object, found: %w", err)
		}
		whole := map[string]any{}
		for _, key := range slices.Sorted(maps.Keys(document)) {
			whole[key] = document[key]
		}
		if whole["moment"] == nil {
			whole["moment"] = string(moment)
		}
		return NewInput(whole)
	}
	r, err := creation(c.Object.Raw)
	if err != nil {
		return Input{}, err
	}
	return RequestInput(moment, r)
}

// creation is the request that creates an object. No more of it is read than the request
// says: the rest may be as wrong as a case wants it.
func creation(raw json.RawMessage) (Request, error) {
	var object struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &object); err != nil {
		return Request{}, fmt.Errorf("object: wanted an object of Kubernetes, found: %w", err)
	}
	return Request{
		Kind: GroupKind(object.GroupVersionKind()), Name: object.Metadata.Name, Namespace: object.Metadata.Namespace,
		Operation: "CREATE", Object: raw,
	}, nil
}

// SampleNamespace is the namespace of the samples that have none, and SampleRelease the
// Release that renders them.
const SampleNamespace = "shop"

// SampleRelease is the Release that samples are rendered by.
var SampleRelease = Release{Name: "cart", Namespace: SampleNamespace, Template: "web"}

// SampleInput is the input of a sample, as it lies beside a policy: of an object that is
// created, or that a Release renders. What has no kind is a whole input.
func SampleInput(moment v1alpha1.PolicyMoment, raw []byte) (Input, error) {
	var is metav1.TypeMeta
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &is); err == nil && (is.APIVersion == "" || is.Kind == "") {
		return CaseInput(moment, &v1alpha1.PolicyCase{Input: &runtime.RawExtension{Raw: raw}})
	}
	r, err := creation(raw)
	if err != nil {
		return Input{}, err
	}
	if r.Namespace == "" {
		r.Namespace = SampleNamespace
	}
	in, err := RequestInput(moment, r)
	if err != nil || moment != v1alpha1.AtRelease {
		return in, err
	}
	return in.With("release", SampleRelease)
}
