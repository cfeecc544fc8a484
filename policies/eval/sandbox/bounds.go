package sandbox

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

const (
	// maxText is the longest text that one call may make, in bytes. The API server takes
	// objects of up to 3 MiB, so every one of them can be marshalled.
	maxText = 4 << 20
	// maxItems is how many values one call may make or read.
	maxItems = 1 << 20
	// maxDigits is how many digits a number may have where a function writes them all out.
	maxDigits = 1000
	// maxShift is how far bits may be shifted.
	maxShift = 10_000
	// maxPattern is how long the patterns of regex.globs_match may be, whose work grows
	// with the product of their lengths and worse.
	maxPattern = 200
	// maxHosts is how many addresses net.cidr_expand may make, as a power of two.
	maxHosts = 16
)

// ErrTooLarge is the error of an evaluation that asked one call for more than it may make.
// It ends the evaluation, in every version of Rego.
var ErrTooLarge = errors.New("one call would make too large a value")

func tooLarge(format string, args ...any) error {
	return topdown.Halt{Err: fmt.Errorf("%w: %s", ErrTooLarge, fmt.Sprintf(format, args...))}
}

// bounds are what is checked before a function is called.
var bounds = map[string]func(operands []*ast.Term) error{
	"numbers.range":             rangeOf,
	"numbers.range_step":        rangeOf,
	"array.concat":              items,
	"array.flatten":             flat,
	"object.union":              whole,
	"object.union_n":            whole,
	"json.filter":               whole,
	"json.remove":               whole,
	"json.patch":                whole,
	"json.marshal":              whole,
	"json.marshal_with_options": whole,
	"yaml.marshal":              whole,
	"urlquery.encode_object":    whole,
	"internal.template_string":  whole,
	"concat":                    concat,
	"sprintf":                   sprintf,
	"replace":                   replace,
	"strings.replace_n":         replaceMany,
	"regex.replace":             regexReplace,
	"regex.globs_match":         patterns,
	"bits.lsh":                  shift,
	"bits.rsh":                  shift,
	"bits.and":                  numbers,
	"bits.or":                   numbers,
	"bits.xor":                  numbers,
	"bits.negate":               numbers,
	"format_int":                numbers,
	"round":                     numbers,
	"ceil":                      numbers,
	"floor":                     numbers,
	"rem":                       numbers,
	"mul":                       numbers,
	"div":                       numbers,
	"net.cidr_expand":           hosts,
}

// bounded is evaluated when the package is loaded, before any policy: the engine's table
// of functions is not made for being written later.
var bounded = install()

func install() []string {
	names := make([]string, 0, len(bounds))
	for name, check := range bounds {
		f := topdown.GetBuiltin(name)
		if f == nil {
			// A test fails when the engine drops or renames one.
			continue
		}
		topdown.RegisterBuiltinFunc(name, func(ctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
			if err := check(operands); err != nil {
				return err
			}
			return f(ctx, operands, iter)
		})
		names = append(names, name)
	}
	return names
}

// Bounded lists the functions whose calls are bounded.
func Bounded() []string { return bounded }

// meter counts what a value is when it is written out. Values share their parts, so a few
// lines of Rego make one that is small in memory and endless in print.
type meter struct{ text, items int }

var errFull = errors.New("full")

func (m *meter) add(v ast.Value) error {
	m.items++
	switch v := v.(type) {
	case ast.String:
		m.text += len(v)
	case ast.Number:
		m.text += len(v)
		if !printable(v) {
			return errFull
		}
	case *ast.Array:
		for i := range v.Len() {
			if err := m.add(v.Elem(i).Value); err != nil {
				return err
			}
		}
	case ast.Object:
		if err := v.Iter(func(key, value *ast.Term) error {
			if err := m.add(key.Value); err != nil {
				return err
			}
			return m.add(value.Value)
		}); err != nil {
			return err
		}
	case ast.Set:
		if err := v.Iter(func(t *ast.Term) error { return m.add(t.Value) }); err != nil {
			return err
		}
	}
	if m.text > maxText || m.items > maxItems {
		return errFull
	}
	return nil
}

// Fits says whether a value can be written out within the bounds.
func Fits(v ast.Value) bool { return new(meter).add(v) == nil }

func whole(operands []*ast.Term) error {
	var m meter
	for _, o := range operands {
		if m.add(o.Value) != nil {
			return tooLarge("wanted at most %d values and %d MiB of text", maxItems, maxText>>20)
		}
	}
	return nil
}

func length(v ast.Value) int {
	switch v := v.(type) {
	case *ast.Array:
		return v.Len()
	case ast.Object:
		return v.Len()
	case ast.Set:
		return v.Len()
	case ast.String:
		return len(v)
	}
	return 0
}

func atMostItems(n int) error {
	if n > maxItems {
		return tooLarge("wanted at most %d values, found %d", maxItems, n)
	}
	return nil
}

func atMostText(n int) error {
	if n > maxText {
		return tooLarge("wanted at most %d MiB of text, found %d", maxText>>20, n>>20)
	}
	return nil
}

func items(operands []*ast.Term) error {
	n := 0
	for _, o := range operands {
		n += length(o.Value)
	}
	return atMostItems(n)
}

// flat bounds array.flatten by what is inside of the array.
func flat(operands []*ast.Term) error {
	n := 0
	if array, ok := operands[0].Value.(*ast.Array); ok {
		array.Foreach(func(t *ast.Term) { n += 1 + length(t.Value) })
	}
	return atMostItems(n)
}

// printable says whether a number is reasonable to write out.
func printable(n ast.Number) bool {
	text := string(n)
	if len(text) > maxDigits {
		return false
	}
	i := strings.IndexAny(text, "eE")
	if i < 0 {
		return true
	}
	exponent, err := strconv.Atoi(text[i+1:])
	return err == nil && exponent < maxDigits && exponent > -maxDigits
}

func numbers(operands []*ast.Term) error {
	for _, o := range operands {
		if n, ok := o.Value.(ast.Number); ok && !printable(n) {
			return tooLarge("wanted numbers of at most %d digits", maxDigits)
		}
	}
	return nil
}

func rangeOf(operands []*ast.Term) error {
	if err := numbers(operands); err != nil {
		return err
	}
	float := func(i int) (float64, bool) {
		n, ok := operands[i].Value.(ast.Number)
		if !ok {
			return 0, false
		}
		return n.Float64()
	}
	from, ok1 := float(0)
	to, ok2 := float(1)
	if !ok1 || !ok2 {
		return nil // not numbers: the function itself says so
	}
	n := to - from
	if n < 0 {
		n = -n
	}
	// The last operand is the output where the caller gives one.
	if len(operands) >= 3 {
		if step, ok := float(2); ok && step > 1 {
			n /= step
		}
	}
	if n > maxItems {
		return tooLarge("wanted a range of at most %d numbers, found %.0f", maxItems, n)
	}
	return nil
}

func shift(operands []*ast.Term) error {
	if err := numbers(operands); err != nil {
		return err
	}
	if n, ok := operands[1].Value.(ast.Number); ok {
		if by, ok := n.Float64(); ok && by > maxShift {
			return tooLarge("wanted bits shifted by at most %d, found %s", maxShift, n)
		}
	}
	return nil
}

func concat(operands []*ast.Term) error {
	n, each := 0, length(operands[0].Value)
	add := func(t *ast.Term) { n += length(t.Value) + each }
	switch list := operands[1].Value.(type) {
	case *ast.Array:
		list.Foreach(add)
	case ast.Set:
		list.Foreach(add)
	}
	return atMostText(n)
}

// sprintf bounds the operands, and the widths that a format asks for.
func sprintf(operands []*ast.Term) error {
	if err := whole(operands); err != nil {
		return err
	}
	format, ok := operands[0].Value.(ast.String)
	if !ok {
		return nil
	}
	// How often an operand is written, and how wide, is for the format to say: with
	// indexes the same one can be written many times.
	verbs, width, digits := 0, 0, ""
	inVerb := false
	for _, r := range string(format) {
		switch {
		case !inVerb:
			if inVerb = r == '%'; inVerb {
				verbs++
			}
		case r >= '0' && r <= '9':
			digits += string(r)
			if n, err := strconv.Atoi(digits); err != nil || n > maxText {
				return tooLarge("wanted a width of at most %d in the format of sprintf", maxText)
			}
			continue
		case r == '*':
			return tooLarge("wanted widths in the format of sprintf itself, found *")
		case !strings.ContainsRune("+-# .[]", r):
			inVerb = false
		}
		if digits != "" {
			n, _ := strconv.Atoi(digits)
			width, digits = width+n, ""
		}
	}
	var m meter
	if len(operands) > 1 {
		_ = m.add(operands[1].Value) // it fits, as seen above
	}
	if strings.Contains(string(format), "[") {
		return atMostText(len(format) + width + max(verbs, 1)*m.text)
	}
	return atMostText(len(format) + width + m.text)
}

func replaced(s, old, with int) int {
	if old == 0 {
		return s + (s+1)*with
	}
	return s + s/old*with
}

func replace(operands []*ast.Term) error {
	return atMostText(replaced(length(operands[0].Value), length(operands[1].Value), length(operands[2].Value)))
}

func replaceMany(operands []*ast.Term) error {
	pairs, ok := operands[0].Value.(ast.Object)
	if !ok {
		return nil
	}
	n, s := 0, length(operands[1].Value)
	pairs.Foreach(func(old, with *ast.Term) { n = max(n, replaced(s, length(old.Value), length(with.Value))) })
	return atMostText(n)
}

// regexReplace supposes that every character is replaced, and that each replacement
// repeats a whole match for each $ in it.
func regexReplace(operands []*ast.Term) error {
	text, ok1 := operands[0].Value.(ast.String)
	with, ok2 := operands[2].Value.(ast.String)
	if !ok1 || !ok2 {
		return nil
	}
	return atMostText((utf8.RuneCountInString(string(text))+1)*len(with) + len(text)*(1+strings.Count(string(with), "$")))
}

func patterns(operands []*ast.Term) error {
	for _, o := range operands[:2] {
		if length(o.Value) > maxPattern {
			return tooLarge("wanted patterns of at most %d bytes", maxPattern)
		}
	}
	return nil
}

func hosts(operands []*ast.Term) error {
	text, ok := operands[0].Value.(ast.String)
	if !ok {
		return nil
	}
	address, mask, _ := strings.Cut(string(text), "/")
	bits, err := strconv.Atoi(mask)
	if err != nil {
		return nil //nolint:nilerr // no CIDR: the function itself says so
	}
	size := 32
	if strings.Contains(address, ":") {
		size = 128
	}
	if size-bits > maxHosts {
		return tooLarge("wanted at most 2^%d addresses, found 2^%d", maxHosts, size-bits)
	}
	return nil
}
