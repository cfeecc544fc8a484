package govern_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

func TestMatchPattern(t *testing.T) {
	for name, tc := range map[string]struct {
		pattern, name string
		want          bool
	}{
		"a plain name is itself":            {"shop", "shop", true},
		"a plain name is nothing else":      {"shop", "shop2", false},
		"a trailing star":                   {"team-*", "team-a", true},
		"a star may stand for nothing":      {"team-*", "team-", true},
		"a leading star":                    {"*-prod", "shop-prod", true},
		"both ends":                         {"*-prod-*", "a-prod-b", true},
		"the middle":                        {"a*b*c", "a1b2c", true},
		"the order of the parts matters":    {"a*c*b", "a1b2c", false},
		"the ends may not share characters": {"aba*aba", "aba", false},
		"a star alone is everything":        {"*", "x", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := govern.MatchPattern(tc.pattern, tc.name); got != tc.want {
				t.Errorf("MatchPattern(%q, %q) = %v", tc.pattern, tc.name, got)
			}
		})
	}
}

func gate(scope v1alpha1.NamespaceScope, selected ...string) *v1alpha1.Gate {
	return &v1alpha1.Gate{
		ObjectMeta: metav1.ObjectMeta{Name: "production"},
		Spec:       v1alpha1.GateSpec{Namespaces: scope},
		Status:     v1alpha1.GateStatus{Selected: selected},
	}
}

func TestGoverns(t *testing.T) {
	bySelector := v1alpha1.NamespaceScope{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}}
	for name, tc := range map[string]struct {
		gate *v1alpha1.Gate
		ns   govern.Namespace
		want bool
	}{
		"by name":               {gate(v1alpha1.NamespaceScope{Names: []string{"shop"}}), govern.Namespace{Name: "shop"}, true},
		"by pattern":            {gate(v1alpha1.NamespaceScope{Patterns: []string{"team-*"}}), govern.Namespace{Name: "team-a"}, true},
		"by label":              {gate(bySelector), govern.Namespace{Name: "shop", Labels: map[string]string{"env": "prod"}}, true},
		"not without the label": {gate(bySelector), govern.Namespace{Name: "shop"}, false},
		"once selected it stays without the label":       {gate(bySelector, "shop"), govern.Namespace{Name: "shop"}, true},
		"a Gate without a selector forgets the selected": {gate(v1alpha1.NamespaceScope{Names: []string{"x"}}, "shop"), govern.Namespace{Name: "shop"}, false},
		"never kube-system, even by *":                   {gate(v1alpha1.NamespaceScope{Patterns: []string{"*"}}), govern.Namespace{Name: "kube-system"}, false},
		"never the manager's own, even by name":          {gate(v1alpha1.NamespaceScope{Names: []string{"tidegate-system"}}), govern.Namespace{Name: "tidegate-system"}, false},
		"never the manager's own, even once selected":    {gate(bySelector, "tidegate-system"), govern.Namespace{Name: "tidegate-system"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := govern.Governs(tc.gate, tc.ns, "tidegate-system")
			if err != nil || got != tc.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestAnUnreadableSelectorIsAnErrorAndNotFreedom(t *testing.T) {
	g := gate(v1alpha1.NamespaceScope{Selector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Near"}},
	}})
	if _, err := govern.Governing([]v1alpha1.Gate{*g}, govern.Namespace{Name: "shop"}, "tidegate-system"); err == nil {
		t.Error("wanted an error")
	}
}

func TestControllersDoTheirOwnWorkOnly(t *testing.T) {
	const sa = "system:serviceaccount:kube-system:"
	for name, tc := range map[string]struct {
		group, resource, sub, operation, user string
		want                                  bool
	}{
		"the replicaset controller makes pods":                    {"", "pods", "", govern.Create, sa + "replicaset-controller", true},
		"the deployment controller makes no pods":                 {"", "pods", "", govern.Create, sa + "deployment-controller", false},
		"the deployment controller makes replicasets":             {"apps", "replicasets", "", govern.Create, sa + "deployment-controller", true},
		"the replicaset controller makes no replicasets":          {"apps", "replicasets", "", govern.Create, sa + "replicaset-controller", false},
		"the scheduler binds":                                     {"", "pods", "binding", govern.Create, "system:kube-scheduler", true},
		"the scheduler makes no pods":                             {"", "pods", "", govern.Create, "system:kube-scheduler", false},
		"the namespace controller deletes deployments":            {"apps", "deployments", "", govern.Delete, sa + "namespace-controller", true},
		"the namespace controller updates no deployments":         {"apps", "deployments", "", govern.Update, sa + "namespace-controller", false},
		"the garbage collector releases anything":                 {"gateway.networking.k8s.io", "httproutes", "", govern.Update, sa + "generic-garbage-collector", true},
		"the garbage collector deletes services":                  {"", "services", "", govern.Delete, sa + "generic-garbage-collector", true},
		"the namespace controller deletes autoscalers":            {"autoscaling", "horizontalpodautoscalers", "", govern.Delete, sa + "namespace-controller", true},
		"the service controller updates services":                 {"", "services", "", govern.Update, sa + "service-controller", true},
		"the garbage collector makes nothing":                     {"apps", "deployments", "", govern.Create, sa + "generic-garbage-collector", false},
		"the garbage collector writes no status":                  {"apps", "deployments", "status", govern.Update, sa + "generic-garbage-collector", false},
		"the deployment controller writes deployment status":      {"apps", "deployments", "status", govern.Update, sa + "deployment-controller", true},
		"the deployment controller does not write deployments":    {"apps", "deployments", "", govern.Update, sa + "deployment-controller", false},
		"the autoscaler scales only where a Gate says so":         {"apps", "deployments", "scale", govern.Update, sa + "horizontal-pod-autoscaler", false},
		"a custom resource called pods is nobody's":               {"example.com", "pods", "", govern.Create, sa + "replicaset-controller", false},
		"the cronjob controller makes jobs":                       {"batch", "jobs", "", govern.Create, sa + "cronjob-controller", true},
		"the endpointslice controller writes slices":              {"discovery.k8s.io", "endpointslices", "", govern.Update, sa + "endpointslice-controller", true},
		"the shared identity of all controllers is not any one's": {"", "pods", "", govern.Create, "system:kube-controller-manager", false},
	} {
		t.Run(name, func(t *testing.T) {
			users := govern.Controllers(schema.GroupResource{Group: tc.group, Resource: tc.resource}, tc.sub, tc.operation)
			if got := slices.Contains(users, tc.user); got != tc.want {
				t.Errorf("got %v of %v", got, users)
			}
		})
	}
}

func TestNoIdentityIsAGroupOrAWildcard(t *testing.T) {
	for _, k := range govern.DefaultKinds() {
		resource, sub, _ := strings.Cut(k.Resource, "/")
		for _, op := range []string{govern.Create, govern.Update, govern.Delete, govern.Connect} {
			for _, u := range govern.Controllers(schema.GroupResource{Group: k.Group, Resource: resource}, sub, op) {
				if strings.Contains(u, "*") || strings.HasPrefix(u, "system:serviceaccounts") || u == "system:masters" {
					t.Errorf("%s %s: %q is not an exact user name", op, k.Resource, u)
				}
			}
		}
	}
}

func TestKindProblem(t *testing.T) {
	for name, tc := range map[string]struct {
		gr   schema.GroupResource
		fine bool
	}{
		"a custom resource may be governed":       {schema.GroupResource{Group: "example.com", Resource: "widgets"}, true},
		"ingresses may be governed":               {schema.GroupResource{Group: "networking.k8s.io", Resource: "ingresses"}, true},
		"secrets may be governed":                 {schema.GroupResource{Resource: "secrets"}, true},
		"configmaps may be governed wholly":       {schema.GroupResource{Resource: "configmaps"}, true},
		"a wildcard resource may not":             {schema.GroupResource{Group: "example.com", Resource: "*"}, false},
		"a wildcard group may not":                {schema.GroupResource{Group: "*", Resource: "widgets"}, false},
		"leases may not":                          {schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}, false},
		"nodes may not":                           {schema.GroupResource{Resource: "nodes"}, false},
		"nodes/status may not":                    {schema.GroupResource{Resource: "nodes/status"}, false},
		"pods are ring 1's":                       {schema.GroupResource{Resource: "pods"}, false},
		"Tidegate's own kinds may not":            {schema.GroupResource{Group: "tidegate.io", Resource: "releases"}, false},
		"admission configurations may not":        {schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "x"}, false},
		"token requests by way of core's may not": {schema.GroupResource{Resource: "serviceaccounts/token"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := govern.KindProblem(tc.gr); (got == "") != tc.fine {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestExtraKinds(t *testing.T) {
	g := gate(v1alpha1.NamespaceScope{Names: []string{"shop"}})
	g.Spec.Kinds = []v1alpha1.GovernedKind{
		{Group: "apps", Resources: []string{"deployments"}},
		{Group: "", Resources: []string{"secrets", "configmaps", "secrets"}},
	}
	got := govern.ExtraKinds(g)
	want := []govern.Kind{
		{Group: "", Resource: "configmaps", Ring: govern.RingWebhook},
		{Group: "", Resource: "secrets", Ring: govern.RingWebhook},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if govern.Labelled(g, schema.GroupResource{Resource: "configmaps"}) {
		t.Error("a kind that the Gate names is governed wholly")
	}
	if !govern.Labelled(g, schema.GroupResource{Group: "networking.k8s.io", Resource: "networkpolicies"}) {
		t.Error("network policies are governed where labelled")
	}
	if govern.Labelled(g, schema.GroupResource{Group: "example.com", Resource: "unknown"}) {
		t.Error("an unknown resource is governed always")
	}
}

func TestWhatReachesPodsIsGovernedWithoutTheLabel(t *testing.T) {
	g := gate(v1alpha1.NamespaceScope{Names: []string{"shop"}})
	for resource, labelled := range map[string]bool{
		"services":                             false,
		"horizontalpodautoscalers.autoscaling": false,
		"httproutes.gateway.networking.k8s.io": false,
		"configmaps":                           true,
		"poddisruptionbudgets.policy":          false,
	} {
		gr := schema.ParseGroupResource(resource)
		if got := govern.Labelled(g, gr); got != labelled {
			t.Errorf("%s: governed where labelled only: wanted %v, got %v", gr, labelled, got)
		}
	}
}

func TestDefaultGovernedKindsAreUnique(t *testing.T) {
	seen := map[schema.GroupResource]bool{}
	for _, k := range govern.DefaultGovernedKinds() {
		for _, r := range k.Resources {
			gr := schema.GroupResource{Group: k.Group, Resource: r}
			if seen[gr] {
				t.Errorf("%s is listed twice", gr)
			}
			seen[gr] = true
		}
	}
	if len(seen) != len(govern.DefaultKinds()) {
		t.Errorf("%d of %d kinds", len(seen), len(govern.DefaultKinds()))
	}
}

// TestTheChartGuardsEveryController compares the list in the chart, which must stand
// without the manager, with the table that the rings are made of.
func TestTheChartGuardsEveryController(t *testing.T) {
	if accounts, want := inChart[string](t, "tidegate.builtinAccounts"), govern.Accounts(); !slices.Equal(accounts, want) {
		t.Errorf("wanted in the chart %q, found %q", want, accounts)
	}
	programs := append(inChart[string](t, "tidegate.programs"), "system:apiserver")
	slices.Sort(programs)
	if want := govern.Programs(); !slices.Equal(programs, want) {
		t.Errorf("wanted in the chart %q, found %q", want, programs)
	}
}

// TestTheChartKnowsRing2: the guard refuses a webhook configuration that leaves a kind out.
func TestTheChartKnowsRing2(t *testing.T) {
	var want [][]string
	for _, k := range govern.DefaultKinds() {
		if k.Ring == govern.RingWebhook && !k.Light {
			want = append(want, []string{k.Group, k.Resource})
		}
	}
	slices.SortFunc(want, slices.Compare[[]string])
	if got := inChart[[]string](t, "tidegate.ringTwo"); !reflect.DeepEqual(got, want) {
		raw, err := json.Marshal(want)
		t.Errorf("wanted in the chart %s, found %q %v", raw, got, err)
	}
}

// inChart is a list that the chart's guards share.
func inChart[T any](t *testing.T, name string) []T {
	t.Helper()
	raw, err := os.ReadFile("../../charts/tidegate/templates/_guard.tpl")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), `{{- define "`+name+`" -}}`)
	text, _, _ := strings.Cut(rest, "{{- end }}")
	var list []T
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
	return list
}

// TestNoGuardTrustsAnAccountThatIsNotGuarded: anybody with the right to make a
// ServiceAccount, or to ask for its token, would be let through by its name.
func TestNoGuardTrustsAnAccountThatIsNotGuarded(t *testing.T) {
	files, err := filepath.Glob("../../charts/tidegate/templates/*")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`system:serviceaccount:kube-system:([a-z0-9-]+)`)
	n := 0
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(raw), -1) {
			n++
			if !slices.Contains(govern.Accounts(), m[1]) {
				t.Errorf("%s trusts the ServiceAccount %q of kube-system, wanted one of those whose tokens are guarded: %q", filepath.Base(f), m[1], govern.Accounts())
			}
		}
	}
	if n == 0 {
		t.Error("wanted the guards to name a ServiceAccount of kube-system, found none: they are written otherwise now")
	}
}

func TestRouteStatusesAreGovernedWhereTheGatewaysAreKnown(t *testing.T) {
	g := gate(v1alpha1.NamespaceScope{Names: []string{"shop"}})
	if k := govern.RouteStatuses(g); len(k) != 0 {
		t.Errorf("without a gateway no route would ever be accepted, found %v", k)
	}
	g.Spec.Allow.Gateways = []string{"envoy"}
	if k := govern.RouteStatuses(g); len(k) == 0 {
		t.Error("wanted the statuses of routes, found none")
	}
}
