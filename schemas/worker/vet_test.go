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
