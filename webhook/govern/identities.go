package govern

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// controller is the user name of a built-in controller, which runs with credentials of
// its own (kube-controller-manager --use-service-account-credentials).
func controller(name string) string { return "system:serviceaccount:kube-system:" + name }

// The built-in controllers, by exact user name. A group such as
// system:serviceaccounts:kube-system is never trusted: anybody who may create a
// ServiceAccount there would be in it.
var (
	garbageCollector   = controller("generic-garbage-collector")
	namespaces         = controller("namespace-controller")
	deployments        = controller("deployment-controller")
	replicaSets        = controller("replicaset-controller")
	replication        = controller("replication-controller")
	statefulSets       = controller("statefulset-controller")
	daemonSets         = controller("daemon-set-controller")
	jobs               = controller("job-controller")
	cronJobs           = controller("cronjob-controller")
	finishedJobs       = controller("ttl-after-finished-controller")
	podGarbage         = controller("pod-garbage-collector")
	nodeLifecycle      = controller("node-controller")
	taintEviction      = controller("taint-eviction-controller")
	deviceEviction     = controller("device-taint-eviction-controller")
	disruption         = controller("disruption-controller")
	resourceClaims     = controller("resource-claim-controller")
	endpoints          = controller("endpoint-controller")
	endpointSlices     = controller("endpointslice-controller")
	endpointsMirroring = controller("endpointslicemirroring-controller")
	loadBalancers      = controller("service-controller")
	autoscaling        = controller("horizontal-pod-autoscaler")
	cloud              = "system:cloud-controller-manager"
	scheduler          = "system:kube-scheduler"
	apiServer          = "system:apiserver"
	// controllerManager asks for the tokens of the controllers.
	controllerManager = "system:kube-controller-manager"
)

// housekeepers are built-in controllers that do nothing in governed namespaces, but that a
// guard of the chart lets write something. Whoever is trusted has to be guarded.
var housekeepers = []string{
	controller("clusterrole-aggregation-controller"),
	controller("legacy-service-account-token-cleaner"),
	controller("root-ca-cert-publisher"),
	controller("service-account-controller"),
}

// Operations, as admission names them.
const (
	Create  = "CREATE"
	Update  = "UPDATE"
	Delete  = "DELETE"
	Connect = "CONNECT"
)

// Work is one operation on one resource, and who does it.
type Work struct {
	// Resource is "pods" or "pods/status".
	Resource  string
	Operation string
	// Users are exact user names.
	Users []string
}

// work is the table of who does what. Garbage collection, which is added to every
// resource, is in cleanup.
var work = []Work{
	{"pods", Create, []string{replicaSets, statefulSets, daemonSets, jobs, replication}},
	// Adoption and release by label, and the finalizers of jobs.
	{"pods", Update, []string{replicaSets, statefulSets, daemonSets, jobs, replication}},
	// The scheduler deletes the victims of preemption.
	{"pods", Delete, []string{
		replicaSets, statefulSets, daemonSets, jobs, replication, podGarbage, nodeLifecycle, taintEviction, deviceEviction, scheduler,
	}},
	{"pods/status", Update, []string{scheduler, nodeLifecycle, taintEviction, deviceEviction, podGarbage, disruption, resourceClaims}},
	{"pods/binding", Create, []string{scheduler}},
	{"bindings", Create, []string{scheduler}},

	{"replicasets", Create, []string{deployments}},
	{"replicasets", Update, []string{deployments}},
	{"replicasets", Delete, []string{deployments}},
	{"replicasets/status", Update, []string{replicaSets}},
	{"replicationcontrollers/status", Update, []string{replication}},
	{"controllerrevisions", Create, []string{statefulSets, daemonSets}},
	{"controllerrevisions", Update, []string{statefulSets, daemonSets}},
	{"controllerrevisions", Delete, []string{statefulSets, daemonSets}},

	{"endpoints", Create, []string{endpoints}},
	{"endpoints", Update, []string{endpoints}},
	{"endpoints", Delete, []string{endpoints}},
	{"endpointslices", Create, []string{endpointSlices, endpointsMirroring}},
	{"endpointslices", Update, []string{endpointSlices, endpointsMirroring}},
	{"endpointslices", Delete, []string{endpointSlices, endpointsMirroring}},

	{"deployments/status", Update, []string{deployments}},
	{"statefulsets/status", Update, []string{statefulSets}},
	{"daemonsets/status", Update, []string{daemonSets}},
	{"jobs/status", Update, []string{jobs}},
	{"cronjobs/status", Update, []string{cronJobs}},

	{"jobs", Create, []string{cronJobs}},
	{"jobs", Update, []string{jobs}},
	{"jobs", Delete, []string{cronJobs, finishedJobs}},
	{"services", Update, []string{loadBalancers, cloud}},
	{"services/status", Update, []string{loadBalancers, cloud}},
	{"horizontalpodautoscalers/status", Update, []string{autoscaling}},
	// The API server takes an eviction off the budget itself.
	{"poddisruptionbudgets/status", Update, []string{disruption, apiServer}},
}

// cleanup is done on every resource: the garbage collector removes owner references and
// finalizers, and deletes what has lost its owner; the namespace controller empties
// namespaces.
var cleanup = map[string][]string{
	Update: {garbageCollector},
	Delete: {garbageCollector, namespaces},
}

// Controllers returns the exact user names of the built-in controllers that do this
// operation on this resource. Groups are told apart by whoever matches the resource.
func Controllers(gr schema.GroupResource, subresource, operation string) []string {
	resource := gr.Resource
	var out []string
	if subresource != "" {
		resource += "/" + subresource
	} else {
		out = append(out, cleanup[operation]...)
	}
	if !builtin(gr.Group) {
		return out
	}
	for _, w := range work {
		if w.Resource == resource && w.Operation == operation {
			out = append(out, w.Users...)
		}
	}
	slices.Sort(out)
	return out
}

// builtin says whether the API server itself serves the group, so that a custom resource
// that is also called pods is not taken for the real one.
func builtin(group string) bool {
	return slices.Contains([]string{"", "apps", "autoscaling", "batch", "discovery.k8s.io", "policy"}, group)
}

// Cleaners returns the user names of the controllers that do an operation on every
// resource, never on its subresources.
func Cleaners(operation string) []string { return slices.Clone(cleanup[operation]) }

// Accounts are the names of the ServiceAccounts in kube-system whose tokens and pods would
// be the identity of a built-in controller that the gate or its guards let write, sorted.
func Accounts() []string {
	users := append([]string{autoscaling}, housekeepers...)
	for _, w := range work {
		users = append(users, w.Users...)
	}
	for _, cleaners := range cleanup {
		users = append(users, cleaners...)
	}
	out := []string{}
	for _, u := range users {
		if name, ok := strings.CutPrefix(u, controller("")); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Programs are the user names of the control plane that are no ServiceAccounts, and that the
// gate, or its guards, let write.
func Programs() []string {
	return []string{apiServer, cloud, controllerManager, scheduler}
}
