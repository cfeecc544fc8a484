# METADATA
# title: Containers say what they need
# description: |
#   The scheduler counts requests, and a pod without any is put where there is no room and is
#   the first to be evicted. Without a memory limit one container takes the node with it.
package tidegate.resources

import data.lib.workload

# Ephemeral containers can have no resources.
counted := [c | some c in workload.containers; c.sort != "ephemeralContainers"]

deny contains workload.violation("TG-RESOURCES", c, concat(".", ["resources", path]), example(path), "nothing", sprintf("set %s to what it takes under load; kubectl top pod --containers shows it", [path])) if {
	some c in counted
	some path in input.parameters.required
	amount(c, path) == null
}

deny contains workload.violation("TG-RESOURCES", c, concat(".", ["resources", path]), example(path), workload.shown(amount(c, path)), "write a number, with a unit such as m, Mi or Gi") if {
	some c in counted
	some path in paths
	amount(c, path) != null
	not workload.quantity(amount(c, path))
}

deny contains workload.violation("TG-RESOURCES", c, concat(".", ["resources", path]), sprintf("at most %s", [most]), workload.shown(amount(c, path)), sprintf("lower %s, or ask the platform team to raise the parameter %s of this policy", [path, parameter])) if {
	some c in counted
	some path in paths
	parameter := maximum[split(path, ".")[1]]
	most := input.parameters[parameter]
	most != ""
	workload.quantity(amount(c, path)) > workload.quantity(most)
}

deny contains workload.violation("TG-RESOURCES", {"subject": "DeployPolicy", "path": ""}, concat(".", ["spec.parameters", parameter]), "a quantity such as 4 or 8Gi", workload.shown(most), "kubectl edit deploypolicy resources") if {
	some parameter in maximum
	most := input.parameters[parameter]
	most != ""
	not workload.quantity(most)
}

paths := ["requests.cpu", "requests.memory", "limits.cpu", "limits.memory"]

maximum := {"cpu": "maxCPU", "memory": "maxMemory"}

amount(c, path) := workload.value_at(c.container, array.concat(["resources"], split(path, ".")))

example(path) := "an amount of cores, such as 250m" if endswith(path, "cpu")

example(path) := "an amount of bytes, such as 256Mi" if not endswith(path, "cpu")
