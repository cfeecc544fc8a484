package compat

import (
	"fmt"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/shape"
)

// presence says what leaving a variable out means.
type presence int

const (
	// optional is: then it is not there.
	optional presence = iota
	// defaulted is: then it has a value all the same.
	defaulted
	// required is: it must not be left out.
	required
)

func (p presence) String() string {
	return [...]string{"may be left out", "has a default", "must be set"}[p]
}

func presenceOf(sel cue.Selector, v cue.Value) presence {
	switch sel.ConstraintType() { //nolint:exhaustive // A selector is of one of many types, of which two are asked for.
	case cue.OptionalConstraint:
		return optional
	case cue.RequiredConstraint:
		return required
	}
	if d, _ := v.Default(); d.Validate(cue.Concrete(true), cue.Final()) == nil {
		return defaulted
	}
	return required
}

// fields compares a variable that both declare.
func (c *comparer) fields(at place, b, a field) {
	parent := place{at.path, at.way[:len(at.way)-1]}
	if b.given != nil || a.given != nil {
		c.leftOut(at, parent, b, a)
		c.values(at, b.value, a.value)
		return
	}
	switch {
	case b.presence != required && a.presence == required:
		c.demanded(parent, at, a.value, fmt.Sprintf("the variable %s now; before it %s", a.presence, leftOut(b)), "a Release that does not set it is refused")
	case b.presence == required && a.presence != required:
		c.report(at, Safe, fmt.Sprintf("the variable had to be set; now it %s", leftOut(a)), "every Release sets it already")
	case b.presence != a.presence:
		c.report(at, DefaultChanged, fmt.Sprintf("the variable %s now; before it %s", leftOut(a), leftOut(b)), "a Release that does not set it is rendered otherwise")
	case b.presence == defaulted && (!plain(b.value) || !plain(a.value)):
		was, okWas := defaultOf(b.value)
		is, okIs := defaultOf(a.value)
		if jsonText(was, okWas) != jsonText(is, okIs) {
			c.report(at, DefaultChanged, fmt.Sprintf("the default changed from %s to %s", shown(b.value, was), shown(a.value, is)), "a Release that does not set it is rendered otherwise")
		}
	}
	c.values(at, b.value, a.value)
}

// leftOut compares what a variable is when it is left out, where that depends on others.
func (c *comparer) leftOut(at, parent place, b, a field) {
	was, is, names := "", "", []string(nil)
	if b.given != nil {
		was, _ = c.before.closure(b.given)
	}
	if a.given != nil {
		is, names = c.after.closure(a.given)
	}
	switch {
	case was == is && !c.touched(names):
	case b.given != nil && a.given == nil && a.presence == required:
		c.demanded(parent, at, a.value, "the variable must be set now; before it was made of others: "+clipped(text(b.given)), "a Release that does not set it is refused")
	case b.given == nil && b.presence == required:
		c.report(at, Safe, "the variable had to be set; now it is made of others: "+clipped(text(a.given)), "every Release sets it already")
	case a.given != nil && a.presence == required:
		c.report(at, Unknown, "what the variable is when it is left out changed to "+clipped(text(a.given)), "whether that can be made depends on other variables; only rendering the Releases tells")
	default:
		c.report(at, DefaultChanged, fmt.Sprintf("what the variable is when it is left out changed from %s to %s", without(b), without(a)), "a Release that does not set it is rendered otherwise")
	}
}

// without is what f is when it is left out, in a message.
func without(f field) string {
	if _, sensitive := shape.Mark(f.value, "sensitive"); sensitive {
		return "(sensitive)"
	}
	if f.given != nil {
		return clipped(text(f.given))
	}
	if x, ok := defaultOf(f.value); ok && f.presence == defaulted {
		return show(x)
	}
	return "nothing"
}

func leftOut(f field) string {
	if x, ok := defaultOf(f.value); ok && f.presence == defaulted {
		return "has the default " + shown(f.value, x)
	}
	return f.presence.String()
}
