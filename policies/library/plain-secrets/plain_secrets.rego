# METADATA
# title: No secrets in plain text
# description: |
#   What stands in an environment variable, an argument or a ConfigMap stands in the API server,
#   in version control, and in what kubectl describe prints. References to a Secret, to Vault or
#   to an ExternalSecret pass. A message never repeats the value.
package tidegate.plain_secrets

import data.lib.workload

# Every text that a workload gives its program. Named is the name that says what it is.
texts contains {"subject": c.subject, "path": sprintf("%s.env[%d].value", [c.path, i]), "named": workload.text_at(variable, ["name"]), "value": value} if {
	some c in workload.containers
	some i, raw in workload.list_at(c.container, ["env"])
	variable := workload.object_of(raw)
	value := text(workload.value_at(variable, ["value"]))
}

texts contains {"subject": c.subject, "path": sprintf("%s.%s[%d]", [c.path, field, i]), "named": flag(raw), "value": value(raw)} if {
	some c in workload.containers
	some field in ["command", "args"]
	some i, raw in workload.list_at(c.container, [field])
	is_string(raw)
}

texts contains {"subject": m.subject, "path": sprintf("%sdata[%q]", [m.path, key]), "named": key, "value": value} if {
	some m in workload.of_kind(["ConfigMap"])
	some key, raw in workload.object_at(m.object, ["data"])
	value := text(raw)
}

texts contains {"subject": pod.subject, "path": sprintf("%s.annotations[%q]", [pod.metadataPath, key]), "named": "", "value": value} if {
	some pod in workload.pods
	some key, raw in workload.object_at(pod.metadata, ["annotations"])
	value := text(raw)
}

# A number or a boolean is a text to the program.
text(x) := x if is_string(x)

text(x) := sprintf("%v", [x]) if is_number(x)

# Of --name=value, the name and the value.
flag(argument) := parts[1] if {
	some parts in regex.find_all_string_submatch_n(`^-{0,2}([A-Za-z][A-Za-z0-9_.-]*)=`, argument, 1)
} else := ""

value(argument) := substring(argument, indexof(argument, "=") + 1, -1) if {
	flag(argument) != ""
} else := argument

secret_name := `(?i)(password|passwd|passphrase|_pwd|secret|token|api[_.-]?key|access[_.-]?key|private[_.-]?key|secret[_.-]?key|encryption[_.-]?key|credentials?|connection[_.-]?string)$`

# What only says where a secret is.
reference(value) if regex.match(`^\$[({][A-Za-z_][A-Za-z0-9_.-]*[)}]$`, value)

reference(value) if regex.match(`^(>>)?vault:[A-Za-z0-9_/.-]+#[A-Za-z0-9_.$\{\}-]+(#[0-9]+)?$`, value)

reference(value) if regex.match(`^ref\+[a-z0-9]+://`, value)

reference(value) if regex.match(`^(arn:aws:(secretsmanager|ssm):|op://|projects/[^/]+/secrets/|awssm://|gcpsm://|akv://|file:///|/[A-Za-z0-9_])[^\s]*$`, value)

# How the secrets of well-known services look.
patterns := {
	"a private key": `-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----`,
	"a key of AWS": `\b(AKIA|ASIA)[0-9A-Z]{16}\b`,
	"a token of GitHub": `\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})`,
	"a token of GitLab": `\bgl(pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,}`,
	"a token of Slack": `\bxox[abeoprs]-[A-Za-z0-9-]{10,}`,
	"a key of Stripe": `\b[rs]k_live_[A-Za-z0-9]{16,}`,
	"a key of Google": `\bAIza[0-9A-Za-z_-]{35}`,
	"a token of Vault": `\bhv[sbr]\.[A-Za-z0-9_-]{24,}`,
	"a token of npm": `\bnpm_[A-Za-z0-9]{36}`,
	"a key of SendGrid": `\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`,
	"a signed token (JWT)": `\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`,
	"a password in a URL": `[a-z][a-z0-9+.-]*://[^\s:/@]*:[^\s:/@$]{3,}@`,
	"an account key of Azure": `(?i)AccountKey=[A-Za-z0-9+/]{40,}`,
}

kind_of(t) := kinds[0] if {
	kinds := sort([kind | some kind, pattern in patterns; regex.match(pattern, t.value)])
	count(kinds) > 0
} else := sprintf("a value whose name, %s, says that it is secret", [t.named]) if {
	regex.match(secret_name, t.named)
	not t.named in input.parameters.allowedNames
	t.value != ""
	not reference(t.value)
} else := "what looks like random characters" if {
	input.parameters.randomLength > 0
	not t.named in input.parameters.allowedNames
	random(t.value)
}

# Letters of both cases and digits, and hardly any twice: two places that are chosen blindly
# hold the same character in less than one of 30 cases. Digests, UUIDs and words do not
# look like that.
random(value) if {
	count(value) >= input.parameters.randomLength
	regex.match(`^[A-Za-z0-9+/_=-]+$`, value)
	regex.match(`[a-z]`, value)
	regex.match(`[A-Z]`, value)
	regex.match(`[0-9]`, value)
	characters := split(substring(value, 0, 64), "")
	pairs := count(characters) * (count(characters) - 1)
	same := count([1 | some i, a in characters; some j, b in characters; i != j; a == b])
	same * 30 < pairs
}

deny contains workload.violation("TG-PLAIN-SECRET", t, "", "a reference to a secret: valueFrom.secretKeyRef, an ExternalSecret, or vault:path#key", sprintf("%s (the value is not shown)", [kind_of(t)]), "put it into a Secret and refer to that; it has been seen, so replace it where it is valid") if {
	some t in texts
	kind_of(t)
}
