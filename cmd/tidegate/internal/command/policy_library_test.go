package command

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// Whoever writes policies begins with the shipped ones: the command has to be content with
// them.
func TestTheShippedPoliciesPassPolicyTest(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "policy", "test", "../../../../policies/library"), 0)
	wantPart(t, "out", w.out.String(), "PASS DeployPolicy ingress-hosts", "PASS DeployPolicy labels", " 0 failed")
	if w.err.Len() > 0 {
		t.Errorf("wanted no notes, found: %s", w.err.String())
	}
}
