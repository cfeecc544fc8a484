package library_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestPlainSecretsIsCheap asks about many settings without a secret: what it takes for each
// more is next to nothing. A policy that looks at text by text takes more than a hundred
// allocations for each, and with a megabyte of them more time than a review has.
func TestPlainSecretsIsCheap(t *testing.T) {
	about := func(count int) []byte {
		env := make([]any, 0, count)
		for i := range count {
			env = append(env, map[string]any{"name": fmt.Sprintf("SETTING_%d", i), "value": fmt.Sprintf("a value of some length, as found in the settings of services, %d", i)})
		}
		raw, err := json.Marshal(map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "cart"},
			"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "a", "env": env}}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	p := compile(t, assemble(t, "plain-secrets").source)
	allocations := func(count int) float64 {
		object := about(count)
		return testing.AllocsPerRun(3, func() {
			if got := lines(ask(t, p, v1alpha1.AtAdmission, object)); len(got) > 0 {
				t.Fatalf("wanted nothing, found %q", got)
			}
		})
	}
	const count = 1000
	// Reading the object and making the input of it are a part of it.
	if each := (allocations(2*count) - allocations(count)) / count; each > 60 {
		t.Errorf("wanted at most 60 allocations for each text more, found %.0f", each)
	}
}
