# METADATA
# title: Pods mount only volumes of allowed types
# description: |
#   Some volumes reach the node, or a file server whose rights nobody checks. Those that the
#   cluster hands out do not.
package tidegate.volume_types

import data.lib.workload

deny contains workload.violation("TG-VOLUME-TYPE", pod, sprintf("volumes[%d]", [i]), concat("", ["one of ", concat(", ", input.parameters.allowed)]), workload.listed(types), "use a persistentVolumeClaim, emptyDir or configMap instead") if {
	some pod in workload.pods
	some i, volume in workload.list_at(pod.spec, ["volumes"])
	types := workload.volume_types(volume)
	some kind in types
	not kind in input.parameters.allowed
}

deny contains workload.violation("TG-VOLUME-TYPE", pod, sprintf("volumes[%d].emptyDir.sizeLimit", [i]), "a limit, since the files fill the node", "nothing", "set sizeLimit, such as 64Mi") if {
	some pod in workload.pods
	input.parameters.requireSizeLimit
	some i, volume in workload.list_at(pod.spec, ["volumes"])
	"emptyDir" in workload.volume_types(volume)
	workload.value_at(workload.object_of(volume), ["emptyDir", "sizeLimit"]) == null
}
