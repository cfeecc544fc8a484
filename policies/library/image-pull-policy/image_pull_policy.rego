# METADATA
# title: Images are pulled anew unless a digest pins them
# description: |
#   Where a node keeps an image that was pulled with somebody else's credentials, IfNotPresent
#   lets every pod on that node run it, and a tag that was pushed again is not noticed.
package tidegate.image_pull_policy

import data.lib.workload

deny contains workload.violation("TG-IMAGE-PULL", c, "imagePullPolicy", concat(" or ", input.parameters.allowed), found, sprintf("set imagePullPolicy: %s, or pin the image by its digest", [input.parameters.allowed[0]])) if {
	some c in workload.containers
	not exempt(c)
	not pull_policy(c) in input.parameters.allowed
	found := sprintf("%s%s", [pull_policy(c), said(c)])
}

exempt(c) if {
	input.parameters.exemptDigests
	workload.pinned(workload.image(c))
	pull_policy(c) != "Never"
}

# What the API server makes of nothing.
pull_policy(c) := workload.text_at(c.container, ["imagePullPolicy"]) if {
	workload.text_at(c.container, ["imagePullPolicy"]) != ""
} else := "Always" if {
	not workload.pinned(workload.image(c))
	workload.tag(workload.image(c)) in ["", "latest"]
} else := "IfNotPresent"

said(c) := ", which is the default" if workload.text_at(c.container, ["imagePullPolicy"]) == ""

said(c) := "" if workload.text_at(c.container, ["imagePullPolicy"]) != ""
