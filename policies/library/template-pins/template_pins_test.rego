package tidegate.template_pins_test

import data.tidegate.template_pins

asking(template, parameters) := {
	"moment": "release",
	"parameters": parameters,
	"release": {"name": "cart", "namespace": "shop", "template": "web", "labels": {"tier": "web"}},
	"namespace": {"name": "shop", "labels": {"stage": "prod"}},
	"template": object.union({"name": "web", "revision": "web-3", "number": 3}, template),
}

follows := {}

pins := {"pin": {"revision": 3}}

follows_channel(name) := {"channel": name}

denials(template, parameters) := n if {
	n := count(template_pins.deny) with input as asking(template, parameters)
}

test_who_follows_passes if denials(follows, {}) == 0

test_pins_are_refused_unless_allowed if {
	denials(pins, {}) == 1
	denials(pins, {"allowPins": false}) == 1
	denials(pins, {"allowPins": "yes"}) == 1
	denials(pins, {"allowPins": true}) == 0
}

test_channels_are_refused_unless_listed if {
	denials(follows_channel("stable"), {}) == 1
	denials(follows_channel("stable"), {"channels": ["stable"]}) == 0
	denials(follows_channel("candidate"), {"channels": ["stable"]}) == 1
}

test_the_denial_of_a_pin_says_which if {
	template_pins.deny == {{
		"code": "TG-TEMPLATE-PIN",
		"msg": "spec.template: wanted a Release that follows its template, found one that pins revision 3 and digest sha256:ab",
		"fix": "leave spec.template.revision and spec.template.digest out; to have a pin allowed, ask the platform team",
		"details": {"pin": {"revision": 3, "digest": "sha256:ab"}},
	}} with input as asking({"pin": {"revision": 3, "digest": "sha256:ab"}}, {})
}

test_the_denial_of_a_channel_says_which_there_are if {
	{d.msg | some d in template_pins.deny} == {`spec.template.channel: wanted one of the channels candidate, stable, or none, found "edge"`} with input as asking(follows_channel("edge"), {"channels": ["stable", "candidate"]})
	{d.msg | some d in template_pins.deny} == {`spec.template.channel: wanted no channel, found "edge"`} with input as asking(follows_channel("edge"), {})
}

test_the_first_rule_that_selects_counts if {
	rules := [
		{"namespaces": ["dev-*"], "allowPins": true, "channels": ["candidate"]},
		{"namespaceLabels": {"stage": "prod"}, "releases": ["shop/cart"], "allowPins": true},
	]
	denials(pins, {"rules": rules}) == 0
	denials(follows_channel("candidate"), {"rules": rules, "channels": ["candidate"]}) == 1
}

test_a_rule_selects_by_all_of_its_parts if {
	denials(pins, {"rules": [{"namespaces": ["dev-*"], "allowPins": true}]}) == 1
	denials(pins, {"rules": [{"namespaceLabels": {"stage": "dev"}, "allowPins": true}]}) == 1
	denials(pins, {"rules": [{"namespaces": ["shop"], "releases": ["shop/x"], "allowPins": true}]}) == 1
	denials(pins, {"rules": [{"templates": ["worker"], "allowPins": true}]}) == 1
	denials(pins, {"rules": [{"templates": ["w*"], "allowPins": true}]}) == 0
}

test_labels_that_are_not_there_select_nothing if {
	doc := object.remove(asking(pins, {"rules": [{"namespaceLabels": {"stage": "prod"}, "allowPins": true}]}), ["namespace"])
	count(template_pins.deny) == 1 with input as doc
}

test_a_typo_is_refused if {
	denials(follows, {"rules": [{"releaseLabels": {"tier": "web"}}]}) == 1
	denials(follows, {"allowPin": true}) == 1
	denials(follows, {"rules": [{"namespace": "shop"}]}) == 1
	denials(follows, {"rules": ["shop"]}) == 1
}

test_another_moment_has_no_template_and_is_refused if {
	count(template_pins.deny) == 1 with input as {"parameters": {}, "object": {}}
}
