package offline

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tidegate.io/tidegate/schemas/render"
)

// concealing has a map that is sensitive whole: its names are secrets too.
var concealing = strings.Replace(hostileTemplate, "#Variables: {", `#Variables: {keys?: {[=~"^[A-Z]+$"]: _} @sensitive(), on?: bool, n2?: {y: *1 | int}, `, 1)

func TestNamesInASensitiveMapAreNeverRepeated(t *testing.T) {
	const key = "SECRETKEYX"
	many := strings.TrimSuffix(strings.Repeat("*a,", 30), ",")
	for what, c := range map[string]struct{ value, want string }{
		"a value nested too deep":     {strings.Repeat("[", 20) + strings.Repeat("]", 20), "wanted at most 16 levels of nesting, found more"},
		"a number that is none":       {".inf", "wanted a number, found one that JSON does not have"},
		"a tag":                       {"!Ref x", "wanted plain YAML, found a tag"},
		"bytes":                       {"!!binary aGVsbG8=", "wanted plain YAML, found a tag"},
		"a merge of no mapping":       {"{<<: 1}", "wanted the alias of a mapping after <<"},
		"a key that is taken for one": {"{yes: 1}", "wanted keys that are text, found one that YAML takes for true"},
		"a key of nothing":            {"{~: 1}", "wanted keys that are text, found one that YAML takes for null"},
		"a key that is a list":        {"{? [a] : 1}", "wanted keys that are text, found a list or a mapping"},
		"an alias of itself":          {"&a [*a]", "wanted values that end"},
		"aliases that blow up":        {"{a: &a [" + strings.TrimSuffix(strings.Repeat("1,", 30), ",") + "], b: &b [" + many + "], c: [" + strings.ReplaceAll(many, "*a", "*b") + "]}", "wanted at most 20000 values"},
	} {
		for form, file := range map[string]string{
			"in a file of values": "image: a\nkeys: {" + key + ": " + c.value + "}\n",
			"in a Release":        "apiVersion: tidegate.io/v1alpha1\nkind: Release\nmetadata: {name: cart}\nspec:\n  template: {name: t}\n  values:\n    image: a\n    keys: {" + key + ": " + c.value + "}\n",
		} {
			t.Run(what+" "+form, func(t *testing.T) {
				var root []string
				if strings.Contains(form, "Release") {
					root = []string{"spec", "values"}
				}
				in := Input{Files: map[string]string{"t.cue": concealing}, Context: render.Context{Name: "cart", Namespace: "shop", Template: "t"}, text: readYAML("f.yaml", []byte(file), root...)}
				in.Values = in.text.json
				_, err := Render(in)
				var wrong *render.ValuesError
				if !errors.As(err, &wrong) {
					t.Fatalf("wanted mistakes in the values, found %v", err)
				}
				text := fmt.Sprint(wrong)
				if strings.Contains(text, key) || !strings.Contains(text, "values.keys: "+c.want) {
					t.Errorf("wanted values.keys: %s and no name below it, found %s", c.want, text)
				}
			})
		}
	}
}

func TestAKeyThatYAMLTakesForAnotherTypeIsNamed(t *testing.T) {
	for file, want := range map[string]string{
		"image: a\non: true":       `values.on: wanted keys that are text, found one that YAML takes for true; put it in quotes (f.yaml:2:1)`,
		"image: a\nn: 1":           `values.n: wanted keys that are text, found one that YAML takes for false; put it in quotes (f.yaml:2:1)`,
		"image: a\nn2: {y: 1}":     `values.n2.y: wanted keys that are text, found one that YAML takes for true; put it in quotes (f.yaml:2:6)`,
		"image: a\nmap: {0x1F: x}": `values.map: wanted keys that are text, found one that YAML takes for another number; put it in quotes (f.yaml:2:7)`,
	} {
		in := Input{Files: map[string]string{"t.cue": concealing}, Context: render.Context{Name: "cart", Namespace: "shop", Template: "t"}, text: readYAML("f.yaml", []byte(file))}
		in.Values = in.text.json
		if _, err := Render(in); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: wanted %s, found %v", file, want, err)
		}
	}
}
