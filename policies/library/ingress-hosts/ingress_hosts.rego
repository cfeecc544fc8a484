# METADATA
# title: Hosts of routes belong to their namespace, and have TLS
# description: |
#   Whoever may name any host can take the traffic of another team, or of all by a wildcard.
#   Each namespace is given its domains, and a domain that is given to one namespace only is
#   unique by that.
package tidegate.ingress_hosts

import data.lib.workload

routes := workload.of_kind(["Ingress", "HTTPRoute", "GRPCRoute", "TLSRoute"])

# What a route answers to. A rule without a host answers to all.
hosts contains [r, sprintf("spec.rules[%d].host", [i]), workload.text_at(workload.object_of(rule), ["host"])] if {
	some r in routes
	r.kind == "Ingress"
	some i, rule in workload.list_at(r.object, ["spec", "rules"])
}

hosts contains [r, "spec.rules", ""] if {
	some r in routes
	r.kind == "Ingress"
	count(workload.list_at(r.object, ["spec", "rules"])) == 0
}

hosts contains [r, sprintf("spec.hostnames[%d]", [i]), workload.text_at({"host": host}, ["host"])] if {
	some r in routes
	r.kind != "Ingress"
	some i, host in workload.list_at(r.object, ["spec", "hostnames"])
}

hosts contains [r, "spec.hostnames", ""] if {
	some r in routes
	r.kind != "Ingress"
	count(workload.list_at(r.object, ["spec", "hostnames"])) == 0
}

namespace(r) := workload.text_at(r.object, ["metadata", "namespace"]) if {
	workload.text_at(r.object, ["metadata", "namespace"]) != ""
} else := object.get(input, ["request", "namespace"], "")

# The domains of a namespace.
domains(r) := sort({domain |
	some rule in input.parameters.rules
	some pattern in rule.namespaces
	glob.match(pattern, [], namespace(r))
	some domain in rule.domains
})

allowed(r) := "none, since this namespace has no domains" if count(domains(r)) == 0

allowed(r) := sprintf("%s or a name below", [concat(" or ", domains(r))]) if count(domains(r)) > 0

within(host, domain) if lower(host) == domain

within(host, domain) if endswith(lower(host), concat("", [".", domain]))

deny contains workload.violation("TG-INGRESS-HOST", r, path, sprintf("a host: %s", [allowed(r)]), "none, which is every host", "name the host") if {
	some [r, path, ""] in hosts
}

deny contains workload.violation("TG-INGRESS-HOST", r, path, "a host without a wildcard", workload.shown(host), "name each host") if {
	some [r, path, host] in hosts
	contains(host, "*")
	not input.parameters.allowWildcards
}

deny contains workload.violation("TG-INGRESS-HOST", r, path, allowed(r), workload.shown(host), sprintf("use a host of namespace %s, or ask the platform team to give it this domain in the parameter rules of this policy", [namespace(r)])) if {
	some [r, path, host] in hosts
	host != ""
	every domain in domains(r) { not within(trim_prefix(host, "*."), domain) }
}

deny contains workload.violation("TG-INGRESS-HOST", r, "spec.tls", sprintf("%s in the hosts of an entry with a secretName", [host]), "no such entry", "add it to spec.tls") if {
	some [r, _, host] in hosts
	r.kind == "Ingress"
	input.parameters.requireTLS
	host != ""
	not encrypted(r, host)
}

encrypted(r, host) if {
	some raw in workload.list_at(r.object, ["spec", "tls"])
	entry := workload.object_of(raw)
	workload.text_at(entry, ["secretName"]) != ""
	some name in workload.list_at(entry, ["hosts"])
	covers(name, host)
}

covers(name, host) if name == host

covers(name, host) if {
	startswith(name, "*.")
	concat(".", array.slice(split(host, "."), 1, 100)) == trim_prefix(name, "*.")
}

deny contains workload.violation("TG-INGRESS-HOST", r, "spec.defaultBackend", "nothing, since it answers to every host", "one", "remove it and write a rule with a host") if {
	some r in routes
	r.kind == "Ingress"
	workload.value_at(r.object, ["spec", "defaultBackend"]) != null
}
