package tidegate.max_deployments_test

import data.tidegate.max_deployments

asking(history) := {
	"moment": "promotion",
	"time": "2026-11-25T12:00:00Z",
	"parameters": {"max": 2, "window": "4h", "per": "release"},
	"release": {"name": "cart", "namespace": "shop"},
	"rollout": {"name": "cart-9", "started": "2026-11-25T11:55:00Z", "weight": 5, "from": 0, "first": false, "rollback": false},
	"history": history,
}

at(release, clock) := {"release": release, "rollout": sprintf("%s-%s", [release, clock]), "started": "2026-11-24T12:00:00Z", "raised": sprintf("2026-11-25T%s:00Z", [clock]), "phase": "Succeeded"}

# One that was made within the window and has not risen.
unrisen(phase) := {"release": "cart", "rollout": "cart-7", "started": "2026-11-25T11:30:00Z", "phase": phase}

waiting(name, started) := {"release": "cart", "rollout": name, "started": started, "phase": "Progressing", "waits": true}

one(history) := object.union(asking(history), {"parameters": {"max": 1}})

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

test_one_that_was_made_before_the_window_and_rose_in_it_counts if {
	denials(one([at("cart", "11:00")])) == 1
}

test_those_of_others_do_not_count if denials(asking([at("cart", "11:00"), at("db", "11:00")])) == 0

test_those_of_others_count_in_the_namespace if {
	denials(object.union(asking([at("cart", "11:00"), at("db", "11:00")]), {"parameters": {"per": "namespace"}})) == 1
}

test_what_has_not_risen_does_not_count if {
	every phase in ["Pending", "Progressing", "Promoting", "Succeeded", "Aborting", "Aborted"] {
		denials(one([unrisen(phase)])) == 0
	}
}

test_two_that_wait_do_not_hold_each_other if {
	denials(one([waiting("cart-8", "2026-11-25T11:00:00Z")])) == 0
}

test_one_that_was_aborted_counts if denials(one([object.union(at("cart", "11:30"), {"phase": "Aborted"})])) == 1

test_who_waits_longest_goes_first if {
	just_over := at("cart", "08:00")
	max_deployments.deny == {{
		"code": "TG-MAX-DEPLOYMENTS",
		"msg": "Release shop/cart to 5 %: wanted a turn among 1 Rollouts of the Release within 4h, found that others have waited longer: cart-8",
		"fix": "wait, it goes on by itself; a rollback is never held",
		"retryAfter": "10s",
	}} with input as one([just_over, waiting("cart-8", "2026-11-25T11:00:00Z")])
	denials(one([just_over, waiting("cart-99", "2026-11-25T11:59:00Z")])) == 0
	denials(one([just_over, waiting("cart-90", "2026-11-25T11:55:00Z")])) == 0
	denials(one([just_over, waiting("cart-8", "2026-11-25T11:55:00Z")])) == 1
	denials(one([just_over, object.union(waiting("db-8", "2026-11-25T11:00:00Z"), {"release": "db"})])) == 0
}

test_there_may_be_room_for_both if {
	denials(asking([at("cart", "08:00"), at("cart", "07:00"), waiting("cart-8", "2026-11-25T11:00:00Z")])) == 0
	denials(asking([at("cart", "10:00"), at("cart", "08:00"), waiting("cart-8", "2026-11-25T11:00:00Z")])) == 1
}

test_who_waits_longest_and_does_not_begin_is_not_waited_for if {
	denials(object.union(one([at("cart", "08:00"), waiting("cart-8", "2026-11-25T11:00:00Z")]), {"time": "2026-11-25T12:00:44Z"})) == 1
	denials(object.union(one([at("cart", "08:00"), waiting("cart-8", "2026-11-25T11:00:00Z")]), {"time": "2026-11-25T12:00:45Z"})) == 0
}

test_one_that_has_begun_goes_on if {
	busy := asking([at("cart", "11:00"), at("cart", "09:00")])
	denials(object.union(busy, {"rollout": {"from": 5}})) == 0
	denials(object.union(busy, {"rollout": {"raised": "2026-11-25T10:00:00Z"}})) == 0
}

test_a_rollback_is_never_held if denials(object.union(asking([at("cart", "11:00"), at("cart", "09:00")]), {"rollout": {"rollback": true}})) == 0

test_a_first_install_is_not_asked_about if denials(object.union(asking([at("cart", "11:00"), at("cart", "09:00")]), {"rollout": {"first": true}})) == 0

test_without_parameters_it_is_one_a_day if denials(object.remove(asking([at("cart", "11:00")]), ["parameters"])) == 1
