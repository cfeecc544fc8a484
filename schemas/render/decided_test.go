package render

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// conditional is the template plain.cue with other #Variables, which have an image.
func conditional(t testing.TB, variables string) string {
	t.Helper()
	return edit(t,
		"\timage!:   string\n\treplicas: int | *2\n\tenv: [string]: string\n", "\timage: *\"a\" | string\n"+variables+"\n",
		"replicas: values.replicas", "replicas: 1",
		"\n\t\t\t\tenv: [for k, v in values.env {name: k, value: v}]", "")
}

// The engine cannot evaluate a struct with a condition on a variable that must be set. It is
// the way to write a choice that the documentation recommends, so all has to cope with it.
func TestConditionsInVariables(t *testing.T) {
	const (
		union  = "kind!: \"disk\" | \"bucket\"\nif kind == \"disk\" {path!: string}\nif kind == \"bucket\" {key!: =~\"^k\", region: *\"eu\" | string}"
		inside = "store!: {" + union + "}"
		nested = "a!: \"x\" | \"y\"\nif a == \"x\" {b!: \"p\" | \"q\", if b == \"p\" {c!: int}}"
	)
	// Each row is values and what the error has to be; none where they are right.
	for name, c := range map[string]struct {
		variables string
		rows      [][]string
		// declared are the variables, those under conditions too.
		declared string
	}{
		"a choice": {union, [][]string{
			{`{"kind": "disk", "path": "/d"}`},
			{`{"kind": "bucket", "key": "k1"}`},
			{`{}`, `values.kind: wanted one of "disk", "bucket", found nothing; set kind`},
			{`{"kind": "disk"}`, `values.path: wanted a string, found nothing; set path`},
			{`{"kind": "disk", "path": 3}`, `values.path: wanted a string, found 3; put it in quotes: "3"`},
			{`{"kind": "bucket", "key": "x"}`, `values.key: wanted a string matching ^k, found "x"`},
			{`{"kind": "tape"}`, `values.kind: wanted one of "disk", "bucket", found "tape"`},
			{`{"kind": "Disk", "path": "/d"}`, `values.kind: wanted one of "disk", "bucket", found "Disk"; did you mean "disk"?`},
			{`{"knd": "disk"}`, `values.kind: wanted one of "disk", "bucket", found nothing; set kind`, `values.knd: wanted a variable of the template, found the unknown name "knd"; did you mean "kind"?`},
			{`{"kind": "disk", "path": "/d", "pth": 1}`, `values.pth: wanted a variable of the template, found the unknown name "pth"; known here: image, kind, path`},
			{`{"kind": "disk", "path": "/d", "key": "k"}`, `values.key: wanted a variable that goes with the others, found "key", which the template allows only with other values of these; known here: image, kind, path`},
			{`{"kind": "disk", "key": "k"}`, `values.key: wanted a variable that goes with the others, found "key", which the template allows only with other values of these; known here: image, kind, path`, `values.path: wanted a string, found nothing; set path`},
		}, "image kind path key region"},
		"a choice whose name comes last": {"when!: \"disk\" | \"bucket\"\nif when == \"disk\" {path!: string}\nif when == \"bucket\" {key!: string}", [][]string{
			{`{"when": "bucket", "path": "/d"}`, `values.key: wanted a string, found nothing; set key`, `values.path: wanted a variable that goes with the others, found "path", which the template allows only with other values of these; known here: image, key, when`},
		}, "image when path key"},
		"a choice in a struct": {inside, [][]string{
			{`{"store": {"kind": "disk", "path": "/d"}}`},
			{`{"store": {"kind": "disk"}}`, `values.store.path: wanted a string, found nothing; set path`},
			{`{"store": {}}`, `values.store.kind: wanted one of "disk", "bucket", found nothing; set kind`},
			{`{"store": {"knd": 1}}`, `values.store.kind: wanted one of "disk", "bucket", found nothing; set kind`, `values.store.knd: wanted a variable of the template, found the unknown name "knd"; did you mean "kind"?`},
			{`{}`, `values.store: wanted an object, found nothing; set store and what it needs`},
		}, "image store store.kind store.path store.key store.region"},
		"a choice in a definition that is embedded": {"#Store\nsize?: int\n#Store: {" + union + "}", [][]string{
			{`{"kind": "disk", "path": "/d", "size": 1}`},
			{`{"kind": "disk"}`, `values.path: wanted a string, found nothing; set path`},
			{`{"kind": "disk", "path": "/d", "sise": 1}`, `values.sise: wanted a variable of the template, found the unknown name "sise"; did you mean "size"?`},
		}, "image kind size path key region"},
		"a choice without a mark": {strings.Replace(union, "kind!", "kind", 1), [][]string{
			{`{"kind": "disk", "path": "/d"}`},
			{`{}`, `values.kind: wanted one of "disk", "bucket", found nothing; set kind`},
		}, "image kind path key region"},
		"a choice with a default": {strings.Replace(union, `kind!: "disk"`, `kind: *"disk"`, 1), [][]string{
			{`{"path": "/d"}`},
			{`{"kind": "bucket", "key": "k"}`},
			{`{}`, `values.path: wanted a string, found nothing; set path`},
			{`{"kind": "bucket", "path": "/d"}`, `values.key: wanted a string matching ^k, found nothing; set key`, `values.path: wanted a variable that goes with the others, found "path", which the template allows only with other values of these; known here: image, key, kind, region`},
		}, "image kind path key region"},
		"a switch that is off": {"on: *false | bool\nif on {port!: int}", [][]string{
			{`{}`},
			{`{"on": true, "port": 1}`},
			{`{"on": true}`, `values.port: wanted an integer, found nothing; set port`},
			{`{"port": 1}`, `values.port: wanted a variable that goes with the others, found "port", which the template allows only with other values of these; known here: image, on`},
		}, "image on port"},
		"a condition within another": {nested, [][]string{
			{`{"a": "y"}`},
			{`{"a": "x", "b": "q"}`},
			{`{"a": "x", "b": "p", "c": 1}`},
			{`{"a": "x"}`, `values.b: wanted one of "p", "q", found nothing; set b`},
			{`{"a": "x", "b": "p"}`, `values.c: wanted an integer, found nothing; set c`},
			{`{"a": "y", "c": 1}`, `values.c: wanted a variable that goes with the others, found "c", which the template allows only with other values of these; known here: a, image`},
		}, "image a b c"},
		"a condition on whether something is set": {"a?: int\nif a != _|_ {b!: int}", [][]string{
			{`{}`},
			{`{"a": 1, "b": 2}`},
			{`{"a": 1}`, `values.b: wanted an integer, found nothing; set b`},
			{`{"b": 1}`, `values.b: wanted a variable that goes with the others, found "b", which the template allows only with other values of these; known here: a, image`},
		}, "image a b"},
		"a condition on a number": {"n!: int & <=10\nif n > 3 {x!: int}", [][]string{
			{`{"n": 3}`},
			{`{"n": 4, "x": 1}`},
			{`{"n": 4}`, `values.x: wanted an integer, found nothing; set x`},
		}, "image n x"},
		"a variable that a condition narrows": {"a!: \"x\" | \"y\"\nn?: int\nif a == \"x\" {n?: <5}", [][]string{
			{`{"a": "y", "n": 7}`},
			{`{"a": "x", "n": 7}`, `values.n: wanted an integer below 5, found 7`},
		}, "image a n"},
		"a default that makes a condition true, and other values": {"a: *\"x\" | \"y\"\nif a == \"x\" {n!: int}\nif a == \"y\" {n!: string}", [][]string{
			{`{"n": 1}`},
			{`{"a": "y", "n": "1"}`},
			{`{"a": "y", "n": 1}`, `values.n: wanted a string, found 1; put it in quotes: "1"`},
		}, "image a n"},
		"a struct that a condition brings": {"a!: \"x\" | \"y\"\nif a == \"x\" {#More}\n#More: {n!: int}", [][]string{
			{`{"a": "y"}`},
			{`{"a": "x", "n": 1}`},
			{`{"a": "x"}`, `values.n: wanted an integer, found nothing; set n`},
		}, "image a n"},
	} {
		t.Run(name, func(t *testing.T) {
			tpl := compile(t, conditional(t, c.variables))
			schema, doc := validator(t, tpl)
			for _, row := range c.rows {
				_, err := tpl.Render([]byte(row[0]), cart)
				got := ""
				if err != nil {
					got = err.Error()
				}
				if want := strings.Join(row[1:], "\n"); got != want {
					t.Errorf("%s: wanted\n%s\ngot\n%s", row[0], want, got)
				}
				compareVerdicts(t, tpl, schema, doc, row[0])
			}
			variables, err := tpl.Variables()
			if err != nil {
				t.Fatal(err)
			}
			var declared []string
			for _, v := range variables {
				declared = append(declared, strings.TrimPrefix(v.Path, "values."))
			}
			if got := strings.Join(declared, " "); got != c.declared {
				t.Errorf("wanted the variables %s, got %s", c.declared, got)
			}
			for _, f := range Vet(map[string]string{"t.cue": conditional(t, c.variables)}, VetOptions{}) {
				if f.Severity == SeverityError || f.Code == CodeNotRendered {
					t.Errorf("vet: %s", f)
				}
			}
		})
	}
}

func TestAVariableUnderAConditionNeedNotBeSet(t *testing.T) {
	tpl := compile(t, conditional(t, "kind: *\"disk\" | \"bucket\"\nname!: string\nif kind == \"disk\" {path!: string}\nif kind == \"bucket\" {key!: string}"))
	variables, err := tpl.Variables()
	if err != nil {
		t.Fatal(err)
	}
	var required []string
	for _, v := range variables {
		if v.Required {
			required = append(required, v.Path)
		}
	}
	if !slices.Equal(required, []string{"values.name"}) {
		t.Errorf("wanted values.name alone to be required, got %v", required)
	}
}

func TestVariablesThatAConditionOpensAreRefused(t *testing.T) {
	for name, variables := range map[string]string{
		"beside a condition":            "a!: \"x\" | \"y\"\nif a == \"x\" {n!: int}\n...",
		"within a condition":            "a!: \"x\" | \"y\"\nif a == \"y\" {...}",
		"by a pattern":                  "a!: \"x\" | \"y\"\nif a == \"y\" {[string]: _}",
		"by what a condition embeds":    "a!: \"x\" | \"y\"\nif a == \"y\" {_open}\n_open: {...}",
		"by a condition within another": "a!: \"x\" | \"y\"\nif a == \"y\" {b!: bool, if b {...}}",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(map[string]string{"t.cue": conditional(t, variables)})
			wantSourceError(t, err, "wanted #Variables to be closed")
		})
	}
	// These are for vet: compiling would have to try what it need not otherwise.
	for name, variables := range map[string]string{
		"deeper": "store!: {kind!: \"disk\" | \"bucket\", if kind == \"bucket\" {...}}",
		"by a condition that is not met by default": "a: *\"x\" | \"y\"\nif a == \"y\" {...}",
	} {
		t.Run(name, func(t *testing.T) {
			found := Vet(map[string]string{"t.cue": conditional(t, variables)}, VetOptions{Shallow: true})
			if !slices.ContainsFunc(found, func(f Finding) bool { return f.Code == CodeOpenStruct && f.Severity == SeverityError }) {
				t.Errorf("wanted vet to find it, got %v", found)
			}
		})
	}
}

func TestChangesOfVariablesUnderConditions(t *testing.T) {
	const before = "kind!: \"a\" | \"b\"\nn?: int\nif kind == \"a\" {x!: int}"
	for name, c := range map[string]struct {
		after string
		want  Verdict
		path  string
	}{
		"nothing":                          {before, Safe, ""},
		"another choice":                   {strings.Replace(before, `"b"`, `"b" | "c"`, 1), Safe, "values.kind"},
		"a choice less":                    {strings.Replace(before, `"a" | "b"`, `"a"`, 1), Breaking, "values.kind"},
		"a variable more":                  {before + "\nm: *1 | int", Safe, "values.m"},
		"a variable more that must be set": {before + "\nm!: int", Breaking, "values.m"},
		"a variable less":                  {strings.Replace(before, "n?: int\n", "", 1), Breaking, "values.n"},
		"a variable beside the condition narrowed":       {strings.Replace(before, "n?: int", "n?: int & <5", 1), Breaking, "values.n"},
		"a variable of the condition narrowed":           {strings.Replace(before, "x!: int", "x!: int & <5", 1), Breaking, "values"},
		"a condition more with what must be set":         {before + "\nif kind == \"b\" {y!: int}", Breaking, "values"},
		"a condition more with what may be left out":     {before + "\nif kind == \"b\" {y?: int}", Unknown, "values"},
		"a condition less":                               {strings.Replace(before, "\nif kind == \"a\" {x!: int}", "", 1), Breaking, "values"},
		"a condition less, and its variable without one": {strings.Replace(before, "if kind == \"a\" {x!: int}", "x?: int", 1), Unknown, "values"},
	} {
		for where, wrap := range map[string]func(string) string{
			"at the top": func(s string) string { return s },
			"deeper":     func(s string) string { return "store!: {" + s + "}" },
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				got, err := Compare(compile(t, conditional(t, wrap(before))), compile(t, conditional(t, wrap(c.after))))
				if err != nil {
					t.Fatal(err)
				}
				path := c.path
				if where == "deeper" && path != "" {
					path = strings.Replace(path, "values", "values.store", 1)
				}
				is := func(ch Change) bool { return ch.Path == path && ch.Verdict == c.want }
				if got.Verdict != c.want || path != "" && !slices.ContainsFunc(got.Changes, is) {
					t.Errorf("wanted %s at %s, got %+v", c.want, path, got)
				}
			})
		}
	}
}

func TestWhatIsImmutableOrSensitiveUnderACondition(t *testing.T) {
	tpl := compile(t, conditional(t, "kind!: \"disk\" | \"bucket\" @immutable()\nif kind == \"disk\" {path!: string @immutable()}\nif kind == \"bucket\" {token!: =~\"^k\" @sensitive()}"))
	var wrong *ValuesError
	err := tpl.Immutable([]byte(`{"kind": "disk", "path": "/a"}`), []byte(`{"kind": "disk", "path": "/b"}`))
	if !errors.As(err, &wrong) || wrong.Problems[0].Path != "values.path" {
		t.Errorf("wanted values.path to be fixed, got %v", err)
	}
	err = tpl.Immutable([]byte(`{"kind": "disk", "path": "/a"}`), []byte(`{"kind": "bucket", "token": "k"}`))
	if !errors.As(err, &wrong) || wrong.Problems[0].Path != "values.kind" {
		t.Errorf("wanted values.kind to be fixed, got %v", err)
	}
	for _, v := range []string{
		`{"kind": "bucket", "token": "hunter2secret"}`, `{"kind": "disk", "path": 1, "token": "hunter2secret"}`,
		`{"token": "hunter2secret"}`, `{"kind": "tape", "token": "hunter2secret"}`, `{"kind": "hunter2secret", "token": "hunter2secret"}`,
	} {
		if _, err := tpl.Render([]byte(v), cart); err == nil || strings.Contains(err.Error(), "hunter2secret") && !strings.Contains(v, `"kind": "hunter2secret"`) {
			t.Errorf("%s: %v", v, err)
		}
	}
}
