package tidegate.managed_flow_test

import data.tidegate.managed_flow

gate := {
	"name": "production",
	"writers": ["system:serviceaccount:tidegate-system:tidegate-manager", "system:own-agent"],
	"allow": {"autoscalers": ["system:serviceaccount:kube-system:horizontal-pod-autoscaler"]},
}

deployment := {"metadata": {"name": "cart-0a1b2c3d4e", "namespace": "shop", "labels": {"tidegate.io/release": "cart"}}}

update := {
	"gate": gate,
	"controllers": [],
	"scope": "always",
	"owner": {"release": "cart"},
	"request": {
		"operation": "UPDATE",
		"resource": {"group": "apps", "version": "v1", "resource": "deployments"},
		"name": "cart-0a1b2c3d4e",
		"namespace": "shop",
		"userInfo": {"username": "alice"},
		"object": deployment,
		"oldObject": deployment,
	},
}

with_request(doc, patch) := object.union(doc, {"request": patch})

denied(doc) if {
	not managed_flow.allow with input as doc
	count(managed_flow.deny) == 1 with input as doc
}

allowed(doc) if {
	managed_flow.allow with input as doc
	count(managed_flow.deny) == 0 with input as doc
}

test_a_person_is_told_the_release_and_the_command if {
	denied(update)
	managed_flow.deny == {{
		"code": "TG-GATE-BYPASS",
		"msg": `deployments "cart-0a1b2c3d4e" in namespace "shop" is managed by Release "cart"; wanted: changes through the Release, found: UPDATE by "alice"`,
		"fix": "kubectl edit release cart -n shop",
		"details": {"release": "cart"},
	}} with input as update
}

test_the_manager_may_write if {
	allowed(with_request(update, {"userInfo": {"username": "system:serviceaccount:tidegate-system:tidegate-manager"}}))
}

test_a_writer_of_the_gate_may_write if {
	allowed(with_request(update, {"userInfo": {"username": "system:own-agent"}}))
}

test_a_user_name_is_never_a_prefix_or_a_group if {
	denied(with_request(update, {"userInfo": {"username": "system:own-agent2", "groups": ["system:own-agent", "system:masters"]}}))
}

test_a_listed_controller_may_write if {
	doc := with_request(update, {"userInfo": {"username": "system:serviceaccount:kube-system:generic-garbage-collector"}})
	denied(doc)
	allowed(object.union(doc, {"controllers": ["system:serviceaccount:kube-system:generic-garbage-collector"]}))
}

scale := with_request(update, {
	"subResource": "scale",
	"object": {"kind": "Scale", "metadata": {"name": "cart-0a1b2c3d4e"}, "spec": {"replicas": 7}},
	"oldObject": {"kind": "Scale", "metadata": {"name": "cart-0a1b2c3d4e"}, "spec": {"replicas": 2}},
})

test_scaling_by_hand_is_told_the_value_to_set if {
	denied(scale)
	some violation in managed_flow.deny with input as scale
	violation.fix == `kubectl patch release cart -n shop --type merge -p '{"spec":{"values":{"replicas":7}}}'`
	startswith(violation.msg, `deployments/scale "cart-0a1b2c3d4e"`)
}

test_a_listed_autoscaler_may_scale_and_nothing_else if {
	autoscaler := {"userInfo": {"username": "system:serviceaccount:kube-system:horizontal-pod-autoscaler"}}
	allowed(with_request(scale, autoscaler))
	denied(with_request(update, autoscaler))
}

test_deleting_is_told_both_ways if {
	doc := with_request(object.remove(update, []), {"operation": "DELETE"})
	some violation in managed_flow.deny with input as doc
	contains(violation.fix, "kubectl delete release cart -n shop")
}

test_a_collection_has_no_name_and_is_denied if {
	doc := with_request(update, {"operation": "DELETE", "name": ""})
	denied(doc)
	some violation in managed_flow.deny with input as doc
	contains(violation.msg, `deployments "cart-0a1b2c3d4e"`)
}

test_generate_name_is_denied if {
	doc := object.remove(with_request(update, {"operation": "CREATE", "name": ""}), ["owner"])
	created := json.patch(doc, [
		{"op": "remove", "path": "/request/oldObject"},
		{"op": "replace", "path": "/request/object", "value": {"metadata": {"generateName": "web-"}}},
	])
	denied(created)
	some violation in managed_flow.deny with input as created
	contains(violation.msg, `deployments "web-*" in namespace "shop" is governed and no Release manages it`)
	contains(violation.fix, "create a Release")
}

budget := with_request(object.union(update, {"scope": "labelled"}), {"resource": {"group": "policy", "version": "v1", "resource": "poddisruptionbudgets"}})

unlabelled := {"metadata": {"name": "mine", "namespace": "shop"}}

test_an_unlabelled_budget_is_the_teams_own if {
	allowed(json.patch(budget, [
		{"op": "replace", "path": "/request/object", "value": unlabelled},
		{"op": "replace", "path": "/request/oldObject", "value": unlabelled},
	]))
}

test_the_label_can_be_neither_removed_nor_added_by_hand if {
	denied(budget)
	denied(json.patch(budget, [{"op": "replace", "path": "/request/object", "value": unlabelled}]))
	denied(json.patch(budget, [{"op": "replace", "path": "/request/oldObject", "value": unlabelled}]))
}

test_a_labelled_request_without_its_objects_is_denied if {
	denied(json.patch(budget, [{"op": "remove", "path": "/request/object"}, {"op": "remove", "path": "/request/oldObject"}]))
	denied(json.patch(budget, [{"op": "replace", "path": "/request/object", "value": unlabelled}, {"op": "remove", "path": "/request/oldObject"}]))
	denied(json.patch(budget, [
		{"op": "replace", "path": "/request/operation", "value": "DELETE"},
		{"op": "replace", "path": "/request/object", "value": unlabelled},
		{"op": "remove", "path": "/request/oldObject"},
	]))
}

test_an_unknown_operation_is_denied if denied(json.patch(budget, [
	{"op": "replace", "path": "/request/operation", "value": "CONNECT"},
	{"op": "replace", "path": "/request/object", "value": unlabelled},
	{"op": "replace", "path": "/request/oldObject", "value": unlabelled},
]))

test_an_unlabelled_deployment_is_governed_all_the_same if {
	denied(json.patch(update, [
		{"op": "replace", "path": "/request/object", "value": unlabelled},
		{"op": "replace", "path": "/request/oldObject", "value": unlabelled},
	]))
}

created(group, resource, scope, object) := {
	"gate": gate,
	"controllers": [],
	"scope": scope,
	"owner": {"release": ""},
	"request": {
		"operation": "CREATE",
		"resource": {"group": group, "version": "v1", "resource": resource},
		"name": object.metadata.name,
		"namespace": "shop",
		"userInfo": {"username": "alice"},
		"object": object,
	},
}

test_a_service_made_by_hand_is_told_why if {
	doc := created("", "services", "always", unlabelled)
	denied(doc)
	some violation in managed_flow.deny with input as doc
	contains(violation.msg, `services "mine" in namespace "shop" is governed and no Release manages it; wanted: Services, routes and autoscalers`)
	contains(violation.fix, "a namespace that no Gate governs")
}

test_routes_and_autoscalers_made_by_hand_are_told_why if {
	every kind in [
		["gateway.networking.k8s.io", "httproutes"],
		["gateway.networking.k8s.io", "grpcroutes"],
		["networking.istio.io", "virtualservices"],
		["networking.istio.io", "destinationrules"],
		["autoscaling", "horizontalpodautoscalers"],
	] {
		doc := created(kind[0], kind[1], "always", unlabelled)
		denied(doc)
		some violation in managed_flow.deny with input as doc
		contains(violation.msg, "others would go around its weights")
	}
}

test_a_label_on_what_is_made_by_hand_is_not_believed if {
	every scope in ["always", "labelled"] {
		doc := object.union(created("", "configmaps", scope, deployment), {"owner": {"release": "cart"}})
		denied(doc)
		some violation in managed_flow.deny with input as doc
		contains(violation.msg, "carries the label tidegate.io/release, which is Tidegate's alone to set; wanted: objects with this label")
		not contains(violation.fix, "kubectl edit")
		contains(violation.fix, "create a Release")
	}
}

test_removing_the_label_is_advised_where_it_helps if {
	every scope, helps in {"always": false, "labelled": true} {
		some violation in managed_flow.deny with input as created("", "configmaps", scope, deployment)
		contains(violation.fix, "remove the label") == helps
	}
}

test_nothing_is_not_allowed if not managed_flow.allow with input as {}
