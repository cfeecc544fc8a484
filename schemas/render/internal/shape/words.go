package shape

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/utils/lru"
)

// Words says what the shape accepts, as in "an integer from 1 to 65535".
func (s Shape) Words() string {
	var literals, others []string
	for _, a := range s.Arms {
		if a.Literal != "" && a.Literal != "null" {
			literals = append(literals, a.Literal)
			continue
		}
		if w := a.words(); !slices.Contains(others, w) {
			others = append(others, w)
		}
	}
	switch len(literals) {
	case 0:
	case 1:
		others = append([]string{literals[0]}, others...)
	default:
		others = append([]string{"one of " + strings.Join(literals, ", ")}, others...)
	}
	if len(others) == 0 {
		return "nothing"
	}
	return strings.Join(others, " or ")
}

// Literals returns the strings that the shape names, for a hint.
func (s Shape) Literals() []string {
	var out []string
	for _, a := range s.Arms {
		if a.Kind == String && a.Literal != "" {
			out = append(out, a.text())
		}
	}
	return out
}

// text is the string that a literal arm stands for.
func (a Arm) text() string {
	var s string
	if err := json.Unmarshal([]byte(a.Literal), &s); err != nil {
		return a.Literal
	}
	return s
}

func (a Arm) words() string {
	if len(a.Rules) > 0 && a.Kind == String && strings.HasPrefix(a.Rules[0], "a duration") {
		return a.Rules[0]
	}
	parts := []string{a.noun()}
	for _, p := range a.Patterns {
		parts = append(parts, "matching "+p)
	}
	for _, p := range a.AntiPatterns {
		parts = append(parts, "not matching "+p)
	}
	if len(a.Not) > 0 {
		parts = append(parts, "other than "+strings.Join(a.Not, ", "))
	}
	if len(a.Rules) > 0 {
		parts = append(parts, "with "+strings.Join(a.Rules, " and "))
	}
	return strings.Join(parts, " ")
}

func (a Arm) noun() string {
	switch a.Kind {
	case Null:
		return "null"
	case Bool:
		return "true or false"
	case Integer:
		return "an integer" + a.between()
	case Number:
		return "a number" + a.between()
	case String:
		return "a string" + a.sized("character")
	case List:
		return "a list" + a.sized("item")
	case Object:
		return "an object" + a.sized("entry")
	case Bytes:
		return "bytes, which a Release cannot write"
	default:
		return "a value"
	}
}

func (a Arm) between() string {
	lo, hi := "", ""
	if a.Min != nil {
		lo = " of at least " + a.Min.Text
		if a.Min.Open {
			lo = " above " + a.Min.Text
		}
	}
	if a.Max != nil {
		hi = " at most " + a.Max.Text
		if a.Max.Open {
			hi = " below " + a.Max.Text
		}
	}
	switch {
	case a.Max == nil:
		return lo
	case a.Min == nil && a.Max.Open:
		return hi
	case a.Min == nil:
		return " of" + hi
	case !a.Min.Open && !a.Max.Open:
		return " from " + a.Min.Text + " to " + a.Max.Text
	default:
		return lo + " and" + hi
	}
}

func (a Arm) sized(unit string) string {
	plural := func(n int) string {
		if n == 1 {
			return "1 " + unit
		}
		if before, ok := strings.CutSuffix(unit, "y"); ok {
			return fmt.Sprintf("%d %sies", n, before)
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case a.MinSize == nil && a.MaxSize == nil:
		return ""
	case a.MinSize == nil:
		return " of at most " + plural(*a.MaxSize)
	case a.MaxSize == nil:
		return " of at least " + plural(*a.MinSize)
	default:
		return fmt.Sprintf(" of %d to %s", *a.MinSize, plural(*a.MaxSize))
	}
}

// unwritable says whether no JSON stands for what a accepts: bytes, and an integer that is
// wanted as a fraction, such as 1.0, since that is 1 when it is read.
func (a Arm) unwritable() bool {
	whole, ok := new(big.Rat).SetString(a.Literal)
	return a.Kind == Bytes || a.Kind == Number && ok && whole.IsInt()
}

// accepts says whether the literal of b lies within a, as far as a can tell.
func (a Arm) accepts(b Arm) bool {
	if a.Literal != "" {
		return a.Literal == b.Literal
	}
	if len(a.Rules) > 0 || a.Kind == Any {
		return true
	}
	if slices.Contains(a.Not, b.Literal) {
		return false
	}
	switch b.Kind {
	case Integer, Number:
		return (a.Kind == Number || a.Kind == b.Kind) && a.holds(b.Literal)
	case String:
		return a.Kind == String && a.Matches(b.text())
	default:
		return a.Kind == b.Kind
	}
}

func (a Arm) holds(number string) bool {
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return true
	}
	beyond := func(b *Bound, sign int) bool {
		if b == nil {
			return false
		}
		c := r.Cmp(b.Value) * sign
		return c < 0 || c == 0 && b.Open
	}
	return !beyond(a.Min, 1) && !beyond(a.Max, -1)
}

// compiled has the patterns that were asked for last: compiling one costs more than all
// else that is done with it.
var compiled = lru.New(compiledPatterns)

const compiledPatterns = 256

// pattern returns nil where p is no regular expression.
func pattern(p string) *regexp.Regexp {
	if re, ok := compiled.Get(p); ok {
		return re.(*regexp.Regexp)
	}
	re, err := regexp.Compile(p)
	if err != nil {
		return nil
	}
	compiled.Add(p, re)
	return re
}

// Matches says whether the text has the length that a wants, matches its patterns and none
// that it must not match.
func (a Arm) Matches(text string) bool {
	match := func(p string) bool {
		re := pattern(p)
		return re == nil || re.MatchString(text)
	}
	for _, p := range a.Patterns {
		if !match(p) {
			return false
		}
	}
	for _, p := range a.AntiPatterns {
		if re := pattern(p); re != nil && re.MatchString(text) {
			return false
		}
	}
	n := utf8.RuneCountInString(text)
	return (a.MinSize == nil || n >= *a.MinSize) && (a.MaxSize == nil || n <= *a.MaxSize)
}
