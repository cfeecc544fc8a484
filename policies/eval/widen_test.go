package eval_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const deny = "package p\ndeny contains \"no\" if input.object.bad\n"

func raw(text string) *runtime.RawExtension { return &runtime.RawExtension{Raw: []byte(text)} }

func TestAPolicyTakesEffectAsAWhole(t *testing.T) {
	cases := func(c ...v1alpha1.PolicyCase) v1alpha1.PolicyTests { return v1alpha1.PolicyTests{Cases: c} }
	const schema = `{"properties": {"max": {"type": "integer", "minimum": 1, "default": 3}, "team": {"type": "string"}}}`
	for name, tc := range map[string]struct {
		source eval.Source
		want   string // a part of the message; empty is none
	}{
		"a test that passes": {source: eval.Source{Rego: deny, Tests: v1alpha1.PolicyTests{Rego: []string{
			"package p_test\nimport data.p\ntest_bad if p.deny == {\"no\"} with input as {\"object\": {\"bad\": true}}",
		}}}},
		"a test that fails": {source: eval.Source{Rego: deny, Tests: v1alpha1.PolicyTests{Rego: []string{
			"package p_test\nimport data.p\ntest_good if count(p.deny) == 1 with input as {\"object\": {}}",
		}}}, want: "test p_test.test_good: wanted it to be true"},
		"a test that is false": {source: eval.Source{Rego: deny, Tests: v1alpha1.PolicyTests{Rego: []string{
			"package p_test\ntest_false := false",
		}}}, want: "test p_test.test_false"},
		"a test that fails to be evaluated": {source: eval.Source{Rego: deny, Tests: v1alpha1.PolicyTests{Rego: []string{
			"package p_test\ntest_x if to_number(\"x\") == 1",
		}}}, want: "to_number"},
		"a test that never ends": {source: eval.Source{Rego: deny, Tests: v1alpha1.PolicyTests{Rego: []string{
			strings.Replace(strings.Replace(endlessRego, "package p", "package p_test", 1), "deny contains \"x\" if", "test_x if", 1),
		}}}, want: "longer than its share"},
		"tests that test nothing": {source: eval.Source{Rego: deny, Tests: v1alpha1.PolicyTests{Rego: []string{
			"package p_test\nx := 1",
		}}}, want: "names begin with test_, found none"},
		"tests that do not compile": {source: eval.Source{Rego: deny, Tests: v1alpha1.PolicyTests{Rego: []string{
			"package p_test\ntest_x if nothing(1)",
		}}}, want: "nothing"},
		"rules that a test module adds are not the policy's": {source: eval.Source{Rego: deny, Tests: v1alpha1.PolicyTests{
			Rego:  []string{"package p\ndeny contains \"always\" if true\ntest_always if deny == {\"always\"} with input as {}"},
			Cases: []v1alpha1.PolicyCase{{Name: "good", Object: raw(`{}`), Want: v1alpha1.OutcomeAllowed}},
		}}},
		"a case that is as wanted":  {source: eval.Source{Rego: deny, Tests: cases(v1alpha1.PolicyCase{Name: "bad", Object: raw(`{"bad": true}`), Want: "denied", Message: "no"})}},
		"a case that is not":        {source: eval.Source{Rego: deny, Tests: cases(v1alpha1.PolicyCase{Name: "bad", Object: raw(`{"bad": true}`), Want: "allowed"})}, want: `case "bad": wanted it allowed, found it denied: TG-POLICY-DENY: no`},
		"a case with other words":   {source: eval.Source{Rego: deny, Tests: cases(v1alpha1.PolicyCase{Name: "bad", Object: raw(`{"bad": true}`), Want: "denied", Message: "yes"})}, want: `wanted a message with "yes"`},
		"a case with a whole input": {source: eval.Source{Rego: deny, Tests: cases(v1alpha1.PolicyCase{Name: "bad", Input: raw(`{"object": {"bad": true}}`), Want: "denied"})}},
		"a case with neither":       {source: eval.Source{Rego: deny, Tests: cases(v1alpha1.PolicyCase{Name: "bad", Want: "denied"})}, want: "exactly one of object and input"},
		"a case with its own parameters": {source: eval.Source{
			Rego: "package p\ndeny contains \"no\" if input.parameters.max > 5", ParametersSchema: []byte(schema),
			Tests: cases(
				v1alpha1.PolicyCase{Name: "default", Object: raw(`{}`), Want: "allowed"},
				v1alpha1.PolicyCase{Name: "many", Object: raw(`{}`), Parameters: raw(`{"max": 6}`), Want: "denied"},
			),
		}},
		"a case whose parameters do not fit": {source: eval.Source{
			Rego: deny, ParametersSchema: []byte(schema),
			Tests: cases(v1alpha1.PolicyCase{Name: "zero", Object: raw(`{}`), Parameters: raw(`{"max": 0}`), Want: "denied"}),
		}, want: `case "zero": parameters.max`},
		"parameters that fit":                {source: eval.Source{Rego: deny, Parameters: []byte(`{"max": 1}`), ParametersSchema: []byte(schema)}},
		"parameters of another type":         {source: eval.Source{Rego: deny, Parameters: []byte(`{"max": "1"}`), ParametersSchema: []byte(schema)}, want: "parameters.max: Invalid value"},
		"a parameter that is misspelt":       {source: eval.Source{Rego: deny, Parameters: []byte(`{"maxx": 1}`), ParametersSchema: []byte(schema)}, want: "parameters.maxx: wanted a parameter that parametersSchema has"},
		"a parameter that is required":       {source: eval.Source{Rego: deny, ParametersSchema: []byte(`{"type": "object", "required": ["team"], "properties": {"team": {"type": "string"}}}`)}, want: "parameters.team: Required"},
		"a schema that is none":              {source: eval.Source{Rego: deny, ParametersSchema: []byte(`{"typo": "object"}`)}, want: "parametersSchema: wanted an OpenAPI v3 schema"},
		"a schema of a list":                 {source: eval.Source{Rego: deny, ParametersSchema: []byte(`{"type": "array"}`)}, want: "wanted type object"},
		"a selector that is none":            {source: eval.Source{Rego: deny, Match: v1alpha1.PolicyMatch{LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}}}, want: "match.labelSelector"},
		"v0 where it is declared":            {source: eval.Source{RegoVersion: v1alpha1.RegoV0, Rego: "package p\nviolation[{\"msg\": msg}] { msg := \"no\"; input.object.bad }", Tests: cases(v1alpha1.PolicyCase{Name: "bad", Object: raw(`{"bad": true}`), Want: "denied", Message: "no"})}},
		"v0 tests where it is declared":      {source: eval.Source{RegoVersion: v1alpha1.RegoV0, Rego: "package p\ndeny[\"no\"] { input.object.bad }", Tests: v1alpha1.PolicyTests{Rego: []string{"package p_test\nimport data.p\ntest_bad { p.deny[\"no\"] with input as {\"object\": {\"bad\": true}} }"}}}},
		"v0 where it is not":                 {source: eval.Source{Rego: "package p\nviolation[{\"msg\": msg}] { msg := \"no\" }"}, want: "2:"},
		"v0 calls nothing that v1 may not":   {source: eval.Source{RegoVersion: v1alpha1.RegoV0, Rego: "package p\ndeny[\"x\"] { http.send({}) }"}, want: "http.send, which no policy may call"},
		"a library":                          {source: eval.Source{Rego: "package p\nimport data.lib.k8s\ndeny contains \"no\" if k8s.bad", Libs: []string{"package lib.k8s\nbad if input.object.bad"}, Tests: cases(v1alpha1.PolicyCase{Name: "bad", Object: raw(`{"bad": true}`), Want: "denied"})}},
		"a library elsewhere":                {source: eval.Source{Rego: deny, Libs: []string{"package k8s\nbad := 1"}}, want: "libs[0]: wanted a package that begins with lib, found data.k8s"},
		"a library that does not parse":      {source: eval.Source{Rego: deny, Libs: []string{"package lib.x\nbad if {"}}, want: "libs[0]:2:"},
		"a policy that says it is a library": {source: eval.Source{Rego: "package lib.p\ndeny contains \"no\" if input.object.bad"}, want: "wanted a package of its own"},
		"CUE":                                {source: eval.Source{CUE: "object: bad?: false", Tests: cases(v1alpha1.PolicyCase{Name: "bad", Object: raw(`{"bad": true}`), Want: "denied", Message: "bad: wanted false, found true"})}},
		"CUE that warns":                     {source: eval.Source{CUE: "warn: bad?: false", Tests: cases(v1alpha1.PolicyCase{Name: "bad", Object: raw(`{"bad": true}`), Want: "warned"})}},
		"CUE with parameters": {source: eval.Source{
			CUE: "input: parameters: max: int\nobject: n: <=input.parameters.max", ParametersSchema: []byte(schema),
			Tests: cases(v1alpha1.PolicyCase{Name: "four", Object: raw(`{"n": 4}`), Want: "denied", Message: "n: wanted <=3, found 4"}),
		}},
		"CUE about a promotion": {source: eval.Source{
			CUE: "object: rollout: weight: <=50", At: []v1alpha1.PolicyMoment{v1alpha1.AtPromotion},
			Tests: cases(v1alpha1.PolicyCase{Name: "all", Input: raw(`{"rollout": {"weight": 100}}`), Want: "denied", Message: "rollout.weight: wanted <=50, found 100"}),
		}},
		"CUE that does not compile": {source: eval.Source{CUE: "object: x"}, want: "1:9"},
		"CUE with tests in Rego":    {source: eval.Source{CUE: "object: a: 1", Tests: v1alpha1.PolicyTests{Rego: []string{"package t"}}}, want: "wanted tests.cases"},
		"both":                      {source: eval.Source{CUE: "object: a: 1", Rego: deny}, want: "exactly one of rego and cue"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.source.Name = "p"
			_, err := eval.Compile(tc.source)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("wanted it to take effect, got %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("wanted %q, got %v", tc.want, err)
			}
		})
	}
}

func TestABrokenUpdateLeavesTheLastGoodVersion(t *testing.T) {
	good := eval.Source{Name: "p", Rego: "package p\ndeny contains \"v1\" if true"}
	for name, change := range map[string]func(*eval.Source){
		"whose test fails": func(s *eval.Source) { s.Tests.Rego = []string{"package t\ntest_x := false"} },
		"whose parameters do not fit": func(s *eval.Source) {
			s.ParametersSchema, s.Parameters = []byte(`{"type": "object"}`), []byte(`{"a": 1}`)
		},
		"whose library does not parse": func(s *eval.Source) { s.Libs = []string{"nonsense"} },
	} {
		t.Run(name, func(t *testing.T) {
			store := eval.NewStore()
			if err := store.Put(good); err != nil {
				t.Fatal(err)
			}
			digest := store.Digest("p")
			bad := good
			bad.Rego = strings.Replace(good.Rego, "v1", "v2", 1)
			change(&bad)
			if err := store.Put(bad); err == nil {
				t.Fatal("wanted an error")
			}
			v := store.Set().Judge(t.Context(), eval.Question{Moment: v1alpha1.AtAdmission, Input: input(t, `{}`)})
			if len(v.Denials) != 1 || v.Denials[0].Message != "v1" || store.Digest("p") != digest || digest == "" {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestAFunctionThatFailsIsUndefinedInV0Only(t *testing.T) {
	in := input(t, `{"kind": "x"}`)
	for version, rego := range map[v1alpha1.RegoVersion]string{
		v1alpha1.RegoV0: "package p\ndeny[\"x\"] { to_number(input.object.kind) > 5 }",
		v1alpha1.RegoV1: "package p\ndeny contains \"x\" if to_number(input.object.kind) > 5",
	} {
		_, err := compile(t, eval.Source{Name: "p", Rego: rego, RegoVersion: version}).Eval(t.Context(), in)
		if (err != nil) != (version == v1alpha1.RegoV1) {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestMatchLooksAtTheObject(t *testing.T) {
	request := func(r eval.Request) eval.Question {
		in, err := eval.RequestInput(v1alpha1.AtAdmission, r)
		if err != nil {
			t.Fatal(err)
		}
		return eval.Question{Moment: v1alpha1.AtAdmission, Kind: "Pod", Namespace: "shop", Operation: r.Operation, Input: in}
	}
	object := func(metadata string) json.RawMessage { return json.RawMessage(`{"metadata": ` + metadata + `}`) }
	in := func(q eval.Question, change func(*eval.Question)) eval.Question {
		change(&q)
		return q
	}
	app := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}
	not := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpDoesNotExist}}}
	created := request(eval.Request{Operation: "CREATE", Name: "cart-1", Object: object(`{"name": "cart-1", "labels": {"app": "x"}}`)})
	relabelled := request(eval.Request{Operation: "UPDATE", Name: "a", Object: object(`{"labels": {"app": "y"}}`), OldObject: object(`{"labels": {"app": "x"}}`)})
	deleted := request(eval.Request{Operation: "DELETE", OldObject: object(`{"name": "cart-1", "labels": {"app": "x"}}`)})
	generated := request(eval.Request{Operation: "CREATE", Object: object(`{"generateName": "cart-"}`)})
	nameless := request(eval.Request{Operation: "DELETE"})
	release, err := created.Input.With("release", eval.Release{Name: "cart", Namespace: "shop", Template: "web"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		match v1alpha1.PolicyMatch
		q     eval.Question
		want  bool
	}{
		"a label":                               {v1alpha1.PolicyMatch{LabelSelector: app}, created, true},
		"no such label":                         {v1alpha1.PolicyMatch{LabelSelector: not}, created, false},
		"a label that is taken off":             {v1alpha1.PolicyMatch{LabelSelector: app}, relabelled, true},
		"a label of what is deleted":            {v1alpha1.PolicyMatch{LabelSelector: app}, deleted, true},
		"a label where there is no object":      {v1alpha1.PolicyMatch{LabelSelector: app}, nameless, true},
		"a name":                                {v1alpha1.PolicyMatch{Names: []string{"cart-*"}}, created, true},
		"another name":                          {v1alpha1.PolicyMatch{Names: []string{"web", "shop-*"}}, created, false},
		"the name of what is deleted":           {v1alpha1.PolicyMatch{Names: []string{"cart-1"}}, deleted, true},
		"a name that is not known":              {v1alpha1.PolicyMatch{Names: []string{"cart-1"}}, nameless, true},
		"a name that can be generated":          {v1alpha1.PolicyMatch{Names: []string{"cart-1*"}}, generated, true},
		"one that can be generated exactly":     {v1alpha1.PolicyMatch{Names: []string{"cart-abcde"}}, generated, true},
		"one that cannot":                       {v1alpha1.PolicyMatch{Names: []string{"web-*", "shop"}}, generated, false},
		"a suffix that can be generated":        {v1alpha1.PolicyMatch{Names: []string{"*-db"}}, generated, true},
		"an excluded namespace":                 {v1alpha1.PolicyMatch{ExcludedNamespaces: []string{"sh*"}}, created, false},
		"another excluded namespace":            {v1alpha1.PolicyMatch{ExcludedNamespaces: []string{"web"}}, created, true},
		"a namespace whose labels are unknown":  {v1alpha1.PolicyMatch{NamespaceSelector: app}, created, true},
		"a namespace without labels":            {v1alpha1.PolicyMatch{NamespaceSelector: app}, in(created, func(q *eval.Question) { q.NamespaceLabels = labels.Set{} }), false},
		"a namespace with the label":            {v1alpha1.PolicyMatch{NamespaceSelector: app}, in(created, func(q *eval.Question) { q.NamespaceLabels = labels.Set{"app": "x"} }), true},
		"no namespace":                          {v1alpha1.PolicyMatch{NamespaceSelector: not}, in(created, func(q *eval.Question) { q.Namespace = "" }), false},
		"the template of the Release":           {v1alpha1.PolicyMatch{Templates: []string{"web"}}, in(created, func(q *eval.Question) { q.Input = release }), true},
		"another template":                      {v1alpha1.PolicyMatch{Templates: []string{"grpc*"}}, in(created, func(q *eval.Question) { q.Input = release }), false},
		"a template that is not known":          {v1alpha1.PolicyMatch{Templates: []string{"grpc"}}, created, true},
		"a template that the caller knows":      {v1alpha1.PolicyMatch{Templates: []string{"grpc"}}, in(created, func(q *eval.Question) { q.Template = func() (string, bool) { return "grpc", true } }), true},
		"no template, as the caller knows":      {v1alpha1.PolicyMatch{Templates: []string{"*"}}, in(created, func(q *eval.Question) { q.Template = func() (string, bool) { return "", true } }), false},
		"a template that cannot be found out":   {v1alpha1.PolicyMatch{Templates: []string{"grpc"}}, in(created, func(q *eval.Question) { q.Template = func() (string, bool) { return "", false } }), true},
		"everything at once":                    {v1alpha1.PolicyMatch{Names: []string{"cart-1"}, LabelSelector: app, Kinds: []v1alpha1.KindMatch{{Kinds: []string{"Pod"}}}}, created, true},
		"everything but the kind":               {v1alpha1.PolicyMatch{Names: []string{"cart-1"}, LabelSelector: app, Kinds: []v1alpha1.KindMatch{{Kinds: []string{"Job"}}}}, created, false},
		"everything but one of the inner parts": {v1alpha1.PolicyMatch{Names: []string{"cart-2"}, LabelSelector: app}, created, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, eval.Source{Name: "p", Rego: "package p\ndeny contains \"x\" if true", Match: tc.match})
			if got := len(eval.NewSet(p).Judge(t.Context(), tc.q).Denials) > 0; got != tc.want {
				t.Errorf("asked: %v", got)
			}
		})
	}
}

func TestEnforcementDependsOnTheNamespace(t *testing.T) {
	p := compile(t, eval.Source{Name: "p", Rego: "package p\ndeny contains \"x\" if true", Enforcement: v1alpha1.EnforcementDeny, EnforcementIn: []v1alpha1.NamespaceEnforcement{
		{Namespaces: []string{"dev-*"}, Enforcement: v1alpha1.EnforcementDryrun},
		{Namespaces: []string{"*-1", "dev-2"}, Enforcement: v1alpha1.EnforcementWarn},
	}})
	for namespace, want := range map[string][3]int{"shop": {1, 0, 0}, "dev-1": {0, 0, 1}, "dev-2": {0, 0, 1}, "shop-1": {0, 1, 0}, "": {1, 0, 0}} {
		v := eval.NewSet(p).Judge(t.Context(), eval.Question{Moment: v1alpha1.AtAdmission, Namespace: namespace, Input: input(t, `{}`)})
		if got := [3]int{len(v.Denials), len(v.Warnings), len(v.Dryrun)}; got != want {
			t.Errorf("namespace %q: %v, wanted %v", namespace, got, want)
		}
	}
}

func TestTheInputIsLoadedOnlyForThoseWhoAskForIt(t *testing.T) {
	pods := compile(t, eval.Source{Name: "p", Rego: "package p\ndeny contains \"x\" if input.object.bad", Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Kinds: []string{"Pod"}}}}})
	loaded := 0
	ask := func(kind string, err error) eval.Verdict {
		return eval.NewSet(pods).Judge(t.Context(), eval.Question{Moment: v1alpha1.AtAdmission, Kind: kind, Load: func() (eval.Input, error) {
			loaded++
			return input(t, `{"bad": true}`), err
		}})
	}
	if v := ask("ConfigMap", nil); loaded != 0 || len(v.Denials) != 0 {
		t.Errorf("loaded for nobody: %+v", v)
	}
	if v := ask("Pod", nil); loaded != 1 || len(v.Denials) != 1 || v.Denials[0].Code != eval.ReasonPolicyDeny {
		t.Errorf("loaded %d: %+v", loaded, v)
	}
	if v := ask("Pod", context.Canceled); len(v.Denials) != 1 || v.Denials[0].Code != eval.ReasonPolicyError {
		t.Errorf("what cannot be loaded: %+v", v)
	}
}

// bombs are policies that take more than there is, each in its own way.
var bombs = map[string]string{
	"time": endlessRego,
	"a list of lists": `package p
n := numbers.range(1, 1000)
big := [[i, j, k, sprintf("%d-%d-%d", [i, j, k])] | some i in n; some j in n; some k in n]
deny contains "x" if count(big) == 0`,
	"an object": `package p
n := numbers.range(1, 1000)
big := {sprintf("%d-%d-%d", [i, j, k]): [i, j, k] | some i in n; some j in n; some k in n}
deny contains "x" if count(big) == 0`,
	"long texts": `package p
line := concat("", [x | some i in numbers.range(1, 1000); x := sprintf("%01000d", [i])])
big := [concat("", [line, sprintf("%d", [i])]) | some i in numbers.range(1, 100000)]
deny contains "x" if count(big) == 0`,
	"a long range": "package p\ndeny contains \"x\" if count(numbers.range(1, 100000000000)) == 0",
	"an endless message": `package p
x0 := ["xxxxxxxxxxxxxxxx"]
x1 := [x0 | some _ in numbers.range(1, 8)]
x2 := [x1 | some _ in numbers.range(1, 8)]
x3 := [x2 | some _ in numbers.range(1, 8)]
x4 := [x3 | some _ in numbers.range(1, 8)]
x5 := [x4 | some _ in numbers.range(1, 8)]
x6 := [x5 | some _ in numbers.range(1, 8)]
x7 := [x6 | some _ in numbers.range(1, 8)]
x8 := [x7 | some _ in numbers.range(1, 8)]
deny contains {"msg": "x", "details": x8} if true`,
}

func TestABombIsNamedAndEnforcedAndHurtsNobodyElse(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some hundred MiB")
	}
	other := compile(t, eval.Source{Name: "other", Rego: "package other\ndeny contains \"found\" if input.object.bad"})
	for name, rego := range bombs {
		for _, e := range []v1alpha1.Enforcement{v1alpha1.EnforcementDeny, v1alpha1.EnforcementWarn, v1alpha1.EnforcementDryrun} {
			t.Run(name+", "+string(e), func(t *testing.T) {
				defer debug.FreeOSMemory()
				bomb := compile(t, eval.Source{Name: "bomb", Rego: rego, Enforcement: e})
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				v := eval.NewSet(bomb, other).Judge(ctx, eval.Question{Moment: v1alpha1.AtAdmission, Input: input(t, `{"bad": true}`)})
				list := map[v1alpha1.Enforcement][]eval.Violation{
					v1alpha1.EnforcementDeny: v.Denials, v1alpha1.EnforcementWarn: v.Warnings, v1alpha1.EnforcementDryrun: v.Dryrun,
				}[e]
				i := slices.IndexFunc(list, func(v eval.Violation) bool { return v.Policy == "bomb" })
				if i < 0 || list[i].Code != eval.ReasonPolicyBudget || !slices.Equal(v.OverBudget, []string{"bomb"}) {
					t.Errorf("the bomb: %+v", v)
				}
				if !slices.ContainsFunc(v.Denials, func(v eval.Violation) bool { return v.Policy == "other" && v.Message == "found" }) {
					t.Errorf("the other: %+v", v)
				}
			})
		}
	}
}

func TestAnUpdateNeitherBlocksNorFailsARequest(t *testing.T) {
	store := eval.NewStore()
	source := func(n int) eval.Source {
		return eval.Source{Name: "p", Rego: fmt.Sprintf("package p\ndeny contains \"v%d\" if true", n), Tests: v1alpha1.PolicyTests{
			Cases: []v1alpha1.PolicyCase{{Name: "all", Object: raw(`{}`), Want: "denied"}},
		}}
	}
	if err := store.Put(source(0)); err != nil {
		t.Fatal(err)
	}
	q := eval.Question{Moment: v1alpha1.AtAdmission, Input: input(t, `{}`)}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				v := store.Set().Judge(t.Context(), q)
				if len(v.Denials) != 1 || v.Denials[0].Code != eval.ReasonPolicyDeny {
					t.Errorf("a request failed: %+v", v)
					return
				}
			}
		})
	}
	for n := range 100 {
		if err := store.Put(source(n + 1)); err != nil {
			t.Error(err)
		}
		if err := store.Put(eval.Source{Name: "p", Rego: "nonsense"}); err == nil {
			t.Error("nonsense took effect")
		}
	}
	stop()
	wg.Wait()
	if d := cmp.Diff("v100", store.Set().Judge(t.Context(), q).Denials[0].Message); d != "" {
		t.Error(d)
	}
}

// TestCUEThatRunsOnHoldsNobodyUp asks about three loops over the object. Nothing can end
// them; they end by themselves after a while.
func TestCUEThatRunsOnHoldsNobodyUp(t *testing.T) {
	bomb := compile(t, eval.Source{Name: "bomb", CUE: `
input: request: operation: "CREATE"
object: {
	list: [...int]
	found?: 0 & len([for i in list for j in list for k in list if i+j+k < 0 {i}])
	check: found
}`})
	other := compile(t, eval.Source{Name: "other", Rego: "package other\ndeny contains \"found\" if input.object.list"})
	set := eval.NewSet(bomb, other)
	list := strings.TrimSuffix(strings.Repeat("1,", 150), ",")
	q := eval.Question{Moment: v1alpha1.AtAdmission, Input: input(t, `{"list": [`+list+`], "found": 0, "check": 0}`)}
	for n := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		v := set.Judge(ctx, q)
		cancel()
		i := slices.IndexFunc(v.Denials, func(v eval.Violation) bool { return v.Policy == "bomb" })
		if i < 0 || v.Denials[i].Code != eval.ReasonPolicyBudget {
			t.Fatalf("question %d: %+v", n, v)
		}
		if stuck := strings.Contains(v.Denials[i].Message, "so it is not asked"); stuck != (n == 2) {
			t.Errorf("question %d: %s", n, v.Denials[i].Message)
		}
	}
	// A policy that is changed starts anew, and the others never noticed.
	if v := eval.NewSet(other).Judge(t.Context(), q); len(v.Denials) != 1 {
		t.Errorf("%+v", v)
	}
}

func TestOneObjectOfManyTakesTheTimeOfOne(t *testing.T) {
	bomb := compile(t, eval.Source{Name: "bomb", Rego: strings.Replace(endlessRego, "some l in n;", "some l in n; input.object.bad;", 1)})
	other := compile(t, eval.Source{Name: "other", Rego: "package other\ndeny contains input.object.name if true"})
	var questions []eval.Question
	for i := range 20 {
		questions = append(questions, eval.Question{Moment: v1alpha1.AtAdmission, Input: input(t, fmt.Sprintf(`{"bad": true, "name": "n%02d"}`, i))})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	v := eval.NewSet(bomb, other).JudgeAll(ctx, questions...)
	if ctx.Err() != nil {
		t.Error("one policy took the time of all objects")
	}
	counts := map[string]int{}
	for _, d := range v.Denials {
		counts[d.Policy+" "+d.Code]++
	}
	if d := cmp.Diff(map[string]int{"bomb TG-POLICY-BUDGET": 20, "other TG-POLICY-DENY": 20}, counts); d != "" || !slices.Equal(v.OverBudget, []string{"bomb"}) {
		t.Errorf("%s\nover budget: %v", d, v.OverBudget)
	}
}
