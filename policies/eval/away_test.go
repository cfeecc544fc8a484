package eval_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/budget"
	"tidegate.io/tidegate/policies/eval/cuepolicy"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// runner judges here what a worker would judge elsewhere. A policy whose name begins with
// bomb takes more than it may.
type runner struct {
	mu    sync.Mutex
	asked [][]string
	err   error
}

func (r *runner) Compile(_ context.Context, name, source string) ([]string, error) {
	_, problems := cuepolicy.Compile(name, source)
	return problems, r.err
}

func (r *runner) Judge(_ context.Context, q cuepolicy.Question) []cuepolicy.Outcome {
	out := make([]cuepolicy.Outcome, len(q.Policies))
	var names []string
	for i, a := range q.Policies {
		names = append(names, a.Name)
		if strings.HasPrefix(a.Name, "bomb") {
			out[i].Err = &budget.Error{Cause: budget.CauseTime}
			continue
		}
		p, problems := cuepolicy.Compile(a.Name, a.Source)
		if len(problems) > 0 {
			panic(problems)
		}
		out[i].Denials, out[i].Warnings, out[i].Err = p.Judge(nil, q.Object, cuepolicy.WithParameters(q.Input, a.Parameters))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, names)
	return out
}

// compileBy compiles a policy whose CUE r judges by; nil is this process.
func compileBy(t *testing.T, r cuepolicy.Runner, s eval.Source) *eval.Policy {
	t.Helper()
	p, err := eval.Compiler{CUE: r}.Compile(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func inCUE(name, source string) eval.Source { return eval.Source{Name: name, CUE: source} }

// about is a question about an object.
func about(t *testing.T, object string) eval.Question {
	t.Helper()
	in, err := input(t, object).With("namespace", eval.Namespace{Name: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	return eval.Question{Moment: v1alpha1.AtAdmission, Kind: "Pod", Namespace: "shop", Input: in}
}

func TestPoliciesInCUEAreAskedInOneTrip(t *testing.T) {
	r := &runner{}
	set := eval.NewSet(
		compileBy(t, r, inCUE("a", "object: spec: n: >=2")),
		compileBy(t, r, eval.Source{Name: "b", Rego: "package p\ndeny contains \"no\""}),
		compileBy(t, r, inCUE("c", "object: spec: n: >=3")),
		compileBy(t, r, eval.Source{Name: "other", CUE: "object: never!: true", Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Kinds: []string{"Service"}}}}}),
	)
	v := set.Judge(t.Context(), about(t, `{"kind": "Pod", "metadata": {"name": "web"}, "spec": {"n": 1}}`))
	var got []string
	for _, d := range v.Denials {
		got = append(got, d.Policy+" "+d.Message)
	}
	want := []string{`a Pod "web", spec.n: wanted >=2, found 1`, "b no", `c Pod "web", spec.n: wanted >=3, found 1`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([][]string{{"a", "c"}}, r.asked); d != "" {
		t.Errorf("trips (-want +got):\n%s", d)
	}
}

func TestNobodyIsAskedWithoutAPolicyInCUE(t *testing.T) {
	r := &runner{}
	set := eval.NewSet(
		compileBy(t, r, eval.Source{Name: "b", Rego: "package p\ndeny contains \"no\""}),
		compileBy(t, r, eval.Source{Name: "other", CUE: "object: never!: true", Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Kinds: []string{"Service"}}}}}),
	)
	if v := set.Judge(t.Context(), about(t, `{"kind": "Pod"}`)); len(v.Denials) != 1 || len(r.asked) != 0 {
		t.Errorf("%+v, asked %v", v, r.asked)
	}
}

func TestAPolicyInCUEOverItsBudgetIsNamedAndTheOthersAreServed(t *testing.T) {
	r := &runner{}
	set := eval.NewSet(compileBy(t, r, inCUE("bomb", "object: spec?: n?: int")), compileBy(t, r, inCUE("good", "object: spec: n: >=2")))
	q := about(t, `{"kind": "Pod", "spec": {"n": 1}}`)
	v := set.JudgeAll(t.Context(), q, q)
	var codes []string
	for _, d := range v.Denials {
		codes = append(codes, d.Policy+" "+d.Code)
	}
	slices.Sort(codes)
	if d := cmp.Diff([]string{"bomb TG-POLICY-BUDGET", "bomb TG-POLICY-BUDGET", "good TG-POLICY-DENY", "good TG-POLICY-DENY"}, codes); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"bomb"}, v.OverBudget); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// It is not asked about the second object.
	if d := cmp.Diff([][]string{{"bomb", "good"}, {"good"}}, r.asked); d != "" {
		t.Errorf("trips (-want +got):\n%s", d)
	}
}

func TestAPolicyThatCannotBeCompiledWithinItsBudgetIsRefused(t *testing.T) {
	_, err := eval.Compiler{CUE: &runner{err: &budget.Error{Cause: budget.CauseMemory}}}.Compile(t.Context(), inCUE("p", "object: a?: int"))
	if err == nil || !strings.Contains(err.Error(), "the memory in use grew by more") {
		t.Errorf("found %v", err)
	}
}

func TestTheVerdictIsTheSameWhereverItIsMade(t *testing.T) {
	const parameters = `{"least": 2}`
	for name, c := range map[string]struct{ source, object string }{
		"what fits":              {"object: kind: string", `{"kind": "Pod"}`},
		"parameters":             {"input: parameters: least: int\nobject: n: >=input.parameters.least", `{"n": 1}`},
		"parts of the request":   {"input: {request: operation: string, namespace: name: string}\nobject: n: input.request.operation + input.namespace.name", `{"n": 1}`},
		"a warning":              {"warn: n: >3 @msg(\"more\") @fix(\"add\") @code(\"X\")", `{"n": 1}`},
		"input it does not take": {"input: request: operation: int\nobject: n: int", `{"n": 1}`},
		"no object":              {"object: namespace: name: \"other\"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			source := inCUE("p", c.source)
			source.Parameters = []byte(parameters)
			in, err := eval.NewInput(map[string]any{"namespace": eval.Namespace{Name: "shop"}})
			if err != nil {
				t.Fatal(err)
			}
			q := eval.Question{Moment: v1alpha1.AtAdmission, Input: in}
			if c.object != "" {
				q = about(t, c.object)
			}
			here, away := compileBy(t, nil, source), compileBy(t, &runner{}, source)
			want := eval.NewSet(here).Judge(t.Context(), q)
			if d := cmp.Diff(want, eval.NewSet(away).Judge(t.Context(), q)); d != "" {
				t.Errorf("in a set (-here +away):\n%s", d)
			}
			a, errA := here.Eval(t.Context(), q.Input)
			b, errB := away.Eval(t.Context(), q.Input)
			if d := cmp.Diff(a, b); d != "" || (errA == nil) != (errB == nil) {
				t.Errorf("alone (-here +away):\n%s%v, %v", d, errA, errB)
			}
		})
	}
}
