package tidegate.api_versions_test

import data.tidegate.api_versions

about(version, kind, kubernetes) := {
	"parameters": {"kubernetesVersion": kubernetes},
	"object": {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}},
}

test_what_is_served_passes if {
	count(api_versions.deny | api_versions.warn) == 0 with input as about("apps/v1", "Deployment", "1.37")
	count(api_versions.deny | api_versions.warn) == 0 with input as about("batch/v1beta1", "CronJob", "1.20")
}

test_what_is_deprecated_warns_until_it_is_removed if {
	count(api_versions.warn) == 1 with input as about("batch/v1beta1", "CronJob", "1.24")
	count(api_versions.deny) == 0 with input as about("batch/v1beta1", "CronJob", "1.24")
	count(api_versions.warn) == 0 with input as about("batch/v1beta1", "CronJob", "1.25")
	count(api_versions.deny) == 1 with input as about("batch/v1beta1", "CronJob", "1.25")
}

test_what_has_no_end_yet_only_warns if count(api_versions.warn) == 1 with input as about("v1", "Endpoints", "1.37")

test_another_kind_of_the_same_version_passes if count(api_versions.deny) == 0 with input as about("extensions/v1beta1", "Thing", "1.37")
