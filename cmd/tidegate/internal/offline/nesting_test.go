package offline

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"tidegate.io/tidegate/schemas/render"
)

// The webhook reads JSON, the command line YAML: both count levels alike, and say the number
// that docs/values.md says.
func TestNestingHasOneBoundInCodeMessageAndDocs(t *testing.T) {
	files := map[string]string{"t.cue": hostileTemplate}
	template, err := render.Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	facts := render.Context{Name: "cart", Namespace: "shop", Template: "t"}
	// The values are the first level, so the lists are one less.
	nested := func(levels int) string {
		return `{"image": "a", "any": ` + strings.Repeat("[", levels-1) + `"x"` + strings.Repeat("]", levels-1) + `}`
	}
	verdicts := func(levels int) (byJSON, byYAML error) {
		_, byJSON = template.Render([]byte(nested(levels)), facts)
		in := Input{Files: files, Context: facts, text: readYAML("values.yaml", []byte(nested(levels)))}
		in.Values = in.text.json
		_, byYAML = Render(in)
		return byJSON, byYAML
	}
	if byJSON, byYAML := verdicts(render.MaxNesting); byJSON != nil || byYAML != nil {
		t.Errorf("wanted %d levels to be taken, got %v and %v", render.MaxNesting, byJSON, byYAML)
	}
	want := fmt.Sprintf("wanted at most %d levels of nesting, found more", render.MaxNesting)
	for _, levels := range []int{render.MaxNesting + 1, 2 * render.MaxNesting} {
		byJSON, byYAML := verdicts(levels)
		for what, err := range map[string]error{"JSON": byJSON, "YAML": byYAML} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d levels as %s: wanted %q, got %v", levels, what, want, err)
			}
		}
	}
	page, err := os.ReadFile("../../../../docs/values.md")
	if err != nil {
		t.Fatal(err)
	}
	if said := fmt.Sprintf("| nesting | %d levels", render.MaxNesting); !strings.Contains(string(page), said) {
		t.Errorf("wanted %q in docs/values.md", said)
	}
}
