// Package values reads the values of a Release: JSON of bounded size, depth and width,
// without duplicate keys and without exponents, into a tree with sorted keys. A template
// engine can be neither cancelled nor bounded from inside, so its input is bounded here,
// and one set of values has one form whatever the order of its keys.
package values

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of the values of one Release.
const (
	// MaxBytes is the greatest size of the JSON text.
	MaxBytes = 64 << 10
	// MaxDepth is the greatest nesting; the outermost object counts as 1.
	MaxDepth = 16
	// MaxEntries is the greatest number of entries of one list or object.
	MaxEntries = 500
	// MaxDigits is the greatest length of a number.
	MaxDigits = 40
)

// Root is the path of the outermost object.
const Root = "values"

// Kind is the JSON type of a Node.
type Kind int

// The JSON types.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Object
)

// Node is one JSON value.
type Node struct {
	Kind Kind
	// Text is the string, or the number as it was written.
	Text string
	// Bool is the value of a Bool.
	Bool bool
	// Items are the entries of a List.
	Items []*Node
	// Fields are the entries of an Object, sorted by name.
	Fields []Field
}

// Field is one entry of an object.
type Field struct {
	Name  string
	Value *Node
}

// Field returns the entry called name, or nil.
func (n *Node) Field(name string) *Node {
	i, found := slices.BinarySearchFunc(n.Fields, name, func(f Field, name string) int {
		return strings.Compare(f.Name, name)
	})
	if !found {
		return nil
	}
	return n.Fields[i].Value
}

// Mistake is one thing that is wrong with the text.
type Mistake struct {
	Path, Message, Hint string
}

// Parse reads data, which may be empty or null for no values at all. Where there are
// mistakes the tree is nil.
func Parse(data []byte) (*Node, []Mistake) {
	if len(data) > MaxBytes {
		return nil, []Mistake{{Root, fmt.Sprintf("wanted at most %d bytes, found %d", MaxBytes, len(data)), "move bulky data into an image or a volume"}}
	}
	if !utf8.Valid(data) {
		return nil, []Mistake{{Path: Root, Message: "wanted UTF-8 text, found other bytes"}}
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return &Node{Kind: Object}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	p := parser{dec: dec}
	n := p.value(Root, 1)
	if p.stop == nil {
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			p.fail(Root, "wanted one JSON object, found more text after it")
		}
	}
	switch {
	case p.stop != nil:
		return nil, append(p.mistakes, *p.stop)
	case len(p.mistakes) > 0:
		return nil, p.mistakes
	case n.Kind == Null:
		return &Node{Kind: Object}, nil
	case n.Kind != Object:
		return nil, []Mistake{{Path: Root, Message: "wanted an object, found " + n.Describe()}}
	}
	return n, nil
}

type parser struct {
	dec      *json.Decoder
	mistakes []Mistake
	// stop is the mistake after which the rest of the text cannot be read.
	stop *Mistake
}

func (p *parser) fail(path, message string) {
	if p.stop == nil {
		p.stop = &Mistake{Path: path, Message: message}
	}
}

func (p *parser) mistake(path, message, hint string) {
	p.mistakes = append(p.mistakes, Mistake{path, message, hint})
}

func (p *parser) token(path string) json.Token {
	t, err := p.dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the end of the text")
		}
		p.fail(path, fmt.Sprintf("wanted JSON, found at byte %d: %v", p.dec.InputOffset(), err))
		return nil
	}
	return t
}

// value reads one value; depth is the nesting of the value if it is a list or object.
func (p *parser) value(path string, depth int) *Node {
	t := p.token(path)
	if p.stop != nil {
		return nil
	}
	switch t := t.(type) {
	case nil:
		return &Node{Kind: Null}
	case bool:
		return &Node{Kind: Bool, Bool: t}
	case string:
		return &Node{Kind: String, Text: t}
	case json.Number:
		p.number(path, t.String())
		return &Node{Kind: Number, Text: t.String()}
	}
	if depth > MaxDepth {
		p.fail(path, fmt.Sprintf("wanted at most %d levels of nesting, found more", MaxDepth))
		return nil
	}
	if t == json.Delim('[') {
		return p.list(path, depth)
	}
	return p.object(path, depth)
}

func (p *parser) number(path, text string) {
	if strings.ContainsAny(text, "eE") {
		p.mistake(path, "wanted a number without an exponent, found "+text, "write the number out")
	}
	if len(text) > MaxDigits {
		p.mistake(path, fmt.Sprintf("wanted a number of at most %d digits, found %d", MaxDigits, len(text)), "")
	}
}

func (p *parser) list(path string, depth int) *Node {
	n := &Node{Kind: List}
	for p.stop == nil && p.dec.More() {
		n.Items = append(n.Items, p.value(Index(path, len(n.Items)), depth+1))
	}
	p.close(path, len(n.Items), "items")
	return n
}

func (p *parser) object(path string, depth int) *Node {
	n := &Node{Kind: Object}
	times := map[string]int{}
	for p.stop == nil && p.dec.More() {
		name, _ := p.token(path).(string)
		if p.stop != nil {
			return nil
		}
		child := Child(path, name)
		if times[name]++; times[name] == 2 {
			p.mistake(child, "wanted the key once, found it twice", "remove one of the two")
		}
		n.Fields = append(n.Fields, Field{name, p.value(child, depth+1)})
	}
	p.close(path, len(n.Fields), "entries")
	slices.SortStableFunc(n.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return n
}

func (p *parser) close(path string, entries int, what string) {
	if p.stop != nil {
		return
	}
	if entries > MaxEntries {
		p.mistake(path, fmt.Sprintf("wanted at most %d %s, found %d", MaxEntries, what, entries), "")
	}
	p.token(path)
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// Child is the path of the entry called name of the object at path.
func Child(path, name string) string {
	if plainName.MatchString(name) {
		return path + "." + name
	}
	return path + "[" + strconv.Quote(name) + "]"
}

// Index is the path of entry i of the list at path.
func Index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// maxShown is how many characters of a string are repeated in a message.
const maxShown = 80

// Describe says what the value is, for a message to people.
func (n *Node) Describe() string {
	switch n.Kind {
	case Null:
		return "null"
	case Bool:
		return strconv.FormatBool(n.Bool)
	case Number:
		return n.Text
	case String:
		return quote(n.Text)
	case List:
		return counted(len(n.Items), "a list of", "item")
	default:
		return counted(len(n.Fields), "an object of", "entry")
	}
}

func quote(s string) string {
	if runes := []rune(s); len(runes) > maxShown {
		return strconv.Quote(string(runes[:maxShown])) + fmt.Sprintf(" and %d more characters", len(runes)-maxShown)
	}
	return strconv.Quote(s)
}

func counted(n int, before, what string) string {
	switch {
	case n == 1:
		return before + " 1 " + what
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%s %d %sies", before, n, strings.TrimSuffix(what, "y"))
	default:
		return fmt.Sprintf("%s %d %ss", before, n, what)
	}
}
