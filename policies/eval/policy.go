// Package eval judges input by policies, in Rego or in CUE. It is pure: a verdict depends
// on the policy and its input alone, never on a network, an earlier request, or the time,
// unless the time is up: see package budget.
//
// Every policy is compiled on its own, so that a mistake in one touches no other. The
// document that a policy sees as input is described at [NewInput].
package eval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	// Policies read the time in zones by name; a verdict must not depend on whether the
	// machine has their rules.
	_ "time/tzdata"

	"github.com/open-policy-agent/opa/v1/ast"

	"tidegate.io/tidegate/policies/eval/budget"
	"tidegate.io/tidegate/policies/eval/cuepolicy"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Codes of the violations that this package itself makes.
const (
	// ReasonPolicyDeny is the code of a violation whose policy gives none.
	ReasonPolicyDeny = "TG-POLICY-DENY"
	// ReasonPolicyError is: a policy could not be evaluated, so nothing is known.
	ReasonPolicyError = "TG-POLICY-ERROR"
	// ReasonPolicyBudget is: a policy took more time or memory than one may, so nothing is
	// known.
	ReasonPolicyBudget = "TG-POLICY-BUDGET"
)

// Source is a policy as written.
type Source struct {
	// Name is what violations and messages call the policy.
	Name string
	// Rego is one Rego module. Exactly one of Rego and CUE is given.
	Rego string
	// RegoVersion is that of Rego, Libs and Tests.Rego; empty is v1.
	RegoVersion v1alpha1.RegoVersion
	// Libs are Rego modules whose packages begin with lib.
	Libs []string
	// CUE is the schema that objects have to fit.
	CUE string
	// Parameters is a JSON object, given to the rules as input.parameters; empty is {}.
	Parameters []byte
	// ParametersSchema is an OpenAPI v3 schema as JSON, which the parameters must fit, and
	// whose defaults they get; empty allows all.
	ParametersSchema []byte
	// Tests must pass, or the policy does not compile.
	Tests v1alpha1.PolicyTests
	// Enforcement says what a violation leads to; empty is deny.
	Enforcement v1alpha1.Enforcement
	// EnforcementIn says it for some namespaces; the first that matches counts.
	EnforcementIn []v1alpha1.NamespaceEnforcement
	// At lists the moments at which the policy is asked; empty is admission.
	At []v1alpha1.PolicyMoment
	// Match narrows what the policy is asked about.
	Match v1alpha1.PolicyMatch
}

// FromDeployPolicy returns the source of a DeployPolicy.
func FromDeployPolicy(p *v1alpha1.DeployPolicy) Source {
	s := Source{
		Name:          p.Name,
		Rego:          p.Spec.Rego,
		RegoVersion:   p.Spec.RegoVersion,
		Libs:          p.Spec.Libs,
		CUE:           p.Spec.Cue,
		Enforcement:   p.Spec.Enforcement,
		EnforcementIn: p.Spec.EnforcementIn,
		At:            p.Spec.At,
		Match:         p.Spec.Match,
	}
	if p.Spec.Parameters != nil {
		s.Parameters = p.Spec.Parameters.Raw
	}
	if p.Spec.ParametersSchema != nil {
		s.ParametersSchema = p.Spec.ParametersSchema.Raw
	}
	if p.Spec.Tests != nil {
		s.Tests = *p.Spec.Tests
	}
	return s
}

// CompileError reports what is wrong with the source of a policy, one mistake a line,
// each with line:column where there is one.
type CompileError struct {
	Policy string
	Lines  []string
	// Again is true where the policy may be sound and only could not be looked at: another
	// try may go well.
	Again bool
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
	digest     string
	engine     engine
	parameters *ast.Term
	match      matcher
	// account is shared by nobody: a new version starts with a clean one.
	account *budget.Account
	// broken, if set, is why the policy cannot be evaluated; every Eval returns it.
	broken error
}

// engine is what a policy is written for.
type engine interface {
	// eval asks the policy. The document has the parameters already.
	eval(s *budget.Step, document ast.Object) (answer, error)
}

// answer is what an engine found, each element a message or an object; see violation.
type answer struct {
	denials, warnings []any
	allow             bool
}

// Name is the name of the policy.
func (p *Policy) Name() string { return p.source.Name }

// Digest is the SHA-256 of the source, such as sha256:0a1b...; empty for a broken policy.
func (p *Policy) Digest() string { return p.digest }

// Broken is why the policy cannot be evaluated, or nil.
func (p *Policy) Broken() error { return p.broken }

const (
	// maxLines bounds the mistakes reported about one policy.
	maxLines = 20
	// compileTime is how long compiling a policy and running its tests may take. The webhook
	// does it while whoever applies the policy waits.
	compileTime = 3 * time.Second
	// maxViolations is how many violations one policy may have against one object; the rest
	// is counted.
	maxViolations = 500
	// maxMessage is how long one message may be, in bytes.
	maxMessage = 8 << 10
)

// stuck is why a policy is not looked at.
const stuck = "wanted to compile it, found that earlier ones, this very source or several others, still compile long after their time and cannot be interrupted; make the source shorter, or try again later"

// Compile checks a policy, runs its tests and prepares it. The error is a *CompileError.
func Compile(s Source) (*Policy, error) { return CompileContext(context.Background(), s) }

// CompileContext is Compile for as long as ctx lives, and no longer than 3 seconds.
func CompileContext(ctx context.Context, s Source) (*Policy, error) {
	return Compiler{}.Compile(ctx, s)
}

// Compiler compiles policies. The zero value does all in this process, where CUE can be
// left behind but not ended.
type Compiler struct {
	// CUE, if set, compiles and judges by policies in CUE, where they can be ended.
	CUE cuepolicy.Runner
}

// Compile is Compile for as long as ctx lives, and no longer than 3 seconds.
func (c Compiler) Compile(ctx context.Context, s Source) (*Policy, error) {
	p, err := budget.Compile(ctx, compileTime, digest(s), func(step *budget.Step) (*Policy, error) {
		p, problems, err := c.compile(ctx, step, withDefaults(s))
		if err != nil {
			return nil, err
		}
		if len(problems) > 0 {
			return nil, &CompileError{Policy: s.Name, Lines: problems}
		}
		return p, nil
	})
	if err == nil {
		return p, nil
	}
	if mistakes, ok := errors.AsType[*CompileError](err); ok {
		return nil, mistakes
	}
	ended, isEnded := errors.AsType[*budget.Error](err)
	if isEnded && ended.Cause == budget.CauseStuck {
		return nil, &CompileError{Policy: s.Name, Again: true, Lines: []string{stuck}}
	}
	return nil, &CompileError{Policy: s.Name, Again: !isEnded || ended.Cause == budget.CauseCaller, Lines: []string{
		fmt.Sprintf("wanted it to be compiled and tested within %s and the memory of one policy, found: %v; make it shorter, or its tests fewer", compileTime, err),
	}}
}

// compile does what Compile says, and returns every mistake of the first part that has some.
// The error is why nobody can say whether there are mistakes.
func (c Compiler) compile(ctx context.Context, step *budget.Step, s Source) (p *Policy, problems []string, err error) {
	p = &Policy{source: s, account: &budget.Account{}}
	if problems = mistakes(s); len(problems) > 0 {
		return nil, problems, nil
	}
	if p.match, problems = newMatcher(s.Match); len(problems) > 0 {
		return nil, problems, nil
	}
	fit, mistake := newFit(s.ParametersSchema)
	if mistake != nil {
		return nil, []string{mistake.Error()}, nil //nolint:nilerr // a mistake of the policy, which is an answer
	}
	if p.parameters, problems = fit.parameters(s.Parameters); len(problems) > 0 {
		return nil, problems, nil
	}
	if p.engine, problems, err = c.engine(ctx, s); err != nil || len(problems) > 0 {
		return nil, problems, err
	}
	if problems = p.test(ctx, step, fit); len(problems) > 0 {
		return nil, problems, nil
	}
	p.digest = digest(s)
	return p, nil, nil
}

// engine compiles the source itself.
func (c Compiler) engine(ctx context.Context, s Source) (e engine, problems []string, err error) {
	switch {
	case s.CUE != "" && strings.TrimSpace(s.Rego) != "":
		return nil, []string{"wanted exactly one of rego and cue, found both"}, nil
	case s.CUE != "" && len(s.Libs) > 0:
		return nil, []string{"libs: wanted none, since the policy is in CUE, found some"}, nil
	case s.CUE != "" && c.CUE != nil:
		return compileAway(ctx, c.CUE, s)
	case s.CUE != "":
		e, problems = compileCUE(s)
	default:
		e, problems = compileRego(s)
	}
	return e, problems, nil
}

// digest is that of everything that a policy is made of.
func digest(s Source) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return "" // a Source is texts and lists of them
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// broken is a policy that cannot be evaluated: every request that it matches meets the
// error, so that a policy which does not compile is never taken for one that is content.
// Where its match cannot be read, it matches everything.
func broken(s Source, err error) *Policy {
	s = withDefaults(s)
	s.Match = readable(s.Match)
	match, problems := newMatcher(s.Match)
	if len(problems) > 0 {
		s.Match = v1alpha1.PolicyMatch{}
		match, _ = newMatcher(s.Match)
	}
	return &Policy{source: s, match: match, account: &budget.Account{}, broken: err}
}

func withDefaults(s Source) Source {
	if s.Enforcement == "" {
		s.Enforcement = v1alpha1.EnforcementDeny
	}
	if s.RegoVersion == "" {
		s.RegoVersion = v1alpha1.RegoV1
	}
	if len(s.At) == 0 {
		s.At = []v1alpha1.PolicyMoment{v1alpha1.AtAdmission}
	}
	return s
}

// Eval asks the policy. An error, the deadline of ctx among them, means that nothing is
// known: the caller must not take it for consent.
func (p *Policy) Eval(ctx context.Context, in Input) (Findings, error) {
	if err := ctx.Err(); err != nil {
		return Findings{}, fmt.Errorf("evaluating policy %q: %w", p.source.Name, err)
	}
	return budget.Once(ctx, 0, p.account, func(s *budget.Step) (Findings, error) {
		return p.eval(s, in.with("parameters", p.parameters))
	})
}

// eval asks the policy about a document that has its parameters.
func (p *Policy) eval(s *budget.Step, document ast.Object) (Findings, error) {
	if p.broken != nil {
		return Findings{}, p.broken
	}
	a, err := p.engine.eval(s, document)
	if err != nil {
		return Findings{}, fmt.Errorf("evaluating policy %q: %w", p.source.Name, err)
	}
	return Findings{Denials: p.violations(a.denials), Warnings: p.violations(a.warnings), Allow: a.allow}, nil
}

func (p *Policy) violations(list []any) []Violation {
	if len(list) == 0 {
		return nil
	}
	more := len(list) - maxViolations
	list = list[:min(len(list), maxViolations)]
	out := make([]Violation, 0, len(list)+1)
	for _, e := range list {
		out = append(out, p.violation(e))
	}
	slices.SortFunc(out, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	if more > 0 {
		out = append(out, Violation{
			Policy: p.source.Name, Code: ReasonPolicyDeny,
			Message: fmt.Sprintf("policy %q objects to %d things more than are listed", p.source.Name, more),
		})
	}
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
	v.Message, v.Fix = short(v.Message), short(v.Fix)
	return v
}

func short(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "..."
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
