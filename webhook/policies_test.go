package webhook_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// writer is a user that the fixture's Gate lets write.
const writer = "system:own-agent"

func TestPoliciesOfSomeObjectsAreAskedAboutThose(t *testing.T) {
	const (
		plain    = `{"metadata": {"name": "x", "labels": {"app": "x"}}}`
		released = `{"metadata": {"name": "x", "labels": {"tidegate.io/release": "cart"}}}`
		strange  = `{"metadata": {"name": "x", "labels": {"tidegate.io/release": "nobody"}}}`
	)
	selector := func(key, value string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
	}
	for name, tc := range map[string]struct {
		match       v1alpha1.PolicyMatch
		object, old string
		denied      bool
	}{
		"of everything":                          {v1alpha1.PolicyMatch{}, plain, "", true},
		"of a label":                             {v1alpha1.PolicyMatch{LabelSelector: selector("app", "x")}, plain, "", true},
		"of another label":                       {v1alpha1.PolicyMatch{LabelSelector: selector("app", "y")}, plain, "", false},
		"of a label that is taken off":           {v1alpha1.PolicyMatch{LabelSelector: selector("app", "x")}, `{"metadata": {"name": "x"}}`, plain, true},
		"of the Release's template":              {v1alpha1.PolicyMatch{Templates: []string{"web"}}, released, "", true},
		"of the template it had":                 {v1alpha1.PolicyMatch{Templates: []string{"web"}}, plain, released, true},
		"of another template":                    {v1alpha1.PolicyMatch{Templates: []string{"grpc"}}, released, "", false},
		"of a template, and there is no Release": {v1alpha1.PolicyMatch{Templates: []string{"grpc"}}, plain, "", false},
		"of a template, and the Release is gone": {v1alpha1.PolicyMatch{Templates: []string{"grpc"}}, strange, "", true},
		"of namespaces with another label":       {v1alpha1.PolicyMatch{NamespaceSelector: selector("no-such", "label")}, plain, "", false},
		"of all namespaces but this one":         {v1alpha1.PolicyMatch{ExcludedNamespaces: []string{"shop"}}, plain, "", false},
		"of a name":                              {v1alpha1.PolicyMatch{Names: []string{"x"}}, plain, "", true},
		"of another name":                        {v1alpha1.PolicyMatch{Names: []string{"y"}}, plain, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, interceptor.Funcs{})
			if err := f.policies.Put(eval.Source{Name: "p", Rego: "package p\ndeny contains input.namespace.name if true", Match: tc.match}); err != nil {
				t.Fatal(err)
			}
			op := admissionv1.Create
			if tc.old != "" {
				op = admissionv1.Update
			}
			r := f.Gate.Handle(t.Context(), request{op: op, resource: "apps/deployments", namespace: "shop", name: "x", user: writer, object: tc.object, old: tc.old}.admission())
			if tc.denied {
				check(t, r, 403, "shop (policy p)")
			} else {
				check(t, r, 200)
			}
		})
	}
}

func TestAPolicyOverItsBudgetIsCountedAndNamed(t *testing.T) {
	for enforcement, code := range map[v1alpha1.Enforcement]int32{v1alpha1.EnforcementDeny: 403, v1alpha1.EnforcementWarn: 200, v1alpha1.EnforcementDryrun: 200} {
		t.Run(string(enforcement), func(t *testing.T) {
			f := newFixture(t, interceptor.Funcs{})
			registry := prometheus.NewPedanticRegistry()
			if err := f.metrics.Register(registry); err != nil {
				t.Fatal(err)
			}
			if err := f.policies.Put(eval.Source{Name: "bomb", Rego: "package p\ndeny contains \"x\" if count(numbers.range(1, 100000000000)) == 0", Enforcement: enforcement}); err != nil {
				t.Fatal(err)
			}
			r := f.Gate.Handle(t.Context(), request{op: admissionv1.Create, resource: "apps/deployments", namespace: "shop", name: "x", user: writer, object: `{"metadata": {"name": "x"}}`}.admission())
			var want []string
			if code == 403 {
				want = []string{"TG-POLICY-BUDGET", `wanted a verdict of policy "bomb" within its budget`}
			}
			check(t, r, code, want...)
			if warned := len(r.Warnings) == 1 && strings.Contains(r.Warnings[0], "TG-POLICY-BUDGET"); warned != (enforcement == v1alpha1.EnforcementWarn) {
				t.Errorf("warnings: %v", r.Warnings)
			}
			if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP tidegate_policy_over_budget_total Evaluations of a DeployPolicy that took more time or memory than one may, by policy.
# TYPE tidegate_policy_over_budget_total counter
tidegate_policy_over_budget_total{policy="bomb"} 1
`), "tidegate_policy_over_budget_total"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestADeployPolicyThatFailsItsTestsIsRefused(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	for object, code := range map[string]int32{
		`{"metadata": {"name": "p"}, "spec": {"rego": "package p\ndeny contains \"x\" if input.object.bad", "tests": {"cases": [{"name": "bad", "object": {"bad": true}, "want": "denied"}]}}}`:  200,
		`{"metadata": {"name": "p"}, "spec": {"rego": "package p\ndeny contains \"x\" if input.object.bad", "tests": {"cases": [{"name": "bad", "object": {"bad": true}, "want": "allowed"}]}}}`: 403,
		`{"metadata": {"name": "p"}, "spec": {"cue": "object: bad?: false"}}`:                                          200,
		`{"metadata": {"name": "p"}, "spec": {"cue": "object: bad?: fals"}}`:                                           403,
		`{"metadata": {"name": "p"}, "spec": {"cue": "object: a: 1", "parameters": {"a": 1}, "parametersSchema": {}}}`: 403,
	} {
		r := f.Tidegate.Handle(t.Context(), request{op: admissionv1.Create, resource: "tidegate.io/deploypolicies", name: "p", user: "alice", object: object}.admission())
		if r.Allowed != (code == 200) || (code == 403 && !strings.Contains(r.Result.Message, "TG-POLICY-INVALID")) {
			t.Errorf("%s: %s", object, r.Result.Message)
		}
	}
}
