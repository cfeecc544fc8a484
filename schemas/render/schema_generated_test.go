package render

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
)

// words are texts and names, for each of the patterns of the shipped templates some that fit.
var words = []string{
	"", "a", "A", "a:1", "registry.example.com/shop/cart:1.4.2", "/a", "/a/b", "/", "a.b", "*.a.b", "A_B", "a b", "100m", "0.5", "1",
	"128Mi", "1Gi", "10G", "2Ti", "1h", "0s", "5 4 * * *", "@daily", "@reboot", "Etc/UTC", "Europe/Berlin", "ClusterSecretStore", "true", "1A", "#a", "a\n",
}

// wild makes values that are nearly what a schema wants.
type wild struct{ *rand.Rand }

func (w wild) word() string { return words[w.IntN(len(words))] }

func (w wild) anything() any {
	return []any{nil, true, w.word(), w.IntN(70_000) - 100, 0.5, []any{w.word()}, map[string]any{w.word(): w.word()}, map[string]any{}, []any{}}[w.IntN(9)]
}

func (w wild) value(s map[string]any, depth int) any {
	if w.IntN(25) == 0 || depth > 8 {
		return w.anything()
	}
	if options, ok := s["enum"].([]any); ok {
		return options[w.IntN(len(options))]
	}
	switch s["type"] {
	case "object":
		return w.object(s, depth)
	case "array":
		items, _ := s["items"].(map[string]any)
		out := make([]any, w.IntN(4))
		for i := range out {
			out[i] = w.value(items, depth+1)
		}
		return out
	case "integer":
		return []any{0, 1, 2, 10, 50, 99, 100, 101, 8080, 65535, 65536, 1.5}[w.IntN(12)]
	case "boolean":
		return w.IntN(2) == 0
	case "string":
		return w.text(s)
	}
	return w.anything()
}

// text is mostly one that the pattern accepts, where there is one.
func (w wild) text(s map[string]any) string {
	p, _ := s["pattern"].(string)
	fits := slices.DeleteFunc(slices.Clone(words), func(t string) bool { return !regexp.MustCompile(p).MatchString(t) })
	if len(fits) == 0 || w.IntN(10) == 0 {
		return w.word()
	}
	return fits[w.IntN(len(fits))]
}

func (w wild) object(s map[string]any, depth int) map[string]any {
	out := map[string]any{}
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		needed := slices.Contains(required, any(name))
		if needed && w.IntN(25) > 0 || !needed && w.IntN(3) == 0 {
			out[name] = w.value(properties[name].(map[string]any), depth+1)
		}
	}
	patterns, _ := s["patternProperties"].(map[string]any)
	for _, p := range slices.Sorted(maps.Keys(patterns)) {
		for range w.IntN(3) {
			out[w.text(map[string]any{"pattern": p})] = w.value(patterns[p].(map[string]any), depth+1)
		}
	}
	if w.IntN(12) == 0 {
		out[w.word()] = w.anything()
	}
	return out
}

func TestSchemaAgreesOnGeneratedValues(t *testing.T) {
	eachShipped(t, func(t *testing.T, _ string, tpl *Template) {
		schema, doc := validator(t, tpl)
		text, err := tpl.Schema()
		if err != nil {
			t.Fatal(err)
		}
		var whole map[string]any
		if err := json.Unmarshal(text, &whole); err != nil {
			t.Fatal(err)
		}
		w, right := wild{rand.New(rand.NewPCG(1, 2))}, 0
		for range 60 {
			generated, err := json.Marshal(w.object(whole, 0))
			if err != nil {
				t.Fatal(err)
			}
			compareVerdicts(t, tpl, schema, doc, string(generated))
			if admits(t, schema, string(generated)) {
				right++
			}
		}
		if right < 2 || right > 58 {
			t.Errorf("wanted values of both kinds, found %d of 60 that the schema accepts", right)
		}
	})
}

// Maps of objects are where a schema is easily more lenient than the template.
func TestSchemaRefusesNamesThatNobodyDeclared(t *testing.T) {
	const secrets = `"secrets": {"env": {"A": {"secret": "s", "key": "k"}}, "files": {"/a": "s"}, "external": {"store": "s", "env": {"B": {"key": "k"}}}, "vault": {"role": "r", "files": {"f": "p"}}}`
	eachShipped(t, func(t *testing.T, name string, tpl *Template) {
		schema, doc := validator(t, tpl)
		least := `"image": "a:1"`
		if name == "job" {
			least += `, "schedule": "@daily"`
		}
		var whole map[string]any
		if err := json.Unmarshal([]byte("{"+least+", "+secrets+"}"), &whole); err != nil {
			t.Fatal(err)
		}
		if !admits(t, schema, textOf(t, whole)) {
			t.Fatal("wanted what is right to be accepted")
		}
		places := 0
		eachObject(whole, func(o map[string]any) {
			for _, name := range []string{"strange", "\u2603"} {
				o[name] = true
				compareVerdicts(t, tpl, schema, doc, textOf(t, whole))
				if admits(t, schema, textOf(t, whole)) {
					t.Errorf("wanted the schema to refuse %s", textOf(t, whole))
				}
				delete(o, name)
			}
			places++
		})
		if places < 9 {
			t.Errorf("wanted every object to be tried, found %d", places)
		}
	})
}

func textOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func eachObject(o map[string]any, do func(map[string]any)) {
	do(o)
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if inner, ok := o[name].(map[string]any); ok {
			eachObject(inner, do)
		}
	}
}
