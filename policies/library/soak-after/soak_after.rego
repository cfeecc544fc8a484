# METADATA
# title: Soak after the previous environment
# description: |
#   Exposure rises only when the Release of the same name in the environment before has served
#   the same for parameters.soak. What has to be the same is the template revision, and the
#   values of parameters.same, or all of them.
package tidegate.soak_after

deny contains object.union({"code": "TG-SOAK-AFTER", "msg": msg, "fix": fix}, hint) if {
	not exempt
	count(mistakes) == 0
	previous
	some problem, hint in problems
	msg := sprintf("%s: wanted Release %s/%s to have served the same for %s, found %s", [asked, previous, input.release.name, soak, problem])
	fix := sprintf("bring it into service there: tidegate status %s -n %s; it goes on by itself then", [input.release.name, previous])
}

# A policy that names no environment would hold nobody.
deny contains {"code": "TG-SOAK-AFTER", "msg": msg, "fix": fix} if {
	not exempt
	some msg in mistakes
	fix := "kubectl edit deploypolicy, the one that this message names"
}

default soak := "1h"

soak := input.parameters.soak

default same := []

same := input.parameters.same

default before := {}

before := input.parameters.before

default suffixes := []

suffixes := input.parameters.suffixes

now := time.parse_rfc3339_ns(input.time)

# The namespace of the environment before, by name or by the longest ending of the name.
previous := before[input.release.namespace]

previous := concat("", [trim_suffix(input.release.namespace, suffixes[place]), suffixes[place - 1]]) if {
	not before[input.release.namespace]
	place := endings[count(endings) - 1][1]
	place > 0
}

# The endings that fit, the longest last, each with its place.
endings := sort([[count(suffix), i] |
	some i, suffix in suffixes
	endswith(input.release.namespace, suffix)
])

there := e if {
	some e in input.elsewhere
	e.namespace == previous
}

values_here := object.get(input, "values", {})

values_there := object.get(there, "values", {})

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
	some values in [values_here, values_there]
	has(values, path)
	object.get(values_there, path, "none there") != object.get(values_here, path, "none here")
	text := sprintf("another values.%s", [name])
}

problems[text] := {} if {
	there
	some name in same
	path := split(name, ".")
	not has(values_here, path)
	not has(values_there, path)
	text := sprintf("values.%s neither there nor here, so that nothing says whether it is the same; see same in the policy's parameters", [name])
}

problems[text] := {} if {
	there
	count(same) == 0
	some name in (object.keys(values_here) | object.keys(values_there))
	object.get(values_there, name, "none there") != object.get(values_here, name, "none here")
	text := sprintf("another values.%s; to have only some compared, list them as same in the policy's parameters", [name])
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

# Whether values have something at a path, be it null.
has(values, path) if object.get(values, path, 0) == object.get(values, path, 1)

mistakes contains "parameters: wanted before or suffixes, found neither" if {
	not input.parameters.before
	not input.parameters.suffixes
}

mistakes contains "parameters.before: wanted at least one namespace, found none" if count(input.parameters.before) == 0

mistakes contains sprintf("parameters.suffixes: wanted at least two, found %d", [count(suffixes)]) if {
	count(input.parameters.suffixes) < 2
}

mistakes contains sprintf("parameters.suffixes: wanted each once, found %q again", [suffix]) if {
	some i, suffix in suffixes
	suffix in array.slice(suffixes, 0, i)
}

asked := sprintf("Release %s/%s to %d %%", [input.release.namespace, input.release.name, input.rollout.weight])

# A sync of a template, a first install, which disturbs nothing, and a return from a template
# revision are not asked about.
exempt if not input.rollout

exempt if input.rollout.first

exempt if input.rollout.rollback
