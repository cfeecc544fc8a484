package render

import (
	"strings"
	"testing"
)

// Single evaluation: the revision takes the place of a stand-in in what comes out.

func TestTheRevisionIsWhereTheTemplatePutIt(t *testing.T) {
	r := render(t, compile(t, edit(t,
		"kind:       \"Deployment\"", "kind: \"Deployment\"\n\tmetadata: annotations: {\"at-\\(context.revision)\": \"<\\(context.revision)>\\(context.revision)\"}")),
		`{"image": "a"}`, cart)
	got := r.Set[0].GetAnnotations()
	if want := "<" + r.Revision + ">" + r.Revision; got["at-"+r.Revision] != want {
		t.Errorf("wanted %s, found %v", want, got)
	}
	if all := text(t, r); strings.Contains(all, placeholder) {
		t.Errorf("wanted no stand-in to be left, found %s", all)
	}
}

// The objects are sorted by their names, which the revision is in.
func TestObjectsAreSortedByTheirRealNames(t *testing.T) {
	for _, image := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		r := render(t, compile(t, testdata(t, "plain.cue")+`
objects: other: {apiVersion: "v1", kind: "Service", metadata: name: "\(context.name)-a-\(context.revision)", spec: {selector: _pods, ports: [{port: 80}]}}
objects: third: {apiVersion: "v1", kind: "Service", metadata: name: "\(context.name)-8-\(context.revision)", spec: {selector: _pods, ports: [{port: 80}]}}
`), `{"image": "`+image+`"}`, cart)
		for i := 1; i < len(r.Set); i++ {
			a, b := r.Set[i-1], r.Set[i]
			if a.GetKind() == b.GetKind() && a.GetName() >= b.GetName() {
				t.Errorf("%s: wanted %s after %s", image, a.GetName(), b.GetName())
			}
		}
	}
}

func TestTheStandInIsReserved(t *testing.T) {
	tpl := compile(t, testdata(t, "plain.cue"))
	for name, values := range map[string]string{
		"as it is":           `{"image": "x` + placeholder + `"}`,
		"in a key":           `{"image": "a", "env": {"` + placeholder + `": "b"}}`,
		"written in escapes": `{"image": "7\u0064e0a7e5f0"}`,
	} {
		if _, err := tpl.Render([]byte(values), cart); err == nil || !strings.Contains(err.Error(), "reserved text") {
			t.Errorf("%s: wanted a refusal, found %v", name, err)
		}
	}
	for _, c := range []Context{
		{Name: "a" + placeholder, Namespace: "shop", Template: "t"},
		{Name: "cart", Namespace: placeholder, Template: "t"},
		{Name: "cart", Namespace: "shop", Template: placeholder},
	} {
		if _, err := tpl.Render([]byte(`{"image": "a"}`), c); err == nil || !strings.Contains(err.Error(), "reserved text") {
			t.Errorf("%+v: wanted a refusal, found %v", c, err)
		}
	}
	_, err := Compile(map[string]string{"t.cue": edit(t, "image: values.image", "image: \""+placeholder+"\"")})
	wantSourceError(t, err, "t.cue: wanted source without the reserved text")
}

// What a template computes of the revision would be computed of the stand-in.
func TestATemplateThatComputesOnTheRevisionIsFound(t *testing.T) {
	annotation := func(value string) []string {
		return []string{"package plain", "package plain\n\nimport (\n\t\"crypto/sha256\"\n\t\"encoding/hex\"\n\t\"strings\"\n)\n_use: [strings.ToUpper, hex.Encode, sha256.Sum256]", "kind:       \"Deployment\"", "kind: \"Deployment\"\n\tmetadata: annotations: x: " + value}
	}
	for name, c := range map[string]struct {
		value string
		want  string
	}{
		"as it is":            {`context.revision`, ""},
		"within a text":       {`"v\(context.revision)-x"`, ""},
		"its length":          {`"\(len(context.revision))"`, ""}, // is that of every revision
		"in capital letters":  {`strings.ToUpper(context.revision)`, "objects.deployment.metadata.annotations.x: wanted context.revision handed on as it is"},
		"its first letter":    {`strings.ByteSlice(context.revision, 0, 1)`, "annotations.x: wanted"},
		"its digest":          {`hex.Encode(sha256.Sum256(context.revision))`, "annotations.x: wanted"},
		"compared":            {`"\(context.revision < "8")"`, "annotations.x: wanted"},
		"the stand-in itself": {`"7de0a7e" + "5f0"`, "annotations.x: wanted"},
		"only of the second":  {`[if context.revision =~ "^7" {"a"}][0]`, "wanted objects whatever the revision is"},
	} {
		t.Run(name, func(t *testing.T) {
			tpl := compile(t, edit(t, annotation(c.value)...)+"\ntests: a: values: image: \"a\"")
			_, err := tpl.RenderTwice([]byte(`{"image": "a"}`), cart)
			checked := tpl.Check()
			if c.want == "" {
				if err != nil || checked != nil {
					t.Errorf("wanted it to be allowed, found %v and %v", err, checked)
				}
				return
			}
			wantSourceError(t, err, c.want)
			wantSourceError(t, checked, "tests.a: ")
			wantSourceError(t, checked, c.want)
		})
	}
	tpl := compile(t, edit(t, "setWeight: 10}", "setWeight: [if context.revision < \"8\" {10}, 20][0]}"))
	_, err := tpl.RenderTwice([]byte(`{"image": "a"}`), cart)
	wantSourceError(t, err, "rollout.steps[0].setWeight: wanted")
}

// Without it, wrong values would be the template's mistake, not the team's.
func TestValuesThatAreNotJustVariablesAreCheckedOnTheirOwn(t *testing.T) {
	linked := compile(t, testdata(t, "plain.cue"))
	loose := compile(t, edit(t, "values:  #Variables", "values: #Variables & {replicas: <50}"))
	if !linked.linked || loose.linked {
		t.Fatalf("wanted the first to be linked alone, found %t and %t", linked.linked, loose.linked)
	}
	for _, tpl := range []*Template{linked, loose} {
		_, err := tpl.Render([]byte(`{"image": 7}`), cart)
		wantProblem(t, err, "values.image")
		if _, err := tpl.Render([]byte(`{"image": "a"}`), cart); err != nil {
			t.Error(err)
		}
	}
	_, err := loose.Render([]byte(`{"image": "a", "replicas": 60}`), cart)
	wantSourceError(t, err, "replicas")
}

func wantProblem(t *testing.T, err error, path string) {
	t.Helper()
	wrong, ok := err.(*ValuesError) //nolint:errorlint // never wrapped
	if !ok || wrong.Problems[0].Path != path {
		t.Errorf("wanted a mistake at %s, found %v", path, err)
	}
}
