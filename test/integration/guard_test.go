package integration

import (
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestGuardsNameAllThatTheChartBrings keeps whoever adds a role, a webhook configuration or
// an admission policy to the chart from forgetting the guards.
func TestGuardsNameAllThatTheChartBrings(t *testing.T) {
	t.Parallel()
	objects := helmTemplate(t, append(append([]string{}, everything...), "gatekeeper.enabled=true")...)
	var matters string
	for _, p := range all[*admissionregistrationv1.ValidatingAdmissionPolicy](objects) {
		for _, v := range p.Spec.Variables {
			if p.Name == "tidegate-guard-cluster" && v.Name == "matters" {
				matters = v.Expression
			}
		}
	}
	// line is what the guard says of a kind.
	line := func(kind string) string {
		for l := range strings.SplitSeq(matters, "variables.kind ") {
			if strings.HasPrefix(l, `== "`+kind+`"`) || strings.HasPrefix(l, "in [") && strings.Contains(strings.SplitN(l, "]", 2)[0], `"`+kind+`"`) {
				return l
			}
		}
		t.Fatalf("wanted the guard to speak of %s, found\n%s", kind, matters)
		return ""
	}
	wanted := func(kind string, o client.Object) {
		if !strings.Contains(line(kind), `"`+o.GetName()+`"`) {
			t.Errorf("%s %q of the chart is not in tidegate-guard-cluster, so that anybody with the right may change it", kind, o.GetName())
		}
	}
	n := 0
	for _, o := range all[*rbacv1.ClusterRole](objects) {
		wanted("clusterroles", o)
		n++
	}
	for _, o := range all[*rbacv1.ClusterRoleBinding](objects) {
		wanted("clusterrolebindings", o)
		n++
	}
	for _, o := range all[*admissionregistrationv1.ValidatingWebhookConfiguration](objects) {
		wanted("validatingwebhookconfigurations", o)
		n++
	}
	if n < 12 {
		t.Errorf("wanted at least 12 objects looked at, found %d", n)
	}
}
