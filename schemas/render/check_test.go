package render

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestExpectationsOfTests(t *testing.T) {
	for name, c := range map[string]struct {
		test string
		// want are parts of the problems, in order.
		want []string
	}{
		"what is rendered":              {`{values: ` + image + `, expect: objects: deployment: {kind: "Deployment", spec: {replicas: 2, template: spec: containers: [{name: "app", image: "shop/cart:1.0"}]}}}`, nil},
		"what Tidegate adds":            {`{values: ` + image + `, expect: objects: service: metadata: {namespace: "default", labels: "tidegate.io/release": "demo"}}`, nil},
		"a number written otherwise":    {`{values: ` + image + `, expect: objects: deployment: spec: replicas: 2.0}`, nil},
		"what must not be there":        {`{values: ` + image + `, expect: objects: {hpa: null, deployment: spec: paused: null}}`, nil},
		"the strategy":                  {`{values: ` + image + `, expect: rollout: {type: "canary", steps: [{setWeight: 10}]}}`, nil},
		"a default of the strategy":     {`{values: ` + image + `, expect: rollout: drainDelay: "30s"}`, nil},
		"another Release":               {`{values: ` + image + `, context: {name: "cart", namespace: "shop"}, expect: objects: route: metadata: {name: "cart", namespace: "shop"}}`, nil},
		"another number":                {`{values: ` + image + `, expect: objects: deployment: spec: replicas: 3}`, []string{"expect.objects.deployment.spec.replicas: wanted 3, found 2"}},
		"two mistakes":                  {`{values: ` + image + `, expect: objects: deployment: {kind: "Job", spec: replicas: 3}}`, []string{`deployment.kind: wanted "Job", found "Deployment"`, "spec.replicas: wanted 3"}},
		"an object that is not there":   {`{values: ` + image + `, expect: objects: hpa: kind: "x"}`, []string{`expect.objects.hpa: wanted {"kind":"x"}, found nothing`}},
		"a list that is shorter":        {`{values: ` + image + `, expect: objects: service: spec: ports: [{port: 80}, {port: 81}]}`, []string{"expect.objects.service.spec.ports: wanted"}},
		"another entry of a list":       {`{values: ` + image + `, expect: objects: service: spec: ports: [{port: 81}]}`, []string{"expect.objects.service.spec.ports[0].port: wanted 81, found 80"}},
		"a scalar for an object":        {`{values: ` + image + `, expect: objects: deployment: spec: 3}`, []string{"expect.objects.deployment.spec: wanted 3, found {"}},
		"null for something":            {`{values: ` + image + `, expect: objects: deployment: spec: null}`, []string{"expect.objects.deployment.spec: wanted nothing, found {"}},
		"a text for a number":           {`{values: ` + image + `, expect: objects: deployment: spec: replicas: "2"}`, []string{`wanted "2", found 2`}},
		"another strategy":              {`{values: ` + image + `, expect: rollout: steps: [{setWeight: 5}]}`, []string{"expect.rollout.steps[0].setWeight: wanted 5, found 10"}},
		"another revision":              {`{values: ` + image + `, expect: revision: "0000000000"}`, []string{`expect.revision: wanted "0000000000", found "`}},
		"an unknown expectation":        {`{values: ` + image + `, expect: object: x: 1}`, []string{"wanted objects, revision or rollout in expect, found object"}},
		"an open expectation":           {`{values: ` + image + `, expect: objects: deployment: spec: replicas: int}`, []string{"wanted concrete expectations"}},
		"an expectation that is a list": {`{values: ` + image + `, expect: [1]}`, []string{"wanted expect to be a struct"}},
		"expectations of an error":      {`{values: {}, error: "image", expect: objects: {}}`, []string{"wanted expect or error, found both"}},
		"an unknown fact":               {`{values: ` + image + `, context: who: "cart"}`, []string{"wanted name and namespace in context, found who"}},
		"a fact that is no text":        {`{values: ` + image + `, context: name: 3}`, []string{"wanted context.name to be a string"}},
		"a name that cannot be":         {`{values: ` + image + `, context: name: "Cart"}`, []string{"wanted objects, found the error: wanted a name of the Release"}},
		"an error from the context":     {`{values: ` + image + `, context: name: "Cart", error: "wanted a name of the Release"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			files := base(t)
			files["tests.cue"] = "package base\n\ntests: \"a test\": " + c.test + "\n"
			results, err := compiledFrom(t, files).Test(nil)
			if err != nil || len(results) != 1 {
				t.Fatalf("found %v, %v", results, err)
			}
			problems := results[0].Problems
			if len(problems) != len(c.want) {
				t.Fatalf("wanted %d problems, found:\n%s", len(c.want), strings.Join(problems, "\n"))
			}
			for i, want := range c.want {
				if !strings.Contains(problems[i], want) {
					t.Errorf("wanted %q, found %q", want, problems[i])
				}
			}
			if results[0].Position != "tests.cue:3:8" {
				t.Errorf("wanted the place of the test, found %q", results[0].Position)
			}
		})
	}
}

func TestTestsAreChosenByName(t *testing.T) {
	results, err := compiledFrom(t, base(t)).Test(func(name string) bool { return strings.Contains(name, "image") })
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range results {
		names = append(names, r.Name)
	}
	if !slices.Equal(names, []string{"an image is enough", "an image is needed"}) {
		t.Errorf("wanted the two about images, found %v", names)
	}
}

func TestVetAsksTheChecksAboutEveryObject(t *testing.T) {
	asked := map[string]bool{}
	findings := Vet(base(t), VetOptions{Checks: []ObjectCheck{{Code: CodeCRD, Check: func(o *unstructured.Unstructured) []string {
		asked[o.GetKind()] = true
		if o.GetKind() == "Service" {
			return []string{"wanted another one"}
		}
		return nil
	}}}})
	if len(asked) != 3 {
		t.Errorf("wanted all three kinds to be asked about, found %v", asked)
	}
	want := "service.cue:3:10: error: objects.service: wanted another one (crd-refuses)\n"
	if got := lines(findings); got != want {
		t.Errorf("wanted\n%s\nfound\n%s", want, got)
	}
}

func TestFormat(t *testing.T) {
	for source, want := range map[string]string{
		"package a\nx:1":              "package a\n\nx: 1\n",
		"package a\n\nx: 1\n":         "package a\n\nx: 1\n",
		"package a\n\nx: {a:1,b:2}\n": "package a\n\nx: {a: 1, b: 2}\n",
	} {
		got, err := Format("a.cue", source)
		if err != nil || got != want {
			t.Errorf("%q: wanted %q, found %q, %v", source, want, got, err)
		}
	}
	_, err := Format("a.cue", "package a\nx: {")
	wantSourceError(t, err, "a.cue:2:5: ")
}

func TestVariablesAreWhatATeamMaySet(t *testing.T) {
	files := base(t)
	files["variables.cue"] = strings.Replace(files["variables.cue"], "\t// Environment", "\t// A token.\n\ttoken?: =~\"^[a-z]+$\" @sensitive() @immutable()\n\n\t// Ports.\n\tports: [...{\n\t\t// The number.\n\t\tnumber!: int & >=1\n\t}]\n\n\t// Environment", 1)
	all, err := compiledFrom(t, files).Variables()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Variable{}
	var paths []string
	for _, v := range all {
		paths = append(paths, v.Path)
		got[v.Path] = v
	}
	if want := []string{"values.image", "values.port", "values.replicas", "values.token", "values.ports", "values.ports[]", "values.ports[].number", "values.env", "values.env.<name>"}; !slices.Equal(paths, want) {
		t.Errorf("wanted %v, found %v", want, paths)
	}
	image := got["values.image"]
	if !image.Required || image.Doc != "The image." || image.Type != "an image with a tag" || image.Position != "variables.cue:6:2" || image.Example == "" || image.Default != "" {
		t.Errorf("found %+v", image)
	}
	if port := got["values.port"]; port.Required || port.Default != "8080" || port.Type != "an integer from 1 to 65535" {
		t.Errorf("found %+v", port)
	}
	if token := got["values.token"]; !token.Sensitive || !token.Immutable || token.Example != "" {
		t.Errorf("wanted a sensitive variable without an example, found %+v", token)
	}
	if ports := got["values.ports"]; ports.Example != `[{"number":1}]` || ports.Default != "" {
		t.Errorf("found %+v", ports)
	}
}
