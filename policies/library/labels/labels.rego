# METADATA
# title: Objects say what they are and whose
# description: |
#   At night somebody has to find out whose pods these are. Costs, alerts and network policies
#   go by labels too.
package tidegate.labels

import data.lib.workload

deny contains workload.violation("TG-LABELS", x, sprintf("%s[%q]", [want.where, want.key]), wanted(want), workload.shown(value), sprintf("set the %s %s", [trim_suffix(want.where, "s"), want.key])) if {
	some x in labelled
	some want in wants
	value := workload.value_at(x.metadata, [want.where, want.key])
	not fits(want, value)
}

deny contains workload.violation("TG-LABELS", {"subject": "DeployPolicy", "path": ""}, "spec.parameters", "a pattern that is a regular expression", workload.shown(want.pattern), "kubectl edit deploypolicy labels") if {
	some want in wants
	not regex.is_valid(want.pattern)
}

wants := array.concat(
	[{"where": "labels", "key": l.key, "pattern": l.pattern} | some l in input.parameters.labels],
	[{"where": "annotations", "key": l.key, "pattern": l.pattern} | some l in input.parameters.annotations],
)

# Objects, and the templates of their pods, which is what people find.
labelled := array.concat(
	[{"subject": workload.subject(o.object), "path": concat("", [o.at, "metadata"]), "metadata": workload.object_at(o.object, ["metadata"])} | some o in workload.objects],
	[{"subject": pod.subject, "path": pod.metadataPath, "metadata": pod.metadata} | some pod in workload.pods; input.parameters.onPods; pod.kind != "Pod"],
)

fits(want, value) if {
	is_string(value)
	value != ""
	regex.is_valid(want.pattern)
	regex.match(want.pattern, value)
}

wanted(want) := "a value" if want.pattern == ""

wanted(want) := sprintf("a value that matches %s", [want.pattern]) if want.pattern != ""
