# METADATA
# title: Containers have a seccomp profile
# description: |
#   Without one a container may make every system call of the kernel, and kernels have mistakes
#   in those that nobody uses.
package tidegate.seccomp

import data.lib.workload

deny contains workload.violation("TG-SECCOMP", c, "securityContext.seccompProfile.type", sprintf("%s, here or in the securityContext of the pod", [concat(" or ", input.parameters.allowed)]), workload.shown(kind), sprintf("set seccompProfile.type: %s in the securityContext of the pod", [input.parameters.allowed[0]])) if {
	some c in workload.containers
	not c.pod.windows
	kind := workload.effective(c, ["seccompProfile", "type"])
	not kind in input.parameters.allowed
}

deny contains workload.violation("TG-SECCOMP", x, "securityContext.seccompProfile.localhostProfile", concat(" or ", input.parameters.localhostProfiles), workload.shown(profile), "use one of these profiles, or RuntimeDefault") if {
	some x in array.concat(workload.pods, workload.containers)
	count(input.parameters.localhostProfiles) > 0
	workload.value_at(x.security, ["seccompProfile", "type"]) == "Localhost"
	profile := workload.value_at(x.security, ["seccompProfile", "localhostProfile"])
	not profile in input.parameters.localhostProfiles
}
