# METADATA
# title: Replicas are spread
# description: |
#   Replicas on one node, or in one zone, fail together.
package tidegate.topology_spread

import data.lib.workload

deny contains workload.violation("TG-SPREAD", pod, "topologySpreadConstraints", sprintf("one over %s, or a podAntiAffinity", [concat(" or ", input.parameters.topologyKeys)]), workload.listed(keys(pod)), sprintf("add a topologySpreadConstraint with topologyKey: %s and the labels of the pods as labelSelector", [input.parameters.topologyKeys[0]])) if {
	some pod in workload.pods
	pod.kind in ["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"]
	several(workload.value_at(pod.object, ["spec", "replicas"]))
	every key in keys(pod) { not key in input.parameters.topologyKeys }
}

# An autoscaler may decide where nothing is said.
several(null)

several(n) if {
	n != null
	not n in [0, 1]
}

keys(pod) := {key |
	some raw in array.concat(
		workload.list_at(pod.spec, ["topologySpreadConstraints"]),
		array.concat(
			workload.list_at(pod.spec, ["affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"]),
			[workload.value_at(workload.object_of(term), ["podAffinityTerm"]) |
				some term in workload.list_at(pod.spec, ["affinity", "podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution"])
			],
		),
	)
	term := workload.object_of(raw)
	chosen(workload.object_at(term, ["labelSelector"]))
	key := workload.text_at(term, ["topologyKey"])
}

# A constraint without a selector counts no pods.
chosen(selector) if count(workload.object_at(selector, ["matchLabels"])) > 0

chosen(selector) if count(workload.list_at(selector, ["matchExpressions"])) > 0
