package tidegate.service_accounts_test

import data.tidegate.service_accounts

about(spec) := {
	"parameters": {"deniedAccounts": ["shared"], "tokenAccounts": ["operator"]},
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": spec},
}

test_an_account_of_its_own_without_a_token_passes if {
	count(service_accounts.deny) == 0 with input as about({"serviceAccountName": "a", "automountServiceAccountToken": false})
}

test_the_old_name_of_the_field_counts if {
	count(service_accounts.deny) == 0 with input as about({"serviceAccount": "a", "automountServiceAccountToken": false})
	count(service_accounts.deny) == 1 with input as about({"serviceAccount": "shared", "automountServiceAccountToken": false})
}
