# METADATA
# title: A PodDisruptionBudget allows a disruption
# description: |
#   A budget that allows none does not keep pods alive: it keeps nodes from being drained, until
#   somebody deletes it at night.
package tidegate.disruption_budget

import data.lib.workload

budgets := workload.of_kind(["PodDisruptionBudget"])

never := [0, "0", "0%"]

deny contains workload.violation("TG-DISRUPTION", b, "spec.maxUnavailable", "at least 1, so that a node can be drained", workload.shown(most), "set maxUnavailable: 1") if {
	some b in budgets
	most := workload.value_at(b.object, ["spec", "maxUnavailable"])
	most in never
}

deny contains workload.violation("TG-DISRUPTION", b, "spec.minAvailable", "less than all, so that a node can be drained", workload.shown(least), "remove minAvailable and set maxUnavailable: 1") if {
	some b in budgets
	least := workload.value_at(b.object, ["spec", "minAvailable"])
	nobody_may_go(least)
}

nobody_may_go(least) if {
	is_string(least)
	regex.match(`^[0-9]+%$`, least)
	to_number(trim_suffix(least, "%")) >= 100
}

nobody_may_go(least) if {
	is_number(least)
	input.parameters.replicas > 0
	least >= input.parameters.replicas
}

deny contains workload.violation("TG-DISRUPTION", b, "spec.selector", "a selector of the pods of one workload", "an empty one, which is every pod of the namespace", "set matchLabels as the workload has them") if {
	some b in budgets
	selector := workload.object_at(b.object, ["spec", "selector"])
	count([value | some part in ["matchLabels", "matchExpressions"]; some value in object.get(selector, part, [])]) == 0
}

warn contains workload.violation("TG-DISRUPTION", b, "spec.unhealthyPodEvictionPolicy", "AlwaysAllow", workload.shown(policy), "set unhealthyPodEvictionPolicy: AlwaysAllow, so that pods that serve nobody hold up no drain") if {
	some b in budgets
	policy := workload.value_at(b.object, ["spec", "unhealthyPodEvictionPolicy"])
	policy != "AlwaysAllow"
}
