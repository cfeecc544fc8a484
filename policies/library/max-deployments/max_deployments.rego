# METADATA
# title: Deployments per window
# description: |
#   No more than parameters.max Rollouts begin within parameters.window, of a Release or of
#   all in its namespace. One that has begun goes on.
package tidegate.max_deployments

deny contains {"code": "TG-MAX-DEPLOYMENTS", "msg": msg, "fix": fix, "until": until} if {
	not exempt
	input.rollout.from == 0
	count(recent) >= most
	opening := recent[most - 1] + window
	until := time.format([opening, "UTC", "2006-01-02T15:04:05Z07:00"])
	msg := sprintf("%s: wanted fewer than %d Rollouts of %s within %s, found %d; the next may begin at %s", [asked, most, whose, length, count(recent), until])
	fix := "wait, it goes on by itself then; a rollback is never held"
}

default most := 1

most := input.parameters.max

default length := "24h"

length := input.parameters.window

window := time.parse_duration_ns(length)

default per := "release"

per := input.parameters.per

whose := "the namespace" if per == "namespace"

whose := "the Release" if per != "namespace"

now := time.parse_rfc3339_ns(input.time)

# When those began that count, the newest first. One that waits for its turn has not begun.
recent := array.reverse(sort([at |
	some past in input.history
	past.phase != "Pending"
	mine(past)
	at := time.parse_rfc3339_ns(past.started)
	at > now - window
]))

mine(_) if per == "namespace"

mine(past) if past.release == input.release.name

asked := sprintf("Release %s/%s to %d %%", [input.release.namespace, input.release.name, input.rollout.weight])

# A sync of a template, a first install, which disturbs nothing, and a return from a template
# revision are not asked about.
exempt if not input.rollout

exempt if input.rollout.first

exempt if input.rollout.rollback
