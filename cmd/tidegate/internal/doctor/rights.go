package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/webhook/govern"
)

// power is a right that goes around the gate, or takes it away.
type power struct {
	// what completes "may ...".
	what      string
	groups    []string
	resources []string
	verbs     []string
	// names are what the right must be for; nil: for whatever.
	names func(c Cluster) []string
	// home is the namespace in which a Role counts as well; nil: none does.
	home func(c Cluster) string
}

func managers(c Cluster) string { return c.Namespace }

func system(Cluster) string { return metav1.NamespaceSystem }

var powers = []power{
	{
		what: "act as the manager (impersonate)", groups: []string{""}, resources: []string{"serviceaccounts", "users"}, verbs: []string{"impersonate"},
		names: func(c Cluster) []string { return []string{managerAccount, c.identity()} }, home: managers,
	},
	{
		what: "get a token of the manager", groups: []string{""}, resources: []string{"serviceaccounts/token"}, verbs: []string{"create"},
		names: func(Cluster) []string { return []string{managerAccount} }, home: managers,
	},
	{
		what: "get a token of a built-in controller, which the gate lets write", groups: []string{""}, resources: []string{"serviceaccounts/token"}, verbs: []string{"create"},
		names: func(Cluster) []string { return govern.Accounts() }, home: system,
	},
	{what: "read the Secrets of Tidegate's namespace", groups: []string{""}, resources: []string{"secrets"}, verbs: []string{"get", "list", "watch"}, home: managers},
	{
		what: "write webhook configurations", groups: []string{"admissionregistration.k8s.io"}, resources: []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"},
		verbs: []string{"create", "update", "patch", "delete", "deletecollection"},
	},
	{
		what: "write admission policies, which nothing in the API server guards", groups: []string{"admissionregistration.k8s.io"},
		resources: []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"},
		verbs:     []string{"create", "update", "patch", "delete", "deletecollection"},
	},
	{what: "reach pods by the kubelet (nodes/proxy)", groups: []string{""}, resources: []string{"nodes/proxy"}, verbs: []string{"get", "create"}},
	{what: "write Gates", groups: []string{"tidegate.io"}, resources: []string{"gates"}, verbs: []string{"update", "patch", "delete", "deletecollection"}},
}

// grants says whether a rule gives a power.
func grants(r *rbacv1.PolicyRule, p power, c Cluster) bool {
	if !overlap(r.APIGroups, p.groups) || !overlap(r.Verbs, p.verbs) || !overlap(r.Resources, p.resources) {
		return false
	}
	if len(r.ResourceNames) == 0 {
		return true
	}
	return p.names != nil && overlap(r.ResourceNames, p.names(c))
}

func overlap(have, want []string) bool {
	return slices.ContainsFunc(have, func(h string) bool {
		return h == "*" || slices.Contains(want, h) || slices.ContainsFunc(want, func(w string) bool {
			_, sub, ok := strings.Cut(w, "/")
			return ok && h == "*/"+sub
		})
	})
}

// harmless are who has every right anyhow, and the cluster's own parts.
func harmless(s rbacv1.Subject, c Cluster) bool {
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		return s.Namespace == "kube-system" && slices.Contains(clusterAccounts, s.Name) || s.Namespace == c.Namespace && s.Name == managerAccount
	case rbacv1.GroupKind:
		return s.Name == "system:masters"
	}
	return s.Name == "system:apiserver" || s.Name == "system:kube-controller-manager" || s.Name == "system:kube-scheduler" || s.Name == c.identity()
}

// clusterAccounts are built-in controllers whose work takes such rights.
var clusterAccounts = []string{"generic-garbage-collector", "namespace-controller", "resourcequota-controller", "persistent-volume-binder", "expand-controller", "horizontal-pod-autoscaler", "clusterrole-aggregation-controller"}

// rights lists who could take the gate away. It warns and does not fail: somebody must be
// able to, and who that is may be meant.
func rights(ctx context.Context, c Cluster) ([]Finding, error) {
	var (
		roles           rbacv1.RoleList
		clusterRoles    rbacv1.ClusterRoleList
		bindings        rbacv1.RoleBindingList
		clusterBindings rbacv1.ClusterRoleBindingList
	)
	if err := errors.Join(
		c.Client.List(ctx, &roles), c.Client.List(ctx, &clusterRoles), c.Client.List(ctx, &bindings), c.Client.List(ctx, &clusterBindings),
	); err != nil {
		return nil, err
	}
	rules := map[string][]rbacv1.PolicyRule{}
	for i := range clusterRoles.Items {
		rules["/"+clusterRoles.Items[i].Name] = clusterRoles.Items[i].Rules
	}
	for i := range roles.Items {
		rules[roles.Items[i].Namespace+"/"+roles.Items[i].Name] = roles.Items[i].Rules
	}
	who := make([][]string, len(powers))
	add := func(namespace string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		key := "/" + ref.Name
		if ref.Kind == "Role" {
			key = namespace + key
		}
		for i, p := range powers {
			if namespace != "" && (p.home == nil || namespace != p.home(c)) {
				continue
			}
			if !slices.ContainsFunc(rules[key], func(r rbacv1.PolicyRule) bool { return grants(&r, p, c) }) {
				continue
			}
			for _, s := range subjects {
				if !harmless(s, c) {
					who[i] = append(who[i], subject(s)+" by "+strings.TrimPrefix(key, "/"))
				}
			}
		}
	}
	for i := range clusterBindings.Items {
		add("", clusterBindings.Items[i].RoleRef, clusterBindings.Items[i].Subjects)
	}
	for i := range bindings.Items {
		add(bindings.Items[i].Namespace, bindings.Items[i].RoleRef, bindings.Items[i].Subjects)
	}
	return tell(who), nil
}

// tell words who has which power.
func tell(who [][]string) []Finding {
	var out []Finding
	for i, p := range powers {
		slices.Sort(who[i])
		if list := slices.Compact(who[i]); len(list) > 0 {
			out = append(out, warning("take it from those who do not need it", "these may %s: %s", p.what, some(list)))
		}
	}
	if len(out) == 0 {
		out = append(out, ok("nobody but system:masters could take the gate away"))
	}
	return out
}

func subject(s rbacv1.Subject) string {
	if s.Kind == rbacv1.ServiceAccountKind {
		return fmt.Sprintf("ServiceAccount %s/%s", s.Namespace, s.Name)
	}
	return s.Kind + " " + s.Name
}

// most is how many names a message has room for.
const most = 12

func some(list []string) string {
	if len(list) <= most {
		return strings.Join(list, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(list[:most], "; "), len(list)-most)
}
