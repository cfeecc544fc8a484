// Package document reads JSON into the policy engine's own values, at once: by way of Go's
// maps it takes twice the time and memory, and converting objects is what most reviews
// spend their time on.
package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxDepth is how deep a document may be nested; encoding/json has the same bound.
const maxDepth = 10_000

// Decode reads exactly one JSON document, with the meaning that encoding/json gives it: of
// two keys of a name the last counts, and what is not UTF-8 is replaced. Numbers stay as
// they are written.
func Decode(raw []byte) (ast.Value, error) { return decode(raw, false) }

// DecodeFloats is Decode with every number a float of 64 bits, written the way the engine
// writes those: 1000000 is 1e+06.
func DecodeFloats(raw []byte) (ast.Value, error) { return decode(raw, true) }

func decode(raw []byte, floats bool) (ast.Value, error) {
	d := decoder{text: string(raw), floats: floats, terms: make(map[string]*ast.Term, min(len(raw)/64, 256))}
	d.space()
	term, err := d.value(1)
	if err != nil {
		return nil, fmt.Errorf("decoding JSON: %w", err)
	}
	if d.space(); d.at < len(d.text) {
		if d.valid(raw[d.at:]) {
			return nil, errors.New("decoding JSON: found more than one document")
		}
		return nil, fmt.Errorf("decoding JSON: %w", d.unexpected())
	}
	return term.Value, nil
}

// decoder reads text from at on.
type decoder struct {
	text string
	at   int
	// floats is true where numbers become floats.
	floats bool
	// terms are the short texts seen before: the keys of an object and many of its values
	// occur again and again.
	terms map[string]*ast.Term
	// spare are terms that were allocated together and are not used yet.
	spare []ast.Term
}

// maxShared is how long texts are that may occur again, in bytes.
const maxShared = 32

// valid says whether what follows begins like another document.
func (d *decoder) valid(rest []byte) bool {
	var next json.RawMessage
	return json.NewDecoder(strings.NewReader(string(rest))).Decode(&next) == nil
}

func (d *decoder) unexpected() error {
	if d.at >= len(d.text) {
		return errors.New("unexpected end of JSON input")
	}
	return fmt.Errorf("invalid character %q at offset %d", d.text[d.at], d.at)
}

func (d *decoder) space() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// peek is the next byte, 0 at the end.
func (d *decoder) peek() byte {
	if d.at < len(d.text) {
		return d.text[d.at]
	}
	return 0
}

func (d *decoder) term(v ast.Value) *ast.Term {
	if len(d.spare) == 0 {
		d.spare = make([]ast.Term, 64)
	}
	t := &d.spare[0]
	d.spare = d.spare[1:]
	t.Value = v
	return t
}

func (d *decoder) value(depth int) (*ast.Term, error) {
	if depth > maxDepth {
		return nil, errors.New("exceeded max depth")
	}
	switch c := d.peek(); {
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.array(depth)
	case c == '"':
		return d.string()
	case c == 't':
		return ast.InternedTerm(true), d.word("true")
	case c == 'f':
		return ast.InternedTerm(false), d.word("false")
	case c == 'n':
		return ast.InternedNullTerm, d.word("null")
	case c == '-' || (c >= '0' && c <= '9'):
		return d.number()
	}
	return nil, d.unexpected()
}

func (d *decoder) word(w string) error {
	for i := range len(w) {
		if d.peek() != w[i] {
			return d.unexpected()
		}
		d.at++
	}
	return nil
}

func (d *decoder) object(depth int) (*ast.Term, error) {
	d.at++
	d.space()
	if d.peek() == '}' {
		d.at++
		return d.term(ast.NewObject()), nil
	}
	pairs := make([][2]*ast.Term, 0, 8)
	for {
		if d.peek() != '"' {
			return nil, d.unexpected()
		}
		key, err := d.string()
		if err != nil {
			return nil, err
		}
		d.space()
		if d.peek() != ':' {
			return nil, d.unexpected()
		}
		d.at++
		d.space()
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, [2]*ast.Term{key, value})
		d.space()
		switch d.peek() {
		case ',':
			d.at++
			d.space()
		case '}':
			d.at++
			return d.term(objectOf(pairs)), nil
		default:
			return nil, d.unexpected()
		}
	}
}

// objectOf is the object of the pairs, the last of a name counting.
func objectOf(pairs [][2]*ast.Term) ast.Object {
	o := ast.NewObjectWithCapacity(len(pairs))
	for _, p := range pairs {
		o.Insert(p[0], p[1])
	}
	return o
}

func (d *decoder) array(depth int) (*ast.Term, error) {
	d.at++
	d.space()
	if d.peek() == ']' {
		d.at++
		return d.term(ast.NewArray()), nil
	}
	items := make([]*ast.Term, 0, 4)
	for {
		item, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		d.space()
		switch d.peek() {
		case ',':
			d.at++
			d.space()
		case ']':
			d.at++
			return d.term(ast.NewArray(items...)), nil
		default:
			return nil, d.unexpected()
		}
	}
}

// string reads a text. Most have nothing to be replaced, and are a part of the document.
func (d *decoder) string() (*ast.Term, error) {
	start := d.at
	d.at++
	plain := true
	for {
		if d.at >= len(d.text) {
			return nil, d.unexpected()
		}
		c := d.text[d.at]
		switch {
		case c == '"':
			d.at++
			text := d.text[start+1 : d.at-1]
			if !plain {
				if !utf8.ValidString(text) || strings.Contains(text, `\`) {
					if err := json.Unmarshal([]byte(d.text[start:d.at]), &text); err != nil {
						return nil, err //nolint:wrapcheck // decode says what it did
					}
				}
			}
			return d.shared(text), nil
		case c == '\\':
			plain = false
			d.at += 2
		case c < ' ':
			return nil, d.unexpected()
		default:
			plain = plain && c < utf8.RuneSelf
			d.at++
		}
	}
}

func (d *decoder) shared(text string) *ast.Term {
	if len(text) > maxShared {
		return d.term(ast.String(text))
	}
	if t, ok := d.terms[text]; ok {
		return t
	}
	t := d.term(ast.String(text))
	d.terms[text] = t
	return t
}

// number reads a number and keeps it as it is written.
func (d *decoder) number() (*ast.Term, error) {
	start := d.at
	if d.peek() == '-' {
		d.at++
	}
	switch c := d.peek(); {
	case c == '0':
		d.at++
	case c >= '1' && c <= '9':
		d.digits()
	default:
		return nil, d.unexpected()
	}
	whole, err := d.fraction()
	if err != nil {
		return nil, err
	}
	text := d.text[start:d.at]
	if whole && len(text) <= 3 && text[0] != '-' {
		if n, err := strconv.Atoi(text); err == nil {
			return ast.InternedTerm(n), nil
		}
	}
	if d.floats {
		return d.float(text)
	}
	if !whole {
		// The engine refuses exponents that nobody can write out.
		v, err := ast.InterfaceToValue(json.Number(text))
		if err != nil {
			return nil, err //nolint:wrapcheck // decode says what it did
		}
		return d.term(v), nil
	}
	return d.term(ast.Number(text)), nil
}

// float is a number as a float. One that no float can be near is a mistake, as it is to
// encoding/json.
func (d *decoder) float(text string) (*ast.Term, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("number %s: %w", text, err)
	}
	v, err := ast.InterfaceToValue(f)
	if err != nil {
		return nil, err //nolint:wrapcheck // decode says what it did
	}
	return d.term(v), nil
}

// fraction reads what follows the whole part of a number; whole is true where there is
// nothing.
func (d *decoder) fraction() (whole bool, err error) {
	whole = true
	if d.peek() == '.' {
		whole = false
		d.at++
		if !d.digits() {
			return false, d.unexpected()
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		whole = false
		d.at++
		if c := d.peek(); c == '+' || c == '-' {
			d.at++
		}
		if !d.digits() {
			return false, d.unexpected()
		}
	}
	return whole, nil
}

// digits reads some, and says whether there were any.
func (d *decoder) digits() bool {
	start := d.at
	for c := d.peek(); c >= '0' && c <= '9'; c = d.peek() {
		d.at++
	}
	return d.at > start
}
