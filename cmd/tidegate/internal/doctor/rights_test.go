package doctor

import (
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func named(r rbacv1.PolicyRule, names ...string) rbacv1.PolicyRule {
	r.ResourceNames = names
	return r
}

// guarded lets a guard stand.
func (s *sick) guarded(name string) {
	meta := metav1.ObjectMeta{Name: name}
	if name != guardHome { // which a cluster that is well has
		s.objects = append(s.objects, &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: meta})
	}
	s.objects = append(s.objects, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: meta,
		Spec:       admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny}},
	})
}

// TestWhatAGuardRefusesIsNoFinding: it is said, since it is the guard alone that keeps it.
func TestWhatAGuardRefusesIsNoFinding(t *testing.T) {
	for name, tc := range map[string]struct {
		guard, namespace string
		rule             rbacv1.PolicyRule
		want             string
	}{
		"to act as the manager":         {guardIdentity, "", rule("", "users", "impersonate"), "act as the manager"},
		"to act as a controller":        {guardIdentity, "kube-system", rule("", "serviceaccounts", "impersonate"), "act as a built-in controller"},
		"to get the manager's token":    {guardHome, home, rule("", "serviceaccounts/token", "create"), "get a token of the manager"},
		"to get a controller's token":   {guardControllers, "kube-system", rule("", "serviceaccounts/token", "create"), "get a token of a built-in controller"},
		"to run pods at home":           {guardHome, home, rule("", "pods", "create"), "run pods"},
		"to get into pods at home":      {guardHome, home, rule("", "pods/exec", "create"), "get into pods"},
		"to write webhooks that judge":  {guardCluster, "", rule("*", "validatingwebhookconfigurations", "patch"), "write webhook configurations that judge"},
		"to take kinds away":            {guardCluster, "", rule("*", "customresourcedefinitions", "delete"), "take away or convert kinds"},
		"to write Gates":                {guardCluster, "", rule("tidegate.io", "gates", "update"), "write Gates"},
		"to write DeployPolicies":       {guardCluster, "", rule("tidegate.io", "deploypolicies", "patch"), "write DeployPolicies"},
		"nobody has any of these":       {guardCluster, "", rule("", "pods", "get"), "RBAC gives nobody"},
		"a Role elsewhere is no matter": {guardHome, "shop", rule("", "pods/exec", "create"), "RBAC gives nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			s := well(t)
			s.guarded(tc.guard)
			s.may(tc.namespace, "eve", tc.rule)
			said := ""
			for _, f := range s.look() {
				if f.Check == "rights" {
					if f.Level != OK {
						t.Errorf("found %s: %s", f.Level, f.Message)
					}
					said += f.Message + "\n"
				}
			}
			if !strings.Contains(said, tc.want) {
				t.Errorf("wanted %q, found %q", tc.want, said)
			}
		})
	}
}

func TestClusterPartsAreNotSuspected(t *testing.T) {
	s := well(t)
	for _, user := range []string{"system:kube-controller-manager", "system:kube-scheduler", "system:serviceaccount:tidegate-system:tidegate-manager"} {
		s.may("", user, rule("*", "*", "*"))
		role := s.objects[len(s.objects)-2:]
		for _, o := range role {
			o.SetName("of-" + strings.ReplaceAll(user, ":", "-"))
		}
		role[1].(*rbacv1.ClusterRoleBinding).RoleRef.Name = role[0].GetName()
	}
	// As Kubernetes 1.37 has it.
	s.objects = append(s.objects,
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "migrator"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "patch"}}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "migrator"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "migrator"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "kube-system", Name: "storage-version-migrator-controller"}},
		})
	for _, f := range s.look() {
		if f.Level != OK {
			t.Errorf("%s: %s", f.Check, f.Message)
		}
	}
}
