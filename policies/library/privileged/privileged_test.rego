package tidegate.privileged_test

import data.tidegate.privileged

about(security, parameters) := {
	"parameters": parameters,
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"securityContext": security}]}},
}

test_nothing_said_is_not_privileged if count(privileged.deny) == 0 with input as about({}, {"allowEscalation": true})

test_escalation_must_be_denied_in_words if {
	count(privileged.deny) == 1 with input as about({}, {"allowEscalation": false})
	count(privileged.deny) == 0 with input as about({"allowPrivilegeEscalation": false}, {"allowEscalation": false})
}

test_windows_knows_no_escalation if {
	count(privileged.deny) == 0 with input as {
		"parameters": {"allowEscalation": false},
		"object": {"kind": "Pod", "spec": {"os": {"name": "windows"}, "containers": [{}]}},
	}
}
