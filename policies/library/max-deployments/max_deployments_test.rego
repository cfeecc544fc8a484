package tidegate.max_deployments_test

import data.tidegate.max_deployments

asking(history) := {
	"moment": "promotion",
	"time": "2026-11-25T12:00:00Z",
	"parameters": {"max": 2, "window": "4h", "per": "release"},
	"release": {"name": "cart", "namespace": "shop"},
	"rollout": {"weight": 5, "from": 0, "first": false, "rollback": false},
	"history": history,
}

at(release, clock) := {"release": release, "rollout": sprintf("%s-%s", [release, clock]), "started": sprintf("2026-11-25T%s:00Z", [clock]), "phase": "Succeeded"}

denials(doc) := n if {
	n := count(max_deployments.deny) with input as doc
}

test_the_denial_says_when if {
	max_deployments.deny == {{
		"code": "TG-MAX-DEPLOYMENTS",
		"msg": "Release shop/cart to 5 %: wanted fewer than 2 Rollouts of the Release within 4h, found 2; the next may begin at 2026-11-25T13:00:00Z",
		"fix": "wait, it goes on by itself then; a rollback is never held",
		"until": "2026-11-25T13:00:00Z",
	}} with input as asking([at("cart", "11:00"), at("cart", "09:00"), at("cart", "07:00")])
}

test_with_more_than_the_most_it_waits_for_enough_to_pass if {
	some d in max_deployments.deny with input as asking([at("cart", "11:00"), at("cart", "10:30"), at("cart", "09:00")])
	d.until == "2026-11-25T14:30:00Z"
}

test_fewer if denials(asking([at("cart", "11:00")])) == 0

test_those_before_the_window_do_not_count if denials(asking([at("cart", "11:00"), at("cart", "08:00")])) == 0

test_those_of_others_do_not_count if denials(asking([at("cart", "11:00"), at("db", "11:00")])) == 0

test_those_of_others_count_in_the_namespace if {
	denials(object.union(asking([at("cart", "11:00"), at("db", "11:00")]), {"parameters": {"per": "namespace"}})) == 1
}

test_one_that_waits_has_not_begun if denials(asking([at("cart", "11:00"), object.union(at("cart", "11:30"), {"phase": "Pending"})])) == 0

test_one_that_was_aborted_counts if denials(asking([at("cart", "11:00"), object.union(at("cart", "11:30"), {"phase": "Aborted"})])) == 1

test_one_that_has_begun_goes_on if denials(object.union(asking([at("cart", "11:00"), at("cart", "09:00")]), {"rollout": {"from": 5}})) == 0

test_a_rollback_is_never_held if denials(object.union(asking([at("cart", "11:00"), at("cart", "09:00")]), {"rollout": {"rollback": true}})) == 0

test_a_first_install_is_not_asked_about if denials(object.union(asking([at("cart", "11:00"), at("cart", "09:00")]), {"rollout": {"first": true}})) == 0

test_without_parameters_it_is_one_a_day if denials(object.remove(asking([at("cart", "11:00")]), ["parameters"])) == 1
