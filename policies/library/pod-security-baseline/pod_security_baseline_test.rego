package tidegate.pod_security_baseline_test

import data.tidegate.pod_security_baseline

about(spec) := {"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": spec}}

test_a_bare_container_passes if count(pod_security_baseline.deny) == 0 with input as about({"containers": [{"name": "a"}]})

test_the_capabilities_of_the_runtime_pass if {
	count(pod_security_baseline.deny) == 0 with input as about({"containers": [{"securityContext": {"capabilities": {"add": ["CHOWN", "KILL"]}}}]})
}

test_a_user_namespace_may_see_proc_whole if {
	count(pod_security_baseline.deny) == 0 with input as about({"hostUsers": false, "containers": [{"securityContext": {"procMount": "Unmasked"}}]})
	count(pod_security_baseline.deny) == 1 with input as about({"hostUsers": true, "containers": [{"securityContext": {"procMount": "Unmasked"}}]})
}
