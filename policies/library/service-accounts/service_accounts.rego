# METADATA
# title: Pods have a service account of their own, and no token that they do not use
# description: |
#   The account default is everybody's, so a right that is given to it is given to all. A token
#   that is mounted is what somebody who breaks in uses first.
package tidegate.service_accounts

import data.lib.workload

deny contains workload.violation("TG-SERVICE-ACCOUNT", pod, "serviceAccountName", "an account of this workload's own", found(pod), "make a ServiceAccount and name it") if {
	some pod in workload.pods
	account(pod) in array.concat(["", "default"], input.parameters.deniedAccounts)
}

deny contains workload.violation("TG-SERVICE-ACCOUNT", pod, "automountServiceAccountToken", "false", workload.shown(workload.value_at(pod.spec, ["automountServiceAccountToken"])), "set it to false; if the program talks to the API server, ask the platform team to add its account to tokenAccounts of this policy") if {
	some pod in workload.pods
	not account(pod) in input.parameters.tokenAccounts
	workload.value_at(pod.spec, ["automountServiceAccountToken"]) != false
}

deny contains workload.violation("TG-SERVICE-ACCOUNT", pod, sprintf("volumes[%d].projected.sources[%d].serviceAccountToken", [i, j]), "a token for an audience other than the API server", "one without an audience", "name the audience, such as vault") if {
	some pod in workload.pods
	not account(pod) in input.parameters.tokenAccounts
	some i, volume in workload.list_at(pod.spec, ["volumes"])
	some j, source in workload.list_at(workload.object_of(volume), ["projected", "sources"])
	token := workload.value_at(workload.object_of(source), ["serviceAccountToken"])
	token != null
	workload.text_at(workload.object_of(token), ["audience"]) == ""
}

# The second name is the old one of the same field.
account(pod) := name if {
	name := workload.text_at(pod.spec, ["serviceAccountName"])
	name != ""
} else := workload.text_at(pod.spec, ["serviceAccount"])

found(pod) := "nothing, which is default" if account(pod) == ""

found(pod) := workload.shown(account(pod)) if account(pod) != ""
