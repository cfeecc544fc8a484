# METADATA
# title: No privileged containers
# description: |
#   A privileged container is root on its node, whatever else is set, and one that may gain
#   rights is one exploit away.
package tidegate.privileged

import data.lib.workload

deny contains workload.violation("TG-PRIVILEGED", c, "securityContext.privileged", "false or nothing", workload.shown(workload.value_at(c.security, ["privileged"])), "remove privileged; ask for the one capability that is needed instead") if {
	some c in workload.containers
	not workload.unset_or(c.security, ["privileged"], [false])
}

deny contains workload.violation("TG-PRIVILEGED", c, "securityContext.allowPrivilegeEscalation", "false", workload.shown(workload.value_at(c.security, ["allowPrivilegeEscalation"])), "set it to false") if {
	some c in workload.containers
	not input.parameters.allowEscalation
	not c.pod.windows
	workload.value_at(c.security, ["allowPrivilegeEscalation"]) != false
}
