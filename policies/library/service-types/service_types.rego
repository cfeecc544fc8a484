# METADATA
# title: Services stay inside the cluster
# description: |
#   A NodePort opens the port on every node, a LoadBalancer is an address of its own to the
#   world, externalIPs take the traffic of others, and an ExternalName leads requests anywhere.
#   What comes from outside comes through the gateway.
package tidegate.service_types

import data.lib.workload

services := workload.of_kind(["Service"])

deny contains workload.violation("TG-SERVICE-TYPE", s, "spec.type", concat(" or ", input.parameters.allowed), workload.shown(kind(s)), "use ClusterIP, and a route for what comes from outside") if {
	some s in services
	not kind(s) in input.parameters.allowed
}

deny contains workload.violation("TG-SERVICE-TYPE", s, "spec.externalIPs", "nothing, since anybody could take an address", workload.shown(addresses), "remove externalIPs") if {
	some s in services
	addresses := workload.value_at(s.object, ["spec", "externalIPs"])
	not addresses in [null, []]
}

deny contains workload.violation("TG-SERVICE-TYPE", s, sprintf("spec.ports[%d].nodePort", [i]), "nothing, so that the cluster chooses", workload.shown(port.nodePort), "remove nodePort") if {
	some s in services
	some i, port in workload.list_at(s.object, ["spec", "ports"])
	not input.parameters.allowFixedNodePorts
	operation != "UPDATE"
	not workload.unset_or(workload.object_of(port), ["nodePort"], [0])
}

# On an update the port is there because the cluster chose it.
operation := object.get(input, ["request", "operation"], "CREATE")

kind(s) := value if {
	value := workload.value_at(s.object, ["spec", "type"])
	not value in [null, ""]
} else := "ClusterIP"
