# METADATA
# title: No secrets in plain text
# description: |
#   What stands in an environment variable, an argument or a ConfigMap stands in the API server,
#   in version control, and in what kubectl describe prints. References to a Secret, to Vault or
#   to an ExternalSecret pass. A message never repeats the value.
package tidegate.plain_secrets

import data.lib.workload

# All values in one piece, and all names: a megabyte of settings without a secret is looked at
# as a whole, a few times, and not text by text.
values := concat("\n\u0000\u0000\n", array.concat(
	[value | some value in workload.list_at(workload.containers[_].container, ["command"]); is_string(value)],
	array.concat(
		array.concat(
			[value | some value in workload.list_at(workload.containers[_].container, ["args"]); is_string(value)],
			[value | value := workload.containers[_].container.env[_].value; is_string(value)],
		),
		array.concat(
			[value | value := workload.of_kind(["ConfigMap"])[_].object.data[_]; is_string(value)],
			[value | value := workload.pods[_].metadata.annotations[_]; is_string(value)],
		),
	),
))

# No name has several lines: the API server takes none.
names := concat("\n", array.concat(
	[name | name := workload.containers[_].container.env[_].name; is_string(name)],
	array.concat(
		[flag(raw) | some field in ["command", "args"]; raw := workload.containers[_].container[field][_]; is_string(raw)],
		[key | some key, _ in workload.of_kind(["ConfigMap"])[_].object.data],
	),
))

# Everything below is asked only where there is something.
suspicious if count(shapes) > 0

suspicious if count(secret_names) > 0

suspicious if count(random_values) > 0

deny contains refused(c.subject, sprintf("%s.env[%d].value", [c.path, i]), kind) if {
	suspicious
	some c in workload.containers
	some i, raw in workload.list_at(c.container, ["env"])
	value := text(raw.value)
	kind := kind_of(workload.text_at(raw, ["name"]), value)
}

deny contains refused(c.subject, sprintf("%s.%s[%d]", [c.path, field, i]), kind) if {
	suspicious
	some c in workload.containers
	some field in ["command", "args"]
	some i, raw in workload.list_at(c.container, [field])
	is_string(raw)
	kind := kind_of(flag(raw), after_flag(raw))
}

deny contains refused(m.subject, sprintf("%sdata[%q]", [m.path, key]), kind) if {
	suspicious
	some m in workload.of_kind(["ConfigMap"])
	some key, raw in workload.object_at(m.object, ["data"])
	value := text(raw)
	kind := kind_of(key, value)
}

deny contains refused(pod.subject, sprintf("%s.annotations[%q]", [pod.metadataPath, key]), kind) if {
	suspicious
	some pod in workload.pods
	some key, raw in workload.object_at(pod.metadata, ["annotations"])
	value := text(raw)
	kind := kind_of("", value)
}

refused(subject, path, kind) := workload.violation("TG-PLAIN-SECRET", {"subject": subject, "path": path}, "", "a reference to a secret: valueFrom.secretKeyRef, an ExternalSecret, or vault:path#key", sprintf("%s (the value is not shown)", [kind]), "put it into a Secret and refer to that; it has been seen, so replace it where it is valid")

# A number is a text to the program.
text(x) := x if is_string(x)

text(x) := sprintf("%v", [x]) if is_number(x)

# Of --name=value, the name and the value.
flag(argument) := parts[1] if {
	contains(argument, "=")
	some parts in regex.find_all_string_submatch_n(`^-{0,2}([A-Za-z][A-Za-z0-9_.-]*)=`, argument, 1)
} else := ""

after_flag(argument) := substring(argument, indexof(argument, "=") + 1, -1) if {
	flag(argument) != ""
} else := argument

kind_of(named, value) := kinds[0] if {
	kinds := sort([kind | some kind in shapes; regex.match(patterns[kind].pattern, value)])
	count(kinds) > 0
} else := sprintf("a value whose name, %s, says that it is secret", [named]) if {
	named in secret_names
	value != ""
	not reference(value)
} else := "what looks like random characters" if {
	value in random_values
	not named in input.parameters.allowedNames
}

# How names end that say that their values are secret.
secret_name := concat("", [
	`(?im)^.*(`,
	concat("|", [
		`password|passwd|passphrase|_pwd|(?-i:[a-z]Pwd)|secret|token|credentials?|connection[_.-]?string`,
		`(api|access|private|secret|encryption)[_.-]?key|secret_key_base`,
		`\b(db|database|sql|mysql|mariadb|postgres|pg|mongo|redis|smtp|mail|ftp|sftp|ldap|amqp|rabbitmq|mqtt|user|admin|root)[_.-]?pass`,
		`(password|passwd|passphrase|(api|access|secret)[_.-]?key)[_.-]?(primary|secondary|replica|old|new|current|previous|[0-9]+)`,
	]),
	`)$`,
])

secret_names := {name |
	may_be_secret
	some name in regex.find_n(secret_name, names, -1)
	not name in input.parameters.allowedNames
}

# A cheap test, before the names are read.
may_be_secret if {
	some part in ["pass", "pwd", "secret", "token", "key", "credential", "string"]
	contains(lower(names), part)
}

# What only says where a secret is.
reference(value) if regex.match(`^\$[({][A-Za-z_][A-Za-z0-9_.-]*[)}]$`, value)

reference(value) if regex.match(`^(>>)?vault:[A-Za-z0-9_/.-]+#[A-Za-z0-9_.$\{\}-]+(#[0-9]+)?$`, value)

reference(value) if regex.match(`^ref\+[a-z0-9]+://`, value)

reference(value) if regex.match(`^(arn:aws:(secretsmanager|ssm):|op://|projects/[^/]+/secrets/|awssm://|gcpsm://|akv://|file:///|/[A-Za-z0-9_])[^\s]*$`, value)

# How the secrets of well-known services look. A pattern is not tried where none of its parts is there.
patterns := {
	"a private key": {"parts": ["PRIVATE KEY"], "pattern": `-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----`},
	"a key of AWS": {"parts": ["AKIA", "ASIA"], "pattern": `\b(AKIA|ASIA)[0-9A-Z]{16}\b`},
	"a token of GitHub": {"parts": ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"], "pattern": `\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})`},
	"a token of GitLab": {"parts": ["glpat-", "gldt-", "glrt-", "glptt-"], "pattern": `\bgl(pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,}`},
	"a token of Slack": {"parts": ["xox"], "pattern": `\bxox[abeoprs]-[A-Za-z0-9-]{10,}`},
	"a key of Stripe": {"parts": ["k_live_"], "pattern": `\b[rs]k_live_[A-Za-z0-9]{16,}`},
	"a key of Google": {"parts": ["AIza"], "pattern": `\bAIza[0-9A-Za-z_-]{35}`},
	"a token of Vault": {"parts": ["hvs.", "hvb.", "hvr."], "pattern": `\bhv[sbr]\.[A-Za-z0-9_-]{24,}`},
	"a token of npm": {"parts": ["npm_"], "pattern": `\bnpm_[A-Za-z0-9]{36}`},
	"a key of SendGrid": {"parts": ["SG."], "pattern": `\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`},
	"a signed token (JWT)": {"parts": ["eyJ"], "pattern": `\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`},
	"a password in a URL": {"parts": ["://"], "pattern": `://[^\s:/@]*:[^\s:/@$]{3,}@`},
	"an account key of Azure": {"parts": [], "pattern": `(?i)AccountKey=[A-Za-z0-9+/]{40,}`},
}

# Those of which there is one somewhere.
shapes contains kind if {
	some kind, shape in patterns
	some part in shape.parts
	contains(values, part)
	regex.match(shape.pattern, values)
}

shapes contains kind if {
	kind := "an account key of Azure"
	contains(lower(values), "accountkey=")
	regex.match(patterns[kind].pattern, values)
}

# Letters of both cases and digits, and hardly any twice: two places that are chosen blindly
# hold the same character in less than one of 30 cases. Digests, UUIDs and words do not
# look like that.
random_values := {value |
	input.parameters.randomLength > 0
	pattern := sprintf(`(?:^|\x00\n)([A-Za-z0-9+/_=.-]{%d,})(?:\n\x00|$)`, [min([input.parameters.randomLength, 64])])
	some found in regex.find_all_string_submatch_n(pattern, values, -1)
	some value in {found[1], after_flag(found[1])}
	random(value)
}

random(value) if {
	count(value) >= input.parameters.randomLength
	regex.match(`[a-z]`, value)
	regex.match(`[A-Z]`, value)
	regex.match(`[0-9]`, value)
	regex.match(`^[A-Za-z0-9+/_=-]+$`, value)
	head := substring(value, 0, 64)
	pairs := count(head) * (count(head) - 1)
	characters := {c | some c in split(head, "")}
	same := sum([pairs_of | some c in characters; times := strings.count(head, c); pairs_of := times * (times - 1)])
	same * 30 < pairs
}
