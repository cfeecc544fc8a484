package doctor

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/webhook/govern"
)

// The guards of the chart.
const (
	guardCluster     = "tidegate-guard-cluster"
	guardHome        = "tidegate-guard-home"
	guardControllers = "tidegate-guard-controllers"
	guardIdentity    = "tidegate-guard-identity"
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
	// guard is the policy that refuses it to all but guard.admins where it stands; empty: none.
	guard string
	// claim says that the guard does not refuse it to who may claim extra fields too.
	claim bool
}

func managers(c Cluster) string { return c.Namespace }

func system(Cluster) string { return metav1.NamespaceSystem }

var (
	// acting are the verbs of impersonation; the longer ones are those of constrained
	// impersonation.
	acting  = []string{"impersonate", "impersonate:user-info", "impersonate:serviceaccount"}
	writing = []string{"create", "update", "patch", "delete", "deletecollection"}
	// changing is to write what is there.
	changing = writing[1:]
)

const admission = "admissionregistration.k8s.io"

var powers = []power{
	{
		what: "act as the manager (impersonate)", groups: []string{"", "authentication.k8s.io"}, resources: []string{"serviceaccounts", "users"}, verbs: acting,
		names: func(c Cluster) []string { return []string{managerAccount, c.identity()} }, home: managers, guard: guardIdentity, claim: true,
	},
	{
		what:   "act as a built-in controller or a program of the control plane, which the gate lets write (impersonate)",
		groups: []string{"", "authentication.k8s.io"}, resources: []string{"serviceaccounts", "users"}, verbs: acting,
		names: func(Cluster) []string { return builtIn() }, home: system, guard: guardIdentity, claim: true,
	},
	{
		what: "act as group system:masters, which may do everything (impersonate)", groups: []string{"", "authentication.k8s.io"}, resources: []string{"groups"}, verbs: acting,
		names: func(Cluster) []string { return []string{"system:masters"} },
	},
	{
		what: "get a token of the manager", groups: []string{""}, resources: []string{"serviceaccounts/token"}, verbs: []string{"create"},
		names: func(Cluster) []string { return []string{managerAccount} }, home: managers, guard: guardHome,
	},
	{
		what: "get a token of a built-in controller, which the gate lets write", groups: []string{""}, resources: []string{"serviceaccounts/token"}, verbs: []string{"create"},
		names: func(Cluster) []string { return govern.Accounts() }, home: system, guard: guardControllers,
	},
	{
		what:   "approve client certificates, with any user's name; Tidegate's webhook refuses protected names while it runs",
		groups: []string{"certificates.k8s.io"}, resources: []string{"signers"}, verbs: []string{"approve"},
		names: func(Cluster) []string { return []string{"kubernetes.io/kube-apiserver-client", "kubernetes.io/*"} },
	},
	{what: "give themselves any right (escalate or bind ClusterRoles)", groups: []string{rbacv1.GroupName}, resources: []string{"clusterroles"}, verbs: []string{"escalate", "bind"}},
	{what: "read the Secrets of Tidegate's namespace", groups: []string{""}, resources: []string{"secrets"}, verbs: []string{"get", "list", "watch"}, home: managers},
	{what: "run pods in Tidegate's namespace", groups: []string{""}, resources: []string{"pods"}, verbs: []string{"create"}, home: managers, guard: guardHome},
	{
		what: "get into pods of Tidegate's namespace (exec, attach, port-forward, proxy, debug)", groups: []string{""},
		resources: []string{"pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "pods/ephemeralcontainers"},
		verbs:     []string{"create", "get", "update", "patch"}, home: managers, guard: guardHome,
	},
	{what: "write webhook configurations that judge", groups: []string{admission}, resources: []string{"validatingwebhookconfigurations"}, verbs: writing, guard: guardCluster},
	{what: "write webhook configurations that change what others write", groups: []string{admission}, resources: []string{"mutatingwebhookconfigurations"}, verbs: writing},
	{
		what: "write admission policies, which nothing in the API server guards", groups: []string{admission},
		resources: []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"},
		verbs:     writing,
	},
	{what: "reach pods by the kubelet (nodes/proxy)", groups: []string{""}, resources: []string{"nodes/proxy"}, verbs: []string{"get", "create"}},
	{what: "take away or convert kinds (CustomResourceDefinitions)", groups: []string{"apiextensions.k8s.io"}, resources: []string{"customresourcedefinitions"}, verbs: changing, guard: guardCluster},
	{what: "write Gates", groups: []string{"tidegate.io"}, resources: []string{"gates"}, verbs: changing, guard: guardCluster},
	{what: "write DeployPolicies", groups: []string{"tidegate.io"}, resources: []string{"deploypolicies"}, verbs: changing, guard: guardCluster},
}

// builtIn are the names, as accounts and as users, of what the gate lets write.
func builtIn() []string {
	out := govern.Programs()
	for _, name := range govern.Accounts() {
		out = append(out, name, "system:serviceaccount:"+metav1.NamespaceSystem+":"+name)
	}
	return out
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

// claims says whether a rule lets somebody who acts as another claim extra fields, among them
// the mark of an own token, by which the guard tells who is impersonated.
func claims(r *rbacv1.PolicyRule) bool {
	return overlap(r.APIGroups, []string{"authentication.k8s.io"}) && overlap(r.Verbs, acting) &&
		slices.ContainsFunc(r.Resources, func(x string) bool { return x == "*" || strings.HasPrefix(x, "userextras") })
}

func overlap(have, want []string) bool {
	return slices.ContainsFunc(have, func(h string) bool {
		return h == "*" || slices.Contains(want, h) || slices.ContainsFunc(want, func(w string) bool {
			_, sub, ok := strings.Cut(w, "/")
			return ok && h == "*/"+sub
		})
	})
}
