package tidegate.run_as_non_root_test

import data.tidegate.run_as_non_root

about(pod, container, groups) := {
	"parameters": {"denyRootGroup": groups},
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"securityContext": pod, "containers": [{"securityContext": container}]}},
}

test_that_of_the_pod_counts if count(run_as_non_root.deny) == 0 with input as about({"runAsNonRoot": true}, {}, true)

test_groups_are_looked_at_where_wanted if {
	count(run_as_non_root.deny) == 1 with input as about({"runAsNonRoot": true, "fsGroup": 0}, {}, true)
	count(run_as_non_root.deny) == 0 with input as about({"runAsNonRoot": true, "fsGroup": 0}, {}, false)
}
