package tidegate.read_only_root_test

import data.tidegate.read_only_root

about(container, spec) := {
	"parameters": {"exemptContainers": ["legacy"]},
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": object.union({"containers": [container]}, spec)},
}

test_an_exempt_container_may_write if count(read_only_root.deny) == 0 with input as about({"name": "legacy"}, {})

test_another_may_not if count(read_only_root.deny) == 1 with input as about({"name": "main"}, {})

test_windows_cannot if count(read_only_root.deny) == 0 with input as about({"name": "main"}, {"os": {"name": "windows"}})
