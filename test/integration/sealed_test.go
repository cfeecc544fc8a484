package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/webhook/gates"
)

// TestSealed has a real API server read the guards from files.
func TestSealed(t *testing.T) {
	dir := t.TempDir()
	policies := filepath.Join(dir, "policies")
	if err := os.MkdirAll(policies, 0o750); err != nil {
		t.Fatal(err)
	}
	var standing *corev1.ConfigMap
	for _, c := range all[*corev1.ConfigMap](helmTemplate(t)) {
		if c.Name == gates.DefaultChart {
			standing = c
		}
	}
	if standing == nil {
		t.Fatalf("wanted ConfigMap %s in the chart, found none", gates.DefaultChart)
	}
	chart, err := gates.ChartObjects(standing)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := gates.Seal(chart)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, o := range sealed {
		raw, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "---\n%s", raw)
	}
	config := filepath.Join(dir, "config.yaml")
	for path, content := range map[string]string{
		filepath.Join(policies, "guard.yaml"): b.String(),
		config: `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ValidatingAdmissionPolicy
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ValidatingAdmissionPolicyConfiguration
    staticManifestsDir: ` + policies + "\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cluster := local.ForTest(t, local.Options{APIServerArgs: []string{"--admission-control-config-file=" + config}})
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	root, err := client.New(cluster.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "sealed-test"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "alice"}},
	}); err != nil {
		t.Fatal(err)
	}
	path, err := cluster.UserKubeconfig("alice")
	if err != nil {
		t.Fatal(err)
	}
	rest, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	alice, err := client.New(rest, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	binding := func(name string) *admissionregistrationv1.ValidatingAdmissionPolicyBinding {
		return &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName: "x", ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			},
		}
	}
	// RBAC takes a moment to know alice.
	deadline := time.Now().Add(gatePatience)
	for {
		err := alice.Create(t.Context(), binding("of-a-team"))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a policy of somebody's own: wanted it let through, got %v", err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err := root.Create(t.Context(), binding("tidegate-gate-production")); err != nil {
		t.Fatalf("by an administrator: wanted it let through, got %v", err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), gates.ReasonGuard) {
			t.Errorf("%s: wanted %s, got %v", what, gates.ReasonGuard, err)
		}
	}
	refused("deleting a binding of Tidegate", alice.Delete(t.Context(), binding("tidegate-gate-production")))
	refused("making a policy in its name", alice.Create(t.Context(), binding("tidegate-guard-home")))
	loose := binding("tidegate-gate-production")
	if err := root.Get(t.Context(), client.ObjectKeyFromObject(loose), loose); err != nil {
		t.Fatal(err)
	}
	loose.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{admissionregistrationv1.Audit}
	refused("making a binding audit only", alice.Update(t.Context(), loose))
	refused("making the webhook configuration", alice.Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: gates.WebhookName},
	}))
	mutating := func(group string) *admissionregistrationv1.MutatingAdmissionPolicy {
		return &admissionregistrationv1.MutatingAdmissionPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: "of-a-team"},
			Spec: admissionregistrationv1.MutatingAdmissionPolicySpec{
				ReinvocationPolicy: admissionregistrationv1.NeverReinvocationPolicy,
				MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
					RuleWithOperations: admissionregistrationv1.RuleWithOperations{
						Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
						Rule:       admissionregistrationv1.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: []string{"*"}},
					},
				}}},
				Mutations: []admissionregistrationv1.Mutation{{
					PatchType: admissionregistrationv1.PatchTypeJSONPatch, JSONPatch: &admissionregistrationv1.JSONPatch{Expression: `[JSONPatch{op: "add", path: "/metadata/labels", value: {"a": "b"}}]`},
				}},
			},
		}
	}
	for _, group := range []string{admissionregistrationv1.GroupName, "tidegate.io", "*"} {
		refused("a mutating policy over "+group, alice.Create(t.Context(), mutating(group)))
	}
	if err := alice.Create(t.Context(), mutating("example.com")); err != nil {
		t.Errorf("a mutating policy over a team's own kinds: wanted it let through, got %v", err)
	}
	// What is in files is not there for the API.
	var list admissionregistrationv1.ValidatingAdmissionPolicyList
	if err := root.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if strings.HasPrefix(list.Items[i].Name, "tidegate-guard") {
			t.Errorf("policy %s is served by the API, where it could be deleted", list.Items[i].Name)
		}
	}
}
