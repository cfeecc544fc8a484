package render

import (
	"slices"
	"strings"
	"unicode"

	"cuelang.org/go/cue"
)

// secretWords end the names of variables that hold a secret, referenceWords those of
// variables that say where one is.
var (
	secretWords    = []string{"credential", "credentials", "passphrase", "passwd", "password", "secret", "token"}
	secretKeys     = []string{"access", "api", "encryption", "license", "private", "secret", "signing", "ssh"}
	referenceWords = []string{"ref", "refs", "reference", "references", "from", "secret", "secrets", "vault"}
)

// lintSecret finds variables for a secret itself: values can be read by whoever can read
// the Release, and stand in its history.
func (v *vetter) lintSecret(d declared) {
	if d.value.IncompleteKind() != cue.StringKind || d.kind != fieldOf {
		return
	}
	segments := strings.Split(d.path, ".")
	for _, parent := range segments[:len(segments)-1] {
		if slices.ContainsFunc(nameWords(parent), func(w string) bool { return slices.Contains(referenceWords, w) }) {
			return
		}
	}
	name := nameWords(segments[len(segments)-1])
	last := name[len(name)-1]
	isKey := last == "key" && len(name) > 1 && slices.Contains(secretKeys, name[len(name)-2]) || last == "apikey"
	if !slices.Contains(secretWords, last) && !isKey {
		return
	}
	v.advise(CodeSecret, d.position, "%s: wanted secrets by reference, found a variable that seems to hold one, which everybody could read who can read the Release; take the name of a Secret instead, as in %sSecretName", d.path, lastName(d.path))
}

// nameWords are the parts of a name such as apiKey or DB_PASSWORD, in lower case.
func nameWords(name string) []string {
	var out []string
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			out = append(out, word.String())
			word.Reset()
		}
	}
	upper := true
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
		case unicode.IsUpper(r):
			if !upper {
				flush()
			}
			word.WriteRune(unicode.ToLower(r))
		default:
			word.WriteRune(r)
		}
		upper = unicode.IsUpper(r)
	}
	flush()
	if len(out) == 0 {
		return []string{name}
	}
	return out
}
