package cuepolicy_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidegate.io/tidegate/policies/eval/cuepolicy"
)

func compile(t *testing.T, source string) *cuepolicy.Policy {
	t.Helper()
	p, problems := cuepolicy.Compile("p", source)
	if len(problems) > 0 {
		t.Fatalf("Compile: %v", problems)
	}
	return p
}

func texts(list []cuepolicy.Finding) []string {
	var out []string
	for _, f := range list {
		out = append(out, f.String())
	}
	return out
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct{ source, want string }{
		"a syntax error has line and column": {"object: {", "1:"},
		"an unknown name":                    {"object: spec: replicas: nothing", "1:25"},
		"a policy that can never object":     {"x: 1", "could never object"},
		"a conflict in itself":               {"object: spec: {a: 1, a: 2}", "conflicting values"},
		"an import from elsewhere":           {"import \"example.com/x\"\nobject: x.y", "CUE's own packages"},
		"an import of a tool":                {"import \"tool/exec\"\nobject: a: exec.Run", "CUE's own packages"},
		"a list that is made long":           {"import \"list\"\nobject: a: list.Repeat([1], 1000000000)", "2:12: wanted no call of list.Repeat"},
		"a pattern that is none":             {"object: metadata: name: =~\"(\"", "1:27: wanted a regular expression after =~, found"},
		"a pattern that is none, refused":    {"object: metadata: name: !~#\"[z-a]\"#", "wanted a regular expression after !~"},
		"by another name":                    {"import l \"list\"\nobject: a: l.Range(0, 1, 0.0000001)", "wanted no call of l.Range"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := cuepolicy.Compile("p", tc.source)
			if !strings.Contains(strings.Join(problems, "\n"), tc.want) {
				t.Errorf("wanted %q in %q", tc.want, problems)
			}
		})
	}
}

func TestConflictsHavePathWantedAndFound(t *testing.T) {
	const pod = `{"kind": "Pod", "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "web"}},
		"spec": {"hostNetwork": true, "containers": [{"name": "a", "image": "ghcr.io/a:1"}, {"name": "b", "image": "evil.io/b"}]}}`
	for name, tc := range map[string]struct {
		policy         string
		object, input  string
		denied, warned []string
	}{
		"what fits has none": {
			policy: `object: spec: hostNetwork: bool`, object: pod,
		},
		"a value that is not one of those wanted": {
			policy: `object: spec: hostNetwork: false`, object: pod,
			denied: []string{"spec.hostNetwork: wanted false, found true"},
		},
		"an item of a list": {
			policy: `object: spec: containers: [...{image: =~"^ghcr.io/"}]`, object: pod,
			denied: []string{`spec.containers[1].image: wanted =~"^ghcr.io/", found "evil.io/b"`},
		},
		"a field that is missing": {
			policy: `object: metadata: labels: team!: string`, object: pod,
			denied: []string{"metadata.labels.team: wanted string, found nothing"},
		},
		"a plain field is wanted too": {
			policy: `object: spec: replicas: >=2`, object: pod,
			denied: []string{"spec.replicas: wanted >=2, found nothing"},
		},
		"an optional field may be missing": {
			policy: `object: spec: replicas?: >=2`, object: pod,
		},
		"and must fit where it is": {
			policy: `object: spec: replicas?: >=2`, object: `{"spec": {"replicas": 1}}`,
			denied: []string{"spec.replicas: wanted >=2, found 1"},
		},
		"a field that must not be there": {
			policy: `object: spec: {hostNetwork?: _|_, ...}`, object: pod,
			denied: []string{"spec.hostNetwork: wanted no such field, found true"},
		},
		"a field that a closed object does not have": {
			policy: `object: metadata: close({name: string})`, object: pod,
			denied: []string{"metadata.labels: wanted no such field, found an object"},
		},
		"a pattern for all labels": {
			policy: `object: metadata: labels: [string]: =~"^x"`, object: pod,
			denied: []string{`metadata.labels["app.kubernetes.io/name"]: wanted =~"^x", found "web"`},
		},
		"a choice": {
			policy: `object: kind: "Deployment" | "StatefulSet"`, object: pod,
			denied: []string{`kind: wanted "Deployment" | "StatefulSet", found "Pod"`},
		},
		"several at once": {
			policy: "object: {kind: \"Service\", spec: hostNetwork: false}", object: pod,
			denied: []string{`kind: wanted "Service", found "Pod"`, "spec.hostNetwork: wanted false, found true"},
		},
		"parameters": {
			policy: "input: parameters: registry: string\nobject: spec: containers: [...{image: =~\"^\\(input.parameters.registry)/\"}]",
			object: pod, input: `{"parameters": {"registry": "ghcr.io"}}`,
			denied: []string{`spec.containers[1].image: wanted =~"^ghcr.io/", found "evil.io/b"`},
		},
		"warnings are apart": {
			policy: "warn: spec: hostNetwork: false", object: pod,
			warned: []string{"spec.hostNetwork: wanted false, found true"},
		},
		"a condition that holds": {
			policy: "object: {\n\tkind: string\n\tif kind == \"Pod\" {spec: hostNetwork: false @msg(\"pods stay off\")}\n\t...\n}", object: pod,
			denied: []string{"pods stay off (spec.hostNetwork: wanted false, found true)"},
		},
		"a condition that does not": {
			policy: "object: {\n\tkind: string\n\tif kind == \"Job\" {spec: hostNetwork: false}\n\t...\n}", object: pod,
		},
		"a condition on a field of an item": {
			policy: "object: spec: containers: [...{\n\tname: string\n\tif name == \"b\" {image: =~\"^ghcr.io/\" @msg(\"ours\")}\n}]", object: pod,
			denied: []string{`ours (spec.containers[1].image: wanted =~"^ghcr.io/", found "evil.io/b")`},
		},
		"a condition with a field that is missing": {
			policy: "object: {\n\tkind: string\n\tif kind == \"Pod\" {metadata: labels: team!: string @msg(\"owners\")}\n\t...\n}", object: pod,
			denied: []string{"owners (metadata.labels.team: wanted string, found nothing)"},
		},
		"a condition with a field that must not be there": {
			policy: "object: {\n\tkind: string\n\tif kind == \"Pod\" {spec: {hostNetwork?: _|_ @msg(\"pods stay off\"), ...}}\n\t...\n}", object: pod,
			denied: []string{"pods stay off (spec.hostNetwork: wanted no such field, found true)"},
		},
		"a condition narrows what is said without one": {
			policy: "object: {\n\tkind: string\n\tspec: hostNetwork: bool\n\tif kind == \"Pod\" {spec: hostNetwork: false @msg(\"pods stay off\")}\n\t...\n}", object: pod,
			denied: []string{"pods stay off (spec.hostNetwork: wanted false, found true)"},
		},
		"words of its own": {
			policy: `object: spec: hostNetwork: false @msg("pods stay off the node's network")`, object: pod,
			denied: []string{"pods stay off the node's network (spec.hostNetwork: wanted false, found true)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			denials, warnings, err := compile(t, tc.policy).Judge(nil, []byte(tc.object), []byte(tc.input))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.denied, texts(denials)); d != "" {
				t.Errorf("denials (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.warned, texts(warnings)); d != "" {
				t.Errorf("warnings (-want +got):\n%s", d)
			}
		})
	}
}

func TestWhatIsNotFitToBeJudgedIsAnError(t *testing.T) {
	p := compile(t, "input: parameters: n: int\nobject: a: input.parameters.n")
	huge, _ := json.Marshal(map[string]string{"a": strings.Repeat("x", 3*cuepolicy.MaxInput)})
	for name, tc := range map[string]struct{ object, input, want string }{
		"input that the policy does not take": {`{}`, `{"parameters": {"n": "x"}}`, "does not take the input"},
		"an object that is no JSON":           {`{`, ``, "reading JSON"},
		"an object that is too large":         {string(huge), ``, "wanted at most"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := p.Judge(nil, []byte(tc.object), []byte(tc.input)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("wanted %q, got %v", tc.want, err)
			}
		})
	}
}

func TestManyAtOnceAndManyInARow(t *testing.T) {
	p := compile(t, `object: n: <500`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range 100 {
				object, _ := json.Marshal(map[string]int{"n": n * 10})
				denials, _, err := p.Judge(nil, object, nil)
				if err != nil || (len(denials) == 0) != (n*10 < 500) {
					t.Errorf("n %d: %v, %v", n*10, denials, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestWhatIsWrittenPlainlyHasToBeThere(t *testing.T) {
	const deployment = `{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
		"spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "a", "securityContext": {}}, {"name": "b", "tty": null}]}}}}`
	for name, tc := range map[string]struct {
		policy string
		want   []string
	}{
		"a value":           {`object: spec: securityContext: runAsNonRoot: true`, []string{"spec.securityContext.runAsNonRoot: wanted true, found nothing"}},
		"a text":            {`object: metadata: labels: team: "x"`, []string{`metadata.labels.team: wanted "x", found nothing`}},
		"a boolean":         {`object: spec: paused: true`, []string{"spec.paused: wanted true, found nothing"}},
		"one with default":  {`object: spec: minReadySeconds: *3 | int`, []string{"spec.minReadySeconds: wanted *3 | int, found nothing"}},
		"a struct":          {`object: spec: securityContext: {...}`, []string{"spec.securityContext: wanted an object that fits the policy, found nothing"}},
		"a list":            {`object: spec: args: [...string]`, []string{"spec.args: wanted [...string], found nothing"}},
		"null":              {`object: spec: x: null`, []string{"spec.x: wanted null, found nothing"}},
		"of a definition":   {"#d: {paused: true, ...}\nobject: spec: #d", []string{"spec.paused: wanted true, found nothing"}},
		"what input says":   {"input: parameters: x: *7 | int\nobject: spec: x: input.parameters.x", []string{"spec.x: wanted *7 | int, found nothing"}},
		"in items of lists": {`object: spec: template: spec: containers: [...{tty: null}]`, []string{"spec.template.spec.containers[0].tty: wanted null, found nothing"}},
		"under a condition that holds": {
			`object: {kind: string, if kind == "Deployment" {spec: paused: false}}`, []string{"spec.paused: wanted false, found nothing"},
		},
		"under a condition that does not": {`object: {kind: string, if kind == "Pod" {spec: paused: false}}`, nil},
		"with its own words": {
			`object: spec: paused: true @msg("pause it") @code("X")`, []string{"pause it (spec.paused: wanted true, found nothing)"},
		},
		"beside a conflict": {
			`object: spec: {replicas: >=2, paused: true}`,
			[]string{"spec.paused: wanted true, found nothing", "spec.replicas: wanted >=2, found 1"},
		},
		"below a conflict it is said once":                {`object: spec: replicas: {a: 1}`, []string{"spec.replicas: wanted an object that fits the policy, found 1"}},
		"required and incomplete are said once":           {`object: spec: {a!: 1, b: int}`, []string{"spec.a: wanted 1, found nothing", "spec.b: wanted int, found nothing"}},
		"what is there is there":                          {`object: {metadata: name: "a", spec: template: spec: containers: [...{name: string}]}`, nil},
		"what is null is there":                           {`object: spec: template: spec: containers: [_, {tty: null}]`, nil},
		"optional is optional":                            {`object: spec: {paused?: true, minReadySeconds?: *3 | int}`, nil},
		"what leads to nothing but optional ones as well": {`object: spec: securityContext: {runAsNonRoot?: true}`, nil},
		"or to patterns":                                  {`object: metadata: annotations: [=~"^x/"]: "y"`, nil},
		"hidden fields and definitions are the policy's":  {`object: {_least: 1, #most: 3, spec: replicas: >=_least & <=#most}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			denials, _, err := compile(t, tc.policy).Judge(nil, []byte(deployment), []byte(`{"parameters": {}}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, texts(denials)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
