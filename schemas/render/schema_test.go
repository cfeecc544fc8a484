package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"tidegate.io/tidegate/schemas/render/internal/values"
	"tidegate.io/tidegate/schemas/templates"
)

// validator compiles the schema of a template with a validator of standing.
func validator(t testing.TB, tpl *Template) (*jsonschema.Schema, map[string]any) {
	t.Helper()
	text, err := tpl.Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("values.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("values.json")
	if err != nil {
		t.Fatalf("wanted a schema that is right: %v\n%s", err, text)
	}
	return compiled, doc.(map[string]any)
}

// admits says whether the schema accepts values.
func admits(t testing.TB, schema *jsonschema.Schema, valuesJSON string) bool {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(valuesJSON))
	if err != nil {
		t.Fatalf("%s: %v", valuesJSON, err)
	}
	return schema.Validate(doc) == nil
}

// hasRules says whether the schema has x-rules on the way to path, or at a variable that
// path leads to.
func hasRules(root map[string]any, path string) bool {
	found := false
	var walk func(schema any, path string, depth int)
	walk = func(schema any, path string, depth int) {
		s, ok := schema.(map[string]any)
		if !ok || found || depth > 40 {
			return
		}
		if s["x-rules"] != nil {
			found = true
			return
		}
		if ref, ok := s["$ref"].(string); ok {
			defs, _ := root["$defs"].(map[string]any)
			walk(defs[strings.TrimPrefix(ref, "#/$defs/")], path, depth+1)
		}
		for _, key := range []string{"anyOf", "allOf"} {
			arms, _ := s[key].([]any)
			for _, a := range arms {
				walk(a, path, depth+1)
			}
		}
		if path == "" {
			return
		}
		name, rest := step(path)
		properties, _ := s["properties"].(map[string]any)
		walk(properties[name], rest, depth+1)
		patterns, _ := s["patternProperties"].(map[string]any)
		for _, p := range patterns {
			walk(p, rest, depth+1)
		}
		walk(s["additionalProperties"], rest, depth+1)
		walk(s["items"], rest, depth+1)
	}
	walk(root, strings.TrimPrefix(path, "values"), 0)
	return found
}

// step takes the first name or index off a path.
func step(path string) (name, rest string) {
	if strings.HasPrefix(path, ".") {
		end := strings.IndexAny(path[1:], ".[")
		if end < 0 {
			return path[1:], ""
		}
		return path[1 : end+1], path[end+1:]
	}
	end := strings.Index(path, "]")
	if end < 0 {
		return path, ""
	}
	return strings.Trim(path[1:end], `"`), path[end+1:]
}

// compareVerdicts checks that the schema says of values what the template does.
func compareVerdicts(t *testing.T, tpl *Template, schema *jsonschema.Schema, doc map[string]any, valuesJSON string) {
	t.Helper()
	if _, mistakes := values.Parse([]byte(valuesJSON)); len(mistakes) > 0 || strings.TrimSpace(valuesJSON) == "null" {
		// Bounds on the text and on numbers are those of all values, not of the schema.
		return
	}
	_, err := tpl.Render([]byte(valuesJSON), cart)
	var wrong *ValuesError
	right, admitted := !errors.As(err, &wrong), admits(t, schema, valuesJSON)
	switch {
	case right && !admitted:
		t.Errorf("%s: wanted the schema to accept what the template does", valuesJSON)
	case !right && admitted && !slices.ContainsFunc(wrong.Problems, func(p Problem) bool { return hasRules(doc, p.Path) }):
		t.Errorf("%s: wanted the schema to refuse this, or to say with x-rules that it cannot; the template says: %v", valuesJSON, err)
	}
}

func TestSchemaAndTemplateAgree(t *testing.T) {
	for _, c := range corpora {
		t.Run(c.template, func(t *testing.T) {
			tpl := compile(t, testdata(t, c.template))
			schema, doc := validator(t, tpl)
			_, all := corpus(t, c.file, c.least)
			refused := 0
			for _, m := range all {
				compareVerdicts(t, tpl, schema, doc, m.values)
				if _, mistakes := values.Parse([]byte(m.values)); len(mistakes) == 0 && !admits(t, schema, m.values) {
					refused++
				}
			}
			if refused < len(all)/2 {
				t.Errorf("wanted the schema to refuse most of %d mistakes, found that it refuses %d", len(all), refused)
			}
			for _, m := range variations(all, c.least) {
				compareVerdicts(t, tpl, schema, doc, m)
			}
		})
	}
}

func TestSchemaAgreesWithShippedTemplates(t *testing.T) {
	eachShipped(t, func(t *testing.T, _ string, tpl *Template) {
		schema, doc := validator(t, tpl)
		tests, err := tpl.tests()
		if err != nil {
			t.Fatal(err)
		}
		it, err := tests.Fields()
		if err != nil {
			t.Fatal(err)
		}
		cases := 0
		for it.Next() {
			text, err := it.Value().LookupPath(valuesPath).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			compareVerdicts(t, tpl, schema, doc, string(text))
			cases++
		}
		if cases == 0 {
			t.Error("wanted the template to have tests")
		}
	})
}

// eachShipped runs check for each shipped template.
func eachShipped(t *testing.T, check func(t *testing.T, name string, tpl *Template)) {
	t.Helper()
	for _, name := range templates.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, err := templates.Files(name)
			if err != nil {
				t.Fatal(err)
			}
			tpl, err := Compile(files)
			if err != nil {
				t.Fatal(err)
			}
			check(t, name, tpl)
		})
	}
}

// variations are values made of the corpus: each entry of each, alone on top of the
// least values, with its value replaced by one of every kind.
func variations(all []mistake, least string) []string {
	var base map[string]json.RawMessage
	if err := json.Unmarshal([]byte("{"+least+"}"), &base); err != nil {
		return nil
	}
	var out []string
	for _, m := range all {
		var own map[string]json.RawMessage
		if json.Unmarshal([]byte(m.values), &own) != nil {
			continue
		}
		for name, value := range own {
			for _, other := range []string{string(value), `null`, `true`, `1`, `0.5`, `"a"`, `"ABC"`, `[1]`, `["a"]`, `{"a": 1}`} {
				v := map[string]json.RawMessage{}
				maps.Copy(v, base)
				v[name] = json.RawMessage(other)
				if text, err := json.Marshal(v); err == nil {
					out = append(out, string(text))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestSchemaOfWhatIsHardToSay(t *testing.T) {
	for name, c := range map[string]struct {
		variables string
		// want are parts of the schema, without space.
		want []string
		// right and wrong are values; of each the schema has to say what the template says.
		right, wrong []string
	}{
		"a regular expression of another dialect": {`a?: =~"(?i)^ab$"`, []string{`"pattern":"^[Aa][Bb]$"`}, []string{`{"a": "aB"}`}, []string{`{"a": "c"}`}},
		"an end of text":                     {`a?: =~#"\Aab\z"#`, []string{`"pattern":"^ab$"`}, []string{`{"a": "ab"}`}, []string{`{"a": "abc"}`}},
		"the lines of a text":                {`a?: =~"(?m)^b$"`, []string{`"x-rules":["matching (?m)^b$"]`}, []string{`{"a": "a\nb"}`}, []string{`{"a": "c"}`}},
		"an expression that must not match":  {`a?: !~"^x"`, []string{`"not":{"pattern":"^x"}`}, []string{`{"a": "a"}`}, []string{`{"a": "xy"}`}},
		"a class by name in a map's keys":    {`a: [=~"^[[:upper:]]+$"]: int`, []string{`"patternProperties":{"^(?:[A-Z])+$"`}, []string{`{"a": {"X": 1}}`}, []string{`{"a": {"x": 1}}`, `{"a": {"X": "y"}}`}},
		"keys of two expressions":            {`a: [=~"^[a-z]+$" & !~"^x"]: int`, []string{`"x-rules":["names: =~\"^[a-z]+$\" \u0026 !~\"^x\""]`}, []string{`{"a": {"y": 1}}`}, []string{`{"a": {"x": 1}}`}},
		"two maps in one":                    {`a: {[=~"^a"]: int, [=~"^b"]: string, c?: bool}`, nil, []string{`{"a": {"a": 1, "b": "x", "c": true}}`}, []string{`{"a": {"a": "x"}}`, `{"a": {"d": 1}}`}},
		"a map that overlaps with a field":   {`a: {[string]: int, n: <5 | *1}`, nil, []string{`{"a": {"n": 4, "x": 9}}`}, []string{`{"a": {"n": 9}}`, `{"a": {"x": "y"}}`}},
		"a definition that refers to itself": {`a?: #Node`, []string{`"$defs":{"Node"`, `"$ref":"#/$defs/Node"`}, []string{`{"a": {"n": 1, "next": {"n": 2, "kids": [{"n": 3}]}}}`}, []string{`{"a": {"n": 1, "next": {"n": "x"}}}`, `{"a": {"n": 1, "kids": [{"m": 1}]}}`}},
		"two definitions that refer to both": {`a?: #Ping`, []string{`"$ref":"#/$defs/Ping"`}, []string{`{"a": {"pong": {"ping": {}}}}`}, []string{`{"a": {"pong": {"ping": {"x": 1}}}}`}},
		"a choice of structs":                {`a?: {t: "x", n!: int} | {t: "y", s!: string}`, []string{`"anyOf":[`}, []string{`{"a": {"t": "x", "n": 1}}`, `{"a": {"t": "y", "s": "z"}}`}, []string{`{"a": {"t": "x", "s": "z"}}`, `{"a": {"t": "w"}}`}},
		"a struct or text":                   {`a?: {n!: int} | string`, []string{`"anyOf":[`}, []string{`{"a": {"n": 1}}`, `{"a": "x"}`}, []string{`{"a": 1}`, `{"a": {"n": "x"}}`, `{"a": {"m": 1}}`}},
		"a definition or null":               {`a: null | #Node`, []string{`"anyOf":[`}, []string{`{"a": null}`, `{"a": {"n": 1}}`}, []string{`{"a": {}}`, `{"a": 1}`}},
		"a list with first items":            {`a?: [string, int, ...bool]`, []string{`"prefixItems":[`}, []string{`{"a": ["x", 1]}`, `{"a": ["x", 1, true]}`}, []string{`{"a": ["x"]}`, `{"a": [1, 1]}`, `{"a": ["x", 1, 2]}`}},
		"a list of fixed length":             {`a?: [int, int]`, []string{`"items":false`, `"maxItems":2`}, []string{`{"a": [1, 2]}`}, []string{`{"a": [1]}`, `{"a": [1, 2, 3]}`}},
		"a list with a default":              {`a: *["x"] | [...string]`, []string{`"default":["x"]`, `"items":{"type":"string"}`}, []string{`{"a": ["y", "z"]}`, `{"a": []}`}, []string{`{"a": [1]}`}},
		"a bounded list with a default":      {`a: (*[] | [...#Small]) & list.MaxItems(2)`, []string{`"maxItems":2`, `"exclusiveMaximum":10`}, []string{`{"a": [1, 2]}`}, []string{`{"a": [1, 2, 3]}`, `{"a": [10]}`}},
		"two forms of one list":              {`a?: [...int] | [...string]`, []string{`"x-rules"`}, []string{`{"a": [1, 2]}`, `{"a": ["x"]}`}, []string{`{"a": [1, "x"]}`}},
		"a list by definition":               {`a?: #Smalls & list.MinItems(1)`, []string{`"minItems":1`, `"maxItems":3`}, []string{`{"a": [1]}`}, []string{`{"a": []}`, `{"a": [10]}`, `{"a": [1, 2, 3, 4]}`}},
		"items that are lists":               {`a?: [...[...int]]`, nil, []string{`{"a": [[1], []]}`}, []string{`{"a": [["x"]]}`}},
		"no item twice":                      {`a?: [...int] & list.UniqueItems()`, []string{`"uniqueItems":true`}, []string{`{"a": [1, 2]}`}, []string{`{"a": [1, 1]}`}},
		"a rule between two fields":          {"lo: *1 | int\na: *9 | (int & >=lo)", []string{`"x-rules":["*9 | int \u0026 \u003e=lo"]`}, []string{`{"lo": 2, "a": 3}`}, []string{`{"lo": 5, "a": 3}`, `{"a": "x"}`}},
		"a default made of the context":      {"a: *\"\\(context.name)-x\" | string\nb: *context.name | =~\"^[a-z]+$\"\nc: *strings.ToUpper(context.name) | string", []string{`"type":"object"}`}, []string{`{}`, `{"a": "x", "b": "y"}`}, []string{`{"a": 1}`, `{"c": 1}`}},
		"a default made of another field":    {"n!: int\na: *(n+1) | int", []string{`"required":["n"]`}, []string{`{"n": 1}`, `{"n": 1, "a": 5}`}, []string{`{}`, `{"n": "x"}`, `{"n": 1, "a": "x"}`}},
		"a type for a default":               {"a: *string | int", []string{`"required":["a"]`}, []string{`{"a": 1}`}, []string{`{}`}},
		"a field where another is not set":   {"a?: int\nif a == _|_ { b!: int }", []string{`"x-rules":["if a == _|_ { b!: int }"]`}, []string{`{"b": 1}`, `{"a": 1}`}, []string{`{}`, `{"a": 1, "b": 1}`}},
		"a field under two conditions":       {"a: *false | true\nk!: \"x\" | \"y\"\nif a if k == \"x\" { b!: int, c?: string }", []string{`"x-rules"`}, []string{`{"k": "y"}`, `{"k": "x", "a": true, "b": 1}`}, []string{`{"k": "x", "a": true}`, `{"k": "y", "a": true, "b": 1}`, `{"k": "x", "c": "d"}`}},
		"a field that is narrower on terms":  {"a: *\"s\" | \"l\"\nn: *1 | int\nif a == \"s\" { n: <5 }", []string{`"x-rules"`}, []string{`{"n": 4}`, `{"a": "l", "n": 9}`}, []string{`{"n": 9}`, `{"a": "l", "n": "x"}`}},
		"a field for each of a list":         {"a: *[] | [...=~\"^[a-z]+$\"]\nfor x in a { (x)!: int }", []string{`"x-rules"`}, []string{`{}`, `{"a": ["b"], "b": 1}`}, []string{`{"a": ["b"]}`, `{"b": 1}`}},
		"a field under a condition":          {"a: *false | true\nif a { b!: int }", []string{`"x-rules":["if a { b!: int }"]`}, []string{`{"a": true, "b": 1}`}, []string{`{"a": true}`, `{"b": 1}`, `{"c": 1}`}},
		"a condition in a definition":        {`a?: #Cond & {more?: int}`, []string{`"x-rules"`}, []string{`{"a": {"on": true, "x": 1}}`, `{"a": {"on": false, "more": 1}}`}, []string{`{"a": {"on": true, "y": 1}}`}},
		"a condition on what must be set":    {"a?: {k!: \"x\" | \"y\"\nif k == \"x\" { n!: int }}", []string{`"required":["k"]`}, []string{`{"a": {"k": "y"}}`, `{"a": {"k": "x", "n": 1}}`}, []string{`{"a": {}}`, `{"a": {"k": "z"}}`, `{"a": {"k": "x", "n": "s"}}`}},
		"a struct that is embedded":          {`a?: {#Base, c?: int}`, nil, []string{`{"a": {"b": 1, "c": 2}}`}, []string{`{"a": {"b": "x"}}`}},
		"an open struct":                     {`a?: {b?: int, ...}`, []string{`"additionalProperties":true`}, []string{`{"a": {"b": 1, "z": [1]}}`}, []string{`{"a": {"b": "x"}}`}},
		"a struct of so many fields":         {`a?: {[string]: int} & struct.MaxFields(2)`, []string{`"maxProperties":2`}, []string{`{"a": {"x": 1}}`}, []string{`{"a": {"x": 1, "y": 2, "z": 3}}`}},
		"a fraction":                         {`a?: float & <2`, []string{`"x-rules":["a fraction"]`}, []string{`{"a": 1.5}`}, []string{`{"a": 1}`, `{"a": "x"}`, `{"a": 2.5}`}},
		"a multiple":                         {`a?: int & math.MultipleOf(5)`, []string{`"x-rules"`}, []string{`{"a": 10}`}, []string{`{"a": 7}`}},
		"a number that is not one of a few":  {`a?: int & !=3 & !=5`, []string{`"not":{"enum":[3,5]}`}, []string{`{"a": 4}`}, []string{`{"a": 3}`, `{"a": 5}`}},
		"a time":                             {`a?: time.Time`, []string{`"x-rules"`}, []string{`{"a": "2024-01-02T03:04:05Z"}`}, []string{`{"a": "now"}`}},
		"anything":                           {`a: _ | *1`, nil, []string{`{"a": "x"}`, `{"a": {"b": [null]}}`, `{"a": null}`}, nil},
		"text of so many letters":            {`a?: strings.MinRunes(2) & strings.MaxRunes(3)`, []string{`"minLength":2`, `"maxLength":3`}, []string{`{"a": "äöü"}`}, []string{`{"a": "a"}`, `{"a": "abcd"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			imports := ""
			for _, p := range []string{"list", "math", "strings", "struct", "time"} {
				if p == "list" || strings.Contains(c.variables, p+".") {
					imports += "import \"" + p + "\"\n"
				}
			}
			tpl := compile(t, "package t\n"+imports+`
#Node: {n!: int, next?: #Node, kids?: [...#Node]}
#Ping: {pong?: #Pong}
#Pong: {ping?: #Ping}
#Small: int & >=0 & <10
#Smalls: [...#Small] & (list.MaxItems(3))
#Base: {b?: int}
#Cond: {on: bool | *false, if on {x?: int}}
#Variables: {
`+c.variables+`
}
#Context: {name: string}
values: #Variables
context: #Context
objects: {}
rollout: {type: "canary"}
`)
			schema, doc := validator(t, tpl)
			text, err := tpl.Schema()
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range c.want {
				if !strings.Contains(string(text), w) {
					t.Errorf("wanted %s in %s", w, text)
				}
			}
			for _, v := range c.right {
				if !admits(t, schema, v) {
					t.Errorf("wanted %s to be accepted by %s", v, text)
				}
			}
			for _, v := range slices.Concat(c.right, c.wrong) {
				compareVerdicts(t, tpl, schema, doc, v)
			}
			for _, v := range c.wrong {
				if _, err := tpl.Render([]byte(v), cart); err == nil {
					t.Errorf("wanted the template to refuse %s", v)
				}
			}
		})
	}
}

func TestSchemaHasWhatFormsNeed(t *testing.T) {
	tpl := compile(t, `package t
// What a team sets.
#Variables: {
	// The image.
	image!: string @ui(title="Image", order=2, group="Basics") @wanted("an image")
	// How many.
	replicas: *2 | int @ui(order=1, group="Basics", widget="slider")
	region: *"eu" | "us" @immutable() @ui(advanced)
	token?: #Secret
	nested: {
		b: int | *1
		a: int | *2
	}
}
// A secret.
#Secret: string @sensitive()
#Context: {name: string}
values: #Variables
context: #Context
objects: {}
rollout: {type: "canary"}
`)
	text, err := tpl.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteString("\n")
	golden(t, "forms.schema.json", indented.String())
}
