package tidegate.labels_test

import data.tidegate.labels

about(metadata, parameters) := {
	"parameters": object.union({"labels": [], "annotations": [], "onPods": true}, parameters),
	"object": {"kind": "Service", "metadata": metadata},
}

test_annotations_are_looked_at if {
	count(labels.deny) == 1 with input as about({"name": "a"}, {"annotations": [{"key": "runbook", "pattern": "^https://"}]})
	count(labels.deny) == 0 with input as about({"annotations": {"runbook": "https://example.com"}}, {"annotations": [{"key": "runbook", "pattern": "^https://"}]})
}

test_a_pattern_that_is_none_denies if {
	count(labels.deny) == 2 with input as about({"labels": {"a": "b"}}, {"labels": [{"key": "a", "pattern": "("}]})
}
