package tidegate.disruption_budget_test

import data.tidegate.disruption_budget

about(spec) := {
	"parameters": {"replicas": 3},
	"object": {"kind": "PodDisruptionBudget", "metadata": {"name": "a"}, "spec": object.union({"selector": {"matchLabels": {"a": "b"}}}, spec)},
}

test_one_disruption_passes if count(disruption_budget.deny) == 0 with input as about({"maxUnavailable": 1})

test_minimum_below_the_replicas_passes if {
	count(disruption_budget.deny) == 0 with input as about({"minAvailable": 2})
	count(disruption_budget.deny) == 1 with input as about({"minAvailable": 3})
	count(disruption_budget.deny) == 0 with input as object.union(about({"minAvailable": 3}), {"parameters": {"replicas": 0}})
}

test_more_than_all_is_all if count(disruption_budget.deny) == 1 with input as about({"minAvailable": "150%"})
