package language

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func set(patterns ...string) Set { return Set{Patterns: patterns, Min: Unset, Max: Unset} }

func TestWithin(t *testing.T) {
	sized := func(s Set, least, most int) Set { s.Min, s.Max = least, most; return s }
	without := func(s Set, anti string) Set { s.Anti = append(slices.Clone(s.Anti), anti); return s }
	for name, c := range map[string]struct {
		in     Set
		others []Set
		want   bool
		// witness is the first string that is of none of the others.
		witness string
	}{
		"the same":                              {set(`^a+$`), []Set{set(`^aa*$`)}, true, ""},
		"a class within a greater one":          {set(`^[a-f]+$`), []Set{set(`^[a-z]+$`)}, true, ""},
		"a class beside another":                {set(`^[a-z]$`), []Set{set(`^[a-y]$`)}, false, "z"},
		"two others together":                   {set(`^[a-z]$`), []Set{set(`^[a-m]$`), set(`^[n-z]$`)}, true, ""},
		"without an anchor, more is accepted":   {set(`^ab$`), []Set{set(`b`)}, true, ""},
		"with an anchor, less":                  {set(`b`), []Set{set(`^b`)}, false, "ab"},
		"any string is not one line":            {set(), []Set{set(`^.*$`)}, false, "\n"},
		"any string is some string":             {set(), []Set{set(`(?s)^.*$`)}, true, ""},
		"ends of lines are no ends of the text": {set(`(?m)^a$`), []Set{set(`^a$`)}, false, "a\n"},
		"words":                                 {set(`\bab\b`), []Set{set(`ab`)}, true, ""},
		"parts of words":                        {set(`ab`), []Set{set(`\bab\b`)}, false, "aab"},
		"letters of either case":                {set(`^A$`), []Set{set(`(?i)^a$`)}, true, ""},
		"a sign that folds to a letter":         {set(`(?i)^k$`), []Set{set(`^[kK]$`)}, false, "\u212a"},
		"all of two patterns":                   {set(`^a`, `b$`), []Set{set(`^a.*b$`)}, false, "a\nb"},
		"what must not match":                   {without(set(`^[ab]$`), `b`), []Set{set(`^a$`)}, true, ""},
		"what the other must not match":         {set(`^[ab]$`), []Set{without(set(), `^b`)}, false, "b"},
		"a pattern for a length":                {set(`^[a-z]{2,5}$`), []Set{sized(set(), 2, 5)}, true, ""},
		"a length for a pattern":                {sized(set(`^[a-z]*$`), 2, 5), []Set{set(`^[a-z]{2,5}$`)}, true, ""},
		"a length that is too great":            {sized(set(`^a*$`), 0, 5), []Set{sized(set(), 0, 4)}, false, "aaaaa"},
		"nothing is within anything":            {set(`^a$`, `^b$`), nil, true, ""},
		"something is not within nothing":       {set(`^a?$`), nil, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			within, known := Within(c.in, c.others)
			if !known || within != c.want {
				t.Errorf("found %v, known %v", within, known)
			}
			if c.want {
				return
			}
			first := "none"
			Search(c.in, c.others, func(s string, other []bool) bool {
				if !slices.Contains(other, true) {
					first = s
					return true
				}
				return false
			})
			if utf8.RuneCountInString(first) != utf8.RuneCountInString(c.witness) || !of(c.in, first) || slices.ContainsFunc(c.others, func(o Set) bool { return of(o, first) }) {
				t.Errorf("found the example %q, wanted one such as %q", first, c.witness)
			}
		})
	}
}

// of says whether s is of a set, by the engine that CUE has.
func of(set Set, s string) bool {
	n := utf8.RuneCountInString(s)
	return Matches(s, set.Patterns, set.Anti) && (set.Min == Unset || n >= set.Min) && (set.Max == Unset || n <= set.Max)
}

func TestWhatIsTooLargeIsNotKnown(t *testing.T) {
	if _, known := Within(set(`^([a-z]{1,900}x){1,3}$`), []Set{set(`^([a-z]{1,901}x){1,3}$`)}); known {
		t.Error("wanted it to give up")
	}
	if _, known := Within(set(`(`), []Set{set(`a`)}); known {
		t.Error("a pattern that does not compile was decided about")
	}
}

func TestSomeAreOfTheSet(t *testing.T) {
	for _, p := range []string{`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`, `^v[0-9]+\.[0-9]+$`, `(?i)^x|y$`, `\bfoo\b`, `^\p{Greek}+$`, `^[^\x00-\x{10FFFE}]$`} {
		found := Some(set(p), 8)
		if len(found) == 0 {
			t.Errorf("%s: found none", p)
		}
		for _, s := range found {
			if !regexp.MustCompile(p).MatchString(s) {
				t.Errorf("%s: found %q", p, s)
			}
		}
	}
	if found := Some(set(`^a$`, `^b$`), 8); len(found) != 0 {
		t.Errorf("found %q, which is of no set", found)
	}
}

// What is decided about two patterns made at random agrees with what the engine says of
// strings made at random.
func TestWithinAgreesWithTheEngine(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	var pattern func(depth int) string
	pattern = func(depth int) string {
		atoms := []string{"a", "b", "[ab]", "[^a]", ".", "^", "$", `\b`, "c", `\w`, `(?i:A)`, "\n"}
		if depth > 2 {
			return atoms[g.IntN(len(atoms))]
		}
		switch g.IntN(7) {
		case 0:
			return "(" + pattern(depth+1) + "|" + pattern(depth+1) + ")"
		case 1:
			return "(" + pattern(depth+1) + ")*"
		case 2:
			return "(" + pattern(depth+1) + ")?"
		case 3:
			return "(" + pattern(depth+1) + "){1,2}"
		case 4, 5:
			return pattern(depth+1) + pattern(depth+1)
		}
		return atoms[g.IntN(len(atoms))]
	}
	decided := map[bool]int{}
	for range 400 {
		a, b := set(pattern(0)), set(pattern(0), pattern(1))
		if g.IntN(3) == 0 {
			a = set("^"+a.Patterns[0]+"$", b.Patterns[0])
		}
		within, known := Within(a, []Set{b})
		if !known {
			continue
		}
		decided[within]++
		for range 200 {
			var s strings.Builder
			for range g.IntN(5) {
				s.WriteString([]string{"a", "b", "c", "A", " ", "\n", "é"}[g.IntN(7)])
			}
			if within && of(a, s.String()) && !of(b, s.String()) {
				t.Errorf("%q is of %q and not of %q", s.String(), a.Patterns, b.Patterns)
			}
		}
		Search(a, []Set{b}, func(s string, other []bool) bool {
			if !of(a, s) || of(b, s) != other[0] {
				t.Errorf("wrong about %q: %q, %q, %v", s, a.Patterns, b.Patterns, other)
			}
			return len(s) > 4
		})
	}
	if decided[true] < 20 || decided[false] < 20 {
		t.Errorf("decided only %v", decided)
	}
}
