package tidegate.pod_security_restricted_test

import data.tidegate.pod_security_restricted

secure := {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}

about(pod, container) := {"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": object.union(
	{"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}, "containers": [{"securityContext": object.union(secure, container)}]},
	pod,
)}}

test_what_is_set_for_the_pod_counts_for_its_containers if count(pod_security_restricted.deny) == 0 with input as about({}, {})

test_a_container_may_not_take_it_back if count(pod_security_restricted.deny) == 1 with input as about({}, {"runAsNonRoot": false})

test_an_object_that_is_null_has_no_pods if count(pod_security_restricted.deny) == 0 with input as {"object": null}

test_windows_has_no_capabilities if {
	count(pod_security_restricted.deny) == 0 with input as about({"os": {"name": "windows"}}, {"capabilities": null, "allowPrivilegeEscalation": null})
}
