package tidegate.image_tags_test

import data.tidegate.image_tags

about(image, digest) := {
	"parameters": {"requireDigest": digest, "movingTags": ["latest"]},
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"image": image}]}},
}

sha := "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

test_a_tag_passes if count(image_tags.deny) == 0 with input as about("a:1", false)

test_the_port_of_a_registry_is_no_tag if count(image_tags.deny) == 1 with input as about("registry:5000/a", false)

test_with_a_digest_the_tag_does_not_matter if count(image_tags.deny) == 0 with input as about(concat("", ["a:latest", sha]), false)

test_where_digests_are_wanted_a_tag_is_denied_once if count(image_tags.deny) == 1 with input as about("a:latest", true)

test_where_digests_are_wanted_one_passes if count(image_tags.deny) == 0 with input as about(concat("", ["a", sha]), true)

test_no_image_is_denied_once_either_way if {
	count(image_tags.deny) == 1 with input as about(null, true)
	count(image_tags.deny) == 1 with input as about("", false)
}

test_a_digest_in_capitals_is_none if count(image_tags.deny) == 1 with input as about(upper(concat("", ["a", sha])), false)
