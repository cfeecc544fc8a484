# METADATA
# title: Approvals by group
# description: |
#   Exposure rises above parameters.above percent only when parameters.count people of
#   parameters.groups have approved this Rollout.
package tidegate.approvals

deny contains {"code": "TG-APPROVAL-MISSING", "msg": msg, "fix": fix} if {
	not exempt
	input.rollout.weight > above
	count(people) < wanted
	msg := sprintf("%s: wanted the approval of %d of %s, found %s", [asked, wanted, concat(" or ", groups), found])
	fix := sprintf("somebody of these groups: tidegate approve %s -n %s; a template without a step with approval: true can get none", [input.release.name, input.release.namespace])
}

default groups := []

groups := input.parameters.groups

default wanted := 1

wanted := input.parameters.count

default above := 0

above := input.parameters.above

# One person counts once, however many steps they approved.
people contains a.actor if {
	some a in input.rollout.approvals
	a.actor != ""
	some g in a.groups
	g in groups
}

found := sprintf("%d: %s", [count(people), concat(", ", sort(people))]) if {
	count(people) > 0
} else := "none"

asked := sprintf("Release %s/%s to %d %%", [input.release.namespace, input.release.name, input.rollout.weight])

# A sync of a template, a first install, which disturbs nothing, and a return from a template
# revision are not asked about.
exempt if not input.rollout

exempt if input.rollout.first

exempt if input.rollout.rollback
