package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// policyBomb is a policy in CUE whose text doubles: as soon as it is compiled, or not before
// there is an object, whose namespace the text begins with.
func policyBomb(name, seed string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: tidegate.io/v1alpha1\nkind: DeployPolicy\nmetadata: {name: %s}\nspec:\n  cue: |\n    input: request: {kind: kind: string, ...}\n    _t0: %s\n", name, seed)
	for i := range 40 {
		fmt.Fprintf(&b, "    _t%d: _t%d + _t%d\n", i+1, i, i)
	}
	b.WriteString("    object: metadata?: uid?: =~_t40\n")
	return b.String()
}

const goodPolicy = `apiVersion: tidegate.io/v1alpha1
kind: DeployPolicy
metadata: {name: good}
spec:
  cue: "object: spec: replicas: >=2"
`

func TestAPolicyThatTakesAllMemoryIsNamedAndTheOthersAreServed(t *testing.T) {
	if testing.Short() {
		t.Skip("fills the memory of several processes")
	}
	dir := write(t, t.TempDir(), map[string]string{
		"web.yaml":     "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop, uid: u}\nspec: {replicas: 1}\n",
		"asked.yaml":   policyBomb("bomb", "input.request.kind.kind"),
		"compile.yaml": policyBomb("early", `"0123456789abcdef0123456789abcdef"`) + "    early: _t40\n",
		"good.yaml":    goodPolicy,
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	code, out, messages := program(t, "", "check", "-f", at("web.yaml"), "--policies", at("asked.yaml"), "--policies", at("good.yaml"))
	if code != 1 || !strings.Contains(out, "TG-POLICY-BUDGET") || !strings.Contains(out, `Deployment "web", spec.replicas: wanted >=2, found 1`) {
		t.Errorf("wanted both policies to object, found %d and\n%.2000s%.2000s", code, out, messages)
	}
	code, out, messages = program(t, "", "policy", "test", dir)
	if code != 1 || !strings.Contains(out, "FAIL DeployPolicy early") || !strings.Contains(out, "memory") || !strings.Contains(out, "PASS DeployPolicy good") {
		t.Errorf("wanted the early bomb to fail, and the others to pass, found %d and\n%.2000s%.2000s", code, out, messages)
	}
}
