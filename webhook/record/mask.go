package record

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// long is the length in bytes from which on a secret is replaced wherever it stands; a
	// shorter one is part of many words, and is replaced where it is a whole text or quoted.
	long = 4
	// maxSecrets and maxSecretBytes bound the work of one record.
	maxSecrets     = 2000
	maxSecretBytes = 8 << 20
	// maxEncoded is how often base64 in base64 is looked into.
	maxEncoded = 3
)

var errTooManySecrets = errors.New("wanted at most 2000 secrets of 8 MiB, found more")

// kept are the parts of secrets by which services mark theirs, which say nothing: without
// them a policy that knows the marks would not object any more.
var kept = regexp.MustCompile(`-----(?:BEGIN|END) [A-Z0-9 ]+-----|\b(?:AKIA|ASIA|gh[pousr]_|github_pat_|gl(?:pat|dt|rt|ptt)-|xox[abeoprs]-|[rs]k_live_|AIza|hv[sbr]\.|npm_|SG\.|eyJ)|\.eyJ|(?i:AccountKey=)`)

// mask replaces secrets by texts of the same length that have letters where they have
// letters and digits where they have digits. The same secret becomes the same text
// everywhere in one record, and another in the next: the key is thrown away.
type mask struct {
	key []byte
	// whole is by secret, for texts that are nothing else.
	whole map[string]string
	// parts replaces what stands within a text.
	parts *strings.Replacer
	// forms are what parts looks for, and pairs what it puts there.
	forms []string
	pairs map[string]string
}

// newMask makes the mask of the secrets.
func newMask(key []byte, secrets []string) (*mask, error) {
	total := 0
	for _, s := range secrets {
		total += len(s)
	}
	if len(secrets) > maxSecrets || total > maxSecretBytes {
		return nil, errTooManySecrets
	}
	m := &mask{key: key, whole: map[string]string{}}
	pairs := map[string]string{}
	for _, s := range secrets {
		other := m.other(s)
		m.whole[s] = other
		for _, form := range written {
			from, to := form(s), form(other)
			switch {
			case from == "":
			case len(from) >= long && len(s) >= long:
				pairs[from] = to
			default:
				for _, quote := range []string{`"`, `'`, "`"} {
					pairs[quote+from+quote] = quote + to + quote
				}
			}
			if m.whole[from] == "" {
				m.whole[from] = to
			}
		}
	}
	for from := range pairs {
		m.forms = append(m.forms, from)
	}
	// Where two begin at the same place the longer one is meant.
	slices.SortFunc(m.forms, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	list := make([]string, 0, 2*len(m.forms))
	for _, from := range m.forms {
		list = append(list, from, pairs[from])
	}
	m.parts, m.pairs = strings.NewReplacer(list...), pairs
	return m, nil
}

// written are the ways in which a text is written.
var written = []func(string) string{
	func(s string) string { return s },
	func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	func(s string) string { return hex.EncodeToString([]byte(s)) },
	func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	url.QueryEscape,
	url.PathEscape,
	func(s string) string { quoted := strconv.Quote(s); return quoted[1 : len(quoted)-1] },
	func(s string) string { return asJSON(s, true) },
	func(s string) string { return asJSON(s, false) },
}

func asJSON(s string, html bool) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if e.Encode(s) != nil {
		return "" // a text can be written
	}
	quoted := strings.TrimSuffix(b.String(), "\n")
	return quoted[1 : len(quoted)-1]
}

// other is what stands for a secret. It is never the secret itself.
func (m *mask) other(s string) string {
	out := []byte(s)
	skip := make([]bool, len(s))
	for _, at := range kept.FindAllStringIndex(s, -1) {
		for i := at[0]; i < at[1]; i++ {
			skip[i] = true
		}
	}
	for round := byte(0); ; round++ {
		random := m.stream(s, round)
		for i := range out {
			if !skip[i] {
				out[i] = alike(s[i], random())
			}
		}
		if string(out) != s {
			return string(out)
		}
		if round == 8 {
			// Nothing but what is kept, or signs: then nothing is kept.
			return strings.Repeat("x", len(s)-1) + map[bool]string{true: "y", false: "x"}[s == strings.Repeat("x", len(s))]
		}
	}
}

// alike is a character of the same class: what is neither a letter nor a digit stays, as it
// says how a text is made; what is no ASCII becomes a letter for each byte.
func alike(b byte, random byte) byte {
	switch {
	case b >= '0' && b <= '9':
		return '1' + random%9
	case b >= 'A' && b <= 'Z':
		return 'A' + random%26
	case b >= 'a' && b <= 'z', b >= 0x80:
		return 'a' + random%26
	}
	return b
}

// stream are bytes that nobody can tell without the key.
func (m *mask) stream(s string, round byte) func() byte {
	var block []byte
	var n uint64
	return func() byte {
		if len(block) == 0 {
			h := hmac.New(sha256.New, m.key)
			var count [9]byte
			binary.BigEndian.PutUint64(count[:8], n)
			count[8] = round
			_, _ = h.Write(count[:]) // a hash takes everything
			_, _ = h.Write([]byte(s))
			block = h.Sum(nil)
			n++
		}
		b := block[0]
		block = block[1:]
		return b
	}
}

// text is s without secrets.
func (m *mask) text(s string) string { return m.inside(s, 0) }

// encoded is what may be base64.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/_-]{8,}={0,2}`)

func (m *mask) inside(s string, depth int) string {
	if to, ok := m.whole[s]; ok {
		return to
	}
	s = m.parts.Replace(s)
	if depth == maxEncoded {
		return s
	}
	return encoded.ReplaceAllStringFunc(s, func(word string) string {
		if other := m.decoded(word, depth); other != word {
			return other
		}
		// It may stand in a path, or behind a dash.
		return segment.ReplaceAllStringFunc(word, func(part string) string { return m.decoded(part, depth) })
	})
}

// segment is what may be base64 between the two signs of it that are also used otherwise.
var segment = regexp.MustCompile(`[A-Za-z0-9+]{8,}={0,2}`)

// decoded looks into a word that may be base64.
func (m *mask) decoded(word string, depth int) string {
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		raw, err := e.DecodeString(word)
		if err != nil {
			continue
		}
		if other := m.inside(string(raw), depth+1); other != string(raw) {
			return e.EncodeToString([]byte(other))
		}
	}
	return word
}

// tree replaces secrets in everything that JSON can hold, names of fields included.
func (m *mask) tree(v any) any {
	switch v := v.(type) {
	case string:
		return m.text(v)
	case json.Number:
		if to, ok := m.whole[v.String()]; ok && len(v) >= long {
			return json.Number(to)
		}
	case []any:
		for i := range v {
			v[i] = m.tree(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, x := range v {
			out[m.text(key)] = m.tree(x)
		}
		return out
	}
	return v
}
