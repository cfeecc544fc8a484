# METADATA
# title: Workloads have a sound number of replicas
# description: |
#   One replica is down whenever its node is, and a number with a zero too many takes the
#   cluster. It is about what a Release renders only: while Tidegate rolls out it makes smaller
#   sets itself.
package tidegate.replicas

import data.lib.workload

deny contains workload.violation("TG-REPLICAS", w, "spec.replicas", sprintf("a whole number from %d to %d", [input.parameters.minimum, input.parameters.maximum]), found(w), "set the number of replicas; an autoscaler changes it between its own bounds") if {
	some w in workload.of_kind(["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"])
	not sound(workload.value_at(w.object, ["spec", "replicas"]))
}

sound(null) if input.parameters.allowUnset

sound(n) if {
	is_number(n)
	n == round(n)
	n >= input.parameters.minimum
	n <= input.parameters.maximum
}

sound(0) if input.parameters.allowZero

found(w) := workload.shown(workload.value_at(w.object, ["spec", "replicas"])) if workload.value_at(w.object, ["spec", "replicas"]) != null

found(w) := "nothing, which is 1" if workload.value_at(w.object, ["spec", "replicas"]) == null
