package tidegate.volume_types_test

import data.tidegate.volume_types

about(volumes) := {
	"parameters": {"allowed": ["emptyDir"], "requireSizeLimit": false},
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"volumes": volumes}},
}

test_no_volumes_pass if {
	count(volume_types.deny) == 0 with input as about([])
	count(volume_types.deny) == 0 with input as about(null)
}

test_a_volume_without_a_source_is_an_empty_dir if {
	count(volume_types.deny) == 0 with input as about([{"name": "a"}])
	count(volume_types.deny) == 1 with input as object.union(about([{"name": "a"}]), {"parameters": {"allowed": ["secret"]}})
}

test_a_limit_is_wanted_only_where_it_is if count(volume_types.deny) == 0 with input as about([{"name": "a", "emptyDir": {}}])
