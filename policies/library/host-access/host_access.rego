# METADATA
# title: Pods keep off their node
# description: |
#   The network, processes, ports and files of a node belong to everything that runs there.
#   Files of the node can be allowed, by path and only to read.
package tidegate.host_access

import data.lib.workload

deny contains workload.violation("TG-HOST-ACCESS", pod, field, "false or nothing", workload.shown(workload.value_at(pod.spec, [field])), sprintf("remove %s", [field])) if {
	some pod in workload.pods
	some field in ["hostNetwork", "hostPID", "hostIPC"]
	not field in input.parameters.allowedNamespaces
	not workload.unset_or(pod.spec, [field], [false])
}

deny contains workload.violation("TG-HOST-ACCESS", c, sprintf("ports[%d].hostPort", [i]), "no port of the node", workload.shown(port.hostPort), "remove hostPort and reach the pods through a Service") if {
	some c in workload.containers
	some i, port in workload.list_at(c.container, ["ports"])
	not workload.unset_or(workload.object_of(port), ["hostPort"], array.concat([0], input.parameters.allowedPorts))
}

deny contains workload.violation("TG-HOST-ACCESS", pod, sprintf("volumes[%d].hostPath.path", [i]), paths, workload.shown(path), "use a persistentVolumeClaim, emptyDir or configMap instead") if {
	some pod in workload.pods
	some i, volume in host_paths(pod)
	path := workload.text_at(volume, ["hostPath", "path"])
	not allowed_path(path)
}

deny contains workload.violation("TG-HOST-ACCESS", c, sprintf("volumeMounts[%d].readOnly", [i]), "true, since the volume is a path of the node", workload.shown(workload.value_at(mount, ["readOnly"])), "set readOnly: true") if {
	some c in workload.containers
	some i, raw in workload.list_at(c.container, ["volumeMounts"])
	mount := workload.object_of(raw)
	some _, volume in host_paths(c.pod)
	workload.text_at(volume, ["name"]) == workload.text_at(mount, ["name"])
	workload.value_at(mount, ["readOnly"]) != true
}

deny contains workload.violation("TG-HOST-ACCESS", x, "securityContext.windowsOptions.hostProcess", "false or nothing", workload.shown(workload.value_at(x.security, path)), "remove hostProcess") if {
	some x in array.concat(workload.pods, workload.containers)
	path := ["windowsOptions", "hostProcess"]
	not workload.unset_or(x.security, path, [false])
}

paths := "no path of the node" if count(input.parameters.allowedPaths) == 0

paths := concat(" or ", [sprintf("%s and what is below it", [path]) | some path in input.parameters.allowedPaths]) if count(input.parameters.allowedPaths) > 0

host_paths(pod) := {i: volume |
	some i, raw in workload.list_at(pod.spec, ["volumes"])
	volume := workload.object_of(raw)
	workload.value_at(volume, ["hostPath"]) != null
}

allowed_path(path) if {
	not contains(path, "..")
	some allowed in input.parameters.allowedPaths
	startswith(concat("", [trim_suffix(path, "/"), "/"]), concat("", [trim_suffix(allowed, "/"), "/"]))
}
