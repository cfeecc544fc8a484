package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

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

// clusterAccounts are the built-in controllers of Kubernetes 1.37 whose work takes such rights.
var clusterAccounts = []string{
	"clusterrole-aggregation-controller", "daemon-set-controller", "expand-controller", "generic-garbage-collector", "horizontal-pod-autoscaler", "job-controller",
	"namespace-controller", "persistent-volume-binder", "replicaset-controller", "replication-controller", "resourcequota-controller", "statefulset-controller",
	"storage-version-migrator-controller",
}

// holder is who has a power, and the role by which.
type holder struct{ subject, role string }

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
	standing, err := guardsStanding(ctx, c)
	if err != nil {
		return nil, err
	}
	rules := map[string][]rbacv1.PolicyRule{}
	for i := range clusterRoles.Items {
		rules["/"+clusterRoles.Items[i].Name] = clusterRoles.Items[i].Rules
	}
	for i := range roles.Items {
		rules[roles.Items[i].Namespace+"/"+roles.Items[i].Name] = roles.Items[i].Rules
	}
	l := look{c: c, who: make([][]holder, len(powers)), claimants: map[string]bool{}}
	for i := range clusterBindings.Items {
		ref := clusterBindings.Items[i].RoleRef
		l.add("", "/"+ref.Name, rules["/"+ref.Name], clusterBindings.Items[i].Subjects)
	}
	for i := range bindings.Items {
		namespace, ref := bindings.Items[i].Namespace, bindings.Items[i].RoleRef
		key := "/" + ref.Name
		if ref.Kind == "Role" {
			key = namespace + key
		}
		l.add(namespace, key, rules[key], bindings.Items[i].Subjects)
	}
	return l.tell(standing), nil
}

// guardsStanding are the guards that refuse, by name; whether they are what the chart says is
// another check.
func guardsStanding(ctx context.Context, c Cluster) (map[string]bool, error) {
	var (
		policies admissionregistrationv1.ValidatingAdmissionPolicyList
		bindings admissionregistrationv1.ValidatingAdmissionPolicyBindingList
	)
	if err := errors.Join(c.Client.List(ctx, &policies), c.Client.List(ctx, &bindings)); err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for i := range policies.Items {
		there[policies.Items[i].Name] = true
	}
	out := map[string]bool{}
	for i := range bindings.Items {
		b := &bindings.Items[i].Spec
		if there[b.PolicyName] && slices.Contains(b.ValidationActions, admissionregistrationv1.Deny) {
			out[b.PolicyName] = true
		}
	}
	return out, nil
}

// look is what was found about rights so far.
type look struct {
	c Cluster
	// who has each of the powers.
	who [][]holder
	// claimants may claim extra fields where they act as others.
	claimants map[string]bool
}

// add looks at one binding; namespace is empty for one in the whole cluster.
func (l *look) add(namespace, role string, rules []rbacv1.PolicyRule, subjects []rbacv1.Subject) {
	subjects = slices.DeleteFunc(slices.Clone(subjects), func(s rbacv1.Subject) bool { return harmless(s, l.c) })
	for i, p := range powers {
		if namespace != "" && (p.home == nil || namespace != p.home(l.c)) {
			continue
		}
		if !slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool { return grants(&r, p, l.c) }) {
			continue
		}
		for _, s := range subjects {
			l.who[i] = append(l.who[i], holder{subject(s), strings.TrimPrefix(role, "/")})
		}
	}
	if namespace == "" && slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool { return claims(&r) }) {
		for _, s := range subjects {
			l.claimants[subject(s)] = true
		}
	}
}

// tell words who has which power.
func (l *look) tell(standing map[string]bool) []Finding {
	var out []Finding
	guarded := map[string][]string{}
	for i, p := range powers {
		var list []string
		for _, h := range l.who[i] {
			if standing[p.guard] && (!p.claim || !l.claimants[h.subject]) {
				guarded[p.guard] = append(guarded[p.guard], p.what)
				continue
			}
			list = append(list, h.subject+" by "+h.role)
		}
		slices.Sort(list)
		if list = slices.Compact(list); len(list) > 0 {
			out = append(out, warning("take it from those who do not need it", "these may %s: %s", p.what, some(list)))
		}
	}
	if len(out) == 0 {
		out = append(out, ok("of %d rights that go around the gate or take it away, RBAC gives nobody but system:masters and the cluster's own parts one that no guard refuses; what certificates and other authorizers give is not looked at", len(powers)))
	}
	for _, guard := range slices.Sorted(maps.Keys(guarded)) {
		out = append(out, ok("%s refuses this to all but those whom the chart lists, though RBAC gives it to others: %s", guard, strings.Join(slices.Compact(guarded[guard]), "; ")))
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
