package values

import (
	"strings"
	"testing"
)

func TestParseSortsKeys(t *testing.T) {
	n, mistakes := Parse([]byte(`{"b": 1, "a": {"d": null, "c": [true, "x", -1.5]}}`))
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	if n.Fields[0].Name != "a" || n.Fields[1].Name != "b" || n.Field("a").Fields[0].Name != "c" {
		t.Errorf("wanted sorted keys, found %v", n.Fields)
	}
	list := n.Field("a").Field("c")
	if list.Kind != List || len(list.Items) != 3 || !list.Items[0].Bool || list.Items[1].Text != "x" || list.Items[2].Text != "-1.5" {
		t.Errorf("wanted the list as written, found %+v", list)
	}
	if n.Field("z") != nil {
		t.Error("wanted nothing for a name that is not there")
	}
}

func TestParseTakesNothingForNoValues(t *testing.T) {
	for _, text := range []string{"", " \n", "null", "{}"} {
		if n, mistakes := Parse([]byte(text)); len(mistakes) > 0 || n.Kind != Object || len(n.Fields) > 0 {
			t.Errorf("%q: wanted an empty object, found %v, %v", text, n, mistakes)
		}
	}
}

func TestParseFindsEveryMistake(t *testing.T) {
	_, mistakes := Parse([]byte(`{"a": 1e3, "a": 2E-1, "b": [` + strings.Repeat("1,", MaxEntries) + `1]}`))
	var paths []string
	for _, m := range mistakes {
		paths = append(paths, Path(m.Steps))
	}
	if got := strings.Join(paths, " "); got != "values.a values.a values.a values.b" {
		t.Errorf("wanted two exponents, a key twice and a long list, found %s", got)
	}
}

func TestParseBringsNumbersToTheFormOfTheAPIServer(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "-0": "0", "0.0": "0", "-0.00": "0", "7": "7", "-7": "-7", "1.0": "1", "1.50": "1.5", "100.000": "100",
		"0.1": "0.1", "0.000001": "0.000001", "9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808",
	} {
		n, mistakes := Parse([]byte(`{"a": ` + text + `}`))
		if len(mistakes) > 0 || n.Field("a").Text != want {
			t.Errorf("%s: wanted %s, found %v, %v", text, want, n, mistakes)
		}
	}
	for text, want := range map[string]string{
		"9223372036854775808":    "wanted an integer of 64 bits",
		"-9223372036854775809":   "wanted an integer of 64 bits",
		"0.1234567890123456789":  "wanted a number that 64 bits hold",
		"0.0000009":              "wanted 0 or a number of at least 0.000001",
		"1e0":                    "wanted a number without an exponent",
		strings.Repeat("1", 41):  "wanted a number of at most 40 digits, found 41",
		"123456789012345678.5":   "wanted a number that 64 bits hold",
		"10000000000000000000.0": "wanted an integer of 64 bits",
	} {
		if _, mistakes := Parse([]byte(`{"a": ` + text + `}`)); len(mistakes) != 1 || !strings.HasPrefix(mistakes[0].Wanted, want) {
			t.Errorf("%s: wanted one mistake that begins with %q, found %v", text, want, mistakes)
		}
	}
}

func TestHiddenValuesAreNotDescribed(t *testing.T) {
	n, mistakes := Parse([]byte(`{"a": "x", "b": {"k": 5}, "c": [true]}`))
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	if n.AnyHidden() || len(n.Secrets()) > 0 {
		t.Error("wanted nothing hidden at first")
	}
	n.Field("a").Hidden, n.Field("b").Field("k").Hidden, n.Field("b").Fields[0].Hidden = true, true, true
	if got := n.Field("a").Describe(); got != hidden {
		t.Errorf("wanted %s, found %s", hidden, got)
	}
	if got := n.Field("b").Fields[0].Path("values.b"); got != "values.b[*]" {
		t.Errorf("wanted the key not to be shown, found %s", got)
	}
	if got := strings.Join(n.Secrets(), " "); !n.AnyHidden() || got != "x k 5" {
		t.Errorf("wanted the texts that may not be shown, found %s", got)
	}
}

func TestParseStopsAtTheDepthThatIsAllowed(t *testing.T) {
	nested := func(depth int) []byte {
		return []byte(strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth))
	}
	if _, mistakes := Parse(nested(MaxDepth)); len(mistakes) > 0 {
		t.Errorf("wanted %d levels to be allowed: %v", MaxDepth, mistakes)
	}
	if _, mistakes := Parse(nested(MaxDepth + 1)); len(mistakes) != 1 || !strings.Contains(mistakes[0].Wanted, "levels of nesting") {
		t.Errorf("wanted %d levels to be refused: %v", MaxDepth+1, mistakes)
	}
}

func TestNearestName(t *testing.T) {
	for name, want := range map[string]string{
		"prot":          "port",
		"Port":          "port",
		"containerprot": "containerPort",
		"imgae":         "image",
		"replica":       "replicas",
		"repl":          "replicas",
		"x":             "",
		"banana":        "",
		"":              "",
	} {
		if got := Nearest(name, []string{"containerPort", "image", "port", "replicas", "y"}); got != want {
			t.Errorf("%q: wanted %q, found %q", name, want, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": {"b": 1}}`: "an object of 1 entry",
		`{"a": {}}`:       "an object of 0 entries",
		`{"a": [1, 2]}`:   "a list of 2 items",
		`{"a": null}`:     "null",
		`{"a": "x\n"}`:    `"x\n"`,
		`{"a": false}`:    "false",
		`{"a": 1.50}`:     "1.5",
	} {
		n, mistakes := Parse([]byte(text))
		if len(mistakes) > 0 {
			t.Fatal(mistakes)
		}
		if got := n.Field("a").Describe(); got != want {
			t.Errorf("%s: wanted %s, found %s", text, want, got)
		}
	}
}
