package tidegate.soak_after_test

import data.tidegate.soak_after

asking(elsewhere) := {
	"moment": "promotion",
	"time": "2026-11-25T12:00:00Z",
	"parameters": {"soak": "2h", "suffixes": ["-dev", "-staging", "-prod"], "same": ["image", "app.version"]},
	"release": {"name": "cart", "namespace": "shop-prod"},
	"rollout": {"weight": 5, "first": false, "rollback": false},
	"template": {"name": "web", "revision": "web-3"},
	"values": {"image": "a:2", "app": {"version": 2}, "replicas": 9},
	"elsewhere": elsewhere,
}

staging := {
	"namespace": "shop-staging",
	"rollout": "cart-7",
	"phase": "Succeeded",
	"template": "web-3",
	"values": {"image": "a:2", "app": {"version": 2}, "replicas": 1},
	"succeeded": "2026-11-25T09:00:00Z",
}

with_staging(change) := asking([object.union(staging, change)])

denials(doc) := n if {
	n := count(soak_after.deny) with input as doc
}

test_it_has_soaked if denials(asking([staging])) == 0

test_the_denial_says_until_when if {
	soak_after.deny == {{
		"code": "TG-SOAK-AFTER",
		"msg": "Release shop-prod/cart to 5 %: wanted Release shop-staging/cart to have served the same for 2h, found that it is in service since 2026-11-25T11:00:00Z",
		"fix": "bring it into service there: tidegate status cart -n shop-staging; it goes on by itself then",
		"until": "2026-11-25T13:00:00Z",
	}} with input as with_staging({"succeeded": "2026-11-25T11:00:00Z"})
}

test_on_the_second if {
	denials(with_staging({"succeeded": "2026-11-25T10:00:00Z"})) == 0
	denials(with_staging({"succeeded": "2026-11-25T10:00:01Z"})) == 1
}

test_there_is_none if {
	denials(asking([])) == 1
	denials(with_staging({"namespace": "shop-dev"})) == 1
	denials(with_staging({"namespace": "bank-staging"})) == 1
}

test_it_has_not_ended_there if {
	denials(with_staging({"phase": "Progressing"})) == 1
	denials(with_staging({"phase": "Aborted"})) == 1
}

test_another_version_there if {
	denials(with_staging({"values": {"image": "a:1"}})) == 1
	denials(with_staging({"values": {"app": {"version": 1}}})) == 1
	denials(with_staging({"template": "web-2"})) == 1
	denials(with_staging({"values": {"replicas": 3}})) == 0
	denials(asking([object.remove(staging, ["values"])])) == 2
}

# Asking about all values, which is so where none are named.
all_values(elsewhere) := object.union(asking(elsewhere), {"parameters": {"same": []}})

test_without_a_list_all_values_are_compared if {
	denials(all_values([object.union(staging, {"values": {"replicas": 9}})])) == 0
	denials(all_values([staging])) == 1
	denials(all_values([object.union(staging, {"values": {"replicas": 9, "image": "a:1"}})])) == 1
	denials(all_values([object.union(staging, {"values": {"replicas": 9, "more": null}})])) == 1
	denials(object.remove(all_values([object.union(staging, {"values": {"replicas": 9}})]), ["values"])) == 3
	denials(object.remove(all_values([object.remove(staging, ["values"])]), ["values"])) == 0
}

test_the_denial_says_which_of_all_values if {
	soak_after.deny == {{
		"code": "TG-SOAK-AFTER",
		"msg": "Release shop-prod/cart to 5 %: wanted Release shop-staging/cart to have served the same for 2h, found another values.replicas; to have only some compared, list them as same in the policy's parameters",
		"fix": "bring it into service there: tidegate status cart -n shop-staging; it goes on by itself then",
	}} with input as all_values([staging])
}

test_a_value_that_neither_has_is_no_proof if {
	typo := object.union(asking([staging]), {"parameters": {"same": ["imag", "app.versions", "app.version.minor"]}})
	denials(typo) == 3
	some d in soak_after.deny with input as typo
	contains(d.msg, "found values.imag neither there nor here")
}

test_null_is_a_value if {
	none := object.union(asking([object.union(staging, {"values": {"image": null}})]), {"values": {"image": null}})
	denials(none) == 0
	denials(with_staging({"values": {"image": null}})) == 1
}

test_values_are_not_repeated if {
	every d in soak_after.deny {
		not contains(d.msg, "a:1")
	} with input as with_staging({"values": {"image": "a:1"}})
}

test_no_time_there_is_no_soak if denials(asking([object.remove(staging, ["succeeded"])])) == 1

test_the_first_environment_has_none_before if {
	denials(object.union(asking([]), {"release": {"namespace": "shop-dev"}})) == 0
	denials(object.union(asking([]), {"release": {"namespace": "playground"}})) == 0
}

test_by_name if {
	named := object.union(asking([staging]), {"parameters": {"before": {"shop-prod": "qa"}}})
	denials(named) == 1
	denials(object.union(named, {"elsewhere": [object.union(staging, {"namespace": "qa"})]})) == 0
}

test_the_longest_ending_counts if {
	nested := object.union(asking([]), {
		"parameters": {"suffixes": ["-dev", "-eu-dev", "-prod", "-eu-prod"]},
		"release": {"namespace": "shop-eu-prod"},
	})
	denials(nested) == 1
	some d in soak_after.deny with input as nested
	contains(d.msg, "wanted Release shop-prod/cart")
	denials(object.union(nested, {"release": {"namespace": "shop-dev"}})) == 0
}

test_an_environment_may_have_no_ending if {
	plain := object.union(asking([object.union(staging, {"namespace": "shop-staging"})]), {
		"parameters": {"suffixes": ["-staging", ""]},
		"release": {"namespace": "shop"},
	})
	denials(plain) == 0
	denials(object.union(plain, {"elsewhere": []})) == 1
	denials(object.union(plain, {"release": {"namespace": "shop-staging"}, "elsewhere": []})) == 0
}

mistaken(parameters) := msgs if {
	msgs := {d.msg | some d in soak_after.deny} with input as object.union(object.remove(asking([staging]), ["parameters"]), {"parameters": parameters})
}

test_parameters_that_would_hold_nobody_hold_everybody if {
	mistaken({}) == {"parameters: wanted before or suffixes, found neither"}
	mistaken({"before": {}}) == {"parameters.before: wanted at least one namespace, found none"}
	mistaken({"suffixes": []}) == {"parameters.suffixes: wanted at least two, found 0"}
	mistaken({"suffixes": ["-prod"]}) == {"parameters.suffixes: wanted at least two, found 1"}
	mistaken({"suffixes": ["-prod", "-dev", "-prod"]}) == {`parameters.suffixes: wanted each once, found "-prod" again`}
	count(soak_after.deny) == 1 with input as object.remove(asking([staging]), ["parameters"])
	denials(object.union(asking([]), {"parameters": {"before": {}}, "rollout": {"rollback": true}})) == 0
}

test_a_rollback_is_never_held if denials(object.union(asking([]), {"rollout": {"rollback": true}})) == 0

test_a_first_install_is_not_asked_about if denials(object.union(asking([]), {"rollout": {"first": true}})) == 0
