# METADATA
# title: Containers that keep running have probes
# description: |
#   Without a readiness probe a pod gets requests before it can answer them, and a rollout calls
#   it healthy. Without a liveness probe one that hangs stays.
package tidegate.probes

import data.lib.workload

# What has no end is probed; a Job, or a Pod that is not restarted, ends.
probed := [c |
	some c in workload.containers
	c.runs
	not c.kind in ["Job", "CronJob"]
	workload.unset_or(c.pod.spec, ["restartPolicy"], ["Always"])
	not c.name in input.parameters.exemptContainers
]

deny contains workload.violation("TG-PROBES", c, probe, "a probe with one of httpGet, tcpSocket, grpc and exec", workload.shown(workload.value_at(c.container, [probe])), sprintf("add a %s that asks what the container is there for", [probe])) if {
	some c in probed
	some probe in input.parameters.probes
	not asks(workload.object_at(c.container, [probe]))
}

asks(probe) if {
	some handler in ["httpGet", "tcpSocket", "grpc", "exec"]
	is_object(probe[handler])
}

warn contains workload.violation("TG-PROBES", c, "livenessProbe", "one that fails later than the readinessProbe", "the very same probe", "raise failureThreshold of the livenessProbe, so that a pod that is only busy is not restarted") if {
	some c in probed
	probe := workload.object_at(c.container, ["livenessProbe"])
	asks(probe)
	probe == workload.object_at(c.container, ["readinessProbe"])
}
