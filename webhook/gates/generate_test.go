package gates_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/gates"
	"tidegate.io/tidegate/webhook/govern"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func options() gates.Options {
	return gates.Options{
		Identity:         "system:serviceaccount:tidegate-system:tidegate-manager",
		ManagerNamespace: "tidegate-system",
		Service:          &gates.Service{Namespace: "tidegate-system", Name: "tidegate-webhook"},
		CABundle:         []byte("the bundle"),
	}
}

func named(name string, spec v1alpha1.GateSpec, selected ...string) v1alpha1.Gate {
	return v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid-of-" + "gate"}, Spec: spec, Status: v1alpha1.GateStatus{Selected: selected}}
}

func forgets(g v1alpha1.Gate, names ...string) v1alpha1.Gate {
	g.Spec.Namespaces.Forget = names
	return g
}

func byNames(names ...string) v1alpha1.GateSpec {
	return v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: names}}
}

func full() v1alpha1.GateSpec {
	return v1alpha1.GateSpec{
		Namespaces: v1alpha1.NamespaceScope{
			Names: []string{"shop"}, Patterns: []string{"team-*", "*-prod"},
			Selector: &metav1.LabelSelector{
				MatchLabels: map[string]string{"env": "prod"},
				MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: "tier", Operator: metav1.LabelSelectorOpIn, Values: []string{"b", "a"}},
					{Key: "stage", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"dev"}},
					{Key: "owner", Operator: metav1.LabelSelectorOpExists},
					{Key: "free", Operator: metav1.LabelSelectorOpDoesNotExist},
				},
			},
		},
		Kinds:   []v1alpha1.GovernedKind{{Group: "networking.k8s.io", Resources: []string{"ingresses"}}},
		Writers: []string{"system:kwok-controller", `o"hara\`},
		Allow: v1alpha1.Allowances{
			Eviction: new(false), Exec: []string{"oncall"}, Debug: []string{"oncall"}, Autoscalers: []string{"hpa"},
			Gateways: []string{"envoy"},
		},
	}
}

var world = []govern.Namespace{
	{Name: "default"},
	{Name: "kube-system"},
	{Name: "tidegate-system"},
	{Name: "shop", Created: "2026-01-01T00:00:00Z"},
	{Name: "team-b"},
	{Name: "team-a"},
	{Name: "web", Labels: map[string]string{"env": "prod", "tier": "a", "owner": "x"}},
	{Name: "once"},
}

func TestGenerateGolden(t *testing.T) {
	for name, tc := range map[string]struct {
		gates   []v1alpha1.Gate
		settled []string
		options func(*gates.Options)
	}{
		"names":  {gates: []v1alpha1.Gate{named("production", byNames("shop"))}, settled: []string{"shop"}},
		"full":   {gates: []v1alpha1.Gate{named("all", full(), "once", "web")}, settled: []string{"once", "shop", "team-a"}},
		"nobody": {},
		"url": {
			gates:   []v1alpha1.Gate{named("production", byNames("shop"))},
			options: func(o *gates.Options) { o.Service, o.URL = nil, "https://127.0.0.1:9443/" },
		},
		"no-authority": {gates: []v1alpha1.Gate{named("production", byNames("shop"))}, options: func(o *gates.Options) { o.CABundle = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			if tc.options != nil {
				tc.options(&o)
			}
			s, err := gates.Generate(tc.gates, world, tc.settled, o)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for i := range s.Policies {
				write(t, &b, s.Policies[i])
				write(t, &b, s.Bindings[i])
			}
			write(t, &b, s.Webhook)
			golden(t, name+".yaml", b.String())
		})
	}
}

// TestEvictionIsNamedWhereItIsAllowed is about the message alone.
func TestEvictionIsNamedWhereItIsAllowed(t *testing.T) {
	for name, tc := range map[string]struct {
		allow *bool
		want  bool
	}{
		"by default":        {nil, true},
		"where allowed":     {new(true), true},
		"not where refused": {new(false), false},
	} {
		t.Run(name, func(t *testing.T) {
			spec := byNames("shop")
			spec.Allow.Eviction = tc.allow
			s, err := gates.Generate([]v1alpha1.Gate{named("production", spec)}, world, nil, options())
			if err != nil {
				t.Fatal(err)
			}
			got := slices.ContainsFunc(s.Policies[0].Spec.Validations, func(v admissionregistrationv1.Validation) bool {
				return strings.Contains(v.MessageExpression, "to have a pod replaced, evict it")
			})
			if got != tc.want {
				t.Errorf("the eviction is named: wanted %v, got %v", tc.want, got)
			}
		})
	}
}

func write(t *testing.T, b *strings.Builder, o any) {
	t.Helper()
	raw, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	b.WriteString("---\n")
	b.Write(raw)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got); rewrite with -update if it is meant:\n%s", path, d)
	}
}

func TestGenerateDoesNotDependOnOrder(t *testing.T) {
	list := []v1alpha1.Gate{named("a", byNames("shop", "web")), named("b", full(), "once", "web")}
	one, err := gates.Generate(list, world, []string{"a", "b"}, options())
	if err != nil {
		t.Fatal(err)
	}
	reversed := slices.Clone(world)
	slices.Reverse(reversed)
	slices.Reverse(list)
	two, err := gates.Generate(list, reversed, []string{"b", "a"}, options())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(one, two); d != "" {
		t.Error(d)
	}
}

func TestSelections(t *testing.T) {
	s, err := gates.Generate([]v1alpha1.Gate{forgets(named("all", full(), "once", "gone", "left", "default"), "left", "default")}, world, nil, options())
	if err != nil {
		t.Fatal(err)
	}
	want := gates.Selection{Namespaces: []string{"once", "shop", "team-a", "team-b", "web"}, Selected: []string{"gone", "once", "web"}}
	if d := cmp.Diff(want, s.Selections["all"]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestAGateThatCannotBeReadLeavesTheRestStanding(t *testing.T) {
	bad := named("bad", v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Selector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}},
	}}})
	bad.Status.Namespaces = []string{"web"}
	s, err := gates.Generate([]v1alpha1.Gate{bad, named("good", byNames("shop"))}, world, nil, options())
	if err != nil {
		t.Fatal(err)
	}
	if s.Selections["bad"].Problem == "" || len(s.Policies) != 1 || s.Policies[0].Name != "tidegate-gate-good" {
		t.Errorf("got %+v", s.Selections)
	}
	if got := s.Webhook.Webhooks[0].NamespaceSelector.MatchExpressions[0].Values; !slices.Equal(got, []string{"shop", "web"}) {
		t.Errorf("what the bad gate governed must stay in ring 2, got %v", got)
	}
}

// TestTheClusterCanAlwaysStart is about what a dead Tidegate must never stop.
func TestTheClusterCanAlwaysStart(t *testing.T) {
	greedy := v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{
		Names: []string{"kube-system", "tidegate-system", "shop"}, Patterns: []string{"*"}, Selector: &metav1.LabelSelector{},
	}}
	s, err := gates.Generate([]v1alpha1.Gate{named("greedy", greedy)}, world, nil, options())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range s.Webhook.Webhooks {
		for _, n := range h.NamespaceSelector.MatchExpressions[0].Values {
			if govern.Excluded(n, "tidegate-system") {
				t.Errorf("webhook %s matches namespace %s", h.Name, n)
			}
		}
		for _, r := range h.Rules {
			for _, resource := range r.Resources {
				name, _, _ := strings.Cut(resource, "/")
				if slices.Contains([]string{"*", "pods", "nodes", "leases", "replicasets", "endpointslices", "endpoints"}, name) {
					t.Errorf("webhook %s matches %s", h.Name, resource)
				}
			}
			if slices.Contains(r.APIGroups, "*") || *r.Scope != admissionregistrationv1.NamespacedScope {
				t.Errorf("webhook %s is too wide: %+v", h.Name, r)
			}
		}
		if *h.FailurePolicy != admissionregistrationv1.Fail {
			t.Errorf("webhook %s fails open", h.Name)
		}
	}
	selector := s.Policies[0].Spec.MatchConstraints.NamespaceSelector.MatchExpressions[0]
	for _, n := range []string{"kube-system", "tidegate-system"} {
		if selector.Operator != metav1.LabelSelectorOpNotIn || !slices.Contains(selector.Values, n) {
			t.Errorf("ring 1 may touch %s: %v", n, selector)
		}
	}
}

func TestOptionsSayWhatIsMissing(t *testing.T) {
	for name, change := range map[string]func(*gates.Options){
		"an identity":       func(o *gates.Options) { o.Identity = "" },
		"a namespace":       func(o *gates.Options) { o.ManagerNamespace = "" },
		"a way to reach it": func(o *gates.Options) { o.Service = nil },
		"only one such way": func(o *gates.Options) { o.URL = "https://x" },
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			change(&o)
			if _, err := gates.Generate(nil, nil, nil, o); err == nil {
				t.Error("wanted an error")
			}
		})
	}
}
