package record

import (
	"encoding/base64"
	"regexp"
	"strings"
)

// middle is where the webhook cuts a long line of its answer: what is left of a secret there
// is no whole one.
var middle = regexp.MustCompile(` \.\.\. \(\d+ bytes\) \.\.\. `)

// answer is a message of the webhook without secrets, and without halves of them.
func (m *mask) answer(s string) string {
	s = m.text(s)
	at := middle.FindAllStringIndex(s, -1)
	if at == nil {
		return s
	}
	var b strings.Builder
	from := 0
	for i, cut := range at {
		b.WriteString(m.between(s[from:cut[0]], i > 0, true))
		b.WriteString(s[cut[0]:cut[1]])
		from = cut[1]
	}
	b.WriteString(m.between(s[from:], true, false))
	return b.String()
}

// between is what stands between two cuts, or before or behind one.
func (m *mask) between(s string, after, before bool) string {
	if after {
		s = m.behind(s, 0)
	}
	if before {
		s = m.ahead(s, 0)
	}
	return s
}

// ahead replaces the beginning of a secret at the end of a text.
func (m *mask) ahead(s string, depth int) string {
	best, to := 0, ""
	for _, form := range m.forms {
		for k := min(len(form)-1, len(s)); k >= long && k > best; k-- {
			if s[len(s)-k:] == form[:k] && len(m.pairs[form]) == len(form) {
				best, to = k, m.pairs[form][:k]
			}
		}
	}
	if best > 0 || depth == maxEncoded {
		return s[:len(s)-best] + to
	}
	// Base64 that is cut: four characters are three bytes.
	at := len(s) - len(s[strings.LastIndexFunc(s, notEncoded)+1:])
	word := s[at:]
	whole := len(word) / 4 * 4
	for _, e := range alphabets {
		if raw, err := e.DecodeString(word[:whole]); err == nil && whole > 0 {
			if other := m.ahead(string(raw), depth+1); other != string(raw) {
				return s[:at] + e.EncodeToString([]byte(other)) + strings.Repeat("x", len(word)-whole)
			}
		}
	}
	return s
}

// behind replaces the end of a secret at the beginning of a text.
func (m *mask) behind(s string, depth int) string {
	best, to := 0, ""
	for _, form := range m.forms {
		for k := min(len(form)-1, len(s)); k >= long && k > best; k-- {
			if s[:k] == form[len(form)-k:] && len(m.pairs[form]) == len(form) {
				best, to = k, m.pairs[form][len(form)-k:]
			}
		}
	}
	if best > 0 || depth == maxEncoded {
		return to + s[best:]
	}
	end := strings.IndexFunc(s, notEncoded)
	if end < 0 {
		end = len(s)
	}
	word := strings.TrimRight(s[:end], "=")
	for skip := range min(4, len(word)) {
		for _, e := range alphabets {
			if raw, err := e.DecodeString(word[skip:]); err == nil {
				if other := m.behind(string(raw), depth+1); other != string(raw) {
					return strings.Repeat("x", skip) + e.EncodeToString([]byte(other)) + s[len(word):]
				}
			}
		}
	}
	return s
}

var alphabets = []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding}

func notEncoded(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("+/-_=", r)
}
