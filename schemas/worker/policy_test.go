package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidegate.io/tidegate/policies/eval/budget"
	"tidegate.io/tidegate/policies/eval/cuepolicy"
)

// twoReplicas is a good policy.
const twoReplicas = "object: spec?: replicas?: >=2"

// ones is a list of so many, as JSON.
func ones(n int) string { return "[" + strings.Repeat("1,", n-1) + "1]" }

// doubling is a policy whose text, which begins as seed, doubles 40 times.
func doubling(seed string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "input: seed: string\n_t0: %s\n", seed)
	for i := range 40 {
		fmt.Fprintf(&b, "_t%d: _t%d + _t%d\n", i+1, i, i)
	}
	b.WriteString("object: x?: =~_t40\n")
	return b.String()
}

// alternatives is a constraint of so many choices of two that multiply.
func alternatives(n int) string {
	each := make([]string, n)
	for i := range each {
		each[i] = fmt.Sprintf("({a%d: 1} | {b%d: 1})", i, i)
	}
	return strings.Join(each, " & ")
}

// late is a deadline that a bomb is far beyond, and what is good far below. Nobody tells how
// long a worker worked, so that a busy machine does not get it more time.
const late = 5 * time.Second

func untold(int) (time.Duration, bool) { return 0, false }

func causeOf(err error) budget.Cause {
	if e, ok := errors.AsType[*budget.Error](err); ok {
		return e.Cause
	}
	return budget.CauseNone
}

func asked(sources ...string) []cuepolicy.Asked {
	var out []cuepolicy.Asked
	for i, s := range sources {
		out = append(out, cuepolicy.Asked{Name: fmt.Sprintf("p%d", i), Digest: cuepolicy.Digest(s), Source: s})
	}
	return out
}

func TestAWorkerSaysWhatAPolicySays(t *testing.T) {
	pool := newPool(t, Options{Workers: 1})
	policies := Policies{Pool: pool}
	source := "input: parameters: least: int\nobject: spec: replicas: >=input.parameters.least @msg(\"more\") @fix(\"add some\") @code(\"A\")\nwarn: kind: \"Job\""
	here, problems := cuepolicy.Compile("p", source)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	object, parameters := []byte(`{"kind": "Pod", "spec": {"replicas": 1}}`), []byte(`{"least": 3}`)
	var want cuepolicy.Outcome
	want.Denials, want.Warnings, want.Err = here.Judge(nil, object, cuepolicy.WithParameters([]byte(`{"moment": "admission"}`), parameters))
	if len(want.Denials) != 1 || len(want.Warnings) != 1 {
		t.Fatalf("%+v", want)
	}
	one := asked(source)[0]
	one.Parameters = parameters
	// The second time the worker has the source.
	for range 2 {
		q := cuepolicy.Question{Group: "shop", Object: object, Input: []byte(`{"moment": "admission"}`), Policies: append([]cuepolicy.Asked{one}, asked("object: kind?: \"Pod\"")...)}
		if d := cmp.Diff([]cuepolicy.Outcome{want, {}}, policies.Judge(t.Context(), q)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	if n := testutil.ToFloat64(pool.options.Metrics.requests.WithLabelValues(string(OpPolicyJudge), outcomeOK)); n != 2 {
		t.Errorf("wanted one trip for each question, found %v for 2", n)
	}
}

func TestAWorkerThatForgotAPolicyIsSentItAgain(t *testing.T) {
	policies := Policies{Pool: newPool(t, Options{Workers: 1})}
	q := cuepolicy.Question{Object: []byte(`{"spec": {"replicas": 1}}`), Policies: asked(twoReplicas)}
	for n := range maxCompiled + 1 {
		q.Policies = append(q.Policies, asked(fmt.Sprintf("object: n?: <%d", n))...)
	}
	for range 2 {
		out := policies.Judge(t.Context(), q)
		for i, o := range out {
			if o.Err != nil || (len(o.Denials) > 0) != (i == 0) {
				t.Fatalf("policy %d: %+v", i, o)
			}
		}
	}
}

func TestAWorkerSaysWhatIsWrongWithAPolicy(t *testing.T) {
	policies := Policies{Pool: newPool(t, Options{Workers: 1})}
	// Compiling is asked for again: by the webhook, and by each replica.
	for range 2 {
		if problems, err := policies.Compile(t.Context(), "p", twoReplicas); err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
		if out := policies.Judge(t.Context(), cuepolicy.Question{Object: []byte(`{"spec": {"replicas": 1}}`), Policies: asked(twoReplicas)}); out[0].Err != nil || len(out[0].Denials) != 1 {
			t.Errorf("%+v", out)
		}
	}
	if problems, err := policies.Compile(t.Context(), "p", "object: {"); err != nil || len(problems) == 0 {
		t.Errorf("%v, %v", problems, err)
	}
	out := policies.Judge(t.Context(), cuepolicy.Question{Object: []byte(`{}`), Policies: asked("object: {", twoReplicas)})
	if out[0].Err == nil || out[1].Err != nil {
		t.Errorf("%+v", out)
	}
	if out := policies.Judge(t.Context(), cuepolicy.Question{Object: []byte(`{`), Policies: asked(twoReplicas)}); out[0].Err == nil {
		t.Errorf("%+v", out)
	}
}

// Each bomb is between two good policies of the same question, which are answered.
func TestABombCostsAWorkerAndNothingElse(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("bombs take their time, and under the race detector no worker is limited")
	}
	for name, c := range map[string]struct {
		source, object, input string
		want                  budget.Cause
	}{
		"a list that is taken three times over": {
			"input: list: [...int]\n_all: [for a in input.list for b in input.list for c in input.list {a}]\nobject: n?: <len(_all)",
			`{"n": 1}`, `{"list": ` + ones(300) + `}`, budget.CauseTime,
		},
		"text that doubles": {doubling("input.seed"), `{"x": "a"}`, `{"seed": "0123456789abcdef0123456789abcdef"}`, budget.CauseMemory},
		// They are compiled where they are asked for the first time.
		"text that doubles as it is compiled": {doubling(`"0123456789abcdef0123456789abcdef"`), `{"x": "a"}`, `{}`, budget.CauseMemory},
		"choices that multiply":               {"object: x?: y: " + alternatives(18), `{"x": {"y": {}}}`, `{}`, budget.CauseTime},
	} {
		t.Run(name, func(t *testing.T) {
			// Only one of the bounds is there: which is met first depends on the machine.
			each, memory := time.Minute, int64(DefaultMemory)
			if c.want == budget.CauseTime {
				each, memory = late, -1
			}
			pool := newPool(t, Options{Workers: 1, Memory: memory, worked: untold})
			q := cuepolicy.Question{Group: "shop", Object: []byte(c.object), Input: []byte(c.input), Each: each, Policies: asked(twoReplicas, c.source, "object: never!: true")}
			for range 2 { // the second time from memory
				out := Policies{Pool: pool}.Judge(t.Context(), q)
				if out[0].Err != nil || len(out[0].Denials) > 0 || out[2].Err != nil || len(out[2].Denials) != 1 {
					t.Errorf("wanted the others to be answered, found %+v and %+v", out[0], out[2])
				}
				if got := causeOf(out[1].Err); got != c.want {
					t.Errorf("wanted cause %v, found %v", c.want, out[1].Err)
				}
			}
			deaths := 0.0
			for _, cause := range []Cause{CauseDeadline, CauseMemory, CauseCrash} {
				deaths += testutil.ToFloat64(pool.options.Metrics.kills.WithLabelValues(string(cause)))
			}
			if deaths != 1 {
				t.Errorf("wanted one worker to be lost, found %v", deaths)
			}
		})
	}
}

func TestACompileBombCostsAWorkerAndNothingElse(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("bombs take their time, and under the race detector no worker is limited")
	}
	for name, c := range map[string]struct {
		source string
		want   budget.Cause
	}{
		"choices that multiply": {"object: " + alternatives(18), budget.CauseTime},
		"text that doubles":     {doubling(`"0123456789abcdef0123456789abcdef"`) + "w: _t40\n", budget.CauseMemory},
	} {
		t.Run(name, func(t *testing.T) {
			timeout, memory := time.Minute, int64(DefaultMemory)
			if c.want == budget.CauseTime {
				timeout, memory = late, -1
			}
			policies := Policies{Pool: newPool(t, Options{Workers: 1, Memory: memory, worked: untold, CheckTimeout: timeout})}
			problems, err := policies.Compile(t.Context(), "bomb", c.source)
			if got := causeOf(err); got != c.want || len(problems) > 0 {
				t.Errorf("wanted cause %v, found %v and %v", c.want, err, problems)
			}
			if problems, err := policies.Compile(t.Context(), "good", twoReplicas); err != nil || len(problems) > 0 {
				t.Errorf("wanted the next one to be compiled, found %v and %v", err, problems)
			}
		})
	}
}

func TestWhoeverAskedAndHasGoneIsAnswered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := Policies{Pool: newPool(t, Options{Workers: 1})}.Judge(ctx, cuepolicy.Question{Object: []byte(`{}`), Policies: asked(twoReplicas, twoReplicas)})
	for _, o := range out {
		if causeOf(o.Err) != budget.CauseCaller {
			t.Errorf("%v", o.Err)
		}
	}
}
