package arms

import (
	"strings"
	"testing"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
)

// words reads alternatives as the text that they are written in.
var words = Reader[string]{
	Leaf: func(e ast.Expr) []string {
		b, err := format.Node(e)
		if err != nil {
			return []string{err.Error()}
		}
		return []string{strings.TrimSpace(string(b))}
	},
	Both: func(x, y []string) []string {
		var out []string
		for _, a := range x {
			for _, b := range y {
				out = append(out, a+" and "+b)
			}
		}
		return out
	},
	Prefer: func(s *string) { *s += " by default" },
}

func TestOf(t *testing.T) {
	for _, tc := range []struct{ what, source, wanted string }{
		{"a type is one alternative", `int`, "int"},
		{"a choice has its alternatives in order", `"a" | "b" | 3`, `"a"; "b"; 3`},
		{"a default is marked", `*1 | int`, "1 by default; int"},
		{"a default in brackets marks all in it", `*(1 | 2) | 3`, "1 by default; 2 by default; 3"},
		{"a conjunction of choices is a choice of conjunctions", `(1 | 2) & (int | string)`, "1 and int; 1 and string; 2 and int; 2 and string"},
		{"a list stays one although the engine adds an empty struct", `[...int] & {}`, "[...int]"},
		{"an empty struct before it is the same", `{} & [...int]`, "[...int]"},
		{"an empty struct alone is one", `{}`, "{}"},
		{"a sum is no choice", `1 + 2`, "1 + 2"},
		{"a bound is no default", `>=5`, ">=5"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			e, err := parser.ParseExpr("", tc.source)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(words.Of(e), "; "); got != tc.wanted {
				t.Errorf("wanted %s, found %s", tc.wanted, got)
			}
		})
	}
}

func TestExpression(t *testing.T) {
	for _, tc := range []struct{ what, source, wanted string }{
		{"a file of one expression is that", `import "list"` + "\nlist.MaxItems(1)", "list.MaxItems(1)"},
		{"a file of fields is a struct", "package p\na: 1\nb: 2", "{\n\ta: 1\n\tb: 2\n}"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			f, err := parser.ParseFile("", tc.source)
			if err != nil {
				t.Fatal(err)
			}
			if got := words.Leaf(Expression(f))[0]; got != tc.wanted {
				t.Errorf("wanted %s, found %s", tc.wanted, got)
			}
		})
	}
	if e := Expression(&ast.Field{}); e != nil {
		t.Errorf("wanted nothing for what is no expression, found %v", e)
	}
}
