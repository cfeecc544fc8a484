# METADATA
# title: Pod security
# description: |
#   The Pod Security Standards of Kubernetes 1.37, baseline and restricted, over init,
#   ordinary and ephemeral containers. A test compares the verdicts with those of the
#   admission plugin of Kubernetes.
package lib.pod_security

import data.lib.workload

finding(about, field, wanted, found, fix) := {
	"about": {"subject": about.subject, "path": about.path},
	"field": field,
	"wanted": wanted,
	"found": found,
	"fix": fix,
}

# Pods and containers, each with its security context: many fields exist in both.
contexts := array.concat(workload.pods, workload.containers)

baseline contains f if {
	some pod in workload.pods
	some field in ["hostNetwork", "hostPID", "hostIPC"]
	not workload.unset_or(pod.spec, [field], [false])
	f := finding(pod, field, "false or nothing, since pods share no namespace with their node", workload.shown(workload.value_at(pod.spec, [field])), sprintf("remove %s", [field]))
}

baseline contains f if {
	some x in contexts
	path := ["windowsOptions", "hostProcess"]
	not workload.unset_or(x.security, path, [false])
	f := finding(x, "securityContext.windowsOptions.hostProcess", "false or nothing", workload.shown(workload.value_at(x.security, path)), "remove hostProcess")
}

baseline contains f if {
	some c in workload.containers
	not workload.unset_or(c.security, ["privileged"], [false])
	f := finding(c, "securityContext.privileged", "false or nothing", workload.shown(workload.value_at(c.security, ["privileged"])), "remove privileged; ask for the one capability that is needed instead")
}

baseline_capabilities := {
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
	"NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

baseline contains f if {
	some c in workload.containers
	some i, capability in workload.list_at(c.security, ["capabilities", "add"])
	not capability in baseline_capabilities
	f := finding(c, sprintf("securityContext.capabilities.add[%d]", [i]), concat("", ["one of ", concat(", ", sort(baseline_capabilities))]), workload.shown(capability), "remove the capability")
}

baseline contains f if {
	some pod in workload.pods
	some i, volume in workload.list_at(pod.spec, ["volumes"])
	workload.value_at(workload.object_of(volume), ["hostPath"]) != null
	f := finding(pod, sprintf("volumes[%d].hostPath", [i]), "no volume of the node", "one", "use a persistentVolumeClaim, emptyDir or configMap instead")
}

baseline contains f if {
	some c in workload.containers
	some i, port in workload.list_at(c.container, ["ports"])
	not workload.unset_or(workload.object_of(port), ["hostPort"], [0])
	f := finding(c, sprintf("ports[%d].hostPort", [i]), "no port of the node", workload.shown(port.hostPort), "remove hostPort and reach the pods through a Service")
}

handlers := [[probe, handler] |
	some probe in [["livenessProbe"], ["readinessProbe"], ["startupProbe"], ["lifecycle", "postStart"], ["lifecycle", "preStop"]]
	some handler in ["httpGet", "tcpSocket"]
]

baseline contains f if {
	some c in workload.containers
	some [probe, handler] in handlers
	path := array.concat(probe, [handler, "host"])
	not workload.unset_or(c.container, path, [""])
	f := finding(c, concat(".", path), "no host, so that the pod itself is asked", workload.shown(workload.value_at(c.container, path)), "remove host")
}

baseline contains f if {
	some x in contexts
	profile := workload.value_at(x.security, ["appArmorProfile"])
	profile != null
	kind := workload.value_at(workload.object_of(profile), ["type"])
	not kind in ["RuntimeDefault", "Localhost"]
	f := finding(x, "securityContext.appArmorProfile.type", "RuntimeDefault or Localhost", workload.shown(kind), "set it to RuntimeDefault")
}

baseline contains f if {
	some pod in workload.pods
	some key, value in workload.object_at(pod.metadata, ["annotations"])
	startswith(key, "container.apparmor.security.beta.kubernetes.io/")
	text := workload.text_at({"value": value}, ["value"])
	not text in ["", "runtime/default"]
	not startswith(text, "localhost/")
	f := finding({"subject": pod.subject, "path": pod.metadataPath}, sprintf("annotations[%q]", [key]), "runtime/default or localhost/...", workload.shown(value), "remove the annotation")
}

baseline contains f if {
	some x in contexts
	some [field, allowed] in [
		["type", ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"]],
		["user", [""]],
		["role", [""]],
	]
	path := ["seLinuxOptions", field]
	not workload.unset_or(x.security, path, allowed)
	f := finding(x, concat(".", ["securityContext", concat(".", path)]), concat(" or ", array.concat(array.slice(allowed, 1, count(allowed)), ["nothing"])), workload.shown(workload.value_at(x.security, path)), sprintf("remove seLinuxOptions.%s", [field]))
}

# A pod in a user namespace of its own may see an unmasked /proc.
own_users(pod) if workload.value_at(pod.spec, ["hostUsers"]) == false

baseline contains f if {
	some c in workload.containers
	not own_users(c.pod)
	f := proc_mount(c)
}

proc_mount(c) := f if {
	not workload.unset_or(c.security, ["procMount"], ["Default"])
	f := finding(c, "securityContext.procMount", "Default or nothing", workload.shown(workload.value_at(c.security, ["procMount"])), "remove procMount")
}

baseline contains f if {
	some x in contexts
	profile := workload.value_at(x.security, ["seccompProfile"])
	profile != null
	kind := workload.value_at(workload.object_of(profile), ["type"])
	not kind in ["RuntimeDefault", "Localhost"]
	f := finding(x, "securityContext.seccompProfile.type", "RuntimeDefault or Localhost", workload.shown(kind), "set it to RuntimeDefault")
}

safe_sysctls := {
	"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_rmem", "net.ipv4.tcp_slow_start_after_idle",
	"net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
}

baseline contains f if {
	some pod in workload.pods
	some i, sysctl in workload.list_at(pod.security, ["sysctls"])
	name := workload.value_at(workload.object_of(sysctl), ["name"])
	not name in safe_sysctls
	f := finding(pod, sprintf("securityContext.sysctls[%d].name", [i]), "a sysctl that reaches no further than the pod", workload.shown(name), "remove the sysctl, or set it on the node")
}

# Restricted is baseline and what follows.
restricted contains f if some f in baseline

restricted contains f if {
	some c in workload.containers
	f := proc_mount(c)
}

restricted contains f if {
	some pod in workload.pods
	some i, volume in workload.list_at(pod.spec, ["volumes"])
	allowed := ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"]
	sources := workload.volume_types(volume)
	some source in sources
	not source in allowed
	f := finding(pod, sprintf("volumes[%d]", [i]), concat("", ["one of ", concat(", ", allowed)]), workload.listed(sources), "use a persistentVolumeClaim, emptyDir or configMap instead")
}

restricted contains f if {
	some c in workload.containers
	not c.pod.windows
	value := workload.value_at(c.security, ["allowPrivilegeEscalation"])
	value != false
	f := finding(c, "securityContext.allowPrivilegeEscalation", "false", workload.shown(value), "set it to false")
}

restricted contains f if {
	some c in workload.containers
	not own_users(c.pod)
	workload.effective(c, ["runAsNonRoot"]) == null
	f := finding(c, "securityContext.runAsNonRoot", "true, here or in the securityContext of the pod", "nothing", "set runAsNonRoot: true in the securityContext of the pod, and USER in the image")
}

restricted contains f if {
	some x in contexts
	not own_users(object.get(x, "pod", x))
	not workload.unset_or(x.security, ["runAsNonRoot"], [true])
	f := finding(x, "securityContext.runAsNonRoot", "true", workload.shown(workload.value_at(x.security, ["runAsNonRoot"])), "set it to true, and USER in the image")
}

restricted contains f if {
	some x in contexts
	not own_users(object.get(x, "pod", x))
	workload.value_at(x.security, ["runAsUser"]) == 0
	f := finding(x, "securityContext.runAsUser", "a user that is not 0", "0", "set it to the number of a user without rights, such as 65532")
}

restricted contains f if {
	some c in workload.containers
	not c.pod.windows
	workload.effective(c, ["seccompProfile", "type"]) == null
	f := finding(c, "securityContext.seccompProfile.type", "RuntimeDefault or Localhost, here or in the securityContext of the pod", "nothing", "set seccompProfile.type: RuntimeDefault in the securityContext of the pod")
}

restricted contains f if {
	some c in workload.containers
	not c.pod.windows
	not "ALL" in workload.list_at(c.security, ["capabilities", "drop"])
	f := finding(c, "securityContext.capabilities.drop", `"ALL" in it`, workload.shown(workload.value_at(c.security, ["capabilities", "drop"])), "set capabilities.drop: [ALL]")
}

restricted contains f if {
	some c in workload.containers
	not c.pod.windows
	some i, capability in workload.list_at(c.security, ["capabilities", "add"])
	capability in baseline_capabilities
	capability != "NET_BIND_SERVICE"
	f := finding(c, sprintf("securityContext.capabilities.add[%d]", [i]), "NET_BIND_SERVICE or nothing", workload.shown(capability), "remove the capability")
}
