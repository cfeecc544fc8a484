package command

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const (
	testedRego  = "package no_x\n\ndeny contains \"found\" if input.object.data.bad\n\ndeny contains \"odd\" if {\n\tinput.object.data.odd\n}\n"
	testOfRego  = "package no_x_test\n\nimport data.no_x\n\ntest_bad_is_denied if count(no_x.deny) == 1 with input as {\"object\": {\"data\": {\"bad\": true}}}\n"
	testOfOdd   = "package no_x_odd_test\n\nimport data.no_x\n\ntest_odd_is_denied if \"odd\" in no_x.deny with input as {\"object\": {\"data\": {\"odd\": true}}}\n"
	failingTest = "package fails_test\n\nimport data.no_x\n\ntest_nothing_is_denied if {\n\tprint(\"so it is\")\n\tcount(no_x.deny) == 1 with input as {}\n}\n"
	cuePolicy   = `
apiVersion: tidegate.io/v1alpha1
kind: DeployPolicy
metadata: {name: in-cue}
spec:
  cue: |
    object: data: bad?: _|_
  tests:
    cases:
    - {name: bad, object: {apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {bad: a}}, want: WANT}
`
)

func TestPolicyTest(t *testing.T) {
	good := strings.ReplaceAll(cuePolicy, "WANT", "denied")
	dir := written(t, map[string]string{
		"good/p.rego": testedRego, "good/p_test.rego": testOfRego, "good/deep/odd_test.rego": testOfOdd, "good/in-cue.yaml": good,
		"fails/p.rego": testedRego, "fails/p_test.rego": failingTest, "cue/p.yaml": strings.ReplaceAll(cuePolicy, "WANT", "allowed"),
		"partly/p.rego": testedRego, "partly/p_test.rego": testOfRego, "broken/p.rego": "package p\n\ndeny contains x if {", "none/readme.md": "x",
		"libs/a.rego": "package lib.a\n\nx := 1\n", "needs/p.rego": "package p\n\nimport data.lib.a\n\ntest_x if a.x == 1\n",
		"net/p.rego": "package p\n\ntest_x if http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"}).status_code == 200\n", "half/p.rego": testedRego, "half/p_test.rego": testOfRego,
		"half/policy.yaml": "apiVersion: tidegate.io/v1alpha1\nkind: DeployPolicy\nmetadata: {name: x}\nspec: {}\n",
		"sampled/p.yaml":   good, "sampled/samples/denied/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {bad: a}\n", "sampled/samples/allowed/y.yaml": goodPlain,
		"wrongly/p.yaml": good, "wrongly/samples/allowed/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {bad: a}\n", "wrongly/samples/denied/y.yaml": goodPlain,
		"shared/lib/a.rego": "package lib.a\n\nx := 1\n", "shared/p/p.rego": "package p\n\nimport data.lib.a\n\ntest_x if a.x == 1\n",
		"parts/policy.yaml": strings.SplitAfter(good, "spec:\n")[0] + "  regoVersion: v1\n", "parts/policy.cue": "object: data: bad?: _|_\n",
		"parts/samples/denied/x.yaml": goodPlain + "data: {bad: a}\n", "parts/samples/allowed/y.yaml": goodPlain,
		"imports/policy.yaml": strings.SplitAfter(good, "spec:\n")[0] + "  regoVersion: v1\n", "imports/p.rego": "package p\n\nimport data.lib.b\n\ndeny contains \"x\" if b.bad\n",
		"imports/samples/denied/x.yaml": goodPlain + "data: {bad: a}\n", "imports/lib/b.rego": "package lib.b\n\nimport data.lib.c\n\nbad if c.held.bad\n", "imports/lib/c.rego": "package lib.c\n\nheld := input.object.data\n",
		"place/p.yaml": "apiVersion: tidegate.io/v1alpha1\nkind: DeployPolicy\nmetadata: {name: place}\nspec:\n  rego: |\n    package p\n    deny contains \"x\" if input.request.namespace != \"shop\"\n", "place/samples/allowed/y.yaml": goodPlain,
		"withdata/p_test.rego": "package p_test\n\ntest_x if data.team.names[_] == \"a\"\n\ntest_y if data.deep.x == 1\n", "withdata/data.yaml": "team: {names: [a]}\n", "withdata/deep/data.json": `{"x": 1}`,
		"clash/p_test.rego": "package p_test\n\ntest_x if true\n", "clash/data.yaml": "deep: {x: 1}\n", "clash/deep/data.json": `{"x": 1}`,
		"empty/lib/readme.md": "x", "empty/p/p.rego": "package p\n\ntest_x if true\n",
		"block/p.yaml": strings.ReplaceAll(good, "spec:", "spec:\n  enforcement: block"),
		"old/p.rego":   "package p\n\ntest_x { 1 == 1 }\n", "chart/p.yaml": "a: {{ b }}\n{{ end }}\n", "chart/p_test.rego": "package p_test\n\ntest_x if true\n",
	})
	for name, tc := range map[string]struct {
		args []string
		code int
		out  []string
		err  string
	}{
		"all pass":                             {[]string{"good", "--coverage", "100"}, 0, []string{"PASS no_x_test.test_bad_is_denied", "PASS DeployPolicy in-cue, 1 tests of its own", "100.0 %", "3 passed, 0 failed"}, ""},
		"one fails":                            {[]string{"fails"}, 1, []string{"FAIL fails_test.test_nothing_is_denied", "p_test.rego:5: wanted it to be true", "so it is"}, ""},
		"a case of a policy in CUE fails":      {[]string{"cue"}, 1, []string{"FAIL DeployPolicy in-cue", `case "bad": wanted it allowed, found it denied`}, ""},
		"too little is covered":                {[]string{"partly", "--coverage", "90"}, 1, []string{"not evaluated"}, "wanted 90 % of the lines"},
		"what is covered is not asked":         {[]string{"partly"}, 0, []string{"not evaluated: 5"}, ""},
		"Rego that does not compile":           {[]string{"broken"}, 1, nil, "broken/p.rego:3"},
		"what policies may not call":           {[]string{"net"}, 1, nil, "http.send"},
		"a library":                            {[]string{"needs", "--lib", filepath.Join(dir, "libs")}, 0, []string{"1 passed"}, ""},
		"samples":                              {[]string{"sampled"}, 0, []string{"PASS DeployPolicy in-cue, 1 tests of its own, 2 samples"}, ""},
		"samples that are not as they say":     {[]string{"wrongly"}, 1, []string{"FAIL DeployPolicy in-cue", "samples/allowed/x.yaml: wanted it allowed, found: TG-POLICY-DENY", "samples/denied/y.yaml: wanted it denied, found it allowed"}, ""},
		"a library beside it":                  {[]string{filepath.Join("shared", "p")}, 0, []string{"1 passed"}, ""},
		"a folder lib that has none":           {[]string{filepath.Join("empty", "p")}, 0, []string{"1 passed"}, ""},
		"a source in CUE beside its frame":     {[]string{"parts"}, 0, []string{"PASS DeployPolicy in-cue, 0 tests of its own, 2 samples"}, ""},
		"one in Rego, with what it imports":    {[]string{"imports"}, 0, []string{"PASS DeployPolicy in-cue, 0 tests of its own, 1 samples"}, ""},
		"a sample without a namespace":         {[]string{"place"}, 0, []string{"1 samples"}, ""},
		"data beside the Rego":                 {[]string{"withdata"}, 0, []string{"2 passed"}, ""},
		"data that is there twice":             {[]string{"clash"}, 2, nil, `wanted data that no other file has, found "x" again`},
		"what the definition refuses":          {[]string{"block"}, 1, []string{`enforcement: wanted one of deny, warn, dryrun, found "block"`}, ""},
		"a library that is not given":          {[]string{"needs"}, 1, []string{"FAIL"}, ""},
		"Rego of before":                       {[]string{"old", "--v0"}, 0, []string{"1 passed"}, ""},
		"Rego of before, and not said":         {[]string{"old"}, 1, nil, "old/p.rego:3"},
		"a policy that a build puts together":  {[]string{"half"}, 0, []string{"PASS DeployPolicy x", "2 passed"}, ""},
		"a file of something else":             {[]string{"chart"}, 0, []string{"1 passed"}, ""},
		"no tests":                             {[]string{"none"}, 2, nil, "found none"},
		"no directory":                         {[]string{"gone"}, 2, nil, "no such file"},
		"a coverage that there cannot be":      {[]string{"good", "--coverage", "101"}, 2, nil, "wanted 0 to 100"},
		"a library that is not there":          {[]string{"needs", "--lib", "gone"}, 2, nil, "no such file"},
		"a form that there is not":             {[]string{"good", "-o", "xml"}, 2, nil, "xml"},
		"all pass, as JSON, with the coverage": {[]string{"good", "-o", "json"}, 0, []string{`"passed": 3`, `"percent": 100`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			tc.args[0] = filepath.Join(dir, tc.args[0])
			w.wantCode(w.run(t.Context(), append([]string{"policy", "test"}, tc.args...)...), tc.code)
			wantPart(t, "out", w.out.String(), tc.out...)
			wantPart(t, "err", w.err.String(), tc.err)
		})
	}
}

func TestPolicyEval(t *testing.T) {
	review := `{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "kind": {"group": "", "version": "v1", "kind": "ConfigMap"}, "namespace": "shop", "name": "x", "operation": "OP", "userInfo": {"username": "alice"}, "object": NEW, "oldObject": OLD}}`
	bad := `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"bad": "a"}}`
	dir := written(t, map[string]string{
		"p.yaml": checkPolicy, "bad.yaml": goodPlain + "data: {bad: a}\n", "odd.yaml": goodPlain + "data: {odd: a}\n", "good.yaml": goodPlain,
		"secret.yaml": strings.ReplaceAll(goodPlain, "ConfigMap", "Secret") + "data: {bad: a}\n",
		"create.json": strings.NewReplacer("OP", "CREATE", "NEW", bad, "OLD", "null").Replace(review),
		"delete.json": strings.NewReplacer("OP", "DELETE", "NEW", "null", "OLD", bad).Replace(review),
		"norequest":   `{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}`,
		"dry.yaml":    strings.ReplaceAll(checkPolicy, "spec:", "spec:\n  enforcement: dryrun"), "broken.yaml": strings.ReplaceAll(checkPolicy, "package no_x", "package"),
		"loud.yaml": strings.ReplaceAll(goodPlain, "{name: x}", `{name: "\e[2Jx"}`), "loud-policy.yaml": strings.ReplaceAll(checkPolicy, `deny contains "data.bad: wanted nothing, found some" if input.object.data.bad`, "deny contains input.object.metadata.name if true"),
		"raw.json": `{"request": {"kind": {"kind": "ConfigMap"}, "operation": "CREATE"}, "object": {"data": {"bad": true}}}`, "twice.yaml": goodPlain + "---\n" + goodPlain, "list.yaml": "- a\n",
	})
	for name, tc := range map[string]struct {
		policy, input string
		more          []string
		code          int
		out           string
		err           string
	}{
		"what it refuses":                 {"p.yaml", "bad.yaml", nil, 1, "denied\n  denial: TG-POLICY-DENY: data.bad", ""},
		"what it warns of":                {"p.yaml", "odd.yaml", nil, 0, "warned\n  warning: ", ""},
		"what it lets pass":               {"p.yaml", "good.yaml", nil, 0, "allowed\n", ""},
		"what would clear the screen":     {"loud-policy.yaml", "loud.yaml", nil, 1, `denial: TG-POLICY-DENY: \x1b[2Jx`, ""},
		"what it is not asked about":      {"p.yaml", "secret.yaml", nil, 0, "is not asked", ""},
		"a review":                        {"p.yaml", "create.json", nil, 1, "denied", ""},
		"a review of a deletion":          {"p.yaml", "delete.json", nil, 1, "denied", ""},
		"a whole input":                   {"p.yaml", "raw.json", nil, 1, "denied", ""},
		"in dryrun":                       {"dry.yaml", "bad.yaml", nil, 0, "allowed\n  dryrun: ", ""},
		"explained":                       {"p.yaml", "bad.yaml", []string{"--explain"}, 1, "matches      true", ""},
		"as JSON":                         {"p.yaml", "bad.yaml", []string{"-o", "json"}, 1, `"verdict": "denied"`, ""},
		"at a moment that it is not for":  {"p.yaml", "bad.yaml", []string{"--at", "promotion"}, 0, "is not asked", ""},
		"at a moment that there is not":   {"p.yaml", "bad.yaml", []string{"--at", "noon"}, 2, "", "wanted admission, release or promotion"},
		"a policy that does not compile":  {"broken.yaml", "bad.yaml", nil, 2, "", "compiling"},
		"a policy that is none":           {"good.yaml", "bad.yaml", nil, 2, "", "wanted one DeployPolicy"},
		"a review of nothing":             {"p.yaml", "norequest", nil, 2, "", "wanted a request"},
		"two documents":                   {"p.yaml", "twice.yaml", nil, 2, "", "wanted one document"},
		"a list":                          {"p.yaml", "list.yaml", nil, 2, "", "reading the input"},
		"two policies":                    {"p.yaml", "bad.yaml", []string{"--library", "probes"}, 2, "", "wanted one of --filename and --library"},
		"an input that is not there":      {"p.yaml", "gone", nil, 2, "", "no such file"},
		"a policy file that is not there": {"gone", "bad.yaml", nil, 2, "", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			args := append([]string{"policy", "eval", "-f", filepath.Join(dir, tc.policy), "--input", filepath.Join(dir, tc.input)}, tc.more...)
			w.wantCode(w.run(t.Context(), args...), tc.code)
			wantPart(t, "out", w.out.String(), tc.out)
			wantPart(t, "err", w.err.String(), tc.err)
		})
	}
}

func TestPolicyBench(t *testing.T) {
	dir := written(t, map[string]string{"p.yaml": checkPolicy, "bad.yaml": goodPlain + "data: {bad: a}\n", "cue.yaml": strings.ReplaceAll(cuePolicy, "WANT", "denied")})
	p, bad := filepath.Join(dir, "p.yaml"), filepath.Join(dir, "bad.yaml")
	for name, tc := range map[string]struct {
		args []string
		code int
		out  string
		err  string
	}{
		"about an object":              {[]string{"-f", p, "--input", bad, "--count", "5"}, 0, "no-x", ""},
		"about its own cases":          {[]string{"-f", filepath.Join(dir, "cue.yaml"), "--count", "2"}, 0, "in-cue", ""},
		"within a bound":               {[]string{"-f", p, "--input", bad, "--count", "5", "--max-allocs", "100000"}, 0, "no-x", ""},
		"beyond a bound":               {[]string{"-f", p, "--input", bad, "--count", "5", "--max-allocs", "1"}, 1, "no-x", "wanted at most 1 allocations an answer, found"},
		"of a shipped policy":          {[]string{"--library", "labels", "--input", bad, "--count", "2"}, 0, "labels", ""},
		"without anything to ask":      {[]string{"-f", p}, 2, "", "give objects in --input"},
		"without policies":             {nil, 2, "", "found none"},
		"an input that is not there":   {[]string{"-f", p, "--input", "gone"}, 2, "", "no such file"},
		"a count that is none":         {[]string{"-f", p, "--count", "0"}, 2, "", "--count"},
		"a shipped policy that is not": {[]string{"--library", "none"}, 2, "", `found "none"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), append([]string{"policy", "bench"}, tc.args...)...), tc.code)
			wantPart(t, "out", w.out.String(), tc.out)
			wantPart(t, "err", w.err.String(), tc.err)
		})
	}
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "policy", "bench", "-f", p, "--input", bad, "--count", "5", "-o", "json"), 0)
	var costs []policyCost
	if err := json.Unmarshal(w.out.Bytes(), &costs); err != nil || len(costs) != 1 || costs[0].Allocs < 10 || costs[0].Bytes < 100 || costs[0].Inputs != 1 {
		t.Errorf("found %+v, %v", costs, err)
	}
}
