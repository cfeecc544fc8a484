package library_test

import (
	"os"
	"strings"
	"testing"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/regotest"
	"tidegate.io/tidegate/policies/library"
)

// eachFolder runs test for every folder beside this file.
func eachFolder(t *testing.T, test func(t *testing.T, dir string)) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, e := range entries {
		if e.IsDir() && !assembled(e.Name()) {
			found++
			t.Run(e.Name(), func(t *testing.T) { test(t, e.Name()) })
		}
	}
	if found < 8 {
		t.Errorf("wanted at least 8 folders, found %d", found)
	}
}

// assembled says whether a folder is put together from parts, or is one; the tests of those
// are in shipped_test.go.
func assembled(dir string) bool {
	_, err := os.Stat(dir + "/policy.yaml")
	return err == nil || dir == "lib"
}

func TestRego(t *testing.T) {
	eachFolder(t, regotest.Run)
}

func TestSamples(t *testing.T) {
	eachFolder(t, func(t *testing.T, dir string) {
		regotest.Samples(t, regotest.Read(t, dir).Policy(t), dir)
	})
}

func TestTheDeployPolicyIsThePolicyBesideIt(t *testing.T) {
	eachFolder(t, func(t *testing.T, dir string) {
		beside := regotest.Read(t, dir)
		if beside.Example == nil {
			return // it is not for people to apply
		}
		got, err := library.Source(dir, []byte(`{"x": 1}`))
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != dir || strings.TrimSpace(got.Rego) != strings.TrimSpace(beside.Rego) || string(got.Parameters) != `{"x": 1}` {
			t.Errorf("%s/deploypolicy.yaml is not the policy beside it; write it again", dir)
		}
	})
	if _, err := library.Source("nothing", nil); err == nil || !strings.Contains(err.Error(), "wanted a shipped policy") {
		t.Errorf("found %v", err)
	}
}

func TestEveryPolicyHasASchemaForItsParameters(t *testing.T) {
	for _, name := range library.Names() {
		p, err := library.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Spec.ParametersSchema == nil && p.Spec.Parameters != nil {
			t.Errorf("%s: wanted parametersSchema beside its parameters, found none", name)
		}
	}
	for what, c := range map[string]struct{ policy, parameters, message string }{
		"a window of no days":               {"freeze-windows", `{"windows": [{"from": "00:00", "to": "24:00", "days": []}]}`, "windows[0].days"},
		"days that are no list":             {"freeze-windows", `{"windows": [{"from": "00:00", "to": "24:00", "days": "Sun"}]}`, "windows[0].days"},
		"a day that there is not":           {"freeze-windows", `{"windows": [{"from": "00:00", "to": "24:00", "days": ["Sunday"]}]}`, "windows[0].days[0]"},
		"no windows":                        {"freeze-windows", `{"windows": []}`, "windows"},
		"a window without an end":           {"freeze-windows", `{"windows": [{"from": "18:00"}]}`, "windows[0].to"},
		"a time that YAML took for a count": {"freeze-windows", `{"windows": [{"from": 1080, "to": "08:00"}]}`, "windows[0].from"},
		"an exception that is misspelt":     {"freeze-windows", `{"windows": [{"from": "18:00", "to": "08:00"}], "exceptions": [{"namespace": "a"}]}`, "exceptions[0].namespace"},
		"no registries":                     {"image-registries", `{"registries": []}`, "registries"},
		"registries that are left out":      {"image-registries", `{}`, "registries"},
		"a pin that is neither":             {"template-pins", `{"allowPins": "yes"}`, "allowPins"},
		"a rule that is misspelt":           {"template-pins", `{"rules": [{"namespace": "a"}]}`, "rules[0].namespace"},
		"no namespace before":               {"soak-after", `{"before": {}}`, "before"},
		"one environment":                   {"soak-after", `{"suffixes": ["-prod"]}`, "suffixes"},
	} {
		source, err := library.Source(c.policy, []byte(c.parameters))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := eval.Compile(source); err == nil || !strings.Contains(err.Error(), "parameters."+c.message) {
			t.Errorf("%s: wanted parameters.%s refused, found %v", what, c.message, err)
		}
	}
}
