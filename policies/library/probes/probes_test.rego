package tidegate.probes_test

import data.tidegate.probes

about(kind, spec) := {
	"parameters": {"probes": ["readinessProbe"], "exemptContainers": ["proxy"]},
	"object": {"kind": kind, "metadata": {"name": "a"}, "spec": {"template": {"spec": spec}}},
}

test_a_container_without_is_denied if count(probes.deny) == 1 with input as about("Deployment", {"containers": [{"name": "main"}]})

test_a_job_needs_none if count(probes.deny) == 0 with input as about("Job", {"containers": [{"name": "main"}]})

test_an_exempt_container_needs_none if count(probes.deny) == 0 with input as about("Deployment", {"containers": [{"name": "proxy"}]})

test_what_is_not_restarted_needs_none if count(probes.deny) == 0 with input as about("Deployment", {"restartPolicy": "OnFailure", "containers": [{"name": "main"}]})

test_the_same_probe_twice_warns if {
	probe := {"exec": {"command": ["true"]}}
	count(probes.warn) == 1 with input as about("Deployment", {"containers": [{"name": "main", "readinessProbe": probe, "livenessProbe": probe}]})
}
