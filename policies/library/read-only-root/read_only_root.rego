# METADATA
# title: Containers cannot write to their image
# description: |
#   Who breaks in wants to leave something behind. Where nothing can be written, it has to stay
#   in memory, and what a program writes is seen in its volumes.
package tidegate.read_only_root

import data.lib.workload

deny contains workload.violation("TG-READ-ONLY-ROOT", c, "securityContext.readOnlyRootFilesystem", "true", workload.shown(value), "set it to true, and mount an emptyDir where the program writes, such as /tmp") if {
	some c in workload.containers
	not c.pod.windows
	not c.name in input.parameters.exemptContainers
	value := workload.value_at(c.security, ["readOnlyRootFilesystem"])
	value != true
}
