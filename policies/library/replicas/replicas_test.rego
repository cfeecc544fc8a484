package tidegate.replicas_test

import data.tidegate.replicas

about(replicas, parameters) := {
	"parameters": object.union({"minimum": 2, "maximum": 9, "allowUnset": false, "allowZero": false}, parameters),
	"object": {"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": replicas}},
}

test_the_bounds_pass if {
	count(replicas.deny) == 0 with input as about(2, {})
	count(replicas.deny) == 0 with input as about(9, {})
	count(replicas.deny) == 1 with input as about(10, {})
}

test_nothing_passes_where_an_autoscaler_may_decide if count(replicas.deny) == 0 with input as about(null, {"allowUnset": true})

test_zero_passes_where_it_may if {
	count(replicas.deny) == 0 with input as about(0, {"allowZero": true})
	count(replicas.deny) == 1 with input as about(1, {"allowZero": true})
}
