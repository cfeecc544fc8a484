package offline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kyaml "sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/syntax"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Bounds of a file of values, looser than those of the values in it, which render checks.
const (
	// maxFileBytes is the greatest size of a file.
	maxFileBytes = 1 << 20
	// maxNodes is how many values there may be once aliases are replaced by what they
	// stand for.
	maxNodes = 20_000
	// maxNesting is how deep they may nest: no deeper than values may anyway.
	maxNesting = render.MaxNesting
	// maxKeyBytes is the greatest length of a key.
	maxKeyBytes = 1 << 10
)

// place is where a value stands in its file.
type place struct {
	// key is the position of its name, value its own; "line:column".
	key, value string
	// plain is the text of a scalar without quotes, which YAML may take for something else
	// than text.
	plain string
	// json is what YAML takes plain for.
	json string
}

// text is values as a file has them: JSON for render, and where each of them stands.
type text struct {
	file     string
	json     []byte
	places   map[string]place
	problems []problem
}

// problem is a mistake that keeps values from being read. Which names on the way to it may be
// told is for the template to say.
type problem struct {
	steps             []render.Step
	message, hint, at string
}

// readYAML reads the one document in data, YAML or JSON. Scalars mean what they mean to
// kubectl, which follows YAML 1.1. Mistakes are not an error but part of the result. Root
// leads to the values in the document.
func readYAML(file string, data []byte, root ...string) *text {
	t := &text{file: short(file), json: []byte("{}"), places: map[string]place{render.ValuesPath: {key: "1:1", value: "1:1"}}}
	n := t.document(data)
	for _, name := range root {
		n = field(n, name)
	}
	if n == nil || len(t.problems) > 0 {
		return t
	}
	w := writer{text: t}
	w.value(n, nil, "", 1)
	t.json = w.out.Bytes()
	return t
}

// whole returns an error where the text is a manifest of Tidegate's instead of values alone.
func (t *text) whole(path string) error {
	var m metav1.TypeMeta
	if err := json.Unmarshal(t.json, &m); err != nil || !strings.HasPrefix(m.APIVersion, v1alpha1.GroupVersion.Group+"/") || m.Kind == "" {
		return nil //nolint:nilerr // What is no mapping is no manifest.
	}
	if m.Kind != "Release" {
		return fmt.Errorf("wanted the values alone in %s, found a whole %s; write them as a mapping of names to values", t.file, m.Kind)
	}
	return fmt.Errorf("wanted the values alone in %s, found a whole Release; give a file of what is in its spec.values, or render the Release itself: tidegate render -f %s --template DIR", t.file, path)
}

// problem reports a mistake that keeps the values from being read.
func (t *text) problem(steps []render.Step, position, message, hint string) {
	at := ""
	if position != "" {
		at = t.file + ":" + position
	}
	t.problems = append(t.problems, problem{steps: slices.Clone(steps), message: message, hint: hint, at: at})
}

// public are the problems as they may be told, by what the template keeps secret.
func (t *text) public(template *render.Template) []render.Problem {
	out := make([]render.Problem, 0, len(t.problems))
	for _, p := range t.problems {
		out = append(out, render.Problem{Path: template.PublicPath(p.steps), Message: p.message, Hint: p.hint, At: p.at})
	}
	return out
}

// document returns the one document that data holds, nil if it is empty.
func (t *text) document(data []byte) (n *yaml.Node) {
	// The parser has panicked before on text that nobody writes.
	defer func() {
		if p := recover(); p != nil {
			n = nil
			t.unreadable(data)
		}
	}()
	if len(data) > maxFileBytes {
		t.problem(nil, "", fmt.Sprintf("wanted a file of at most %d bytes, found %d", maxFileBytes, len(data)), "move bulky data into an image or a volume")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.unreadable(data)
			return nil
		}
		if len(doc.Content) == 0 || empty(doc.Content[0]) {
			continue
		}
		if n != nil {
			t.problem(nil, position(doc.Content[0]), "wanted one document, found another after it", "split the file")
			return nil
		}
		n = doc.Content[0]
	}
}

// empty says whether a document has nothing but comments.
func empty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value == ""
}

// unreadable reports text that is no YAML.
func (t *text) unreadable(data []byte) {
	if e := syntax.Find(data); e != nil {
		t.problem(nil, e.Position(), e.Message(), e.Do)
		return
	}
	t.problem(nil, "", "wanted YAML, found text that cannot be read", "")
}

func position(n *yaml.Node) string { return fmt.Sprintf("%d:%d", n.Line, n.Column) }

// field is the value of the key name in the mapping n, or nil.
func field(n *yaml.Node, name string) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// writer writes a document as JSON. What render is to judge, such as a key that stands
// twice, is written as it is.
type writer struct {
	text *text
	out  bytes.Buffer
	// open are the nodes that are being written.
	open []*yaml.Node
	// nodes counts what was written.
	nodes int
}

func (w *writer) raw(s string) { w.out.WriteString(s) }

func (w *writer) string(s string) {
	b, err := json.Marshal(s)
	if err != nil {
		b = []byte(`""`)
	}
	w.out.Write(b)
}

// value writes n, whose key stands at key.
func (w *writer) value(n *yaml.Node, steps []render.Step, key string, depth int) {
	path := render.PathOf(steps)
	here := place{key: key, value: position(n)}
	if key == "" {
		here.key = here.value
	}
	w.text.places[path] = here
	problem := func(message, hint string) {
		w.text.problem(steps, here.value, message, hint)
		w.raw("null")
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	w.nodes++
	switch full := w.nodes > maxNodes || w.out.Len() > maxFileBytes; {
	case full && len(w.text.problems) > 0:
		w.raw("null")
		return
	case full:
		problem(fmt.Sprintf("wanted at most %d values and %d bytes once aliases are filled in, found more", maxNodes, maxFileBytes), "write out what is meant")
		return
	case slices.Contains(w.open, n):
		problem("wanted values that end, found an alias of what it stands in", "write out what is meant")
		return
	case depth > maxNesting && n.Kind != yaml.ScalarNode:
		problem(fmt.Sprintf("wanted at most %d levels of nesting, found more", maxNesting), "")
		return
	case n.Style&yaml.TaggedStyle != 0 && !plainTag(n):
		// Its name is not repeated: it may be a password that begins with the character.
		problem("wanted plain YAML, found a tag, which begins with !", "remove the tag, or put all of it in quotes if it is text")
		return
	}
	w.open = append(w.open, n)
	defer func() { w.open = w.open[:len(w.open)-1] }()
	switch n.Kind {
	case yaml.MappingNode:
		w.raw("{")
		w.entries(n, steps, depth, map[string]bool{}, &separator{w: w})
		w.raw("}")
	case yaml.SequenceNode:
		w.raw("[")
		s := &separator{w: w}
		for i, item := range n.Content {
			s.next()
			w.value(item, into(steps, render.Step{Item: true, Index: i}), "", depth+1)
		}
		w.raw("]")
	default:
		w.scalar(n, steps, here)
	}
}

// into is steps and one more; what shares the beginning of steps is left as it is.
func into(steps []render.Step, s render.Step) []render.Step {
	return append(slices.Clip(steps), s)
}

func plainTag(n *yaml.Node) bool {
	return slices.Contains([]string{"!!str", "!!map", "!!seq"}, n.ShortTag())
}

// separator writes a comma before every entry but the first.
type separator struct {
	w       *writer
	started bool
}

func (s *separator) next() {
	if s.started {
		s.w.raw(",")
	}
	s.started = true
}

// entries writes the entries of the mapping n, but for those in taken, which stand for
// themselves; then what it merges.
func (w *writer) entries(n *yaml.Node, steps []render.Step, depth int, taken map[string]bool, s *separator) {
	var merged []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.Value == "<<" && k.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 {
			merged = append(merged, v)
			continue
		}
		name, ok := w.name(k, steps)
		if !ok || taken[name] {
			continue
		}
		own[name] = true
		s.next()
		w.string(name)
		w.raw(":")
		w.value(v, into(steps, render.Step{Name: name}), position(k), depth+1)
	}
	for name := range own {
		taken[name] = true
	}
	for _, m := range merged {
		w.merge(m, steps, depth, taken, s)
	}
}

// merge writes the entries of m, which a merge key (<<) adds to the mapping at steps.
func (w *writer) merge(m *yaml.Node, steps []render.Step, depth int, taken map[string]bool, s *separator) {
	at := position(m)
	for m.Kind == yaml.AliasNode {
		m = m.Alias
	}
	switch {
	case slices.Contains(w.open, m):
		w.text.problem(steps, at, "wanted values that end, found an alias of what it stands in", "write out what is meant")
	case m.Kind == yaml.MappingNode:
		w.open = append(w.open, m)
		w.entries(m, steps, depth, taken, s)
		w.open = w.open[:len(w.open)-1]
	case m.Kind == yaml.SequenceNode && depth < maxNesting:
		for _, item := range m.Content {
			w.merge(item, steps, depth+1, taken, s)
		}
	default:
		w.text.problem(steps, at, "wanted the alias of a mapping after <<, found something else", `put "<<" in quotes if it is a name`)
	}
}

// name is the key k as text.
func (w *writer) name(k *yaml.Node, steps []render.Step) (string, bool) {
	at := position(k)
	for k.Kind == yaml.AliasNode {
		k = k.Alias
	}
	if k.Kind != yaml.ScalarNode {
		w.text.problem(steps, at, "wanted keys that are text, found a list or a mapping", "")
		return "", false
	}
	if text := resolve(k); text != "" && text != k.Value {
		if jsonNumber.MatchString(text) || text == notJSON {
			text = "another number"
		} else if k.Value != "" {
			steps = into(steps, render.Step{Name: k.Value}) // the variable that is meant, such as on
		}
		w.text.problem(steps, at, "wanted keys that are text, found one that YAML takes for "+text, "put it in quotes")
		return "", false
	}
	if len(k.Value) > maxKeyBytes {
		w.text.problem(steps, at, fmt.Sprintf("wanted keys of at most %d bytes, found one of %d", maxKeyBytes, len(k.Value)), "")
		return "", false
	}
	return k.Value, true
}

// jsonNumber is a number as JSON writes it, exponents aside.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// jsonExponent is a number with an exponent.
var jsonExponent = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?[eE][-+]?[0-9]+$`)

func (w *writer) scalar(n *yaml.Node, steps []render.Step, here place) {
	text := resolve(n)
	switch {
	case text == "" && n.Style == 0 && jsonExponent.MatchString(n.Value):
		// YAML takes a number that is too large for it for text, which would hide what is wrong.
		here.plain, text = n.Value, n.Value
	case text == "":
		w.string(n.Value)
		return
	case text == notJSON:
		w.text.problem(steps, here.value, "wanted a number, found one that JSON does not have", "put it in quotes if it is text")
		w.raw("null")
		return
	case jsonNumber.MatchString(n.Value):
		// As it is written, since YAML rounds; so are exponents, which YAML writes out and
		// render refuses.
		here.plain, here.json = n.Value, text
		text = n.Value
	case jsonExponent.MatchString(n.Value):
		text = n.Value
	default:
		here.plain, here.json = n.Value, text
	}
	w.text.places[render.PathOf(steps)] = here
	w.raw(text)
}

// notJSON is what resolve returns for .nan and .inf.
const notJSON = "not JSON"

// resolve returns the JSON that YAML 1.1 takes the scalar n for; "" where that is the text
// as it stands.
func resolve(n *yaml.Node) string {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Style&quoted != 0 || n.Style&yaml.TaggedStyle != 0 && n.ShortTag() == "!!str" {
		return ""
	}
	if n.Value == "" {
		return "null"
	}
	// No other text can be anything but text.
	if !strings.ContainsRune("+-.0123456789yYnNtTfFoO~", rune(n.Value[0])) {
		return ""
	}
	out, err := kyaml.YAMLToJSON([]byte(n.Value))
	out = bytes.TrimSpace(out)
	switch {
	case err != nil && strings.HasPrefix(strings.ToLower(strings.TrimLeft(n.Value, "+-")), "."):
		return notJSON
	case err != nil, len(out) == 0, out[0] == '"', out[0] == '{', out[0] == '[':
		return ""
	}
	return string(out)
}

// locate says of each problem where it is in the file, and what YAML made of what stands
// there.
func (t *text) locate(problems []render.Problem) []render.Problem {
	out := slices.Clone(problems)
	for i, p := range out {
		if p.At != "" {
			continue
		}
		here, found := t.places[p.Path]
		if found {
			if hint := pitfall(here); hint != "" && !p.Name && !p.Hidden {
				out[i].Hint = hint
			}
		} else {
			here = t.above(p.Path)
		}
		out[i].At = t.file + ":" + here.value
		if p.Name {
			out[i].At = t.file + ":" + here.key
		}
	}
	return out
}

// above is the place of the nearest object or list around path.
func (t *text) above(path string) place {
	nearest := render.ValuesPath
	for candidate := range t.places {
		if len(candidate) > len(nearest) && strings.HasPrefix(path, candidate) && strings.ContainsAny(path[len(candidate):len(candidate)+1], ".[") {
			nearest = candidate
		}
	}
	return t.places[nearest]
}

// pitfall says that YAML takes a text without quotes for something else, or nothing.
func pitfall(p place) string {
	if p.json == "" || p.json == p.plain || jsonNumber.MatchString(p.plain) && !strings.Contains(p.plain, ".") {
		return ""
	}
	if p.plain == "" {
		return "YAML takes nothing for null"
	}
	return fmt.Sprintf("YAML takes %s for %s: put it in quotes if it is text", p.plain, p.json)
}
