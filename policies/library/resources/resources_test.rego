package tidegate.resources_test

import data.tidegate.resources

about(resources, parameters) := {
	"parameters": object.union({"required": [], "maxCPU": "", "maxMemory": ""}, parameters),
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"resources": resources}]}},
}

test_nothing_required_nothing_denied if count(resources.deny) == 0 with input as about(null, {})

test_units_are_compared_as_numbers if {
	count(resources.deny) == 0 with input as about({"limits": {"memory": "1024Mi"}}, {"maxMemory": "1Gi"})
	count(resources.deny) == 1 with input as about({"limits": {"memory": "1025Mi"}}, {"maxMemory": "1Gi"})
	count(resources.deny) == 0 with input as about({"limits": {"cpu": "1000m"}}, {"maxCPU": "1"})
	count(resources.deny) == 1 with input as about({"limits": {"cpu": 1.5}}, {"maxCPU": "1"})
}

test_a_limit_that_cannot_be_read_denies if count(resources.deny) == 1 with input as about({}, {"maxCPU": "a lot"})
