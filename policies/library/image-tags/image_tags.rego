# METADATA
# title: Images have a tag that stays, or a digest
# description: |
#   What runs must be what was tested. A name without a tag, or with one that moves such as
#   latest, is another image tomorrow, and no rollback brings the old one back.
package tidegate.image_tags

import data.lib.workload

deny contains workload.violation("TG-IMAGE-TAG", c, "image", "an image", "nothing", "name an image") if {
	some c in workload.containers
	workload.image(c) == ""
}

deny contains workload.violation("TG-IMAGE-TAG", c, "image", "an image with a digest", workload.shown(image), "pin it: crane digest IMAGE prints the sha256 to append after @") if {
	some c in workload.containers
	image := workload.image(c)
	image != ""
	input.parameters.requireDigest
	not workload.pinned(image)
}

deny contains workload.violation("TG-IMAGE-TAG", c, "image", "an image with a tag or a digest", workload.shown(image), "append the tag of the version that was tested, such as :1.4.2") if {
	some c in workload.containers
	image := workload.image(c)
	image != ""
	not input.parameters.requireDigest
	not workload.pinned(image)
	workload.tag(image) == ""
}

deny contains workload.violation("TG-IMAGE-TAG", c, "image", sprintf("a tag that is not one of those that move: %s", [concat(", ", input.parameters.movingTags)]), workload.shown(image), "use the tag of the version that was tested, such as :1.4.2") if {
	some c in workload.containers
	image := workload.image(c)
	not input.parameters.requireDigest
	not workload.pinned(image)
	workload.tag(image) in input.parameters.movingTags
}
