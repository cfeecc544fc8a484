package tidegate.service_types_test

import data.tidegate.service_types

about(spec, parameters) := {
	"parameters": object.union({"allowed": ["ClusterIP"], "allowFixedNodePorts": false}, parameters),
	"object": {"kind": "Service", "metadata": {"name": "a"}, "spec": spec},
}

test_nothing_said_is_inside if count(service_types.deny) == 0 with input as about({}, {})

test_a_type_that_is_allowed_passes if count(service_types.deny) == 0 with input as about({"type": "NodePort"}, {"allowed": ["NodePort"]})

test_a_port_that_the_cluster_chose_stays_on_update if {
	node := about({"type": "NodePort", "ports": [{"nodePort": 30080}]}, {"allowed": ["NodePort"]})
	count(service_types.deny) == 1 with input as node
	count(service_types.deny) == 0 with input as object.union(node, {"request": {"operation": "UPDATE"}})
	count(service_types.deny) == 0 with input as object.union(node, {"parameters": {"allowFixedNodePorts": true}})
}
