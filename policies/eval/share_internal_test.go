package eval

import (
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const namesLib = `package lib.names

names := [c.name | some c in input.object.containers]

first := names[0]

pick(x) := y if y := x.name
`

func source(name, rego string, libs ...string) Source {
	return Source{Name: name, Rego: "package same.package\n" + rego, Libs: libs, Parameters: []byte(`{"who": "` + name + `"}`)}
}

func TestLibsThatDependOnMoreThanTheQuestionAreNotShared(t *testing.T) {
	const deny = "deny contains \"x\" if input.object.x"
	for name, tc := range map[string]struct {
		rules string
		want  bool
	}{
		"the object":                        {`x := input.object.name`, true},
		"another package":                   {`x := data.other.y`, false},
		"a rule of its own":                 {"x := 1\ny := x", true},
		"a function of its arguments":       {`f(x) := concat("", [x, "a"])`, true},
		"parameters":                        {`x := input.parameters.who`, false},
		"parameters in a comprehension":     {`x := [y | some y in input.parameters.list]`, false},
		"parameters in an index":            {`x := input.object[input.parameters.who]`, false},
		"the whole input":                   {`x := input`, false},
		"the whole input as an argument":    {`x := object.get(input, ["parameters", "who"], "")`, false},
		"the input by a name that is found": {`x := input[k] if some k in ["parameters"]`, false},
		"a walk over the input":             {`x contains v if walk(input, [_, v])`, false},
		"an input that is replaced":         {"y := input.object\nx := z if z := y with input.object as {}", false},
	} {
		t.Run(name, func(t *testing.T) {
			e, problems := compileRego(withDefaults(source("p", deny, "package lib.a\n"+tc.rules)))
			if got := len(problems) == 0 && e.libs != ""; got != tc.want {
				t.Errorf("wanted shared=%v, got %v (%q)", tc.want, got, problems)
			}
		})
	}
}

func TestPoliciesThatShareSayWhatTheySayAlone(t *testing.T) {
	sources := []Source{
		source("a", `deny contains sprintf("a %s", [n]) if some n in data.lib.names.names`, namesLib),
		source("b", `deny contains sprintf("b %s %s", [data.lib.names.first, input.parameters.who]) if true`, namesLib),
		// The same package and rules of the same name as in the others.
		source("c", "own := [input.parameters.who]\ndeny contains own[0] if data.lib.names.first", namesLib),
		source("d", "own := [\"other\"]\ndeny contains own[0] if data.lib.names.first", namesLib),
		source("e", `deny contains x if { x := data.lib.names.first with input.object as {"containers": [{"name": "replaced"}]} }`, namesLib),
		source("f", `deny contains data.lib.names.pick(c) if some c in input.object.containers`, namesLib),
		source("g", `deny contains data.lib.names.first if true`, strings.Replace(namesLib, "names[0]", "names[1]", 1)),
		source("h", `deny contains x if x := 1 / data.lib.names.zero`, namesLib+"\nzero := count(names) - 2\n"),
		source("i", `deny contains "never" if data.lib.names.zero`, namesLib+"\nzero := 1 / (count(names) - 2)\n"),
		source("j", `deny contains "never" if data.lib.names.zero`, namesLib+"\nzero := 1 / (count(names) - 2)\n"),
	}
	var all []*Policy
	for _, s := range sources {
		p, err := Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	in, err := NewInput(map[string]any{"object": map[string]any{"containers": []any{map[string]any{"name": "one"}, map[string]any{"name": "two"}}}})
	if err != nil {
		t.Fatal(err)
	}
	q := Question{Moment: v1alpha1.AtAdmission, Kind: "Pod", Operation: "CREATE", Input: in}
	var want []string
	for _, p := range all {
		for _, v := range NewSet(p).Judge(t.Context(), q).Denials {
			want = append(want, v.Policy+": "+v.Message)
		}
	}
	var got []string
	for _, v := range NewSet(all...).Judge(t.Context(), q).Denials {
		got = append(got, v.Policy+": "+v.Message)
	}
	if !slices.Equal(got, want) || len(want) < len(sources) {
		t.Errorf("wanted\n%s\ngot\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

func TestWhatAFailedEvaluationNotedIsForgotten(t *testing.T) {
	var s shared
	ref := ast.MustParseRef("data.lib.a.x")
	first := s.take("k")
	first.cache.Put(ref, ast.StringTerm("half"))
	if again := s.take("k"); again == first {
		t.Error("wanted a new cache while the other is in use or failed, got the same")
	}
	ok := s.take("k")
	ok.taken.Store(false)
	if again := s.take("k"); again != ok {
		t.Error("wanted the cache of an evaluation that ended well, got another")
	}
	if other := s.take("other"); other == ok {
		t.Error("wanted a cache for each libs, got the same")
	}
}
