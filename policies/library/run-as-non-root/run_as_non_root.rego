# METADATA
# title: Containers do not run as root
# description: |
#   Root in a container is root on the node as soon as anything of the wall between them fails.
package tidegate.run_as_non_root

import data.lib.workload

deny contains workload.violation("TG-NON-ROOT", c, "securityContext.runAsNonRoot", "true, here or in the securityContext of the pod", workload.shown(value), "set runAsNonRoot: true in the securityContext of the pod, and USER in the image") if {
	some c in workload.containers
	value := workload.effective(c, ["runAsNonRoot"])
	value != true
}

deny contains workload.violation("TG-NON-ROOT", x, concat(".", ["securityContext", field]), "a number that is not 0", "0", "use one without rights, such as 65532") if {
	some x in array.concat(workload.pods, workload.containers)
	some field in fields
	workload.value_at(x.security, [field]) in [0, "0"]
}

deny contains workload.violation("TG-NON-ROOT", pod, sprintf("securityContext.supplementalGroups[%d]", [i]), "a group that is not 0", "0", "remove the group") if {
	some pod in workload.pods
	input.parameters.denyRootGroup
	some i, group in workload.list_at(pod.security, ["supplementalGroups"])
	group in [0, "0"]
}

fields := ["runAsUser"] if not input.parameters.denyRootGroup

fields := ["runAsUser", "runAsGroup", "fsGroup"] if input.parameters.denyRootGroup
