# METADATA
# title: Containers drop all capabilities
# description: |
#   The default set of a container runtime holds more than nearly any program needs, and each is
#   a way to do harm.
package tidegate.capabilities

import data.lib.workload

deny contains workload.violation("TG-CAPABILITIES", c, "securityContext.capabilities.drop", sprintf("%q in it", [capability]), workload.shown(workload.value_at(c.security, ["capabilities", "drop"])), sprintf("set capabilities.drop: [%s]", [capability])) if {
	some c in workload.containers
	not c.pod.windows
	some capability in input.parameters.requiredDrop
	drop := workload.list_at(c.security, ["capabilities", "drop"])
	not capability in drop
	not "ALL" in drop
}

deny contains workload.violation("TG-CAPABILITIES", c, sprintf("securityContext.capabilities.add[%d]", [i]), allowed, workload.shown(capability), "remove the capability, or ask the platform team to add it to allowedAdd of this policy") if {
	some c in workload.containers
	some i, capability in workload.list_at(c.security, ["capabilities", "add"])
	not capability in input.parameters.allowedAdd
}

allowed := "none" if count(input.parameters.allowedAdd) == 0

allowed := concat("", ["one of ", concat(", ", input.parameters.allowedAdd)]) if count(input.parameters.allowedAdd) > 0
