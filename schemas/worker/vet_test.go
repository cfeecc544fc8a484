package worker

import (
	"slices"
	"testing"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
)

func TestAWorkerVetsAsThisProcessDoes(t *testing.T) {
	t.Parallel()
	pool := newPool(t, Options{Workers: 1})
	files, err := templates.Files("web")
	if err != nil {
		t.Fatal(err)
	}
	files["more.cue"] = "package web\n\n#Variables: {\n\tundocumented?: int\n\tcount: int & <=5 | *50\n}\n"
	want := render.Vet(files, render.VetOptions{Shallow: true})
	if !slices.ContainsFunc(want, func(f render.Finding) bool { return f.Severity == render.SeverityError }) {
		t.Fatalf("wanted a template with mistakes, found %v", want)
	}
	got, err := pool.Vet(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("wanted\n%v\nfound\n%v", want, got)
	}
	delete(files, "more.cue")
	if got, err = pool.Vet(t.Context(), files); err != nil || slices.ContainsFunc(got, func(f render.Finding) bool { return f.Severity == render.SeverityError }) {
		t.Errorf("a shipped template: %v, %v", got, err)
	}
}

// loose is a template that does not render with the port 0, which it accepts.
const loose = `package loose

// What a team may set.
#Variables: {
	// The port that the container listens on.
	port: *8080 | int & >=0 & <=65535
}
#Context: {name: string, namespace: string, template: string, revision: string}
values:  #Variables
context: #Context
objects: web: {
	apiVersion: "apps/v1"
	kind:       "Deployment"
	metadata: name: context.name
	spec: {
		if values.port == 0 {paused: "yes"}
		selector: matchLabels: "tidegate.io/release": context.name
		template: {
			metadata: labels: "tidegate.io/release": context.name
			spec: containers: [{name: "web", image: "shop/web:1.0", ports: [{containerPort: values.port}]}]
		}
	}
}
rollout: type: "rolling"
`

// Trying the edges of all variables is left to who writes the template: a worker has a
// deadline.
func TestAWorkerTriesNoEdges(t *testing.T) {
	t.Parallel()
	files := map[string]string{"loose.cue": loose}
	tried := func(f render.Finding) bool { return f.Code == render.CodeLoose }
	if deep := render.Vet(files, render.VetOptions{}); !slices.ContainsFunc(deep, tried) {
		t.Fatalf("wanted a template with something loose, found %v", deep)
	}
	got, err := newPool(t, Options{Workers: 1}).Vet(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(got, tried) {
		t.Errorf("wanted no edges to be tried, found %v", got)
	}
	if want := render.Vet(files, render.VetOptions{Shallow: true}); !slices.Equal(got, want) {
		t.Errorf("wanted\n%v\nfound\n%v", want, got)
	}
}
