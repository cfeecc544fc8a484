package record

import (
	"regexp"
	"strings"
)

// byName is why a value is taken for a secret that a name says is one.
const byName = "its name says so"

var (
	// secretName is what the names of secrets have in them. Here a name that only sounds like
	// one costs little; the policy plain-secrets, which refuses, is more exact.
	secretName = regexp.MustCompile(`(?i)password|passwd|passphrase|(?:^|[^a-z])pass(?:$|[^a-z])|(?-i:[a-z]Pass(?:$|[^a-z]))|pwd|(?:^|[^a-z])pw$|secret|token|` +
		`(?:api|access|private|encryption|signing|master|shared|account|auth)[_.-]?key|credential|connection[_.-]?string`)
	// aboutSecret is how names end that say something about a secret, such as where it is.
	aboutSecret = regexp.MustCompile(`(?i)(?:name|namespace|ref|reference|file|path|dir|directory|url|uri|endpoint|issuer|audience|ttl|expiry|expires|seconds|minutes|hours|days|timeout|duration|interval|` +
		`length|size|count|limit|min|max|type|policy|enabled|disabled|required|version)$|^(?:old)?pwd$`)
	// reference only says where a secret is.
	reference = regexp.MustCompile(`^(\$[({][A-Za-z_][A-Za-z0-9_.-]*[)}]|(>>)?vault:[A-Za-z0-9_/.-]+#[A-Za-z0-9_.$\{\}-]+(#[0-9]+)?|ref\+[a-z0-9]+://\S*|arn:aws:(secretsmanager|ssm):\S*|op://\S*|projects/[^/]+/secrets/\S*|awssm://\S*|gcpsm://\S*|akv://\S*)$`)
	// known are how secrets look. Where there is a group, it is the secret.
	known = []*regexp.Regexp{
		// The headers of one that is encrypted have dashes too; without an end, all is of it.
		regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z0-9 ]*-----|\z)`),
		regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`),
		regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})`),
		regexp.MustCompile(`\bgl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,}`),
		regexp.MustCompile(`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`),
		regexp.MustCompile(`\b[rs]k_live_[A-Za-z0-9]{16,}`),
		regexp.MustCompile(`\bAIza[0-9A-Za-z_-]{35}`),
		regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]{24,}`),
		regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}`),
		regexp.MustCompile(`\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`),
		regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`),
		regexp.MustCompile(`://[^\s:/@]*:([^\s/@]{3,})@`),
		regexp.MustCompile(`(?i)AccountKey=[A-Za-z0-9+/]{40,}={0,2}`),
		regexp.MustCompile(`(?i)\bBearer\s+([A-Za-z0-9._~+/-]{8,}=*)`),
		regexp.MustCompile(`(?i)\bBasic\s+([A-Za-z0-9+/]{8,}=*)`),
	}
	// named is a name with what stands before its value.
	named = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_.-]*)\\*["']?[ \t]*[:=][ \t]*`)
	// element is one of XML with its text.
	element = regexp.MustCompile(`<([A-Za-z][A-Za-z0-9:_.-]*)[^<>]*>([^<]+)<`)
	word    = regexp.MustCompile(`^[^\s"'\\,;&<>{}\[\]]{3,}`)
	literal = regexp.MustCompile(`^\\*("[^"\n]*|'[^'\n]*)`)
	// beginning is what may stand before the first name of a line.
	beginning = regexp.MustCompile(`^([ \t]*)(?:- +|export +)?["']?$`)
	// block is how YAML begins what stands in the lines below.
	block = regexp.MustCompile(`^(?:[|>][-+0-9]*[ \t]*)?(?:#[^\n]*)?\n`)
)

// saysSecret says whether a name says that what has it is secret.
func saysSecret(name string) bool {
	return secretName.MatchString(name) && !aboutSecret.MatchString(name)
}

// namedIn are the values that stand behind such names within a text: a file, a command, XML.
func namedIn(s string) []string {
	var out []string
	add := func(value string) {
		if value = strings.TrimSpace(value); value != "" && !reference.MatchString(value) {
			out = append(out, value)
		}
	}
	for _, m := range element.FindAllStringSubmatch(s, -1) {
		if saysSecret(m[1]) {
			add(m[2])
		}
	}
	for _, at := range named.FindAllStringSubmatchIndex(s, -1) {
		if !saysSecret(s[at[2]:at[3]]) {
			continue
		}
		rest := s[at[1]:]
		first := word.FindString(rest)
		indent := beginning.FindStringSubmatch(s[strings.LastIndexByte(s[:at[2]], '\n')+1 : at[2]])
		switch text := literal.FindStringSubmatch(rest); {
		case text != nil:
			add(strings.TrimRight(text[1][1:], `\`))
		case indent != nil && block.MatchString(rest):
			for _, l := range below(rest, len(indent[1]), rest[0] == '|' || rest[0] == '>') {
				add(l)
			}
		case indent != nil && first != "" && !reference.MatchString(first):
			line, _, _ := strings.Cut(rest, "\n")
			add(line) // a sentence
			add(first)
		default:
			add(first)
		}
	}
	return out
}

// below are the lines that stand below a name with so much before it. Where they are no text,
// but more names or a list, the names are left out: they say themselves what they are.
func below(rest string, indent int, text bool) []string {
	var out []string
	_, rest, _ = strings.Cut(rest, "\n")
	for l := range strings.SplitSeq(rest, "\n") {
		trimmed := strings.TrimLeft(l, " \t")
		switch {
		case strings.TrimSpace(l) == "":
		case len(l)-len(trimmed) <= indent:
			return out
		case text:
			out = append(out, trimmed)
		case !strings.Contains(l, ":"):
			out = append(out, strings.Trim(strings.TrimPrefix(trimmed, "- "), `"' `))
		}
	}
	return out
}
