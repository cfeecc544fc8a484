# METADATA
# title: Template pins
# description: |
#   Which Releases may leave their template's sync, by pinning a revision or following a
#   channel. README.md describes the parameters.
package tidegate.template_pins

deny contains {"code": "TG-TEMPLATE-PIN", "msg": msg, "fix": fix, "details": {"pin": input.template.pin}} if {
	input.template.pin
	not pins_allowed
	msg := sprintf("spec.template: wanted a Release that follows its template, found one that pins %s", [pinned])
	fix := "leave spec.template.revision and spec.template.digest out; to have a pin allowed, ask the platform team"
}

deny contains {"code": "TG-TEMPLATE-PIN", "msg": msg, "fix": fix, "details": {"channel": input.template.channel}} if {
	input.template.channel
	not input.template.channel in allowed
	msg := sprintf("spec.template.channel: wanted %s, found %q", [known, input.template.channel])
	fix := "change or leave out spec.template.channel; to have another channel allowed, ask the platform team"
}

deny contains {"code": "TG-TEMPLATE-PIN", "msg": msg, "fix": fix} if {
	some msg in mistakes
	fix := "kubectl edit deploypolicy, the one that this message names"
}

# The first rule that selects the Release counts, and after all of them the parameters
# themselves.
rule := [r | some r in array.concat(rules, [input.parameters]); selects(r)][0]

default rules := []

rules := input.parameters.rules if is_array(input.parameters.rules)

default allowed := []

allowed := rule.channels if is_array(rule.channels)

pins_allowed if rule.allowPins == true

selects(r) if {
	is_object(r)
	in_namespace(r)
	has_labels(r)
	is_named(r)
	of_template(r)
}

in_namespace(r) if not r.namespaces

in_namespace(r) if {
	some p in r.namespaces
	glob.match(p, null, input.release.namespace)
}

of_template(r) if not r.templates

of_template(r) if {
	some p in r.templates
	glob.match(p, null, input.template.name)
}

has_labels(r) if not r.namespaceLabels

has_labels(r) if {
	every k, v in r.namespaceLabels {
		input.namespace.labels[k] == v
	}
}

# Labels of a Release are its team's to set, so they select nothing; its name does.
is_named(r) if not r.releases

is_named(r) if {
	some p in r.releases
	glob.match(p, null, sprintf("%s/%s", [input.release.namespace, input.release.name]))
}

pinned := concat(" and ", array.concat(
	[sprintf("revision %d", [n]) | n := input.template.pin.revision],
	[sprintf("digest %s", [d]) | d := input.template.pin.digest],
))

known := sprintf("one of the channels %s, or none", [concat(", ", sort(allowed))]) if {
	count(allowed) > 0
} else := "no channel"

mistakes contains msg if {
	some key in (object.keys(input.parameters) - {"allowPins", "channels", "rules"})
	msg := sprintf("parameters: wanted allowPins, channels or rules, found %s", [key])
}

mistakes contains msg if {
	some i, r in rules
	is_object(r)
	some key in (object.keys(r) - {"allowPins", "channels", "namespaces", "namespaceLabels", "releases", "templates"})
	msg := sprintf("parameters.rules[%d]: wanted allowPins, channels, namespaces, namespaceLabels, releases or templates, found %s", [i, key])
}

mistakes contains sprintf("parameters.rules[%d]: wanted an object, found %v", [i, r]) if {
	some i, r in rules
	not is_object(r)
}

mistakes contains "wanted input.template, found none; list this policy at: [release] alone" if not input.template
