# METADATA
# title: Two people
# description: |
#   Exposure rises above parameters.above percent only when somebody has approved this Rollout
#   who is not the author of the change.
package tidegate.two_person

deny contains {"code": "TG-TWO-PERSON", "msg": msg, "fix": fix} if {
	not exempt
	input.rollout.weight > above
	author != ""
	count(others) == 0
	msg := sprintf("%s: wanted the approval of somebody other than %q, who changed the Release, found none", [asked, author])
	fix := sprintf("somebody else: tidegate approve %s -n %s", [input.release.name, input.release.namespace])
}

# Who is not known could be anybody, the approver too.
deny contains {"code": "TG-TWO-PERSON", "msg": msg, "fix": fix} if {
	not exempt
	input.rollout.weight > above
	author == ""
	msg := sprintf("%s: wanted to know who changed the Release, found that nobody does", [asked])
	fix := sprintf("apply a change of Release %s in namespace %s again; the API server stamps its author, where MutatingAdmissionPolicy tidegate-author of the chart is installed", [input.release.name, input.release.namespace])
}

default above := 0

above := input.parameters.above

default author := ""

author := input.author

others contains a.actor if {
	some a in input.rollout.approvals
	a.actor != ""
	a.actor != author
	not a.actor in object.get(object.get(input, "parameters", {}), "machines", [])
	not machine(a.actor)
}

# Who may edit a namespace may act as each of its service accounts.
machine(actor) if {
	startswith(actor, "system:serviceaccount:")
	not actor in object.get(object.get(input, "parameters", {}), "serviceAccounts", [])
}

asked := sprintf("Release %s/%s to %d %%", [input.release.namespace, input.release.name, input.rollout.weight])

# A sync of a template, a first install, which disturbs nothing, and a return from a template
# revision are not asked about.
exempt if not input.rollout

exempt if input.rollout.first

exempt if input.rollout.rollback
