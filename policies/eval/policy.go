// Package eval judges input by Rego policies. It is pure: a verdict depends on the
// policy and its input alone, never on a clock, a network or an earlier request, and it
// is the only package that knows the Rego engine.
//
// Every policy is compiled on its own, so that a mistake in one touches no other. The
// document that a policy sees as input is described at [NewInput].
package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	// Policies read the time in zones by name; a verdict must not depend on whether the
	// machine has their rules.
	_ "time/tzdata"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Codes of the violations that this package itself makes.
const (
	// ReasonPolicyDeny is the code of a violation whose policy gives none.
	ReasonPolicyDeny = "TG-POLICY-DENY"
	// ReasonPolicyError is: a policy could not be evaluated, so nothing is known.
	ReasonPolicyError = "TG-POLICY-ERROR"
)

// Source is a policy as written.
type Source struct {
	// Name is what violations and messages call the policy.
	Name string
	// Rego is one Rego v1 module.
	Rego string
	// Parameters is a JSON object, given to the rules as input.parameters; empty is {}.
	Parameters []byte
	// Enforcement says what a violation leads to; empty is deny.
	Enforcement v1alpha1.Enforcement
	// On lists the moments at which the policy is asked; empty is admission.
	At []v1alpha1.PolicyMoment
	// Match narrows what the policy is asked about.
	Match v1alpha1.PolicyMatch
}

// FromDeployPolicy returns the source of a DeployPolicy.
func FromDeployPolicy(p *v1alpha1.DeployPolicy) Source {
	s := Source{
		Name:        p.Name,
		Rego:        p.Spec.Rego,
		Enforcement: p.Spec.Enforcement,
		At:          p.Spec.At,
		Match:       p.Spec.Match,
	}
	if p.Spec.Parameters != nil {
		s.Parameters = p.Spec.Parameters.Raw
	}
	return s
}

// CompileError reports what is wrong with the source of a policy, one mistake a line,
// each with line:column where there is one.
type CompileError struct {
	Policy string
	Lines  []string
}

// Error joins the mistakes by newlines.
func (e *CompileError) Error() string {
	return fmt.Sprintf("compiling policy %q:\n%s", e.Policy, strings.Join(e.Lines, "\n"))
}

// Violation is one thing that a policy has against a request.
type Violation struct {
	// Policy is the name of the policy.
	Policy string `json:"policy"`
	// Code is stable: TG-POLICY-DENY where the policy gives none.
	Code string `json:"code"`
	// Message says what was wanted and what was found.
	Message string `json:"message"`
	// Fix says what to do next; may be empty.
	Fix string `json:"fix,omitempty"`
	// Details is whatever else the policy gives.
	Details any `json:"details,omitempty"`
	// Until is when the policy expects to object no more; zero where it does not say.
	// It is a hint: the policy is asked again and not believed.
	Until time.Time `json:"until,omitzero"`
	// RetryAfter is the same, counted from the question.
	RetryAfter time.Duration `json:"retryAfter,omitempty"`
}

// String is what a person reads.
func (v Violation) String() string {
	var b strings.Builder
	b.WriteString(v.Code)
	b.WriteString(": ")
	b.WriteString(v.Message)
	if v.Fix != "" {
		b.WriteString("; do: ")
		b.WriteString(v.Fix)
	}
	return b.String()
}

// Findings is what one policy has to say.
type Findings struct {
	// Denials come from the rules deny and violation.
	Denials []Violation
	// Warnings come from the rule warn.
	Warnings []Violation
	// Allow is true when the policy's rule allow is true. It means nothing for a policy
	// without such a rule; one that is default-deny must be asked for it, since undefined
	// is false here.
	Allow bool
}

// Policy is a compiled policy. It never changes and may be used by many at once.
type Policy struct {
	source     Source
	prepared   rego.PreparedEvalQuery
	parameters *ast.Term
	// broken, if set, is why the policy cannot be evaluated; every Eval returns it.
	broken error
}

// Name is the name of the policy.
func (p *Policy) Name() string { return p.source.Name }

// Broken is why the policy cannot be evaluated, or nil.
func (p *Policy) Broken() error { return p.broken }

// The rules that a policy may answer with. All but allow are partial sets.
const (
	ruleDeny      = "deny"
	ruleViolation = "violation"
	ruleWarn      = "warn"
	ruleAllow     = "allow"
)

// maxLines bounds the mistakes reported about one policy.
const maxLines = 20

// Compile checks a policy and prepares it. The error is a *CompileError.
func Compile(s Source) (*Policy, error) {
	fail := func(lines ...string) (*Policy, error) {
		return nil, &CompileError{Policy: s.Name, Lines: lines}
	}
	s = withDefaults(s)
	parameters, err := parseParameters(s.Parameters)
	if err != nil {
		return fail(err.Error())
	}
	if strings.TrimSpace(s.Rego) == "" {
		return fail("1:1: wanted a Rego module, found nothing; begin with: package tidegate.policies.NAME")
	}
	module, err := ast.ParseModuleWithOpts(s.Name+".rego", s.Rego, ast.ParserOptions{
		RegoVersion:  ast.RegoV1,
		Capabilities: sandbox(),
	})
	if err != nil || module == nil {
		return fail(lines(err)...)
	}
	rules, problems := answers(module)
	if len(problems) > 0 {
		return fail(problems...)
	}
	compiler := ast.NewCompiler().
		WithCapabilities(sandbox()).
		WithDefaultRegoVersion(ast.RegoV1).
		SetErrorLimit(maxLines)
	compiler.Compile(map[string]*ast.Module{s.Name + ".rego": module})
	if compiler.Failed() {
		return fail(lines(compiler.Errors)...)
	}
	prepared, err := rego.New(
		rego.Compiler(compiler),
		rego.ParsedQuery(query(module.Package.Path, rules)),
		rego.SetRegoVersion(ast.RegoV1),
		rego.StrictBuiltinErrors(true),
	).PrepareForEval(context.Background())
	if err != nil {
		return fail(lines(err)...)
	}
	return &Policy{source: s, prepared: prepared, parameters: parameters}, nil
}

// broken is a policy that cannot be evaluated: every request that it matches meets the
// error, so that a policy which does not compile is never taken for one that is content.
func broken(s Source, err error) *Policy {
	return &Policy{source: withDefaults(s), broken: err}
}

func withDefaults(s Source) Source {
	if s.Enforcement == "" {
		s.Enforcement = v1alpha1.EnforcementDeny
	}
	if len(s.At) == 0 {
		s.At = []v1alpha1.PolicyMoment{v1alpha1.AtAdmission}
	}
	return s
}

func parseParameters(raw []byte) (*ast.Term, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return ast.ObjectTerm(), nil
	}
	v, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("parameters: wanted a JSON object, found: %w", err)
	}
	if _, ok := v.(ast.Object); !ok {
		return nil, fmt.Errorf("parameters: wanted a JSON object, found %s", ast.ValueName(v))
	}
	return ast.NewTerm(v), nil
}

// answers returns which of the known rules the module has, and what is wrong with them.
func answers(module *ast.Module) (rules, problems []string) {
	for _, rule := range module.Rules {
		ref := rule.Head.Ref()
		name, ok := ref[0].Value.(ast.Var)
		if !ok {
			continue
		}
		switch n := string(name); n {
		case ruleDeny, ruleViolation, ruleWarn:
			if rule.Head.RuleKind() != ast.MultiValue || len(ref) != 1 {
				problems = append(problems, fmt.Sprintf("%d:%d: rule %s: wanted a set of messages, found another kind of rule; write: %s contains msg if { ... }",
					rule.Location.Row, rule.Location.Col, n, n))
				continue
			}
			rules = append(rules, n)
		case ruleAllow:
			if rule.Head.RuleKind() == ast.MultiValue || len(rule.Head.Args) > 0 || len(ref) != 1 {
				problems = append(problems, fmt.Sprintf("%d:%d: rule allow: wanted a boolean, found another kind of rule; write: allow if { ... }",
					rule.Location.Row, rule.Location.Col))
				continue
			}
			rules = append(rules, n)
		}
	}
	slices.Sort(rules)
	rules = slices.Compact(rules)
	if len(problems) == 0 && !slices.ContainsFunc(rules, func(r string) bool { return r != ruleAllow }) {
		problems = append(problems, "wanted a rule deny, violation or warn, found none, so the policy could never object; write: deny contains msg if { ... }")
	}
	return rules, problems
}

// query asks for every rule at once, in one object of arrays: a rule that is undefined
// is an empty array, and no rule's failure hides another's answer.
func query(pkg ast.Ref, rules []string) ast.Body {
	pairs := make([][2]*ast.Term, 0, len(rules))
	for _, r := range rules {
		x := ast.VarTerm("x")
		ref := slices.Clone(pkg)
		ref = append(ref, ast.StringTerm(r))
		if r != ruleAllow {
			ref = append(ref, ast.VarTerm("$"))
		}
		body := ast.NewBody(ast.Equality.Expr(x, ast.NewTerm(ref)))
		pairs = append(pairs, [2]*ast.Term{ast.StringTerm(r), ast.ArrayComprehensionTerm(x, body)})
	}
	return ast.NewBody(ast.Equality.Expr(ast.VarTerm("answer"), ast.ObjectTerm(pairs...)))
}

// Eval asks the policy. An error, the deadline of ctx among them, means that nothing is
// known: the caller must not take it for consent.
func (p *Policy) Eval(ctx context.Context, in Input) (Findings, error) {
	if p.broken != nil {
		return Findings{}, p.broken
	}
	if err := ctx.Err(); err != nil {
		return Findings{}, fmt.Errorf("evaluating policy %q: %w", p.source.Name, err)
	}
	results, err := p.prepared.Eval(ctx, rego.EvalParsedInput(in.with("parameters", p.parameters)))
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return Findings{}, fmt.Errorf("evaluating policy %q: %w", p.source.Name, err)
	}
	if len(results) != 1 {
		return Findings{}, fmt.Errorf("evaluating policy %q: wanted one answer, found %d", p.source.Name, len(results))
	}
	answer, ok := results[0].Bindings["answer"].(map[string]any)
	if !ok {
		return Findings{}, fmt.Errorf("evaluating policy %q: the answer is a %T", p.source.Name, results[0].Bindings["answer"])
	}
	var f Findings
	for _, rule := range []string{ruleDeny, ruleViolation} {
		f.Denials = append(f.Denials, p.violations(answer[rule])...)
	}
	f.Warnings = p.violations(answer[ruleWarn])
	for _, v := range elements(answer[ruleAllow]) {
		f.Allow = v == true
	}
	return f, nil
}

func elements(v any) []any {
	list, _ := v.([]any)
	return list
}

func (p *Policy) violations(v any) []Violation {
	list := elements(v)
	out := make([]Violation, 0, len(list))
	for _, e := range list {
		out = append(out, p.violation(e))
	}
	slices.SortFunc(out, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// violation reads one element of a rule: a message, or an object with msg, code, fix,
// details, until and retryAfter. An element of any other shape is still a violation.
func (p *Policy) violation(e any) Violation {
	v := Violation{Policy: p.source.Name, Code: ReasonPolicyDeny}
	switch e := e.(type) {
	case string:
		v.Message = e
	case map[string]any:
		v.Message, _ = e["msg"].(string)
		v.Fix, _ = e["fix"].(string)
		v.Details = e["details"]
		if code, ok := e["code"].(string); ok && code != "" {
			v.Code = code
		}
		v.Until, v.RetryAfter = hint(e)
	}
	if v.Message == "" {
		v.Message = fmt.Sprintf("policy %q objects and gives no message; it answered %v", p.source.Name, e)
	}
	return v
}

// hint reads when an object is worth being asked again. What cannot be read is left out:
// the violation stands without it.
func hint(e map[string]any) (until time.Time, after time.Duration) {
	if text, ok := e["until"].(string); ok {
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			until = t.UTC()
		}
	}
	if text, ok := e["retryAfter"].(string); ok {
		if d, err := time.ParseDuration(text); err == nil && d > 0 {
			after = d
		}
	}
	return until, after
}

// lines turns what the engine reports into lines for a person.
func lines(err error) []string {
	if err == nil {
		return []string{"1:1: wanted a Rego module, found only comments"}
	}
	var list ast.Errors
	if !errors.As(err, &list) {
		var one *ast.Error
		if !errors.As(err, &one) {
			return []string{err.Error()}
		}
		list = ast.Errors{one}
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		if len(out) == maxLines {
			return append(out, "and more")
		}
		var b strings.Builder
		if e.Location != nil {
			b.WriteString(strconv.Itoa(e.Location.Row) + ":" + strconv.Itoa(e.Location.Col) + ": ")
		}
		b.WriteString(e.Message)
		if name, ok := strings.CutPrefix(e.Message, "undefined function "); ok && withheld(name) {
			b.WriteString(", which no policy may call, since a verdict must follow from input alone")
		}
		out = append(out, b.String())
	}
	return out
}
