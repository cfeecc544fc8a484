# METADATA
# title: Deployments per window
# description: |
#   No more than parameters.max Rollouts begin within parameters.window, of a Release or of
#   all in its namespace. A Rollout begins when it is first allowed to take exposure from what
#   serves. One that has begun goes on.
package tidegate.max_deployments

deny contains {"code": "TG-MAX-DEPLOYMENTS", "msg": msg, "fix": fix, "until": until} if {
	not exempt
	count(recent) >= most
	opening := recent[most - 1] + window
	until := time.format([opening, "UTC", "2006-01-02T15:04:05Z07:00"])
	msg := sprintf("%s: wanted fewer than %d Rollouts of %s within %s, found %d; the next may begin at %s", [asked, most, whose, length, count(recent), until])
	fix := "wait, it goes on by itself then; a rollback is never held"
}

# Who waits longest goes first. That holds for as long as it takes until all who wait have
# asked again; then whoever asks begins, since one that waits longer may be held by another
# policy too.
deny contains {"code": "TG-MAX-DEPLOYMENTS", "msg": msg, "fix": fix, "retryAfter": "10s"} if {
	not exempt
	count(recent) < most
	now < (begun[most - 1] + window) + courtesy
	count(recent) + count(ahead) >= most
	msg := sprintf("%s: wanted a turn among %d Rollouts of %s within %s, found that others have waited longer: %s", [asked, most, whose, length, concat(", ", sort(ahead))])
	fix := "wait, it goes on by itself; a rollback is never held"
}

default most := 1

most := input.parameters.max

default length := "24h"

length := input.parameters.window

window := time.parse_duration_ns(length)

# What waits is asked again every 30 seconds.
courtesy := 45000000000

default per := "release"

per := input.parameters.per

whose := "the namespace" if per == "namespace"

whose := "the Release" if per != "namespace"

now := time.parse_rfc3339_ns(input.time)

# When others began, the newest first, and which of that is within the window. What waits,
# what ended before it rose, and what took no exposure from anything, has not begun.
begun := array.reverse(sort([time.parse_rfc3339_ns(past.raised) | some past in input.history; mine(past)]))

recent := [at | some at in begun; at > now - window]

# Those that policies hold and that were made before this one.
ahead contains past.rollout if {
	some past in input.history
	past.waits
	mine(past)
	[past.started, past.rollout] < [input.rollout.started, input.rollout.name]
}

mine(_) if per == "namespace"

mine(past) if past.release == input.release.name

asked := sprintf("Release %s/%s to %d %%", [input.release.namespace, input.release.name, input.rollout.weight])

# A sync of a template, a first install, which disturbs nothing, and a return from a template
# revision are not asked about, nor is what has begun.
exempt if not input.rollout

exempt if input.rollout.first

exempt if input.rollout.rollback

exempt if input.rollout.raised

exempt if input.rollout.from > 0
