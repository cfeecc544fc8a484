# METADATA
# title: Soak after the previous environment
# description: |
#   Exposure rises only when the Release of the same name in the environment before has served
#   the same for parameters.soak.
package tidegate.soak_after

deny contains object.union({"code": "TG-SOAK-AFTER", "msg": msg, "fix": fix}, hint) if {
	not exempt
	previous
	some problem, hint in problems
	msg := sprintf("%s: wanted Release %s/%s to have served the same for %s, found %s", [asked, previous, input.release.name, soak, problem])
	fix := sprintf("bring it into service there: tidegate status %s -n %s; it goes on by itself then", [input.release.name, previous])
}

default soak := "1h"

soak := input.parameters.soak

default same := []

same := input.parameters.same

now := time.parse_rfc3339_ns(input.time)

# The namespace of the environment before, by name or by the ending of the name.
previous := input.parameters.before[input.release.namespace]

previous := concat("", [trim_suffix(input.release.namespace, suffixes[i]), suffixes[i - 1]]) if {
	not input.parameters.before[input.release.namespace]
	suffixes := input.parameters.suffixes
	some i, suffix in suffixes
	i > 0
	endswith(input.release.namespace, suffix)
}

there := e if {
	some e in input.elsewhere
	e.namespace == previous
}

problems["that there is none"] := {} if not there

problems[text] := {} if {
	there.phase != "Succeeded"
	text := sprintf("Rollout %s %s", [there.rollout, there.phase])
}

problems[text] := {} if {
	there.template != input.template.revision
	text := sprintf("template revision %s there and %s here", [there.template, input.template.revision])
}

# The values themselves are not repeated: they may be sensitive.
problems[text] := {} if {
	some name in same
	path := split(name, ".")
	object.get(object.get(there, "values", {}), path, null) != object.get(object.get(input, "values", {}), path, null)
	text := sprintf("another values.%s", [name])
}

problems[text] := {"until": time.format([ready, "UTC", "2006-01-02T15:04:05Z07:00"])} if {
	there.phase == "Succeeded"
	ready := time.parse_rfc3339_ns(there.succeeded) + time.parse_duration_ns(soak)
	now < ready
	text := sprintf("that it is in service since %s", [there.succeeded])
}

problems["that it is not known since when it is in service"] := {} if {
	there.phase == "Succeeded"
	object.get(there, "succeeded", "") == ""
}

asked := sprintf("Release %s/%s to %d %%", [input.release.namespace, input.release.name, input.rollout.weight])

# A sync of a template, a first install, which disturbs nothing, and a return from a template
# revision are not asked about.
exempt if not input.rollout

exempt if input.rollout.first

exempt if input.rollout.rollback
