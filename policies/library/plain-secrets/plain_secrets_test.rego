package tidegate.plain_secrets_test

import data.tidegate.plain_secrets

about(name, value) := {
	"parameters": {"allowedNames": ["CSRF_TOKEN"], "randomLength": 24},
	"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"env": [{"name": name, "value": value}]}]}},
}

test_a_name_that_is_allowed_passes if count(plain_secrets.deny) == 0 with input as about("CSRF_TOKEN", "x")

test_a_known_token_does_not_pass_by_its_name if count(plain_secrets.deny) == 1 with input as about("CSRF_TOKEN", "AKIAIOSFODNN7EXAMPLE")

test_what_imitates_a_reference_is_denied if {
	count(plain_secrets.deny) == 1 with input as about("A_PASSWORD", "vault:hunter2")
	count(plain_secrets.deny) == 1 with input as about("A_PASSWORD", "$(A) hunter2")
	count(plain_secrets.deny) == 1 with input as about("A_PASSWORD", "/ hunter2")
}

test_names_are_read_in_any_spelling if {
	every name in [
		"DB_PASSWORD", "dbPassword", "client-secret", "API_KEY", "apikey", "stripe.api.key", "ACCESS_TOKEN", "DB_PASS", "dbPwd", "REDIS_PASS", "smtp-pass",
		"SECRET_KEY_BASE", "DB_PASSWORD_PRIMARY", "DB_PASSWORD2", "API_KEY_OLD",
	] {
		count(plain_secrets.deny) == 1 with input as about(name, "x")
	}
	every name in ["TOKEN_TTL", "PWD", "OLDPWD", "SECRET_NAME", "KEYBOARD", "BOARDING_PASS", "BYPASS", "PASSWORD_MIN_LENGTH", "PASS", "MAX_TOKENS", "PRIMARY_KEY"] {
		count(plain_secrets.deny) == 0 with input as about(name, "x")
	}
}

test_each_text_is_judged_by_its_own_name if {
	violations := plain_secrets.deny with input as {
		"parameters": {"allowedNames": [], "randomLength": 24},
		"object": {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{
			"args": ["q7Zt1LxV9bKd3RfYw0Hc5NsPj8Ug2Ema", "--a.b=Ema2q7Zt1LxV9bKd3RfYw0Hc5NsPj8Ug", "--verbose"],
			"env": [{"name": "A_TOKEN", "value": "$(REF)"}, {"name": "A", "value": "x"}, {"name": "B_TOKEN", "value": "x"}, {"value": "postgres://a:hunter2@b"}],
		}]}},
	}
	{v.details.path | some v in violations} == {
		"spec.containers[0].args[0]", "spec.containers[0].args[1]", "spec.containers[0].env[2].value", "spec.containers[0].env[3].value",
	}
}

test_a_line_of_a_text_is_not_taken_for_a_text if {
	count(plain_secrets.deny) == 0 with input as about("X", "a b\nq7Zt1LxV9bKd3RfYw0Hc5NsPj8Ug2Ema\nc d")
}

test_a_scheme_and_a_key_are_known_in_any_case if {
	count(plain_secrets.deny) == 1 with input as about("X", "HTTPS://a:hunter2@b")
	count(plain_secrets.deny) == 1 with input as about("X", concat("", ["ACCOUNTKEY=", "abcdefghijabcdefghijabcdefghijabcdefghij"]))
}

test_random_characters_are_denied_and_words_are_not if {
	count(plain_secrets.deny) == 1 with input as about("X", "q7Zt1LxV9bKd3RfYw0Hc5NsPj8Ug2Ema")
	count(plain_secrets.deny) == 0 with input as about("X", "com.example.shop.CartApplication42")
	count(plain_secrets.deny) == 0 with input as about("X", "AAAAAAAAaaaaaaaa0000000000000000")
	count(plain_secrets.deny) == 0 with input as object.union(about("X", "q7Zt1LxV9bKd3RfYw0Hc5NsPj8Ug2Ema"), {"parameters": {"randomLength": 0}})
}

test_no_message_has_the_value if {
	every violation in plain_secrets.deny {
		not contains(json.marshal(violation), "hunter2")
	} with input as about("A_PASSWORD", "hunter2")
}
