# METADATA
# title: Manifests use API versions that the cluster serves
# description: |
#   An upgrade of the cluster removes old API versions, and what was written in one cannot be
#   applied any more: neither today's release nor the one to go back to. The API server converts
#   what it is sent, so this is said best about what a Release renders.
package tidegate.api_versions

import data.lib.workload

# What Kubernetes deprecated and removed, by API version and kind: the minor version of
# deprecation, that of removal (0 is: not yet), and what to use instead.
versions := object.union_n([
	{sprintf("extensions/v1beta1 %s", [kind]): [9, 16, "apps/v1"] | some kind in ["DaemonSet", "Deployment", "ReplicaSet"]},
	{sprintf("apps/v1beta1 %s", [kind]): [9, 16, "apps/v1"] | some kind in ["Deployment", "StatefulSet", "ControllerRevision"]},
	{sprintf("apps/v1beta2 %s", [kind]): [9, 16, "apps/v1"] | some kind in ["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet", "ControllerRevision"]},
	{sprintf("%s Ingress", [group]): [14, 22, "networking.k8s.io/v1"] | some group in ["extensions/v1beta1", "networking.k8s.io/v1beta1"]},
	{sprintf("rbac.authorization.k8s.io/v1beta1 %s", [kind]): [17, 22, "rbac.authorization.k8s.io/v1"] | some kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]},
	{sprintf("storage.k8s.io/v1beta1 %s", [kind]): [19, 22, "storage.k8s.io/v1"] | some kind in ["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"]},
	{sprintf("admissionregistration.k8s.io/v1beta1 %s", [kind]): [16, 22, "admissionregistration.k8s.io/v1"] | some kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]},
	{sprintf("flowcontrol.apiserver.k8s.io/%s %s", [version, kind]): [deprecated, removed, "flowcontrol.apiserver.k8s.io/v1"] |
		some [version, deprecated, removed] in [["v1beta1", 23, 26], ["v1beta2", 26, 29], ["v1beta3", 29, 32]]
		some kind in ["FlowSchema", "PriorityLevelConfiguration"]
	},
	{
		"extensions/v1beta1 NetworkPolicy": [9, 16, "networking.k8s.io/v1"],
		"extensions/v1beta1 PodSecurityPolicy": [10, 16, "the Pod Security admission of Kubernetes, or the policy pod-security-restricted"],
		"policy/v1beta1 PodSecurityPolicy": [21, 25, "the Pod Security admission of Kubernetes, or the policy pod-security-restricted"],
		"policy/v1beta1 PodDisruptionBudget": [21, 25, "policy/v1"],
		"networking.k8s.io/v1beta1 IngressClass": [19, 22, "networking.k8s.io/v1"],
		"apiextensions.k8s.io/v1beta1 CustomResourceDefinition": [16, 22, "apiextensions.k8s.io/v1"],
		"apiregistration.k8s.io/v1beta1 APIService": [19, 22, "apiregistration.k8s.io/v1"],
		"certificates.k8s.io/v1beta1 CertificateSigningRequest": [19, 22, "certificates.k8s.io/v1"],
		"coordination.k8s.io/v1beta1 Lease": [19, 22, "coordination.k8s.io/v1"],
		"scheduling.k8s.io/v1beta1 PriorityClass": [14, 22, "scheduling.k8s.io/v1"],
		"batch/v1beta1 CronJob": [21, 25, "batch/v1"],
		"discovery.k8s.io/v1beta1 EndpointSlice": [21, 25, "discovery.k8s.io/v1"],
		"events.k8s.io/v1beta1 Event": [19, 25, "events.k8s.io/v1"],
		"node.k8s.io/v1beta1 RuntimeClass": [20, 25, "node.k8s.io/v1"],
		"autoscaling/v2beta1 HorizontalPodAutoscaler": [22, 25, "autoscaling/v2"],
		"autoscaling/v2beta2 HorizontalPodAutoscaler": [23, 26, "autoscaling/v2"],
		"storage.k8s.io/v1beta1 CSIStorageCapacity": [24, 27, "storage.k8s.io/v1"],
		"v1 Endpoints": [33, 0, "discovery.k8s.io/v1 EndpointSlice"],
	},
])

minor := to_number(split(input.parameters.kubernetesVersion, ".")[1])

found contains [about, version, entry] if {
	some o in workload.objects
	version := workload.text_at(o.object, ["apiVersion"])
	entry := versions[sprintf("%s %s", [version, workload.kind_of(o.object)])]
	about := {"subject": workload.subject(o.object), "path": o.at}
}

deny contains workload.violation("TG-API-VERSION", about, "apiVersion", use, sprintf("%s, which Kubernetes 1.%d removed", [version, removed]), sprintf("use %s, and read what changed in its fields", [use])) if {
	some [about, version, [_, removed, use]] in found
	removed > 0
	minor >= removed
}

warn contains workload.violation("TG-API-VERSION", about, "apiVersion", use, sprintf("%s, which is deprecated since Kubernetes 1.%d%s", [version, deprecated, until(removed)]), sprintf("use %s, and read what changed in its fields", [use])) if {
	some [about, version, [deprecated, removed, use]] in found
	minor >= deprecated
	not gone(removed)
}

gone(removed) if {
	removed > 0
	minor >= removed
}

until(0) := ""

until(removed) := sprintf(" and goes with 1.%d", [removed]) if removed > 0
