package offline

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	kyaml "sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/render"
)

func TestYAMLMeansWhatItMeansToKubectl(t *testing.T) {
	for _, in := range []string{
		"a: 1", "a: yes\nb: No\nc: on\nd: OFF\ne: y\nf: n", "a: 0755\nb: 0o17\nc: 0x1F\nd: 1_000\ne: 0b11", "a: 12:30:45\nb: 1.5\nc: +7",
		"a: 2024-01-02\nb: 2024-01-02T03:04:05Z", "a: ~\nb: null\nc:\nd: ''\ne: Null", "a: .5\nb: 5.\nc: -.5", "a: 'yes'\nb: \"0755\"\nc: |\n  true\nd: >\n  1\n",
		"a: &x {b: 1}\nc: *x\nd: [*x, *x]", "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3, e: 4}\nf:\n  e: 1\n  <<: [*x, {g: 5}]",
		"1: a\n2.5: b", "a: !!str 5\nb: !!str yes", "a: [x, [y, {z: []}], {}]", `{"a": [1, "b", null, true, {"c": 1.25}]}`, "# nothing\na: x # y", "---\na: b\n...\n",
		"a: \"\\u00e9 \\x41 \\t\"", "a: b\n  c\n\n  d", "a: foo#bar\nb: '#c'", "a: @x", "a: 1e", "a: e1\nb: 0x\nc: 1.2.3\nd: 1-2\ne: +\nf: -\ng: .\nh: 0.0.0.0", "a: Infinity\nb: NaN",
		"a: true\nb: True\nc: TRUE\nd: truE", "a: 007\nb: 08\nc: 0", "key with spaces: v", "? a\n: b", "a: -1\nb: - 1", "a: ' x '\nb:  y  ", "\ufeffa: 1",
	} {
		got := readYAML("f", []byte(in))
		want, err := kyaml.YAMLToJSON([]byte(in))
		if err != nil {
			if len(got.problems) == 0 {
				t.Errorf("%q: kubectl cannot read it (%v), wanted the same, got %s", in, err, got.json)
			}
			continue
		}
		if len(got.problems) > 0 {
			t.Errorf("%q: wanted it to be read, got %v", in, got.problems)
			continue
		}
		if !same(t, got.json, want) {
			t.Errorf("%q: wanted %s, got %s", in, want, got.json)
		}
	}
}

func same(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	x1, _ := json.Marshal(x)
	y1, _ := json.Marshal(y)
	return bytes.Equal(x1, y1)
}

// hostile are values that no team writes; they go through the webhook as JSON and
// through the command line as YAML.
var hostile = map[string]struct {
	json string
	// yaml is the same as YAML; the JSON itself where empty.
	yaml string
	// want is how the verdict begins; "" for values that are taken as they are.
	want string
}{
	"nothing":                             {json: ``, want: "values.image: "},
	"null":                                {json: `null`, want: "values.image: "},
	"a list":                              {json: `[1]`, want: "values: wanted an object, found a list of 1 item"},
	"text":                                {json: `"x"`, want: `values: wanted an object, found "x"`},
	"an exponent":                         {json: `{"image": "a", "n": 1e3}`, want: "values.n: wanted a number without an exponent, found 1e3"},
	"an exponent that blows up":           {json: `{"image": "a", "n": 1e10000000}`, want: "values.n: wanted a number without an exponent, found 1e10000000"},
	"an exponent of nothing":              {json: `{"image": "a", "n": 0e0}`, want: "values.n: wanted a number without an exponent"},
	"minus zero":                          {json: `{"image": "a", "n": -0}`},
	"one as a decimal":                    {json: `{"image": "a", "n": 1.0}`},
	"more zeros than matter":              {json: `{"image": "a", "n": 100.000}`},
	"the greatest integer":                {json: `{"image": "a", "n": 9223372036854775807}`},
	"an integer beyond the greatest":      {json: `{"image": "a", "n": 9223372036854775808}`, want: "values.n: wanted an integer of 64 bits"},
	"a number as long as a line":          {json: `{"image": "a", "n": ` + strings.Repeat("9", 200) + `}`, want: "values.n: wanted a number of at most 40 digits, found 200"},
	"a decimal of too many digits":        {json: `{"image": "a", "f": 0.12345678901234567890}`, want: "values.f: wanted a number that 64 bits hold"},
	"a decimal too close to zero":         {json: `{"image": "a", "f": 0.0000000001}`, want: "values.f: wanted 0 or a number of at least"},
	"a key twice":                         {json: `{"image": "a", "n": 1, "n": 1}`, want: "values.n: wanted the key once"},
	"a key twice with two values":         {json: `{"image": "a", "image": "b"}`, want: "values.image: wanted the key once"},
	"a key twice, once escaped":           {json: `{"image": "a", "im\u0061ge": "b"}`, want: "values.image: wanted the key once"},
	"depth":                               {json: `{"image": "a", "any": ` + strings.Repeat("[", 18) + strings.Repeat("]", 18) + `}`, want: "values.any[0]"},
	"a depth that ends a stack":           {json: `{"image": "a", "any": ` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, want: "values"},
	"a list too long":                     {json: `{"image": "a", "any": [` + strings.Repeat("0,", 500) + `0]}`, want: "values.any: wanted at most 500 items, found 501"},
	"a long list":                         {json: `{"image": "a", "any": [` + strings.Repeat("0,", 499) + `0]}`},
	"a map too wide":                      {json: `{"image": "a", "map": {` + keys(501) + `}}`, want: "values.map: wanted at most 500 entries, found 501"},
	"a wide map":                          {json: `{"image": "a", "map": {` + keys(500) + `}}`},
	"too many bytes":                      {json: `{"image": "` + strings.Repeat("a", 70<<10) + `"}`, want: "values: wanted at most 65536 bytes"},
	"text that looks like CUE":            {json: `{"image": "\\(context.name) \"#foo\" _|_ ` + "`x`" + ` //"}`},
	"text that ends a string in CUE":      {json: `{"image": "\"\"\"\n#\"\n"}`},
	"keys that look like definitions":     {json: `{"image": "a", "map": {"#Variables": "x", "_hidden": "x", "a?": "x", "b!": "x", "x y": "x", "...": "x", "@tag": "x", "": "x", "(x)": "x", "\\(y)": "x", "if": "x", "null": "x", "1": "x", "__x": "x", "_#y": "x"}}`},
	"a definition at the top":             {json: `{"image": "a", "#Variables": {}}`, want: `values["#Variables"]: wanted a variable of the template`},
	"a hidden field at the top":           {json: `{"image": "a", "_x": 1}`, want: "values._x: wanted a variable"},
	"a key with a zero byte":              {json: `{"image": "a", "map": {"a\u0000b": "x"}}`, want: "values.map: wanted keys of characters that can be seen, found U+0000 in one"},
	"a key that turns the line around":    {json: `{"image": "a", "map": {"a\u202eb": "x"}}`, want: "values.map: wanted keys of characters that can be seen, found U+202E in one"},
	"a key that has no width":             {json: `{"image": "a", "map": {"a\u200bb": "x"}}`, want: "values.map: wanted keys of characters that can be seen"},
	"a key of a page":                     {json: `{"image": "a", "map": {"` + strings.Repeat("k", 400) + `": "x"}}`, want: "values.map: wanted keys of at most 317 characters, found one of 400"},
	"text with a zero byte":               {json: `{"image": "a\u0000b"}`, want: "values.image: wanted text, found the character U+0000"},
	"text that turns the line around":     {json: `{"image": "a\u202eb"}`},
	"a pair of surrogates":                {json: `{"image": "\ud83d\ude00"}`, yaml: `{"image": "😀"}`},
	"half of a pair of surrogates":        {json: `{"image": "\ud83d"}`, want: "values"},
	"the character for what is no text":   {json: `{"image": "\ufffd"}`, want: "values.image: wanted text, found the character U+FFFD"},
	"bytes that are no text":              {json: "{\"image\": \"\xff\xfe\"}", want: "values"},
	"the text that stands for a revision": {json: `{"image": "7de0a7e5f0"}`, want: "values: wanted values without the reserved text"},
	"a mistake in text that is long":      {json: `{"image": "a", "n": "` + strings.Repeat("x", 1000) + `"}`, want: `values.n: wanted an integer, found "xxx`},
	"two objects":                         {json: `{} {}`, want: "values"},
	"text that breaks off":                {json: `{"image": "a`, want: "values"},
}

func keys(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = `"k` + strings.Repeat("i", i%7) + string(rune('a'+i%26)) + strings.Repeat("j", i/26) + `": "v"`
	}
	return strings.Join(list, ", ")
}

const hostileTemplate = `package t
#Variables: {image!: string, n: int | *1, f: number | *1, any: _ | *null, map: [string]: string}
#Context: {name: string, revision: string}
values: #Variables
context: #Context
_set: "\(context.name)-\(context.revision)"
_pods: "tidegate.io/revision": context.revision
objects: {
	deployment: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: _set
		spec: {selector: matchLabels: _pods, template: {metadata: labels: _pods, spec: containers: [{name: "app", image: values.image, env: [for k, v in values.map {name: "V\(k)", value: v}]}]}}
	}
	service: {apiVersion: "v1", kind: "Service", metadata: name: _set, spec: {selector: _pods, ports: [{port: 80}]}}
	route: {
		apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: name: context.name
		spec: {parentRefs: [{name: "public"}], rules: [{backendRefs: [{name: _set, port: 80}]}]}
	}
}
rollout: {type: "canary", steps: [{setWeight: 100}]}
`

func TestHostileValuesHaveTheSameVerdictAsJSONAndAsYAML(t *testing.T) {
	files := map[string]string{"t.cue": hostileTemplate}
	template, err := render.Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	facts := render.Context{Name: "cart", Namespace: "shop", Template: "t"}
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			result, byJSON := template.Render([]byte(c.json), facts)
			source := c.yaml
			if source == "" {
				source = c.json
			}
			in := Input{Files: files, Context: facts, text: readYAML("values.yaml", []byte(source))}
			in.Values = in.text.json
			again, byYAML := Render(in)
			for what, err := range map[string]error{"JSON": byJSON, "YAML": byYAML} {
				switch {
				case c.want == "" && err != nil:
					t.Errorf("%s: wanted the values to be taken, got %.300v", what, err)
				case c.want != "" && err == nil:
					t.Errorf("%s: wanted an error, got none", what)
				case c.want != "" && !strings.HasPrefix(strings.TrimPrefix(err.Error(), "rendering: "), c.want) && !strings.HasPrefix(err.Error(), "reading the values: "+"values"):
					t.Errorf("%s: wanted an error that begins with %q, got %.300v", what, c.want, err)
				case err != nil && len(err.Error()) > 4000:
					t.Errorf("%s: wanted a short error, got %d bytes", what, len(err.Error()))
				}
				if lines := Findings(err); err != nil && len(lines) == 0 {
					t.Errorf("%s: wanted a finding, got %v", what, err)
				}
			}
			if result != nil && again != nil && result.Digest != again.Digest {
				t.Errorf("wanted the same objects, got the digests %s and %s", result.Digest, again.Digest)
			}
		})
	}
}

// What is wrong with a value may be just its spaces, and another name has others.
func TestFindingsRepeatValuesAsTheyAre(t *testing.T) {
	err := &render.ValuesError{Problems: []render.Problem{
		{Path: `values.env["a  b"]`, Message: "wanted a time table,\n  found \"0  0 * * *\""},
		{Path: "values.b", Message: "wanted nothing in front, found \"\u00a0b\""},
	}}
	want := []string{`values.env["a  b"]: wanted a time table, found "0  0 * * *"`, "values.b: wanted nothing in front, found \"\u00a0b\""}
	if got := Findings(err); !slices.Equal(got, want) {
		t.Errorf("wanted %q, found %q", want, got)
	}
}

func TestPlacesAreThoseOfTheFile(t *testing.T) {
	got := readYAML("f", []byte("# c\na: 1\nb:\n  - x\n  - c: {d: 2}\n\"x y\": 3\n"))
	for path, want := range map[string]string{
		"values":          "2:1 2:1",
		"values.a":        "2:1 2:4",
		"values.b":        "3:1 4:3",
		"values.b[0]":     "4:5 4:5",
		"values.b[1].c":   "5:5 5:8",
		"values.b[1].c.d": "5:9 5:12",
		`values["x y"]`:   "6:1 6:8",
	} {
		if p := got.places[path]; p.key+" "+p.value != want {
			t.Errorf("%s: wanted %s, got %s %s", path, want, p.key, p.value)
		}
	}
	if p := got.above("values.b[1].c.e"); p.value != "5:8" {
		t.Errorf("wanted the object around what is missing, got %s", p.value)
	}
}
