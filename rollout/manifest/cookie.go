package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// A cookie begins the header or comes after a semicolon, and ends the header or comes before
// one.
const (
	cookieHeader = "Cookie"
	cookieBegins = `(?:.*;\s*)?`
	cookieEnds   = `\s*`
	cookieNext   = `(?:;.*)?`
)

// cookies returns the one condition on the Cookie header that asks for all of the cookies.
// They may come in any order, and no expression of RE2 says "and": so it lists the orders.
func cookies(all []v1alpha1.ValueMatch) (condition, error) {
	parts := make([]string, len(all))
	for i, c := range all {
		value, err := cookieValue(c)
		if err != nil {
			return condition{}, fmt.Errorf("cookie %s: %w", c.Name, err)
		}
		parts[i] = regexp.QuoteMeta(c.Name) + "=" + value
	}
	for i, c := range all {
		if slices.ContainsFunc(all[:i], func(o v1alpha1.ValueMatch) bool { return o.Name == c.Name }) {
			return condition{}, fmt.Errorf("cookie %s: wanted one condition on it in one match, found two; write both as one expression", c.Name)
		}
	}
	slices.Sort(parts)
	var orders []string
	for _, order := range permutations(parts) {
		orders = append(orders, cookieBegins+strings.Join(order, cookieEnds+`;(?:.*;)?\s*`)+cookieEnds+cookieNext)
	}
	expression := "^" + orders[0] + "$"
	if len(orders) > 1 {
		expression = "^(?:" + strings.Join(orders, "|") + ")$"
	}
	if _, err := regexp.Compile(expression); err != nil {
		return condition{}, fmt.Errorf("cookies: wanted an expression that RE2 takes, found %w; have fewer cookies in one match", err)
	}
	return condition{cookieHeader, formRegex, expression}, nil
}

// cookieValue is an expression of the value of a cookie. It goes past no semicolon.
func cookieValue(v v1alpha1.ValueMatch) (string, error) {
	switch {
	case v.Exact != nil:
		return regexp.QuoteMeta(*v.Exact), nil
	case v.Prefix != nil:
		return regexp.QuoteMeta(*v.Prefix) + "[^;]*", nil
	case v.Regex != nil:
		parsed, err := syntax.Parse(*v.Regex, syntax.Perl)
		if err != nil {
			return "", fmt.Errorf("wanted an RE2 expression, found %q: %w", *v.Regex, err)
		}
		inside, err := withinCookie(trimmed(parsed))
		if err != nil {
			return "", fmt.Errorf("wanted an expression of the value of one cookie, found %q: %w", *v.Regex, err)
		}
		return "(?:" + inside.String() + ")", nil
	}
	return "", errors.New("wanted one of exact, prefix and regex, found none")
}

// trimmed leaves out the anchors around an expression, which is held to the whole value
// anyhow.
func trimmed(re *syntax.Regexp) *syntax.Regexp {
	anchor := func(r *syntax.Regexp) bool {
		switch r.Op { //nolint:exhaustive // the others are no anchors
		case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine:
			return true
		}
		return false
	}
	if anchor(re) {
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}
	}
	if re.Op != syntax.OpConcat {
		return re
	}
	for len(re.Sub) > 0 && (re.Sub[0].Op == syntax.OpBeginText || re.Sub[0].Op == syntax.OpBeginLine) {
		re.Sub = re.Sub[1:]
	}
	for n := len(re.Sub); n > 0 && (re.Sub[n-1].Op == syntax.OpEndText || re.Sub[n-1].Op == syntax.OpEndLine); n = len(re.Sub) {
		re.Sub = re.Sub[:n-1]
	}
	if len(re.Sub) == 0 {
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}
	}
	return re
}

const separator = ';'

// withinCookie takes the semicolon out of every class of characters, so that .* ends where
// the cookie does.
func withinCookie(re *syntax.Regexp) (*syntax.Regexp, error) {
	switch re.Op { //nolint:exhaustive // the others hold no characters
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return &syntax.Regexp{Op: syntax.OpCharClass, Rune: []rune{0, separator - 1, separator + 1, 0x10ffff}}, nil
	case syntax.OpCharClass:
		re.Rune = withoutSeparator(re.Rune)
		if len(re.Rune) == 0 {
			return nil, errors.New("it asks for a semicolon, which no cookie has")
		}
	case syntax.OpLiteral:
		if slices.Contains(re.Rune, separator) {
			return nil, errors.New("it asks for a semicolon, which no cookie has")
		}
	case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine:
		return nil, errors.New("it has ^ or $ elsewhere than around all of it; leave them out, since the whole value is compared")
	}
	for i, sub := range re.Sub {
		inside, err := withinCookie(sub)
		if err != nil {
			return nil, err
		}
		re.Sub[i] = inside
	}
	return re, nil
}

// withoutSeparator returns the ranges of a class, first and last in turn, without the
// semicolon.
func withoutSeparator(class []rune) []rune {
	var out []rune
	for i := 0; i+1 < len(class); i += 2 {
		first, last := class[i], class[i+1]
		if separator < first || separator > last {
			out = append(out, first, last)
			continue
		}
		if first < separator {
			out = append(out, first, separator-1)
		}
		if last > separator {
			out = append(out, separator+1, last)
		}
	}
	return out
}

// permutations returns all orders of parts; of the four cookies that a match may have, 24.
func permutations(parts []string) [][]string {
	if len(parts) < 2 {
		return [][]string{parts}
	}
	var out [][]string
	for i := range parts {
		rest := slices.Delete(slices.Clone(parts), i, i+1)
		for _, tail := range permutations(rest) {
			out = append(out, append([]string{parts[i]}, tail...))
		}
	}
	return out
}
