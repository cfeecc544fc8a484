package shape

import (
	"regexp"
	"testing"
)

func TestExpressionsOfJSONSchema(t *testing.T) {
	for in, want := range map[string]string{
		`^[a-z]+$`:                    `^[a-z]+$`,
		`^(a|b){1,3}(?:c)?$`:          `^(a|b){1,3}(?:c)?$`,
		`^\d+\.\d+$`:                  `^\d+\.\d+$`,
		`^[a-z\-]*$`:                  `^[a-z\-]*$`,
		`^.+$`:                        `^(?:[^\n])+$`,
		`(?i)^ab$`:                    `^[Aa][Bb]$`,
		`\Aab\z`:                      `^ab$`,
		`^[[:alpha:]]+$`:              `^(?:[A-Za-z])+$`,
		`^\s$`:                        `^[\x09-\x0a\x0c-\x0d ]$`,
		`^\Qa.b\E$`:                   `^a\.b$`,
		`^a\_b$`:                      `^a_b$`,
		`^{x}$`:                       `^\{x\}$`,
		`^(?P<name>a)+?$`:             `^(?:(?:a))+?$`,
		`^[^a-z]$`:                    `^[^a-z]$`,
		`^\PL$`:                       "",
		`(?m)^a$`:                     "",
		`^[\w-.]$`:                    `^[\x2d-\.0-9A-Z_a-z]$`,
		`^[\d-x]$`:                    `^[\x2d0-9x]$`,
		`^[a-b-x]$`:                   `^[\x2da-bx]$`,
		`^[-a\d-]$`:                   `^[-a\d-]$`,
		`^a**$`:                       "",
		`^*a`:                         `(?:^)*a`,
		`^\b+a`:                       `^(?:\b)+a`,
		`^a{,2}`:                      `^a\{,2\}`,
		`^[^\x00-\x{10FFFF}]`:         `^[^\s\S]`,
		`^(a|*)`:                      "",
		`^[^\x00-\x1f]$`:              `^[^\x00-\x1f]$`,
		`^(?s).$`:                     `^[\s\S]$`,
		`^[\w.-]+@[\w-]+\.[a-z]+$`:    `^[\w.-]+@[\w-]+\.[a-z]+$`,
		`^(a|b|)$`:                    `^(a|b|)$`,
		`^(?i:k)$`:                    "",
		`^#?/"'<>=!,:;@%&~_ a9` + "`": `^#?/"'<>=!,:;@%&~_ a9` + "`",
	} {
		got, ok := ecma(in)
		if want != "" && (!ok || got != want) {
			t.Errorf("%s: wanted %s, got %s, %v", in, want, got, ok)
		}
		if !ok {
			continue
		}
		// What both dialects read must match the same.
		a, b := regexp.MustCompile(in), regexp.MustCompile(got)
		for _, text := range []string{"", "a", "ab", "AB", "aB", "a.b", "a_b", "{x}", "\r", "\n", " ", "\t", "-", "x@y.z", "k", "K", "\u212a", "abc", "aa", "\u00e9", "1.5", "\v", "\u2028"} {
			if a.MatchString(text) != b.MatchString(text) {
				t.Errorf("%s and %s: wanted the same of %q, got %v and %v", in, got, text, a.MatchString(text), b.MatchString(text))
			}
		}
	}
	if got, ok := ecma(`(?m)^a$`); ok {
		t.Errorf("wanted no expression where there is none, got %s", got)
	}
}
