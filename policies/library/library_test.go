package library_test

import (
	"os"
	"strings"
	"testing"

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
