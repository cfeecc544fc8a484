package tidegate.two_person_test

import data.tidegate.two_person

asking(author, approvals) := {
	"moment": "promotion",
	"time": "2026-11-25T11:00:00Z",
	"parameters": {"above": 5, "machines": ["robot"]},
	"release": {"name": "cart", "namespace": "shop"},
	"author": author,
	"rollout": {"weight": 25, "first": false, "rollback": false, "approvals": approvals},
}

denials(doc) := n if {
	n := count(two_person.deny) with input as doc
}

test_the_denial_names_the_author if {
	two_person.deny == {{
		"code": "TG-TWO-PERSON",
		"msg": `Release shop/cart to 25 %: wanted the approval of somebody other than "alice", who changed the Release, found none`,
		"fix": "somebody else: tidegate approve cart -n shop",
	}} with input as asking("alice", [{"step": 1, "actor": "alice"}])
}

test_somebody_else if denials(asking("alice", [{"step": 1, "actor": "alice"}, {"step": 1, "actor": "bob"}])) == 0

test_a_machine_is_nobody_else if denials(asking("alice", [{"step": 1, "actor": "robot"}])) == 1

test_a_service_account_is_nobody_else if denials(asking("alice", [{"step": 1, "actor": "system:serviceaccount:shop:deployer"}])) == 1

test_a_service_account_that_approves_for_people if {
	denials(object.union(
		asking("alice", [{"step": 1, "actor": "system:serviceaccount:chat:bot"}]),
		{"parameters": {"serviceAccounts": ["system:serviceaccount:chat:bot"]}},
	)) == 0
}

test_a_service_account_as_the_author_of_what_it_approves if {
	denials(object.union(
		asking("system:serviceaccount:chat:bot", [{"step": 1, "actor": "system:serviceaccount:chat:bot"}]),
		{"parameters": {"serviceAccounts": ["system:serviceaccount:chat:bot"]}},
	)) == 1
}

test_no_name_is_nobody_else if denials(asking("alice", [{"step": 1, "actor": ""}])) == 1

test_nobody if denials(asking("alice", [])) == 1

test_an_unknown_author_holds if {
	denials(object.remove(asking("alice", [{"step": 1, "actor": "bob"}]), ["author"])) == 1
	denials(asking("", [{"step": 1, "actor": "bob"}])) == 1
}

test_up_to_the_limit_nobody_is_needed if denials(object.union(asking("alice", []), {"rollout": {"weight": 5}})) == 0

test_a_first_install_is_not_asked_about if denials(object.union(asking("alice", []), {"rollout": {"first": true}})) == 0

test_a_rollback_is_never_held if denials(object.union(asking("alice", []), {"rollout": {"rollback": true}})) == 0

test_a_wave_is_not_asked_about if denials(object.remove(asking("alice", []), ["rollout", "release"])) == 0

test_without_parameters_it_holds_at_once if denials(object.remove(asking("alice", []), ["parameters"])) == 1
