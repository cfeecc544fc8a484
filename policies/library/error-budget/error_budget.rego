# METADATA
# title: Error budget left
# description: |
#   Exposure rises only while enough of the error budget is left, as a MetricSource measures
#   it. What cannot be measured holds.
package tidegate.error_budget

deny contains {"code": "TG-ERROR-BUDGET", "msg": msg, "fix": fix, "retryAfter": "5m"} if {
	not exempt
	is_number(left)
	left < minimum
	msg := sprintf("%s: wanted at least %v of the error budget left, found %v (%s)", [asked, minimum, left, measurement])
	fix := "wait until the service has recovered, it goes on by itself then; an abort and a rollback are never held"
}

deny contains {"code": "TG-ERROR-BUDGET", "msg": msg, "fix": fix, "retryAfter": "1m"} if {
	not exempt
	not is_number(left)
	msg := sprintf("%s: wanted the error budget measured as %q, found no number%s", [asked, measurement, why])
	fix := "look at spec.queries and the conditions of the MetricSource: kubectl describe metricsource"
}

default measurement := ""

measurement := input.parameters.measurement

default minimum := 0

minimum := input.parameters.minimum

default left := null

left := input.measurements[measurement]

# Why the source gave no number, where it is known.
default why := ""

why := sprintf(", %s", [input.unmeasured[measurement]])

asked := sprintf("Release %s/%s to %d %%", [input.release.namespace, input.release.name, input.rollout.weight])

# A sync of a template, a first install, which disturbs nothing, and a return from a template
# revision are not asked about.
exempt if not input.rollout

exempt if input.rollout.first

exempt if input.rollout.rollback
