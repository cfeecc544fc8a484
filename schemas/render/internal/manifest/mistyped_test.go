package manifest

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	kjson "sigs.k8s.io/json"
)

func TestWhatAKindCannotHoldIsNamedWithItsFieldAndValue(t *testing.T) {
	const container = `{"spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "b", %}]}}}}`
	const at = "spec.template.spec.containers[1]."
	for name, c := range map[string]struct{ content, want string }{
		"a quantity":                   {`"resources": {"limits": {"cpu": "1 core"}}`, at + `resources.limits: wanted a quantity such as "250m" or "1Gi" in each entry, found "1 core" in cpu`},
		"a quantity under a long name": {`"resources": {"limits": {"example.com/gpu": "x"}}`, at + `resources.limits: wanted a quantity such as "250m" or "1Gi" in each entry, found "x" in example.com/gpu`},
		"a port that is neither":       {`"readinessProbe": {"httpGet": {"port": {"a": 1}}}`, at + "readinessProbe.httpGet.port: wanted an integer or a string, found an object"},
		"a port by name":               {`"readinessProbe": {"httpGet": {"port": "http"}}`, ""},
		"a fraction":                   {`"readinessProbe": {"periodSeconds": 1.5}`, at + "readinessProbe.periodSeconds: wanted an integer, found 1.5"},
		"text for a switch":            {`"tty": "yes"`, at + `tty: wanted true or false, found "yes"`},
		"a list of numbers":            {`"command": ["a", 1]`, at + "command[1]: wanted a string, found 1"},
		"a long text":                  {`"tty": "` + strings.Repeat("x", 100) + `"`, at + `tty: wanted true or false, found "` + strings.Repeat("x", maxShown) + `" and more`},
		"null":                         {`"resources": null, "command": null, "tty": null`, ""},
		"two at once":                  {`"resources": {"limits": {"cpu": "x"}, "requests": {"cpu": "y"}}`, at + `resources.limits: wanted a quantity such as "250m" or "1Gi" in each entry, found "x" in cpu` + "\n" + at + `resources.requests: wanted a quantity such as "250m" or "1Gi" in each entry, found "y" in cpu`},
	} {
		t.Run(name, func(t *testing.T) {
			text := []byte(strings.Replace(container, "%", c.content, 1))
			content, err := Decode(text)
			if err != nil {
				t.Fatal(err)
			}
			into, _, decodeErr := kinds["apps/v1 Deployment"].decode(text)
			if (decodeErr == nil) != (c.want == "") {
				t.Fatalf("wanted a row that the decoder judges alike, got %v", decodeErr)
			}
			if got := strings.Join(mistyped(reflect.TypeOf(into), content, ""), "\n"); got != c.want {
				t.Errorf("wanted\n%s\nfound\n%s", c.want, got)
			}
		})
	}
}

// Whatever stands in a field of a kind, the decoder refuses it just when there is a line, or
// two decoders would judge one object.
func TestMistypedJudgesAsTheDecoderDoes(t *testing.T) {
	samples := []string{`null`, `true`, `1`, `-1`, `1.5`, `3000000000`, `"a"`, `"1"`, `"YQ=="`, `[]`, `[1]`, `{}`, `{"a": 1}`}
	for kind, p := range kinds {
		into, _, _ := p.decode([]byte(`{}`))
		var visit func(typ reflect.Type, wrap func(string) string, depth int)
		visit = func(typ reflect.Type, wrap func(string) string, depth int) {
			for typ.Kind() == reflect.Pointer {
				typ = typ.Elem()
			}
			for _, s := range samples {
				text := []byte(wrap(s))
				var content any
				if err := kjson.UnmarshalCaseSensitivePreserveInts(text, &content); err != nil {
					t.Fatal(err)
				}
				_, _, err := p.decode(text)
				if lines := mistyped(reflect.TypeOf(into), content, ""); (len(lines) > 0) != (err != nil) {
					t.Errorf("%s: %s: the decoder says %v, found %v", kind, text, err, lines)
				}
			}
			if depth == 0 || typ.Kind() != reflect.Struct || reflect.PointerTo(typ).Implements(reflect.TypeFor[json.Unmarshaler]()) {
				return
			}
			for f := range typ.Fields() {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if name != "" && name != "-" {
					visit(f.Type, func(s string) string { return wrap(`{"` + name + `": ` + s + `}`) }, depth-1)
				}
			}
		}
		visit(reflect.TypeOf(into), func(s string) string { return s }, 3)
	}
}
