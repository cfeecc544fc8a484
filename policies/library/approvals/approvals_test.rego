package tidegate.approvals_test

import data.tidegate.approvals

asking(approvals) := {
	"moment": "promotion",
	"time": "2026-11-25T11:00:00Z",
	"parameters": {"groups": ["sre", "managers"], "count": 2, "above": 50},
	"release": {"name": "cart", "namespace": "shop"},
	"rollout": {"weight": 100, "first": false, "rollback": false, "approvals": approvals},
}

by(actor, groups) := {"step": 1, "actor": actor, "groups": groups}

denials(doc) := n if {
	n := count(approvals.deny) with input as doc
}

test_the_denial_says_who_is_missing if {
	approvals.deny == {{
		"code": "TG-APPROVAL-MISSING",
		"msg": "Release shop/cart to 100 %: wanted the approval of 2 of sre or managers, found 1: bob",
		"fix": "somebody of these groups: tidegate approve cart -n shop; a template without a step with approval: true can get none",
	}} with input as asking([by("bob", ["sre"]), by("eve", ["dev"])])
}

test_enough_people_of_the_groups if denials(asking([by("bob", ["sre"]), by("eve", ["dev", "managers"])])) == 0

test_one_person_twice_is_one if denials(asking([by("bob", ["sre"]), {"step": 2, "actor": "bob", "groups": ["managers"]}])) == 1

test_nobody_in_particular_does_not_count if denials(asking([by("", ["sre"]), by("bob", ["sre"])])) == 1

test_groups_that_are_not_known_do_not_count if denials(asking([{"step": 1, "actor": "bob"}, {"step": 1, "actor": "eve"}])) == 1

test_no_approvals if denials(asking([])) == 1

test_up_to_the_limit_nobody_is_needed if denials(object.union(asking([]), {"rollout": {"weight": 50}})) == 0

test_a_first_install_is_not_asked_about if denials(object.union(asking([]), {"rollout": {"first": true}})) == 0

test_a_rollback_is_never_held if denials(object.union(asking([]), {"rollout": {"rollback": true}})) == 0

test_a_wave_is_not_asked_about if denials(object.remove(asking([]), ["rollout", "release"])) == 0

test_without_parameters_it_holds if denials(object.remove(asking([by("bob", ["sre"])]), ["parameters"])) == 1
