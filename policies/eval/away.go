package eval

import (
	"context"
	"fmt"
	"maps"

	"github.com/open-policy-agent/opa/v1/ast"

	"tidegate.io/tidegate/policies/eval/budget"
	"tidegate.io/tidegate/policies/eval/cuepolicy"
)

// away is a policy in CUE that a Runner judges by, where it can be ended.
type away struct {
	runner cuepolicy.Runner
	asked  cuepolicy.Asked
}

// compileAway checks a policy in CUE where that can be ended.
func compileAway(ctx context.Context, r cuepolicy.Runner, s Source) (engine, []string, error) {
	problems, err := r.Compile(ctx, s.Name, s.CUE)
	if err != nil || len(problems) > 0 {
		return nil, problems, err //nolint:wrapcheck // the caller says what it did
	}
	return away{r, cuepolicy.Asked{Name: s.Name, Digest: cuepolicy.Digest(s.CUE), Source: s.CUE}}, nil, nil
}

// eval implements engine, for one policy alone.
func (e away) eval(s *budget.Step, document ast.Object) (answer, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	parameters := at(document, "parameters")
	asked := e.asked
	if parameters != nil {
		raw, err := plain(parameters)
		if err != nil {
			return answer{}, err
		}
		asked.Parameters = raw
	}
	q, err := apart(document)
	if err != nil {
		return answer{}, err
	}
	q.Policies, q.Each = []cuepolicy.Asked{asked}, s.Share()
	o := e.runner.Judge(ctx, q)[0]
	if o.Err != nil {
		return answer{}, o.Err
	}
	return answer{denials: said(document, o.Denials), warnings: said(document, o.Warnings)}, nil
}

// apart takes a document apart into what is judged, and what a policy in CUE sees of the
// rest. What is judged is input.object, and the whole input but the parameters where there
// is none, as at promotion.
func apart(document ast.Object) (cuepolicy.Question, error) {
	var q cuepolicy.Question
	// What is judged is not also a part of the input: it would be read twice.
	rest := ast.NewObjectWithCapacity(document.Len())
	document.Foreach(func(k, v *ast.Term) {
		switch text(k.Value) {
		case "object", "parameters":
		case "request":
			rest.Insert(k, ast.NewTerm(without(v.Value, "object")))
		default:
			rest.Insert(k, v)
		}
	})
	var err error
	if q.Input, err = plain(rest); err != nil {
		return q, err
	}
	q.Object = q.Input
	if object := at(document, "object"); object != nil {
		if q.Object, err = plain(object); err != nil {
			return q, err
		}
	}
	if len(q.Object)+len(q.Input) > 2*cuepolicy.MaxInput {
		return q, cuepolicy.ErrInputSize
	}
	return q, nil
}

// judgeAll asks the policies about one input: those in CUE that a Runner judges by all at
// once, and meanwhile the others, one after the other. Over has the policies that are not
// asked, and why.
func judgeAll(ctx context.Context, namespace string, in Input, policies []*Policy, over map[*Policy]error, near func([]*Policy) []budget.Outcome[Findings]) []budget.Outcome[Findings] {
	var here []*Policy
	far := map[cuepolicy.Runner][]*Policy{}
	for _, p := range policies {
		if e, ok := p.engine.(away); ok && p.broken == nil {
			far[e.runner] = append(far[e.runner], p)
			continue
		}
		here = append(here, p)
	}
	if len(far) == 0 {
		return near(policies)
	}
	found := make(map[*Policy]budget.Outcome[Findings], len(policies))
	ready := make(chan map[*Policy]budget.Outcome[Findings], len(far))
	for r, list := range far {
		go func() { ready <- askAway(ctx, r, namespace, in, list, over) }()
	}
	for i, o := range near(here) {
		found[here[i]] = o
	}
	for range far {
		maps.Copy(found, <-ready)
	}
	out := make([]budget.Outcome[Findings], len(policies))
	for i, p := range policies {
		out[i] = found[p]
	}
	return out
}

// askAway asks a Runner about policies, in one question.
func askAway(ctx context.Context, r cuepolicy.Runner, namespace string, in Input, policies []*Policy, over map[*Policy]error) (found map[*Policy]budget.Outcome[Findings]) {
	found = make(map[*Policy]budget.Outcome[Findings], len(policies))
	fail := func(err error) map[*Policy]budget.Outcome[Findings] {
		for _, p := range policies {
			found[p] = budget.Outcome[Findings]{Err: err}
		}
		return found
	}
	defer func() {
		if cause := recover(); cause != nil {
			fail(fmt.Errorf("%w: %v", budget.ErrPanic, cause))
		}
	}()
	document := in.object
	if document == nil {
		document = ast.NewObject()
	}
	q, err := apart(document)
	if err != nil {
		return fail(err)
	}
	q.Group = namespace
	asked := make([]*Policy, 0, len(policies))
	for _, p := range policies {
		if err := over[p]; err != nil {
			found[p] = budget.Outcome[Findings]{Err: err}
			continue
		}
		one := p.engine.(away).asked
		if one.Parameters, err = plain(p.parameters.Value); err != nil {
			return fail(err)
		}
		asked, q.Policies = append(asked, p), append(q.Policies, one)
	}
	if len(asked) == 0 {
		return found
	}
	for i, o := range r.Judge(ctx, q) {
		p := asked[i]
		if o.Err != nil {
			found[p] = budget.Outcome[Findings]{Err: fmt.Errorf("evaluating policy %q: %w", p.source.Name, o.Err)}
			continue
		}
		a := answer{denials: said(document, o.Denials), warnings: said(document, o.Warnings)}
		found[p] = budget.Outcome[Findings]{Value: Findings{Denials: p.violations(a.denials), Warnings: p.violations(a.warnings)}}
	}
	return found
}
