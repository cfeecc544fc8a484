package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"tidegate.io/tidegate/policies/eval/budget"
	"tidegate.io/tidegate/policies/eval/sandbox"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// The rules that a policy may answer with. All but allow are partial sets.
const (
	ruleDeny      = "deny"
	ruleViolation = "violation"
	ruleWarn      = "warn"
	ruleAllow     = "allow"
)

// regoEngine is a policy in Rego.
type regoEngine struct {
	compiler *ast.Compiler
	queries  ast.QueryCompiler
	query    ast.Body
	// strict is true where a function that fails is an error of the policy. In Rego v0 it is
	// undefined, as it was when such policies were written.
	strict bool
	// libs is sharedBy; cache is set where the policy shares what they say.
	libs  string
	cache topdown.VirtualCache
	// reads are the parts of the input that it may look at.
	reads parts
}

// nothing is the data that policies have besides their rules. Nobody writes it, so one
// transaction, which only reads, serves all.
var nothing = func() (s struct {
	store storage.Store
	txn   storage.Transaction
},
) {
	s.store = inmem.New()
	txn, err := s.store.NewTransaction(context.Background())
	if err != nil {
		panic(fmt.Sprintf("opening an empty store: %v", err)) // it is in memory and new
	}
	s.txn = txn
	return s
}()

func regoVersion(v v1alpha1.RegoVersion) ast.RegoVersion {
	if v == v1alpha1.RegoV0 {
		return ast.RegoV0
	}
	return ast.RegoV1
}

// parse reads one module.
func parse(name, text string, v ast.RegoVersion) (*ast.Module, []string) {
	module, err := ast.ParseModuleWithOpts(name, text, ast.ParserOptions{RegoVersion: v, Capabilities: sandbox.Capabilities(v)})
	if err != nil || module == nil {
		return nil, older(lines(err), name, text, v)
	}
	return module, nil
}

// older says of a module that does not read as Rego v1 that it reads as v0, if it does.
func older(problems []string, name, text string, v ast.RegoVersion) []string {
	if v == ast.RegoV0 {
		return problems
	}
	if m, err := ast.ParseModuleWithOpts(name, text, ast.ParserOptions{RegoVersion: ast.RegoV0, Capabilities: sandbox.Capabilities(ast.RegoV0)}); err != nil || m == nil {
		return problems
	}
	problems[0] += "; write it so, or set regoVersion: v0"
	return problems
}

// modules reads a policy and its libraries.
func modules(s Source) (map[string]*ast.Module, *ast.Module, []string) {
	v := regoVersion(s.RegoVersion)
	if strings.TrimSpace(s.Rego) == "" {
		return nil, nil, []string{"1:1: wanted a Rego module, found nothing; begin with: package tidegate.policies.NAME"}
	}
	main, problems := parse(s.Name+".rego", s.Rego, v)
	if len(problems) > 0 {
		return nil, nil, problems
	}
	if isLib(main) {
		return nil, nil, []string{"1:1: wanted a package of its own, found one that begins with lib, where the libraries are; begin with: package tidegate.policies.NAME"}
	}
	all := map[string]*ast.Module{s.Name + ".rego": main}
	for i, text := range s.Libs {
		name := fmt.Sprintf("libs[%d]", i)
		lib, problems := parse(name, text, v)
		if len(problems) > 0 {
			return nil, nil, prefixed(name, problems)
		}
		if !isLib(lib) {
			return nil, nil, []string{fmt.Sprintf("%s: wanted a package that begins with lib, found %s; write: package lib.NAME", name, lib.Package.Path)}
		}
		all[name] = lib
	}
	return all, main, nil
}

// isLib says whether a module's package begins with lib.
func isLib(m *ast.Module) bool {
	return len(m.Package.Path) > 1 && m.Package.Path[1].Value.Compare(ast.String("lib")) == 0
}

func prefixed(name string, lines []string) []string {
	for i := range lines {
		lines[i] = name + ":" + lines[i]
	}
	return lines
}

func newCompiler(v ast.RegoVersion, all map[string]*ast.Module) (*ast.Compiler, []string) {
	c := sandbox.BoundTypes(ast.NewCompiler()).WithCapabilities(sandbox.Capabilities(v)).WithDefaultRegoVersion(v).SetErrorLimit(maxLines)
	c.Compile(all)
	if c.Failed() {
		return nil, lines(c.Errors)
	}
	return c, nil
}

// compileRego compiles a policy in Rego.
func compileRego(s Source) (*regoEngine, []string) {
	all, main, problems := modules(s)
	if len(problems) > 0 {
		return nil, problems
	}
	rules, problems := answers(main)
	if len(problems) > 0 {
		return nil, problems
	}
	compiler, problems := newCompiler(regoVersion(s.RegoVersion), all)
	if len(problems) > 0 {
		return nil, problems
	}
	e := &regoEngine{compiler: compiler, queries: compiler.QueryCompiler(), strict: s.RegoVersion != v1alpha1.RegoV0}
	query, err := e.queries.Compile(query(main.Package.Path, rules))
	if err != nil {
		return nil, lines(err)
	}
	e.query, e.libs, e.reads = query, sharedBy(s, compiler.Modules), partsRead(compiler.Modules)
	return e, nil
}

// ask runs a query and gives each of its results to found.
func (e *regoEngine) ask(s *budget.Step, query ast.Body, document ast.Object, found func(topdown.QueryResult) error) error {
	q := topdown.NewQuery(query)
	if e.cache != nil {
		q = q.WithVirtualCache(e.cache)
	}
	err := q.
		WithQueryCompiler(e.queries).
		WithCompiler(e.compiler).
		WithStore(nothing.store).
		WithTransaction(nothing.txn).
		WithMetrics(metrics.NoOp()).
		WithInput(ast.NewTerm(document)).
		WithCancel(s).
		WithStrictBuiltinErrors(e.strict).
		Iter(context.Background(), found)
	if topdown.IsCancel(err) {
		if why := s.Err(); why != nil {
			return why
		}
	}
	return err //nolint:wrapcheck // the caller says what it did
}

// eval implements engine.
func (e *regoEngine) eval(s *budget.Step, document ast.Object) (a answer, err error) {
	results := 0
	err = e.ask(s, e.query, document, func(r topdown.QueryResult) error {
		results++
		value, ok := r[ast.Var("answer")]
		if !ok {
			return errors.New("wanted an answer, found none")
		}
		object, ok := value.Value.(ast.Object)
		if !ok {
			return fmt.Errorf("wanted an object as the answer, found %s", ast.ValueName(value.Value))
		}
		for _, rule := range []string{ruleDeny, ruleViolation, ruleWarn, ruleAllow} {
			list, err := elements(object, rule)
			if err != nil {
				return err
			}
			switch rule {
			case ruleWarn:
				a.warnings = list
			case ruleAllow:
				a.allow = len(list) > 0 && list[0] == true
			default:
				a.denials = append(a.denials, list...)
			}
		}
		return nil
	})
	if err == nil && results != 1 {
		err = fmt.Errorf("wanted one answer, found %d", results)
	}
	return a, err
}

// elements are those of one rule.
func elements(answer ast.Object, rule string) ([]any, error) {
	term := answer.Get(ast.InternedTerm(rule))
	if term == nil {
		return nil, nil
	}
	array, ok := term.Value.(*ast.Array)
	if !ok || array.Len() == 0 {
		return nil, nil
	}
	if !sandbox.Fits(array) {
		return nil, fmt.Errorf("rule %s: %w", rule, sandbox.ErrTooLarge)
	}
	v, err := ast.JSON(array)
	if err != nil {
		return nil, fmt.Errorf("reading rule %s: %w", rule, err)
	}
	list, _ := v.([]any)
	return list, nil
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
		if name, ok := strings.CutPrefix(e.Message, "undefined function "); ok && sandbox.Withheld(name) {
			b.WriteString(", which no policy may call, since a verdict must follow from input alone")
		}
		out = append(out, b.String())
	}
	return out
}
