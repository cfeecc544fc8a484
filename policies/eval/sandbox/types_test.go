package sandbox_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"tidegate.io/tidegate/policies/eval/sandbox"
)

// chain is n lines, each made of the one before.
func chain(n int, first, line string) string {
	var b strings.Builder
	b.WriteString(first + "\n")
	for i := 1; i <= n; i++ {
		b.WriteString(strings.NewReplacer("$i", fmt.Sprint(i), "$p", fmt.Sprint(i-1)).Replace(line) + "\n")
	}
	return b.String()
}

func TestTypesThatCannotBeComparedAreRefused(t *testing.T) {
	constants := make([]string, 0, 2000)
	for i := range 2000 {
		constants = append(constants, fmt.Sprintf(`"k%d": {"team": "t%d", "ports": [%d, 443], "tags": {"a", "b"}}`, i, i, i))
	}
	pairs := make([]string, 0, 2000)
	for i := range 2000 {
		pairs = append(pairs, fmt.Sprintf(`["a%d", %d]`, i, i))
	}
	for name, tc := range map[string]struct {
		source  string
		refused bool
	}{
		"rules that nest twice": {chain(44, "a0 := [input.x1, 1]", "a$i := [a$p, a$p]") + "deny contains 1 if a44 == a44", true},
		"rules that nest once":  {chain(44, "a0 := [1]", "a$i := [a$p]") + "deny contains 1 if a44 == a44", true},
		"objects":               {chain(44, "a0 := {}", `a$i := {"x": a$p, "y": a$p}`) + "deny contains 1 if a44 == a44", true},
		"variables of a rule":   {"deny contains 1 if {\n" + chain(44, "a0 := [1]", "a$i := [a$p, a$p]") + "a44 == a44 }", true},
		"a comprehension":       {"deny contains 1 if {\n" + chain(44, "a0 := [1]", "a$i := [x | x := [a$p, a$p]]") + "a44 == a44 }", true},
		"functions":             {chain(44, "f0(x) := [x]", "f$i(x) := [y, y] if y := f$p(x)") + "deny contains 1 if f44(1) == f44(2)", true},
		"sets":                  {chain(44, "a0 := {[1]}", "a$i := {[a$p, a$p]}") + "deny contains 1 if a44 == a44", true},
		"sets that have rules":  {chain(44, "a0 contains 1", "a$i contains [a$p, a$p] if true") + "deny contains 1 if a44 == a44", true},
		"partial objects":       {chain(44, "a0.x := 1", "a$i[k] := [a$p, a$p] if some k in input.x") + "deny contains 1 if a44 == a44", true},
		"parts of each":         {chain(44, "a0 := [1]", "a$i := [a$p, a$p, 1]") + "deny contains 1 if a44[0] == a44[1]", true},
		"taken apart":           {"deny contains 1 if {\n" + chain(44, "a0 := [1]", "[a$i, _] := [[a$p, a$p], 1]") + "a44 == a44 }", true},
		"a literal":             {"deny contains 1 if { x := " + strings.Repeat("[", 44) + strings.Repeat("]", 44) + "; x == x }", true},
		"as elements":           {"deny contains a44 if true\n" + chain(44, "a0 := [1]", "a$i := [a$p, a$p]"), true},
		"many constants":        {"k := {" + strings.Join(constants, ", ") + "}\ndeny contains 1 if { some x in k; x.team == input.team }", false},
		"a table that is compared": {
			"k := {" + strings.Join(pairs, ", ") + "}\ndeny contains 1 if { some x in k; x == input.pair; k == input.all }", false,
		},
		"a long chain of texts":   {chain(500, `a0 := "x"`, `a$i := concat("", [a$p, "y"])`) + "deny contains a500 if true", false},
		"a long chain of numbers": {chain(500, `a0 := 1`, `a$i := a$p + a$p`) + "deny contains a500 if true", false},
		"what input nests":        {"deny contains 1 if { " + chain(200, "a0 := input.x", "a$i := a$p.x") + "a200 == 1 }", false},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := ast.ParseModuleWithOpts("p.rego", "package p\n"+tc.source, ast.ParserOptions{RegoVersion: ast.RegoV1})
			if err != nil {
				t.Fatal(err)
			}
			c := sandbox.BoundTypes(ast.NewCompiler())
			c.Compile(map[string]*ast.Module{"p.rego": m})
			refused := strings.Contains(fmt.Sprint(c.Errors), "too large to be compared")
			if refused != tc.refused || (!tc.refused && c.Failed()) {
				t.Errorf("refused: %v: %v", refused, c.Errors)
			}
		})
	}
}
