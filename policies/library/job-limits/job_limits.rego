# METADATA
# title: Jobs end, and are cleaned up
# description: |
#   A Job without a deadline that hangs holds its resources until somebody looks, and one that
#   nobody removes is read by the API server for ever.
package tidegate.job_limits

import data.lib.workload

# The specification of a Job, wherever it is.
jobs := array.concat(
	[{"subject": j.subject, "path": concat("", [j.path, "spec"]), "spec": workload.object_at(j.object, ["spec"]), "kind": j.kind} | some j in workload.of_kind(["Job"])],
	[{"subject": j.subject, "path": concat("", [j.path, "spec.jobTemplate.spec"]), "spec": workload.object_at(j.object, ["spec", "jobTemplate", "spec"]), "kind": j.kind} | some j in workload.of_kind(["CronJob"])],
)

deny contains workload.violation("TG-JOB-LIMITS", j, field, sprintf("a number of seconds up to %d", [input.parameters[most]]), workload.shown(workload.value_at(j.spec, [field])), sprintf("set %s", [field])) if {
	some j in jobs
	some field, most in {"activeDeadlineSeconds": "maxSeconds", "ttlSecondsAfterFinished": "maxSecondsAfterFinished"}
	not exempt(j, field)
	not at_most(workload.value_at(j.spec, [field]), input.parameters[most])
}

deny contains workload.violation("TG-JOB-LIMITS", j, "backoffLimit", sprintf("a number up to %d", [input.parameters.maxRetries]), workload.shown(retries), "set backoffLimit; a Job that fails as often fails for a reason") if {
	some j in jobs
	retries := workload.value_at(j.spec, ["backoffLimit"])
	retries != null
	not at_most(retries, input.parameters.maxRetries)
}

at_most(n, most) if {
	is_number(n)
	n >= 0
	n <= most
}

# A CronJob removes its Jobs itself.
exempt(j, "ttlSecondsAfterFinished") if j.kind == "CronJob"
