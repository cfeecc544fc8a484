package tidegate.image_pull_policy_test

import data.tidegate.image_pull_policy

about(c) := {
	"parameters": {"allowed": ["Always"], "exemptDigests": true},
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [c]}},
}

test_always_passes if count(image_pull_policy.deny) == 0 with input as about({"image": "a:1", "imagePullPolicy": "Always"})

test_null_is_the_default if count(image_pull_policy.deny) == 1 with input as about({"image": "a:1", "imagePullPolicy": null})

test_latest_is_pulled_always if count(image_pull_policy.deny) == 0 with input as about({"image": "a:latest"})
