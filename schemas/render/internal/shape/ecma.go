package shape

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// common are regular expressions that are written in the same way for CUE (RE2) and for
// JSON Schema (ECMA-262 with the flag u), where they mean the same: no flags, no dot, no
// classes by name, repetition only of what can be repeated, and in brackets each - either
// between two characters or at an end. All else is written anew from RE2's own reading.
var common = func() *regexp.Regexp {
	const (
		escaped = `\\[nrtfv.+*?()\[\]{}|^$/\\]`
		inside  = `(?:[^\\\[\]-]|` + escaped + `|\\-)` // one character in brackets
		class   = `\[\^?-?(?:\\[dw]|` + inside + `(?:-` + inside + `)?)+-?\]`
		atom    = `(?:[^\\.\[\](){}*+?|^$]|` + escaped + `|\\[dDwW]|` + class + `|\))`
		times   = `(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??`
	)
	return regexp.MustCompile(`^(?:` + atom + `(?:` + times + `)?|\((?:\?:)?|[|^$]|\\[bB])*$`)
}()

// ecma returns the expression of JSON Schema's dialect that matches what the RE2
// expression does; ok is false where there is none.
func ecma(expression string) (out string, ok bool) {
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return "", false
	}
	if common.MatchString(expression) {
		return expression, true
	}
	var b strings.Builder
	if !translate(&b, tree) {
		return "", false
	}
	return b.String(), true
}

// sameForAll are the parts of an expression that are written in one way.
var sameForAll = map[syntax.Op]string{
	syntax.OpNoMatch:        `[^\s\S]`,
	syntax.OpEmptyMatch:     `(?:)`,
	syntax.OpAnyCharNotNL:   `[^\n]`,
	syntax.OpAnyChar:        `[\s\S]`,
	syntax.OpBeginText:      `^`,
	syntax.OpEndText:        `$`,
	syntax.OpWordBoundary:   `\b`,
	syntax.OpNoWordBoundary: `\B`,
}

func translate(b *strings.Builder, re *syntax.Regexp) bool {
	if text, ok := sameForAll[re.Op]; ok {
		b.WriteString(text)
		return true
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 {
				class(b, folds(r))
			} else {
				single(b, r)
			}
		}
	case syntax.OpCharClass:
		class(b, re.Rune)
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		return repeated(b, re)
	case syntax.OpCapture:
		return grouped(b, re.Sub[:1], "")
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			// An alternation brings its own group.
			if !translate(b, sub) {
				return false
			}
		}
	case syntax.OpAlternate:
		return grouped(b, re.Sub, "|")
	default:
		// The beginning and end of lines need flags that JSON Schema does not have.
		return false
	}
	return true
}

func grouped(b *strings.Builder, subs []*syntax.Regexp, between string) bool {
	b.WriteString("(?:")
	for i, sub := range subs {
		if i > 0 {
			b.WriteString(between)
		}
		if !translate(b, sub) {
			return false
		}
	}
	b.WriteString(")")
	return true
}

func repeated(b *strings.Builder, re *syntax.Regexp) bool {
	if !grouped(b, re.Sub[:1], "") {
		return false
	}
	switch {
	case re.Op == syntax.OpStar:
		b.WriteString("*")
	case re.Op == syntax.OpPlus:
		b.WriteString("+")
	case re.Op == syntax.OpQuest:
		b.WriteString("?")
	case re.Max == re.Min:
		fmt.Fprintf(b, "{%d}", re.Min)
	case re.Max < 0:
		fmt.Fprintf(b, "{%d,}", re.Min)
	default:
		fmt.Fprintf(b, "{%d,%d}", re.Min, re.Max)
	}
	if re.Flags&syntax.NonGreedy != 0 {
		b.WriteString("?")
	}
	return true
}

// folds are the letters that are r but for their case, as ranges.
func folds(r rune) []rune {
	out := []rune{r, r}
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		out = append(out, f, f)
	}
	return out
}

// class writes ranges of characters. Those up to the last there is are written as what
// they leave out.
func class(b *strings.Builder, ranges []rune) {
	n := len(ranges)
	switch {
	case n == 0:
		b.WriteString(sameForAll[syntax.OpNoMatch])
		return
	case n == 2 && ranges[0] == 0 && ranges[1] == utf8.MaxRune:
		b.WriteString(sameForAll[syntax.OpAnyChar])
		return
	}
	b.WriteString("[")
	if ranges[n-1] == utf8.MaxRune {
		b.WriteString("^")
		var rest []rune
		next := rune(0)
		for i := 0; i < n; i += 2 {
			if ranges[i] > next {
				rest = append(rest, next, ranges[i]-1)
			}
			next = ranges[i+1] + 1
		}
		ranges = rest
	}
	for i := 0; i < len(ranges); i += 2 {
		single(b, ranges[i])
		if ranges[i+1] > ranges[i] {
			b.WriteString("-")
			single(b, ranges[i+1])
		}
	}
	b.WriteString("]")
}

// single writes one character in a form that both dialects read, in classes and outside.
func single(b *strings.Builder, r rune) {
	switch {
	case strings.ContainsRune(`\.+*?()[]{}|^$/`, r):
		b.WriteString(`\` + string(r))
	case r < 0x20 || r == '-' || r >= 0x7f && r <= 0xff:
		fmt.Fprintf(b, `\x%02x`, r)
	default:
		b.WriteRune(r)
	}
}
