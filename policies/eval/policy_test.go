package eval_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func input(t testing.TB, object string) eval.Input {
	t.Helper()
	in, err := eval.NewInput(map[string]any{
		"moment": "admission",
		"request": eval.Request{
			Operation: "CREATE",
			UserInfo:  eval.UserInfo{Username: "alice"},
			Object:    json.RawMessage(object),
		},
		"object": json.RawMessage(object),
	})
	if err != nil {
		t.Fatalf("NewInput: %v", err)
	}
	return in
}

func compile(t testing.TB, s eval.Source) *eval.Policy {
	t.Helper()
	p, err := eval.Compile(s)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return p
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		rego, parameters string
		want             string // a part of the message
	}{
		"an empty module is refused":                  {rego: "", want: "package"},
		"only comments are refused":                   {rego: "# nothing\n", want: "empty module"},
		"a syntax error has line and column":          {rego: "package p\n\ndeny contains msg if {", want: "3:"},
		"an old-style rule is refused":                {rego: "package p\ndeny[msg] { msg := \"x\" }", want: "2:"},
		"an undefined name has line and column":       {rego: "package p\ndeny contains msg if { msg := nothing }", want: "2:24: var nothing is unsafe"},
		"a policy that can never object is refused":   {rego: "package p\nallow if true", want: "could never object"},
		"a deny that is a boolean is refused":         {rego: "package p\ndeny if true", want: "deny contains msg if"},
		"an allow that is a set is refused":           {rego: "package p\nallow contains x if { x := 1 }\ndeny contains \"x\" if true", want: "rule allow: wanted a boolean"},
		"http.send is withheld":                       {rego: "package p\ndeny contains \"x\" if { http.send({\"method\": \"get\", \"url\": \"http://x\"}) }", want: "http.send, which no policy may call"},
		"the clock is withheld":                       {rego: "package p\ndeny contains \"x\" if { time.now_ns() > 0 }", want: "time.now_ns, which no policy may call"},
		"the environment is withheld":                 {rego: "package p\ndeny contains \"x\" if { opa.runtime().env.HOME }", want: "opa.runtime, which no policy may call"},
		"randomness is withheld":                      {rego: "package p\ndeny contains \"x\" if { rand.intn(\"x\", 2) == 1 }", want: "rand.intn, which no policy may call"},
		"name lookup is withheld":                     {rego: "package p\ndeny contains \"x\" if { net.lookup_ip_addr(\"x\") }", want: "net.lookup_ip_addr, which no policy may call"},
		"schemas with remote references are withheld": {rego: "package p\ndeny contains \"x\" if { json.match_schema({}, {}) }", want: "json.match_schema, which no policy may call"},
		"a misspelt function is not called withheld":  {rego: "package p\ndeny contains \"x\" if { http.sent(1) }", want: "undefined function http.sent"},
		"Rego of before is told how it reads":         {rego: "package p\ndeny[msg] { msg := \"x\" }", want: "or set regoVersion: v0"},
		"what is no Rego at all is not told so":       {rego: "package p\ndeny[", want: "2:"},
		"types that explode are refused":              {rego: "package p\na := [1]\nb := " + strings.Repeat("[", 30) + "a" + strings.Repeat("]", 30) + "\ndeny contains \"x\" if b == b", want: "too large to be compared"},
		"parameters must be an object":                {rego: "package p\ndeny contains \"x\" if true", parameters: "[1]", want: "parameters: wanted a JSON object, found array"},
		"parameters must be one document":             {rego: "package p\ndeny contains \"x\" if true", parameters: "{} {}", want: "more than one document"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := eval.Compile(eval.Source{Name: "p", Rego: tc.rego, Parameters: []byte(tc.parameters)})
			if _, ok := errors.AsType[*eval.CompileError](err); !ok {
				t.Fatalf("wanted a CompileError, got %v", err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("wanted %q in:\n%v", tc.want, err)
			}
			if strings.Contains(err.Error(), "sent, which") {
				t.Errorf("a misspelt name was called withheld: %v", err)
			}
		})
	}
}

func TestEvalReadsEveryShapeOfAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		rego, parameters string
		want             eval.Findings
	}{
		"a string is a message": {
			rego: `deny contains "no" if input.object.kind == "Pod"`,
			want: eval.Findings{Denials: []eval.Violation{{Policy: "p", Code: "TG-POLICY-DENY", Message: "no"}}},
		},
		"an object may have code, fix and details": {
			rego: `violation contains {"msg": "no", "code": "TG-X", "fix": "run y", "details": {"n": 1}} if true`,
			want: eval.Findings{Denials: []eval.Violation{{Policy: "p", Code: "TG-X", Message: "no", Fix: "run y", Details: map[string]any{"n": json.Number("1")}}}},
		},
		"an element of another shape still objects": {
			rego: `deny contains 7 if true`,
			want: eval.Findings{Denials: []eval.Violation{{Policy: "p", Code: "TG-POLICY-DENY", Message: `policy "p" objects and gives no message; it answered 7`}}},
		},
		"warn is kept apart": {
			rego: `warn contains "hm" if true`,
			want: eval.Findings{Warnings: []eval.Violation{{Policy: "p", Code: "TG-POLICY-DENY", Message: "hm"}}},
		},
		"parameters are read": {
			rego: `deny contains msg if { msg := input.parameters.text }`, parameters: `{"text": "hello"}`,
			want: eval.Findings{Denials: []eval.Violation{{Policy: "p", Code: "TG-POLICY-DENY", Message: "hello"}}},
		},
		"a missing path is undefined and not an error": {
			rego: `deny contains msg if { msg := input.object.spec.nothing.at.all }`,
			want: eval.Findings{},
		},
		"allow is true": {
			rego: "deny contains \"x\" if false\nallow if input.request.userInfo.username == \"alice\"",
			want: eval.Findings{Allow: true},
		},
		"allow undefined is false": {
			rego: "deny contains \"x\" if false\nallow if input.nothing",
			want: eval.Findings{},
		},
		"violations are sorted": {
			rego: "deny contains msg if some msg in [\"b\", \"a\"]",
			want: eval.Findings{Denials: []eval.Violation{
				{Policy: "p", Code: "TG-POLICY-DENY", Message: "a"}, {Policy: "p", Code: "TG-POLICY-DENY", Message: "b"},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, eval.Source{Name: "p", Rego: "package p\n" + tc.rego, Parameters: []byte(tc.parameters)})
			got, err := p.Eval(t.Context(), input(t, `{"kind": "Pod"}`))
			if err != nil {
				t.Fatalf("Eval: %v", err)
			}
			if d := cmp.Diff(tc.want, normal(got)); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
		})
	}
}

func normal(f eval.Findings) eval.Findings {
	if len(f.Denials) == 0 {
		f.Denials = nil
	}
	if len(f.Warnings) == 0 {
		f.Warnings = nil
	}
	return f
}

// endlessRego has no answer within any budget that a webhook has.
const endlessRego = `package p
n := numbers.range(1, 400)
deny contains "x" if { some i in n; some j in n; some k in n; some l in n; (((i + j) + k) + l) == 0 }`

func TestEvalEndsWithItsContext(t *testing.T) {
	p := compile(t, eval.Source{Name: "p", Rego: endlessRego})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Eval(ctx, input(t, `{}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("wanted the deadline, got %v", err)
	}
}

func TestInvariantI2AFailingFunctionIsAnErrorAndNotConsent(t *testing.T) {
	p := compile(t, eval.Source{Name: "p", Rego: "package p\ndeny contains \"x\" if to_number(input.object.kind) > 5"})
	if _, err := p.Eval(t.Context(), input(t, `{"kind": "abc"}`)); err == nil {
		t.Fatal("wanted an error, since to_number failed")
	}
}

func TestNewInputRefusesWhatIsNotOneDocument(t *testing.T) {
	for name, raw := range map[string]string{
		"broken JSON":   `{"a":`,
		"two documents": `{} {}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := eval.NewInput(map[string]any{"request": eval.Request{Object: json.RawMessage(raw)}}); err == nil {
				t.Error("wanted an error")
			}
		})
	}
}

func TestJudgeAsksWhatMatches(t *testing.T) {
	at := func(m ...v1alpha1.PolicyMoment) []v1alpha1.PolicyMoment { return m }
	deployments := []v1alpha1.KindMatch{{Group: "apps", Kinds: []string{"Deployment"}}}
	policies := map[string]eval.Source{
		"all":         {},
		"deployments": {Match: v1alpha1.PolicyMatch{Kinds: deployments}},
		"anygroup":    {Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: "*", Kinds: []string{"Deployment"}}}}},
		"anykind":     {Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: "apps", Kinds: []string{"*"}}}}},
		"shop":        {Match: v1alpha1.PolicyMatch{Namespaces: []string{"shop"}}},
		"team":        {Match: v1alpha1.PolicyMatch{Namespaces: []string{"team-*"}}},
		"create":      {Match: v1alpha1.PolicyMatch{Operations: []string{"CREATE"}}},
		"release":     {At: at(v1alpha1.AtRelease)},
		"both":        {At: at(v1alpha1.AtAdmission, v1alpha1.AtRelease)},
	}
	set := make([]*eval.Policy, 0, len(policies))
	for name, s := range policies {
		s.Name, s.Rego = name, "package p\ndeny contains \"x\" if true"
		set = append(set, compile(t, s))
	}
	for name, tc := range map[string]struct {
		q    eval.Question
		want []string
	}{
		"a Deployment created in shop": {
			eval.Question{Moment: v1alpha1.AtAdmission, Group: "apps", Kind: "Deployment", Namespace: "shop", Operation: "CREATE"},
			[]string{"all", "anygroup", "anykind", "both", "create", "deployments", "shop"},
		},
		"a Service updated in team-a": {
			eval.Question{Moment: v1alpha1.AtAdmission, Kind: "Service", Namespace: "team-a", Operation: "UPDATE"},
			[]string{"all", "both", "team"},
		},
		"a rendered Deployment": {
			eval.Question{Moment: v1alpha1.AtRelease, Group: "apps", Kind: "Deployment", Namespace: "shop", Operation: "CREATE"},
			[]string{"both", "release"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.q.Input = input(t, `{}`)
			v := eval.NewSet(set...).Judge(t.Context(), tc.q)
			if d := cmp.Diff(tc.want, names(v.Denials)); d != "" {
				t.Errorf("policies asked (-want +got):\n%s", d)
			}
		})
	}
}

func names(vs []eval.Violation) []string {
	out := make([]string, 0, len(vs))
	for _, v := range vs {
		out = append(out, v.Policy)
	}
	return out
}

func TestJudgeSortsByEnforcement(t *testing.T) {
	rego := "package p\ndeny contains \"d\" if true\nwarn contains \"w\" if true"
	fails := "package p\ndeny contains \"d\" if to_number(\"x\") > 1"
	for name, tc := range map[string]struct {
		rego                    string
		enforcement             v1alpha1.Enforcement
		denials, warns, dryruns int
	}{
		"deny":                             {rego, v1alpha1.EnforcementDeny, 1, 1, 0},
		"no enforcement is deny":           {rego, "", 1, 1, 0},
		"warn":                             {rego, v1alpha1.EnforcementWarn, 0, 2, 0},
		"dryrun":                           {rego, v1alpha1.EnforcementDryrun, 0, 0, 2},
		"a failing policy denies":          {fails, v1alpha1.EnforcementDeny, 1, 0, 0},
		"a failing warn policy warns":      {fails, v1alpha1.EnforcementWarn, 0, 1, 0},
		"a failing dryrun policy is noted": {fails, v1alpha1.EnforcementDryrun, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, eval.Source{Name: "p", Rego: tc.rego, Enforcement: tc.enforcement})
			v := eval.NewSet(p).Judge(t.Context(), eval.Question{Moment: v1alpha1.AtAdmission, Input: input(t, `{}`)})
			if len(v.Denials) != tc.denials || len(v.Warnings) != tc.warns || len(v.Dryrun) != tc.dryruns {
				t.Errorf("wanted %d/%d/%d, got %+v", tc.denials, tc.warns, tc.dryruns, v)
			}
		})
	}
}

func TestAPolicyThatTakesAllTheTimeRefusesOnlyWhatIsItsOwnToRefuse(t *testing.T) {
	source := func(name, rego string, e v1alpha1.Enforcement) eval.Source {
		return eval.Source{Name: name, Rego: rego, Enforcement: e}
	}
	const content = "package p\ndeny contains \"never\" if false"
	for name, tc := range map[string]struct {
		policies []eval.Source
		denials  []string
		dryruns  []string
	}{
		"one that denies": {
			[]eval.Source{source("a", endlessRego, v1alpha1.EnforcementDeny)}, []string{"a"}, nil,
		},
		"one that denies leaves time for others that do": {
			[]eval.Source{source("a", endlessRego, v1alpha1.EnforcementDeny), source("b", content, v1alpha1.EnforcementDeny)}, []string{"a"}, nil,
		},
		"one in dryrun is asked after those that deny": {
			[]eval.Source{source("a", endlessRego, v1alpha1.EnforcementDryrun), source("b", content, v1alpha1.EnforcementDeny)}, nil, []string{"a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			policies := make([]*eval.Policy, 0, len(tc.policies))
			for _, s := range tc.policies {
				policies = append(policies, compile(t, s))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			v := eval.NewSet(policies...).Judge(ctx, eval.Question{Moment: v1alpha1.AtAdmission, Input: input(t, `{}`)})
			if !slices.Equal(names(v.Denials), tc.denials) || !slices.Equal(names(v.Dryrun), tc.dryruns) {
				t.Errorf("got %+v", v)
			}
			for _, d := range slices.Concat(v.Denials, v.Dryrun) {
				if d.Code != eval.ReasonPolicyBudget || !slices.Equal(v.OverBudget, []string{d.Policy}) {
					t.Errorf("code %s, over budget %v", d.Code, v.OverBudget)
				}
			}
		})
	}
}

func TestStoreKeepsTheLastGoodVersion(t *testing.T) {
	judge := func(s *eval.Store) []eval.Violation {
		return s.Set().Judge(t.Context(), eval.Question{Moment: v1alpha1.AtAdmission, Input: input(t, `{}`)}).Denials
	}
	good := eval.Source{Name: "p", Rego: "package p\ndeny contains \"v1\" if true"}
	bad := eval.Source{Name: "p", Rego: "package p\ndeny contains"}
	s := eval.NewStore()
	if err := s.Put(bad); err == nil {
		t.Fatal("wanted an error of a policy that does not compile")
	}
	if v := judge(s); len(v) != 1 || v[0].Code != eval.ReasonPolicyError {
		t.Fatalf("a policy that never compiled must stand as an error, got %+v", v)
	}
	if err := s.Put(good); err != nil {
		t.Fatalf("Put: %v", err)
	}
	if err := s.Put(bad); err == nil {
		t.Fatal("wanted an error of the broken update")
	}
	if v := judge(s); len(v) != 1 || v[0].Message != "v1" {
		t.Fatalf("wanted the last good version, got %+v", v)
	}
	held := s.Set()
	s.Delete("p")
	if v := judge(s); len(v) != 0 {
		t.Fatalf("wanted nothing after Delete, got %+v", v)
	}
	if held.Len() != 1 || s.Set().Len() != 0 {
		t.Error("a Set that was handed out must never change")
	}
}

func BenchmarkEval(b *testing.B) {
	p := compile(b, eval.Source{Name: "p", Rego: `package p
deny contains msg if { some c in input.object.spec.containers; not startswith(c.image, "ghcr.io/"); msg := c.image }`})
	in := input(b, `{"kind": "Pod", "spec": {"containers": [{"name": "a", "image": "ghcr.io/a"}, {"name": "b", "image": "x/b"}]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Eval(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
