package library_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/regotest"
	"tidegate.io/tidegate/policies/library/approvals"
	errorbudget "tidegate.io/tidegate/policies/library/error-budget"
	freezewindows "tidegate.io/tidegate/policies/library/freeze-windows"
	imageregistries "tidegate.io/tidegate/policies/library/image-registries"
	maxdeployments "tidegate.io/tidegate/policies/library/max-deployments"
	soakafter "tidegate.io/tidegate/policies/library/soak-after"
	templatepins "tidegate.io/tidegate/policies/library/template-pins"
	twoperson "tidegate.io/tidegate/policies/library/two-person"
)

// sources are the policies as the Go packages give them, by folder: those that a
// DeployPolicy can be made of.
var sources = map[string]func(parameters []byte) eval.Source{
	approvals.Name:       approvals.Source,
	errorbudget.Name:     errorbudget.Source,
	maxdeployments.Name:  maxdeployments.Source,
	soakafter.Name:       soakafter.Source,
	twoperson.Name:       twoperson.Source,
	freezewindows.Name:   freezewindows.Source,
	imageregistries.Name: imageregistries.Source,
	templatepins.Name:    templatepins.Source,
}

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
	if found <= len(sources) {
		t.Errorf("wanted more than %d folders, found %d", len(sources), found)
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

func TestTheExampleDeployPolicyIsThePolicy(t *testing.T) {
	eachFolder(t, func(t *testing.T, dir string) {
		got, source := regotest.Read(t, dir).Example, sources[dir]
		if (got == nil) != (source == nil) {
			t.Fatalf("wanted deploypolicy.yaml and an entry in sources, or neither; found %v and %v", got != nil, source != nil)
		}
		if got == nil {
			return
		}
		want := source(nil)
		if got.Name != want.Name || strings.TrimSpace(got.Rego) != strings.TrimSpace(want.Rego) || !slices.Equal(got.At, want.At) {
			t.Errorf("%s/deploypolicy.yaml is not the policy beside it; write it again", dir)
		}
	})
}
