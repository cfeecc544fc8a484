package tidegate.topology_spread_test

import data.tidegate.topology_spread

about(replicas, spec) := {
	"parameters": {"topologyKeys": ["zone"]},
	"object": {"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": replicas, "template": {"spec": spec}}},
}

test_one_replica_needs_no_spread if count(topology_spread.deny) == 0 with input as about(1, {})

test_two_do if count(topology_spread.deny) == 1 with input as about(2, {})

test_what_is_no_constraint_spreads_nothing if count(topology_spread.deny) == 1 with input as about(2, {"topologySpreadConstraints": [null, "zone"]})
