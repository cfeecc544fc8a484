package secret_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/secret"
)

func TestText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		values     []string
		text, want string
	}{
		"a value is hidden wherever it stands":         {[]string{"hunter2"}, `env: "xhunter2y" and hunter2`, `env: "x(sensitive)y" and (sensitive)`},
		"a value is hidden as base64":                  {[]string{"hunter2"}, "data: aHVudGVyMg==", "data: (sensitive)"},
		"a value is hidden as Go quotes it":            {[]string{"a\"\u0001b"}, `value: "a\"\x01b": must`, `value: "(sensitive)": must`},
		"a value is hidden as JSON quotes it":          {[]string{"a\"\u0001b"}, `{"x":"a\"\u0001b"}`, `{"x":"(sensitive)"}`},
		"the longer of two is hidden first":            {[]string{"secret", "secretly"}, "secretly secret", "(sensitive) (sensitive)"},
		"a short value is hidden where it is quoted":   {[]string{"ab"}, `"ab" 'ab' cable`, `"(sensitive)" '(sensitive)' cable`},
		"a short value is hidden where it is all":      {[]string{"ab"}, "ab", "(sensitive)"},
		"a short value is hidden where an API says so": {[]string{"7"}, "Invalid value: 7: must be 8, not 17", "Invalid value: (sensitive): must be 8, not 17"},
		"no value hides nothing":                       {[]string{""}, "all of it", "all of it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := secret.New(c.values)
			if diff := cmp.Diff(c.want, m.Text(c.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got, want := m.In(c.text), c.text != c.want && !strings.HasPrefix(name, "a short value is hidden where it is quoted") && !strings.HasPrefix(name, "a short value is hidden where an"); got != want {
				t.Errorf("In says %t", got)
			}
		})
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	const login = `{"type":"object","properties":{"name":{"type":"string"},"login":{"type":"object","x-sensitive":true},"n":{"$ref":"#/$defs/N"}},"$defs":{"N":{"type":"object","properties":{"n":{"$ref":"#/$defs/N"},"key":{"x-sensitive":true}}}},"additionalProperties":false}`
	for name, c := range map[string]struct {
		schema, values string
		want           []string
	}{
		"what is marked, and all below it, names too":          {login, `{"name":"a","login":{"user":"root","ports":[1,true,null]}}`, []string{"1", "ports", "root", "true", "user"}},
		"what is marked by reference":                          {login, `{"n":{"n":{"n":{"key":"k"}}}}`, []string{"k"}},
		"nothing where nothing is marked":                      {`{"type":"object"}`, `{"a":"b"}`, nil},
		"what the schema does not know, where it marks others": {strings.Replace(login, `"additionalProperties":false`, `"additionalProperties":true`, 1), `{"name":"a","other":"b"}`, []string{"b"}},
		"everything where the schema cannot be read":           {`{"x-sensitive"`, `{"a":"b"}`, []string{"a", "b"}},
		"everything where a reference leads nowhere":           {`{"x-sensitive":false,"$ref":"#/$defs/gone"}`, `{"a":"b"}`, []string{"a", "b"}},
		"nothing of values that cannot be read":                {login, `{`, nil},
		"what only a rule knows of":                            {`{"type":"object","x-rules":["r"],"properties":{"a":{"x-rules":["r @sensitive()"]},"b":{"type":"string","x-rules":["r"]},"c":{"x-sensitive":true}}}`, `{"a":"x","b":"y"}`, []string{"x"}},
		"a number as it is written":                            {`{"properties":{"a":{"x-sensitive":true}}}`, `{"a":1.50}`, []string{"1.50"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, secret.Values([]byte(c.schema), []byte(c.values))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What a template finds sensitive in values is what is found by the schema that it publishes.
func TestTheSchemaKnowsWhatTheTemplateKnows(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../render/testdata/secrets.cue")
	if err != nil {
		t.Fatal(err)
	}
	template, err := render.Compile(map[string]string{"secrets.cue": string(source)})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := template.Schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, values := range []string{
		`{"token":"hunterxx","pin":4321,"level":"low","open":true,"words":"letters","plain":"open"}`,
		`{"named":"abcdef","far":"abcdefgh","login":{"user":"root","pass":"word","hosts":[{"name":"one"}]}}`,
		`{"account":{"user":"root","password":"word"},"keys":["one","two"],"each":["abcd","efgh"],"unique":["u","v"]}`,
		`{"map":{"inside":"out"},"mapped":{"upside":"down"},"people":[{"name":"ann","phone":"1234"},{"name":"bob","phone":"5678"}]}`,
		`{"token":"hunterxx","again":"hunterxx"}`,
		`{"store":{"type":"disk","path":"/somewhere"}}`, `{"store":{"type":"bucket","key":"kkkk"}}`,
		`{"mode":"basic","password":"letmein"}`, `{"mode":"none"}`,
		`{"sum":[1,2],"breakObject":"bo","breakKey":"bk","breakField":"bf","breakKind":"bd","breakCount":77,"name":"mine"}`,
		`{"unknown":"what"}`,
	} {
		want, err := template.Secrets([]byte(values))
		if err != nil {
			t.Fatal(err)
		}
		got := secret.Values(schema, []byte(values))
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: the template hides %q, the schema %q", values, w, got)
			}
		}
	}
	if got := secret.Values(schema, []byte(`{"name":"mine","plain":"open","mode":"none"}`)); len(got) > 0 {
		t.Errorf("what nobody marked is hidden: %q", got)
	}
}
