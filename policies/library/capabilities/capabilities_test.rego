package tidegate.capabilities_test

import data.tidegate.capabilities

about(capabilities, parameters) := {
	"parameters": object.union({"requiredDrop": [], "allowedAdd": []}, parameters),
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"securityContext": {"capabilities": capabilities}}]}},
}

test_dropping_all_drops_each if count(capabilities.deny) == 0 with input as about({"drop": ["ALL"]}, {"requiredDrop": ["NET_RAW"]})

test_nothing_may_be_added_where_nothing_is_listed if count(capabilities.deny) == 1 with input as about({"add": ["KILL"]}, {})

test_windows_has_none_to_drop if {
	count(capabilities.deny) == 0 with input as {
		"parameters": {"requiredDrop": ["ALL"], "allowedAdd": []},
		"object": {"kind": "Pod", "spec": {"os": {"name": "windows"}, "containers": [{}]}},
	}
}
