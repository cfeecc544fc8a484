package render

import (
	"strings"
	"testing"
)

// specTemplate has one variable to set, called a.
const specTemplate = `package t
IMPORTS
TOP
#Variables: {
VARIABLES
}
#Context: {name: string}
values: #Variables
context: #Context
objects: {}
rollout: {type: "canary"}
`

// spec compiles a template with variables, and with what stands before " -- " beside them.
func spec(t *testing.T, line string) *Template {
	t.Helper()
	top, variables, found := strings.Cut(line, " -- ")
	if !found {
		top, variables = "", line
	}
	imports := ""
	for _, p := range []string{"list", "math", "net", "strings", "struct", "time"} {
		if strings.Contains(line, p+".") {
			imports += "import \"" + p + "\"\n"
		}
	}
	return compile(t, strings.NewReplacer("IMPORTS", imports, "TOP", strings.ReplaceAll(top, "; ", "\n"), "VARIABLES", strings.ReplaceAll(variables, "; ", "\n")).Replace(specTemplate))
}

// Each way to write a variable is held against each kind of value.
func TestSchemaAgreesOnEverySpec(t *testing.T) {
	values := strings.Fields(testdata(t, "spec-values.txt"))
	for line := range strings.Lines(testdata(t, "specs.txt")) {
		line = strings.TrimSpace(line)
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			tpl := spec(t, line)
			schema, doc := validator(t, tpl)
			for _, v := range values {
				compareVerdicts(t, tpl, schema, doc, `{"a":`+v+`}`)
			}
			compareVerdicts(t, tpl, schema, doc, `{}`)
		})
	}
}
