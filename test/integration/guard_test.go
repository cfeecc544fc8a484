package integration

import (
	"strconv"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/gates"
	"tidegate.io/tidegate/webhook/govern"
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

// TestTheGuardKnowsTheConditionsOfRing2: it refuses a webhook configuration with any other,
// whoever writes it, and so must know those that the manager writes.
func TestTheGuardKnowsTheConditionsOfRing2(t *testing.T) {
	t.Parallel()
	var shape string
	for _, p := range all[*admissionregistrationv1.ValidatingAdmissionPolicy](helmTemplate(t)) {
		for _, v := range p.Spec.Variables {
			if p.Name == "tidegate-guard-cluster" && v.Name == "shape" {
				shape = v.Expression
			}
		}
	}
	gate := v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: v1alpha1.GateSpec{
		Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}},
		Kinds:      []v1alpha1.GovernedKind{{Group: "example.com", Resources: []string{"widgets"}}},
		BreakGlass: &v1alpha1.BreakGlassRule{},
	}}
	standing, err := gates.Generate([]v1alpha1.Gate{gate}, []govern.Namespace{{Name: "shop"}}, nil, gates.Options{
		Identity: chartIdentity, ManagerNamespace: chartNamespace, CABundle: []byte("x"),
		Service: &gates.Service{Namespace: chartNamespace, Name: "tidegate-webhook"},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, w := range standing.Webhook.Webhooks {
		for _, c := range w.MatchConditions {
			n++
			// Of an exemption's condition it knows the beginning: the names are the Gate's.
			begins, _, _ := strings.Cut(c.Expression, "[")
			if !strings.Contains(shape, strconv.Quote(c.Name)) || !strings.Contains(shape, strconv.Quote(c.Expression)) && !strings.Contains(shape, strconv.Quote(begins+"[")) {
				t.Errorf("the guard refuses webhook %s for its condition %s: %s", w.Name, c.Name, c.Expression)
			}
		}
	}
	if n < 2 {
		t.Errorf("wanted at least 2 conditions looked at, found %d", n)
	}
}
