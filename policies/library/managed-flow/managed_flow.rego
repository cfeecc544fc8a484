# METADATA
# title: Managed flow
# description: |
#   Only the managed flow writes what is governed. The policy is default-deny: whoever
#   asks it must see allow, and an input that it does not understand is refused.
package tidegate.managed_flow

default allow := false

# Tidegate itself, and the writers that the Gate names, by exact user name.
allow if input.request.userInfo.username in input.gate.writers

# The built-in controllers whose work this operation on this resource is.
allow if input.request.userInfo.username in input.controllers

# Autoscalers that the Gate names may set the number of replicas and nothing else.
allow if {
	input.request.subResource == "scale"
	input.request.operation == "UPDATE"
	input.request.userInfo.username in input.gate.allow.autoscalers
}

# Kinds that people also use for things of their own are governed only where Tidegate's
# label is on the object, before or after. Nobody but Tidegate can write that label here,
# so it can be relied on.
allow if {
	input.scope == "labelled"
	complete
	not labelled
}

# The objects that the operation must come with are there.
complete if {
	input.request.operation == "CREATE"
	is_object(input.request.object.metadata)
}

complete if {
	input.request.operation == "UPDATE"
	is_object(input.request.object.metadata)
	is_object(input.request.oldObject.metadata)
}

complete if {
	input.request.operation == "DELETE"
	is_object(input.request.oldObject.metadata)
}

labelled if "tidegate.io/release" in object.keys(input.request.object.metadata.labels)

labelled if "tidegate.io/release" in object.keys(input.request.oldObject.metadata.labels)

deny contains {"code": "TG-GATE-BYPASS", "msg": msg, "fix": fix, "details": {"release": release}} if {
	not allow
	msg := sprintf("%s %s in namespace %q %s; wanted: %s, found: %s by %q", [
		resource,
		name,
		input.request.namespace,
		management,
		wanted,
		input.request.operation,
		input.request.userInfo.username,
	])
}

default resource := "object"

resource := concat("/", [input.request.resource.resource, input.request.subResource]) if {
	input.request.subResource != ""
} else := input.request.resource.resource

# The name that was asked for, or that the objects have; a collection is deleted, and an
# object with generateName created, without one.
default name := "without a name"

name := sprintf("%q", [input.request.name]) if {
	input.request.name != ""
} else := sprintf("%q", [input.request.oldObject.metadata.name]) if {
	input.request.oldObject.metadata.name != ""
} else := sprintf("%q", [input.request.object.metadata.name]) if {
	input.request.object.metadata.name != ""
} else := sprintf("\"%s*\"", [input.request.object.metadata.generateName]) if {
	input.request.object.metadata.generateName != ""
}

default release := ""

release := input.owner.release

default management := "is governed and no Release manages it"

management := "carries the label tidegate.io/release, which is Tidegate's alone to set" if {
	claimed
} else := sprintf("is managed by Release %q", [release]) if {
	release != ""
}

# What somebody makes with Tidegate's label on it only claims that a Release manages it.
claimed if {
	input.request.operation == "CREATE"
	"tidegate.io/release" in object.keys(input.request.object.metadata.labels)
}

default wanted := "changes through the Release"

wanted := "objects with this label to be made by a Release only" if {
	claimed
} else := "Services, routes and autoscalers to be made by a Release only, since others would go around its weights" if {
	release == ""
	around
}

# All pods of a governed namespace are Tidegate's: whatever chooses, reaches or scales
# pods goes around the weights.
around if {
	some kind in [
		{"group": "", "resource": "services"},
		{"group": "autoscaling", "resource": "horizontalpodautoscalers"},
		{"group": "autoscaling.k8s.io", "resource": "verticalpodautoscalers"},
		{"group": "gateway.networking.k8s.io", "resource": "grpcroutes"},
		{"group": "gateway.networking.k8s.io", "resource": "httproutes"},
		{"group": "gateway.networking.k8s.io", "resource": "referencegrants"},
		{"group": "gateway.networking.k8s.io", "resource": "tcproutes"},
		{"group": "gateway.networking.k8s.io", "resource": "tlsroutes"},
		{"group": "gateway.networking.k8s.io", "resource": "udproutes"},
		{"group": "networking.istio.io", "resource": "destinationrules"},
		{"group": "networking.istio.io", "resource": "envoyfilters"},
		{"group": "networking.istio.io", "resource": "virtualservices"},
		{"group": "networking.istio.io", "resource": "workloadentries"},
		{"group": "networking.k8s.io", "resource": "ingresses"},
		{"group": "projectcontour.io", "resource": "httpproxies"},
		{"group": "split.smi-spec.io", "resource": "trafficsplits"},
		{"group": "traefik.io", "resource": "ingressroutes"},
		{"group": "traefik.io", "resource": "ingressroutetcps"},
		{"group": "traefik.io", "resource": "ingressrouteudps"},
		{"group": "traefik.io", "resource": "traefikservices"},
	]
	input.request.resource.group == kind.group
	input.request.resource.resource == kind.resource
}

create := "create a Release; it makes the objects: kubectl explain release.spec, kubectl get releasetemplates"

fix := sprintf("remove the label tidegate.io/release, or %s", [create]) if {
	claimed
	input.scope == "labelled"
} else := create if {
	claimed
} else := sprintf("%s; or use a namespace that no Gate governs: kubectl get gates", [create]) if {
	release == ""
	around
} else := sprintf("kubectl patch release %s -n %s --type merge -p '{\"spec\":{\"values\":{\"replicas\":%v}}}'", [
	release,
	input.request.namespace,
	input.request.object.spec.replicas,
]) if {
	release != ""
	input.request.subResource == "scale"
	is_number(input.request.object.spec.replicas)
} else := sprintf("kubectl edit release %s -n %s, or to remove the whole service: kubectl delete release %s -n %s", [
	release,
	input.request.namespace,
	release,
	input.request.namespace,
]) if {
	release != ""
	input.request.operation == "DELETE"
} else := sprintf("kubectl edit release %s -n %s", [release, input.request.namespace]) if {
	release != ""
} else := create
