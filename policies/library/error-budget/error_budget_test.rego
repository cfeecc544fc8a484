package tidegate.error_budget_test

import data.tidegate.error_budget

asking(measurements) := {
	"moment": "promotion",
	"time": "2026-11-25T12:00:00Z",
	"parameters": {"measurement": "main/error-budget", "minimum": 0.1},
	"release": {"name": "cart", "namespace": "shop"},
	"rollout": {"weight": 25, "first": false, "rollback": false},
	"measurements": measurements,
}

denials(doc) := n if {
	n := count(error_budget.deny) with input as doc
}

test_enough if denials(asking({"main/error-budget": 0.1})) == 0

test_the_denial_says_how_much if {
	some d in error_budget.deny with input as asking({"main/error-budget": 0.05})
	d.msg == "Release shop/cart to 25 %: wanted at least 0.1 of the error budget left, found 0.05 (main/error-budget)"
	d.retryAfter == "5m"
}

test_overspent if denials(asking({"main/error-budget": -3})) == 1

test_what_is_not_measured_holds if {
	some d in error_budget.deny with input as asking({})
	d.msg == `Release shop/cart to 25 %: wanted the error budget measured as "main/error-budget", found no number`
	denials(asking({"main/another": 1})) == 1
	denials(object.remove(asking({}), ["measurements"])) == 1
	denials(asking({"main/error-budget": "1"})) == 1
}

test_the_source_that_did_not_answer_is_named if {
	silent := object.union(asking({}), {"unmeasured": {
		"main/error-budget": "asking main: no answer within 5s",
		"other/pages": "asking other: SourceDown refused",
	}})
	some d in error_budget.deny with input as silent
	endswith(d.msg, `measured as "main/error-budget", found no number, asking main: no answer within 5s`)
	not contains(d.msg, "other")
}

test_another_source_that_did_not_answer_hinders_nobody if {
	denials(object.union(asking({"main/error-budget": 1}), {"unmeasured": {"other/pages": "asking other: no answer"}})) == 0
}

test_without_parameters_it_holds if denials(object.remove(asking({"main/error-budget": 1}), ["parameters"])) == 1

test_a_rollback_is_never_held if denials(object.union(asking({}), {"rollout": {"rollback": true}})) == 0

test_a_first_install_is_not_asked_about if denials(object.union(asking({}), {"rollout": {"first": true}})) == 0

test_a_wave_is_not_asked_about if denials(object.remove(asking({}), ["rollout", "release"])) == 0
