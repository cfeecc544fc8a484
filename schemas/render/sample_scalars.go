package render

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
	"k8s.io/utils/lru"

	"tidegate.io/tidegate/schemas/render/internal/language"
	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// texts are tried where a string is wanted and only a pattern says which one.
var texts = []string{
	"example", "registry.example.com/shop/example:1.0.0", "example.com", "/example", "100m", "128Mi", "1Gi", "30s", "1m", "1",
	"EXAMPLE", "example-1", "shop/example", "0 * * * *", "1.0.0", "v1", "example@example.com", "https://example.com", "A", "a", "10%", "0.5",
	"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"registry.example.com/shop/example@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
}

// formats are tried where a string is wanted, and a rule that is no pattern says which one.
var formats = []string{
	"10.0.0.1", "2001:db8::1", "10.0.0.0/24", "2024-01-02", "2024-01-02T03:04:05Z", "15:04:05", "00000000-0000-4000-8000-000000000000",
	"example.com:80", "AAAA", "[]", "{}",
}

// literalNode is the scalar that JSON stands for; none for other JSON.
func literalNode(text string) []*values.Node {
	tree, mistakes := values.Parse([]byte(`{"a":` + text + `}`))
	if len(mistakes) > 0 || tree.Field("a") == nil || !scalar(tree.Field("a")) {
		return nil
	}
	return []*values.Node{tree.Field("a")}
}

// scalars are the values worth trying for a scalar, by what its shape says.
func scalars(schema cue.Value) []*values.Node {
	var out []*values.Node
	kind := schema.IncompleteKind()
	arms := shape.Of(schema).Arms
	for _, a := range arms {
		if a.Literal != "" {
			out = append(out, literalNode(a.Literal)...)
		} else {
			out = append(out, ends(a)...)
		}
	}
	if kind&cue.NumberKind != 0 {
		for _, s := range []string{"1", "2", "10", "0.5", "0"} {
			out = append(out, numberNode(s))
		}
		if slices.ContainsFunc(arms, func(a shape.Arm) bool { return a.Literal == "" && (a.Min == nil || a.Max == nil) }) {
			// No size and no port has them.
			out = append(out, numberNode("-1"), numberNode(fmt.Sprint(maxNumber+1)))
		}
	}
	if kind&cue.BoolKind != 0 {
		out = append(out, &values.Node{Kind: values.Bool, Bool: true}, &values.Node{Kind: values.Bool})
	}
	if kind&cue.StringKind != 0 {
		for _, s := range texts {
			out = append(out, textNode(s))
		}
		for _, a := range arms {
			for _, s := range madeUp(a) {
				out = append(out, textNode(s))
			}
		}
	}
	return out
}

// madeUp are texts made of what a says of them.
func madeUp(a shape.Arm) []string {
	var out []string
	if a.MinSize != nil && *a.MinSize > 0 && *a.MinSize <= maxText {
		out = append(out, strings.Repeat("x", *a.MinSize))
	}
	out = append(out, matching(a)...)
	if len(a.Rules) > 0 {
		out = append(out, formats...)
	}
	for _, l := range literalsOf(a.Rules) {
		if s, err := literal.Unquote(l); err == nil {
			out = append(out, s, s+"example", "example"+s, s+"/example:1")
		}
	}
	return out
}

// maxText is the length of the longest text that is made up to be long enough.
const maxText = 1000

// variety are what a text that is made up may have besides, so that not all are alike.
var variety = []string{"", "^.{12}", "[a-z]{3}", "[0-9]"}

// made has the texts that were made up last, by what they had to be.
var made = lru.New(256)

// matching are texts that match the patterns of a.
func matching(a shape.Arm) []string {
	if len(a.Patterns)+len(a.AntiPatterns) == 0 {
		return nil
	}
	set := setOf(a)
	key := fmt.Sprintf("%q %q %d %d", set.Patterns, set.Anti, set.Min, set.Max)
	if known, ok := made.Get(key); ok {
		return known.([]string)
	}
	var out []string
	for _, besides := range variety {
		with := set
		with.Patterns = append(slices.Clone(a.Patterns), besides)
		out = append(out, language.Some(with, 1)...)
	}
	made.Add(key, out)
	return out
}

// setOf are the texts that match the patterns of a and have its length.
func setOf(a shape.Arm) language.Set {
	set := language.Set{Patterns: a.Patterns, Anti: a.AntiPatterns, Min: language.Unset, Max: language.Unset}
	if a.MinSize != nil {
		set.Min = *a.MinSize
	}
	if a.MaxSize != nil {
		set.Max = *a.MaxSize
	}
	return set
}

// literalsOf are the literals that rules, which are CUE, are written with.
func literalsOf(rules []string) []string {
	var out []string
	for _, r := range rules {
		e, err := parser.ParseExpr("", r)
		if err != nil {
			continue // in words
		}
		ast.Walk(e, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok {
				out = append(out, l.Value)
			}
			return true
		}, nil)
	}
	return out
}

// ends are the ends of the range of a, or what is beside them where they are outside of it,
// and the multiples next to them of what a says; as far as they are small integers.
func ends(a shape.Arm) []*values.Node {
	var out []*values.Node
	add := func(n int64) { out = append(out, numberNode(strconv.FormatInt(n, 10))) }
	steps := multiples(a)
	for i, b := range []*shape.Bound{a.Min, a.Max} {
		if b == nil || !b.Value.IsInt() || !b.Value.Num().IsInt64() || abs(b.Value.Num().Int64()) > maxNumber {
			continue
		}
		n, inward := b.Value.Num().Int64(), int64(1-2*i)
		add(n)
		if b.Open {
			add(n + inward)
		}
		for _, m := range steps {
			add(n - n%m)
			add(n - n%m + m*inward)
		}
	}
	for _, m := range steps {
		add(m)
	}
	if a.Kind == shape.Number && a.Min != nil && a.Max != nil {
		middle := new(big.Rat).Add(a.Min.Value, a.Max.Value)
		out = append(out, numberNode(middle.Quo(middle, big.NewRat(2, 1)).FloatString(decimals)))
	}
	return out
}

// decimals is how exact the middle of a range is.
const decimals = 4

// multiples are the whole numbers that the rules of a are written with.
func multiples(a shape.Arm) []int64 {
	var out []int64
	for _, l := range literalsOf(a.Rules) {
		if n, err := strconv.ParseInt(l, 10, 64); err == nil && n > 0 && n <= maxNumber {
			out = append(out, n)
		}
	}
	return out
}

func abs(n int64) int64 { return max(n, -n) }
