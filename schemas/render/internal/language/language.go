// Package language decides about sets of strings that regular expressions and lengths
// describe: whether all of one set are of others, and which strings are of a set.
//
// RE2's expressions are regular, so this can be decided, by following all of their automata
// at once through every string, the shortest first (Rabin and Scott 1959, the product of
// automata).
package language

import (
	"encoding/binary"
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode"
)

const (
	// maxStates bounds the search; patterns with large counted repetitions have many.
	maxStates = 4000
	// maxRunesCounted bounds the lengths that are told apart.
	maxRunesCounted = 300
)

// Matches says whether s matches all of patterns and none of anti. A pattern that does not
// compile accepts everything: the engine has the last word.
func Matches(s string, patterns, anti []string) bool {
	for _, p := range patterns {
		if re, err := regexp.Compile(p); err == nil && !re.MatchString(s) {
			return false
		}
	}
	for _, p := range anti {
		if re, err := regexp.Compile(p); err == nil && re.MatchString(s) {
			return false
		}
	}
	return true
}

// automaton is one pattern as it is followed.
type automaton struct {
	prog *syntax.Prog
}

func compile(pattern string) (automaton, bool) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return automaton{}, false
	}
	prog, err := syntax.Compile(re.Simplify())
	return automaton{prog}, err == nil
}

// threads are the instructions that an automaton may be at, sorted. Once a pattern has
// matched, it matches whatever follows.
type threads struct {
	at      []uint32
	matched bool
}

// close follows empty transitions under the given flags.
func (a automaton) close(t threads, flags syntax.EmptyOp) threads {
	if t.matched {
		return t
	}
	seen := map[uint32]bool{}
	// A pattern may begin to match anywhere.
	stack := append(slices.Clone(t.at), uint32(a.prog.Start)) //nolint:gosec // an index of instructions
	var out threads
	for len(stack) > 0 {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch in := &a.prog.Inst[pc]; in.Op {
		case syntax.InstMatch:
			return threads{matched: true}
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, in.Out, in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^flags == 0 { //nolint:gosec // The compiler of patterns put one there.
				stack = append(stack, in.Out)
			}
		case syntax.InstFail:
		default:
			out.at = append(out.at, pc)
		}
	}
	slices.Sort(out.at)
	return out
}

// step reads one rune.
func (a automaton) step(t threads, r rune) threads {
	if t.matched {
		return t
	}
	var out threads
	for _, pc := range t.at {
		if in := &a.prog.Inst[pc]; in.MatchRune(r) {
			out.at = append(out.at, in.Out)
		}
	}
	slices.Sort(out.at)
	out.at = slices.Compact(out.at)
	return out
}

// Unset is a length that is not bounded.
const Unset = -1

// Set is what strings must do: match each of Patterns, match none of Anti, and have from
// Min to Max runes.
type Set struct {
	Patterns, Anti []string
	Min, Max       int
}

// state is where all automata are after a string.
type state struct {
	threads []threads
	// last is the rune before; -1 at the beginning.
	last  rune
	runes int
	// from and by lead back to the beginning.
	from *state
	by   rune
}

func (s *state) text() string {
	var out []rune
	for ; s.from != nil; s = s.from {
		out = append(out, s.by)
	}
	slices.Reverse(out)
	return string(out)
}

// key tells apart states that can behave differently. Of the last rune only what empty
// transitions ask counts.
func (s *state) key() string {
	b := []byte{byte(syntax.EmptyOpContext(s.last, 'a')), byte(syntax.EmptyOpContext(s.last, '\n')), byte(syntax.EmptyOpContext(s.last, -1))}
	b = binary.AppendVarint(b, int64(s.runes))
	for _, t := range s.threads {
		b = binary.AppendVarint(b, int64(len(t.at)))
		if t.matched {
			b = append(b, 1)
		}
		for _, pc := range t.at {
			b = binary.AppendUvarint(b, uint64(pc))
		}
	}
	return string(b)
}

// Search goes through strings, the shortest first, one for each behaviour, and calls visit
// with those of within, and whether each is also of all of the other languages. It returns
// false when it had to give up before it had seen all.
func Search(in Set, others []Set, visit func(s string, other []bool) (stop bool)) bool {
	w, ok := newWalker(in, others)
	if !ok {
		return false
	}
	start := &state{threads: make([]threads, len(w.automata)), last: -1}
	queue, seen := []*state{start}, map[string]bool{start.key(): true}
	for i := 0; i < len(queue); i++ {
		s := queue[i]
		if i > maxStates {
			return false
		}
		if isIn, other := w.verdict(s); isIn && visit(s.text(), other) {
			return true
		}
		if in.Max != Unset && s.runes >= in.Max {
			continue
		}
		closed := map[syntax.EmptyOp][]threads{}
		for _, r := range w.alphabet {
			flags := syntax.EmptyOpContext(s.last, r)
			if closed[flags] == nil {
				closed[flags] = w.close(s, flags)
			}
			next := w.next(s, r, closed[flags])
			if next == nil {
				continue
			}
			if k := next.key(); !seen[k] {
				seen[k] = true
				queue = append(queue, next)
			}
		}
	}
	return true
}

type walker struct {
	in       Set
	sets     []Set
	automata []automaton
	alphabet []rune
	// counted is the greatest length that makes a difference.
	counted int
}

func newWalker(in Set, others []Set) (*walker, bool) {
	w := &walker{in: in, sets: append([]Set{in}, others...)}
	for _, l := range w.sets {
		for _, p := range slices.Concat(l.Patterns, l.Anti) {
			a, ok := compile(p)
			if !ok {
				return nil, false
			}
			w.automata = append(w.automata, a)
		}
		w.counted = max(w.counted, l.Min, l.Max+1)
	}
	if w.counted > maxRunesCounted {
		return nil, false
	}
	w.alphabet = alphabet(w.automata)
	return w, true
}

// close follows the empty transitions of all automata.
func (w *walker) close(s *state, flags syntax.EmptyOp) []threads {
	out := make([]threads, len(w.automata))
	for i, a := range w.automata {
		out[i] = a.close(s.threads[i], flags)
	}
	return out
}

// next is the state after one more rune, nil where no string that follows can be of the
// language.
func (w *walker) next(s *state, r rune, closed []threads) *state {
	n := &state{last: r, from: s, by: r, runes: min(s.runes+1, w.counted), threads: make([]threads, len(w.automata))}
	for i, a := range w.automata {
		n.threads[i] = a.step(closed[i], r)
	}
	for i := range w.in.Anti {
		if n.threads[len(w.in.Patterns)+i].matched {
			return nil
		}
	}
	return n
}

// verdict says of which languages the string that led to s is.
func (w *walker) verdict(s *state) (in bool, others []bool) {
	flags := syntax.EmptyOpContext(s.last, -1)
	i := 0
	all := make([]bool, len(w.sets))
	for j, l := range w.sets {
		ok := (l.Min == Unset || s.runes >= l.Min) && (l.Max == Unset || s.runes <= l.Max)
		for k := range len(l.Patterns) + len(l.Anti) {
			matched := w.automata[i].close(s.threads[i], flags).matched
			ok = ok && matched == (k < len(l.Patterns))
			i++
		}
		all[j] = ok
	}
	return all[0], all[1:]
}

// alphabet has one rune for each set of runes that no instruction tells apart, those that
// read well before others.
func alphabet(automata []automaton) []rune {
	cuts := []rune{0, '\n', '\n' + 1, '0', '9' + 1, 'A', 'Z' + 1, '_', '_' + 1, 'a', 'z' + 1, ' ', 0x7f, unicode.MaxRune + 1, 0xd800, 0xe000}
	for _, a := range automata {
		for i := range a.prog.Inst {
			cuts = append(cuts, runeCuts(&a.prog.Inst[i])...)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var out []rune
	for i := 0; i+1 < len(cuts); i++ {
		// Surrogates are no characters.
		if lo := cuts[i]; lo >= 0 && lo <= unicode.MaxRune && (lo < 0xd800 || lo >= 0xe000) {
			out = append(out, readable(lo, cuts[i+1]-1))
		}
	}
	slices.SortStableFunc(out, func(a, b rune) int { return rank(a) - rank(b) })
	return out
}

// readable picks the rune of a range that looks best in a message.
func readable(lo, hi rune) rune {
	for _, r := range "ax0AX -./" {
		if lo <= r && r <= hi {
			return r
		}
	}
	return lo
}

func rank(r rune) int {
	switch {
	case 'a' <= r && r <= 'z':
		return 0
	case '0' <= r && r <= '9':
		return 1
	case 'A' <= r && r <= 'Z':
		return 2
	case ' ' < r && r < 0x7f:
		return 3
	}
	return 4
}

// runeCuts are where an instruction begins and ends to match.
func runeCuts(in *syntax.Inst) []rune {
	switch in.Op {
	case syntax.InstRune1, syntax.InstRune:
	case syntax.InstRuneAnyNotNL:
		return []rune{'\n', '\n' + 1}
	default:
		return nil
	}
	var cuts []rune
	if len(in.Rune) == 1 {
		r := in.Rune[0]
		cuts = append(cuts, r, r+1)
		if syntax.Flags(in.Arg)&syntax.FoldCase != 0 { //nolint:gosec // The compiler of patterns put flags there.
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				cuts = append(cuts, f, f+1)
			}
		}
		return cuts
	}
	for i := 0; i+1 < len(in.Rune); i += 2 {
		cuts = append(cuts, in.Rune[i], in.Rune[i+1]+1)
	}
	return cuts
}

// Within says whether every string of in is of one of others; known is false where that
// would take too long to find out.
func Within(in Set, others []Set) (within, known bool) {
	found := false
	whole := Search(in, others, func(_ string, other []bool) bool {
		found = !slices.Contains(other, true)
		return found
	})
	return !found && whole, found || whole
}

// Some returns up to n strings of a set, the shortest first, one for each way in which its
// patterns can match.
func Some(in Set, n int) []string {
	var out []string
	Search(in, nil, func(s string, _ []bool) bool {
		out = append(out, s)
		return len(out) >= n
	})
	return out
}
