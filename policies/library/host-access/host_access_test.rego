package tidegate.host_access_test

import data.tidegate.host_access

about(spec, parameters) := {
	"parameters": object.union({"allowedNamespaces": [], "allowedPorts": [], "allowedPaths": []}, parameters),
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": spec},
}

test_a_namespace_that_is_allowed_passes if {
	count(host_access.deny) == 0 with input as about({"hostNetwork": true}, {"allowedNamespaces": ["hostNetwork"]})
	count(host_access.deny) == 1 with input as about({"hostNetwork": true}, {"allowedNamespaces": ["hostPID"]})
}

test_a_port_that_is_allowed_passes if {
	count(host_access.deny) == 0 with input as about({"containers": [{"ports": [{"hostPort": 80}]}]}, {"allowedPorts": [80]})
}

test_without_paths_none_passes if count(host_access.deny) == 1 with input as about({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}, {})

test_the_root_allows_all_below_it if {
	count(host_access.deny) == 0 with input as about({"volumes": [{"name": "a", "hostPath": {"path": "/srv"}}]}, {"allowedPaths": ["/"]})
}
