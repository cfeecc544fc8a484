package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// form is how a condition compares.
type form int

const (
	formExact form = iota
	formPrefix
	formRegex
	// formPresent is any value at all.
	formPresent
)

// condition is one about the value of a header.
type condition struct {
	name  string
	form  form
	value string
}

func (c condition) same(o condition) bool {
	return strings.EqualFold(c.name, o.name) && c.form == o.form && c.value == o.value
}

// errNever says that no request can fit.
var errNever = errors.New("no request fits both")

// alternative is what one match of a step asks for, all of which must hold.
type alternative []condition

// alternatives returns the matches of a header route as d expresses them. Expressions are
// anchored: not every proxy compares the whole value by itself.
func alternatives(d dialect, route *v1alpha1.HeaderRoute) ([]alternative, error) {
	var out []alternative
	for i, m := range route.Matches {
		var one alternative
		for _, h := range m.Headers {
			c, err := conditionOf(h)
			if err != nil {
				return nil, fmt.Errorf("match %d, header %s: %w", i+1, h.Name, err)
			}
			one = append(one, c)
		}
		if len(m.Cookies) > 0 {
			c, err := cookies(m.Cookies)
			if err != nil {
				return nil, fmt.Errorf("match %d, %w", i+1, err)
			}
			one = append(one, c)
		}
		// What asks for one value comes first: only of that is it known what else it fits.
		slices.SortStableFunc(one, func(a, b condition) int { return cmp.Compare(a.form, b.form) })
		all, err := merge(nil, one)
		switch {
		case errors.Is(err, errNever):
			continue
		case err != nil:
			return nil, fmt.Errorf("match %d: %w", i+1, err)
		}
		for j := range all {
			all[j] = d.form(all[j])
		}
		out = append(out, all)
	}
	return out, nil
}

func conditionOf(v v1alpha1.ValueMatch) (condition, error) {
	switch {
	case v.Exact != nil:
		return condition{v.Name, formExact, *v.Exact}, nil
	case v.Prefix != nil:
		return condition{v.Name, formPrefix, *v.Prefix}, nil
	case v.Regex != nil:
		if _, err := regexp.Compile(*v.Regex); err != nil {
			return condition{}, fmt.Errorf("wanted an RE2 expression, found %q: %w", *v.Regex, err)
		}
		return condition{v.Name, formRegex, "^(?:" + *v.Regex + ")$"}, nil
	}
	return condition{}, errors.New("wanted one of exact, prefix and regex, found none")
}

// merge adds conditions of a step to those that a rule has, at most one for each header,
// since no route can have two. It returns errNever where they exclude each other.
func merge(base, step []condition) ([]condition, error) {
	out := slices.Clone(base)
	for _, c := range step {
		i := slices.IndexFunc(out, func(o condition) bool { return strings.EqualFold(o.name, c.name) })
		if i < 0 {
			out = append(out, c)
			continue
		}
		both, err := meet(out[i], c)
		if err != nil {
			return nil, err
		}
		out[i] = both
	}
	return out, nil
}

// meet is the one condition that asks for both. c is a step's, so that its expression is
// anchored and what it fits is known.
func meet(o, c condition) (condition, error) {
	switch {
	case o.same(c) || o.form == formExact && fitsValue(c, o.value):
		return o, nil
	case o.form == formPresent:
		return c, nil
	case o.form == formExact:
		return condition{}, errNever
	case o.form == formPrefix && c.form == formPrefix:
		return longer(o, c)
	case c.form == formExact && o.form == formPrefix:
		if strings.HasPrefix(c.value, o.value) {
			return c, nil
		}
		return condition{}, errNever
	}
	return condition{}, fmt.Errorf("header %s: wanted one condition on it, since a route can have no more, found two (%q and %q); let the step use another header, or write both as one expression",
		c.name, o.value, c.value)
}

func longer(a, b condition) (condition, error) {
	switch {
	case strings.HasPrefix(a.value, b.value):
		return a, nil
	case strings.HasPrefix(b.value, a.value):
		return b, nil
	}
	return condition{}, errNever
}

// fitsValue says whether a value fits a condition of a step.
func fitsValue(c condition, value string) bool {
	switch c.form {
	case formExact:
		return c.value == value
	case formPrefix:
		return strings.HasPrefix(value, c.value)
	case formRegex:
		re, err := regexp.Compile(c.value)
		return err == nil && re.MatchString(value)
	case formPresent:
		return true
	}
	return false
}

// within says whether whatever fits all of conditions fits a too.
func (a alternative) within(conditions []condition) bool {
	for _, c := range a {
		if !slices.ContainsFunc(conditions, func(o condition) bool {
			return strings.EqualFold(o.name, c.name) && (o.same(c) || o.form == formExact && fitsValue(c, o.value))
		}) {
			return false
		}
	}
	return len(a) > 0
}
