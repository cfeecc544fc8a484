// Package values reads the values of a Release: JSON of bounded size, depth and width,
// without duplicate keys and without exponents, into a tree with sorted keys. A template
// engine can be neither cancelled nor bounded from inside, so its input is bounded here,
// and one set of values has one form whatever the order of its keys.
//
// Values reach the webhook through the API server, which holds numbers in 64 bits and
// text in UTF-8, and writes them anew. What it would change is refused here, and what it
// writes in another way, such as 1.0, is brought to its form, so that a file and the
// object made of it are judged alike.
package values

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
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
	// MaxName is the greatest length of a key, in characters: Kubernetes has no longer
	// one, which is a label's with its prefix.
	MaxName = 317
)

// smallest is the least number, zero aside, that the API server writes without an
// exponent.
const smallest = 1e-6

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
	// Text is the string, or the number without needless zeros.
	Text string
	// Bool is the value of a Bool.
	Bool bool
	// Items are the entries of a List.
	Items []*Node
	// Fields are the entries of an Object, sorted by name.
	Fields []Field
	// Hidden is true where the value may not be repeated to people.
	Hidden bool
	// Spelled is true where it is hidden only since it is spelled like one that is sensitive.
	Spelled bool
}

// Field is one entry of an object.
type Field struct {
	Name  string
	Value *Node
	// Hidden is true where the name itself may not be repeated: a key of a map that is
	// hidden whole.
	Hidden bool
}

// Path is the path of the entry in the object at path.
func (f Field) Path(path string) string {
	if f.Hidden {
		return path + "[*]"
	}
	return Child(path, f.Name)
}

// hidden and spelled stand for a value in a message.
const (
	hidden  = "something that is not shown, because the variable is sensitive"
	spelled = "something that is not shown, because it may be sensitive"
)

// Secrets returns the texts in n that may not be repeated.
func (n *Node) Secrets() []string {
	var out []string
	if n.Hidden && (n.Kind == String || n.Kind == Number) && n.Text != "" {
		out = append(out, n.Text)
	}
	for _, item := range n.Items {
		out = append(out, item.Secrets()...)
	}
	for _, f := range n.Fields {
		if f.Hidden && f.Name != "" {
			out = append(out, f.Name)
		}
		out = append(out, f.Value.Secrets()...)
	}
	return out
}

// AnyHidden says whether something in n may not be repeated.
func (n *Node) AnyHidden() bool {
	return n.Hidden || slices.ContainsFunc(n.Items, (*Node).AnyHidden) ||
		slices.ContainsFunc(n.Fields, func(f Field) bool { return f.Hidden || f.Value.AnyHidden() })
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

// Step is one step of a path: into an entry of an object by its name, or of a list.
type Step struct {
	Name string
	// Index counts where Item is true.
	Index int
	Item  bool
}

// Mistake is one thing that is wrong with the text.
type Mistake struct {
	// Steps lead to the value.
	Steps []Step
	// Wanted says what was wanted and, unless Found does, what was found.
	Wanted string
	// Found is the part of the text that is wrong; empty where Wanted says it all. It is
	// for the caller to know whether it may be shown.
	Found string
	// Hint says what to do; may be empty.
	Hint string
	// Name is true where the name that the last step gives is the mistake.
	Name bool
}

// Path is the path of the steps.
func Path(steps []Step) string {
	path := Root
	for _, s := range steps {
		if s.Item {
			path = Index(path, s.Index)
		} else {
			path = Child(path, s.Name)
		}
	}
	return path
}

// Parse reads data, which may be empty or null for no values at all. Where there are
// mistakes the tree is nil.
func Parse(data []byte) (*Node, []Mistake) {
	if len(data) > MaxBytes {
		return nil, []Mistake{{Wanted: fmt.Sprintf("wanted at most %d bytes, found %d", MaxBytes, len(data)), Hint: "move bulky data into an image or a volume"}}
	}
	if !utf8.Valid(data) {
		return nil, []Mistake{{Wanted: "wanted UTF-8 text, found other bytes"}}
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return &Node{Kind: Object}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	p := parser{dec: dec}
	n := p.value(1)
	if p.stop == nil {
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			p.fail("wanted one JSON object, found more text after it")
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
		return nil, []Mistake{{Wanted: "wanted an object", Found: n.Describe()}}
	}
	return n, nil
}

type parser struct {
	dec *json.Decoder
	// steps lead to what is being read.
	steps    []Step
	mistakes []Mistake
	// stop is the mistake after which the rest of the text cannot be read.
	stop *Mistake
}

func (p *parser) fail(wanted string) {
	if p.stop == nil {
		p.stop = &Mistake{Steps: slices.Clone(p.steps), Wanted: wanted}
	}
}

func (p *parser) mistake(wanted, found, hint string) {
	p.mistakes = append(p.mistakes, Mistake{Steps: slices.Clone(p.steps), Wanted: wanted, Found: found, Hint: hint})
}

func (p *parser) enter(s Step) { p.steps = append(p.steps, s) }

func (p *parser) leave() { p.steps = p.steps[:len(p.steps)-1] }

func (p *parser) token() json.Token {
	t, err := p.dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the end of the text")
		}
		p.fail(fmt.Sprintf("wanted JSON, found at byte %d: %v", p.dec.InputOffset(), err))
		return nil
	}
	return t
}

// value reads one value; depth is the nesting of the value if it is a list or object.
func (p *parser) value(depth int) *Node {
	t := p.token()
	if p.stop != nil {
		return nil
	}
	switch t := t.(type) {
	case nil:
		return &Node{Kind: Null}
	case bool:
		return &Node{Kind: Bool, Bool: t}
	case string:
		p.text(t)
		return &Node{Kind: String, Text: t}
	case json.Number:
		return &Node{Kind: Number, Text: p.number(t.String())}
	}
	if depth > MaxDepth {
		p.fail(fmt.Sprintf("wanted at most %d levels of nesting, found more", MaxDepth))
		return nil
	}
	if t == json.Delim('[') {
		return p.list(depth)
	}
	return p.object(depth)
}

// text checks a string. What is no text has been replaced by one character long before it
// gets here.
func (p *parser) text(s string) {
	switch {
	case strings.ContainsRune(s, utf8.RuneError):
		p.mistake("wanted text, found the character U+FFFD, which stands for what is no text", "", "encode bytes, such as in base64")
	case strings.ContainsRune(s, 0):
		p.mistake("wanted text, found the character U+0000, which no process can be given", "", "encode bytes, such as in base64")
	}
}

// number checks the number in text and returns it without needless zeros, as the API
// server writes it.
func (p *parser) number(text string) string {
	if short(text) {
		return text
	}
	if strings.ContainsAny(text, "eE") {
		p.mistake("wanted a number without an exponent", cut(text), "write the number out")
		return text
	}
	if len(text) > MaxDigits {
		p.mistake(fmt.Sprintf("wanted a number of at most %d digits, found %d", MaxDigits, len(text)), "", "put it in quotes if it is a name")
		return text
	}
	exact, ok := new(big.Rat).SetString(text)
	if !ok {
		p.mistake("wanted a number", text, "")
		return text
	}
	if exact.IsInt() {
		if !exact.Num().IsInt64() {
			p.mistake(fmt.Sprintf("wanted an integer of 64 bits, from %d to %d", math.MinInt64, math.MaxInt64), text, "put it in quotes if it is a name")
		}
		return exact.Num().String()
	}
	f, _ := exact.Float64()
	shortest := strconv.FormatFloat(f, 'f', -1, 64)
	if kept, ok := new(big.Rat).SetString(shortest); !ok || kept.Cmp(exact) != 0 {
		p.mistake("wanted a number that 64 bits hold, of some 15 digits", text, "round it, or put it in quotes")
	} else if math.Abs(f) < smallest {
		p.mistake("wanted 0 or a number of at least 0.000001", text, "choose a smaller unit")
	}
	return shortest
}

// short says whether text is an integer of few digits, as most numbers are.
func short(text string) bool {
	if len(text) > 18 || text == "-0" {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c != '-' || i > 0) {
			return false
		}
	}
	return true
}

func cut(text string) string {
	if len(text) > MaxDigits {
		return text[:MaxDigits] + "..."
	}
	return text
}

func (p *parser) list(depth int) *Node {
	n := &Node{Kind: List}
	for p.stop == nil && p.dec.More() {
		p.enter(Step{Item: true, Index: len(n.Items)})
		n.Items = append(n.Items, p.value(depth+1))
		p.leave()
	}
	p.close(len(n.Items), "items")
	return n
}

func (p *parser) object(depth int) *Node {
	n := &Node{Kind: Object}
	times := map[string]int{}
	for p.stop == nil && p.dec.More() {
		name, _ := p.token().(string)
		if p.stop != nil {
			return nil
		}
		if wrong := badName(name); wrong != "" {
			p.mistake(wrong, "", "")
			name = fmt.Sprintf("%s... %d", firstRunes(name), len(n.Fields))
		}
		p.enter(Step{Name: name})
		if times[name]++; times[name] == 2 {
			p.mistake("wanted the key once, found it twice", "", "remove one of the two")
			p.mistakes[len(p.mistakes)-1].Name = true
		}
		n.Fields = append(n.Fields, Field{Name: name, Value: p.value(depth + 1)})
		p.leave()
	}
	p.close(len(n.Fields), "entries")
	slices.SortStableFunc(n.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return n
}

// badName says what is wrong with the key name, or "".
func badName(name string) string {
	if n := utf8.RuneCountInString(name); n > MaxName {
		return fmt.Sprintf("wanted keys of at most %d characters, found one of %d", MaxName, n)
	}
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return fmt.Sprintf("wanted keys of characters that can be seen, found %U in one", r)
		}
	}
	return ""
}

// firstRunes is the beginning of a key that is too long or odd to be repeated.
func firstRunes(name string) string {
	var b strings.Builder
	for _, r := range name {
		if b.Len() >= 20 || r == utf8.RuneError || !unicode.IsPrint(r) {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (p *parser) close(entries int, what string) {
	if p.stop != nil {
		return
	}
	if entries > MaxEntries {
		p.mistake(fmt.Sprintf("wanted at most %d %s, found %d", MaxEntries, what, entries), "", "")
	}
	p.token()
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

// MaxShown is how many characters of a string are repeated in a message.
const MaxShown = 80

// Describe says what the value is, for a message to people, and no more than that there
// is one where it is hidden.
func (n *Node) Describe() string {
	switch {
	case n.Hidden && n.Spelled:
		return spelled
	case n.Hidden:
		return hidden
	}
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
	if runes := []rune(s); len(runes) > MaxShown {
		return strconv.Quote(string(runes[:MaxShown])) + fmt.Sprintf(" and %d more characters", len(runes)-MaxShown)
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
