package tidegate.seccomp_test

import data.tidegate.seccomp

about(pod, container) := {
	"parameters": {"allowed": ["RuntimeDefault"], "localhostProfiles": []},
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"securityContext": pod, "containers": [{"securityContext": container}]}},
}

profile(kind) := {"seccompProfile": {"type": kind}}

test_that_of_the_pod_counts if count(seccomp.deny) == 0 with input as about(profile("RuntimeDefault"), null)

test_that_of_the_container_counts_more if {
	count(seccomp.deny) == 1 with input as about(profile("RuntimeDefault"), profile("Unconfined"))
	count(seccomp.deny) == 0 with input as about(profile("Unconfined"), profile("RuntimeDefault"))
}
