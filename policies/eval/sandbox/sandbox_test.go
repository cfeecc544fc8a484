package sandbox_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"tidegate.io/tidegate/policies/eval/sandbox"
)

// TestSandboxIsKnown fails when an upgrade of the engine brings a function whose name
// speaks of the outside world; look at it, then withhold it or list it here.
func TestSandboxIsKnown(t *testing.T) {
	pure := []string{
		"net.cidr_contains", "net.cidr_contains_matches", "net.cidr_expand", "net.cidr_intersects", "net.cidr_is_valid",
		"net.cidr_merge", "net.cidr_overlap",
	}
	for _, v := range []ast.RegoVersion{ast.RegoV0, ast.RegoV1} {
		for _, b := range sandbox.Capabilities(v).Builtins {
			for _, prefix := range []string{"http.", "net.", "opa.", "rand.", "uuid.rfc", "time.now", "os.", "env.", "file.", "exec."} {
				if strings.HasPrefix(b.Name, prefix) && !slices.Contains(pure, b.Name) {
					t.Errorf("function %s is offered to policies", b.Name)
				}
			}
		}
	}
}

// TestEveryBoundIsInForce fails when an upgrade of the engine renames a function.
func TestEveryBoundIsInForce(t *testing.T) {
	for _, name := range []string{
		"numbers.range", "numbers.range_step", "array.concat", "array.flatten", "object.union", "object.union_n", "json.filter", "json.remove",
		"json.patch", "json.marshal", "json.marshal_with_options", "yaml.marshal", "urlquery.encode_object", "internal.template_string",
		"concat", "sprintf", "replace", "strings.replace_n", "regex.replace", "regex.globs_match", "bits.lsh", "bits.rsh", "bits.and",
		"bits.or", "bits.xor", "bits.negate", "format_int", "round", "ceil", "floor", "rem", "mul", "div", "net.cidr_expand",
	} {
		if !slices.Contains(sandbox.Bounded(), name) {
			t.Errorf("function %s is not bounded", name)
		}
	}
}

// doubled is a value that is small in memory and has 2^30 leaves in print.
const doubled = `x0 := ["xxxxxxxx"]
x1 := [x0, x0, x0, x0, x0, x0, x0, x0]
x2 := [x1, x1, x1, x1, x1, x1, x1, x1]
x3 := [x2, x2, x2, x2, x2, x2, x2, x2]
x4 := [x3, x3, x3, x3, x3, x3, x3, x3]
x5 := [x4, x4, x4, x4, x4, x4, x4, x4]
x6 := [x5, x5, x5, x5, x5, x5, x5, x5]
x7 := [x6, x6, x6, x6, x6, x6, x6, x6]
x8 := [x7, x7, x7, x7, x7, x7, x7, x7]
x9 := [x8, x8, x8, x8, x8, x8, x8, x8]
x10 := [x9, x9, x9, x9, x9, x9, x9, x9]
`

// squared is a number of some million digits.
const squared = "n0 := 1e300\nn1 := n0 * n0\nn2 := n1 * n1\nn3 := n2 * n2\nn4 := n3 * n3\nn5 := n4 * n4\nn6 := n5 * n5\n" +
	"n7 := n6 * n6\nn8 := n7 * n7\nn9 := n8 * n8\nn10 := n9 * n9\nn11 := n10 * n10\nn12 := n11 * n11\n"

func TestOneCallMakesNothingHuge(t *testing.T) {
	const half = `half := concat("", [sprintf("%06000d", [i]) | some i in numbers.range(1, 300)])` + "\n"
	for name, tc := range map[string]struct {
		rego string
		ok   bool
	}{
		"a short range":                       {`x := numbers.range(1, 1000)`, true},
		"an endless range":                    {`x := numbers.range(1, 9000000000)`, false},
		"an endless range backwards":          {`x := numbers.range(9000000000, 1)`, false},
		"a long range in long steps":          {`x := numbers.range_step(1, 9000000000, 1000000000)`, true},
		"a long range in short steps":         {`x := numbers.range_step(1, 9000000000, 2)`, false},
		"a number of a million digits":        {squared + `x := format_int(n12, 10)`, false},
		"a number of a million digits itself": {squared + `x := n12`, false},
		"a rounded one":                       {squared + `x := round(n12)`, false},
		"a shift":                             {`x := bits.lsh(1, 64)`, true},
		"a shift by a billion":                {`x := bits.lsh(1, 1000000000)`, false},
		"a wide format":                       {`x := sprintf("%1000000000d", [1])`, false},
		"a wide format that says it late":     {`x := sprintf("%*d", [1000000000, 1])`, false},
		"a precise format":                    {`x := sprintf("%.1000000000f", [1])`, false},
		"an ordinary format":                  {`x := sprintf("%08.3f|%-20s|%v|100%%", [1.5, "x", {"a": [1]}])`, true},
		"an index that repeats an operand":    {half + `x := sprintf("%[1]s%[1]s%[1]s%[1]s%[1]s", [half])`, false},
		"replacing each character":            {half + `x := replace(half, "1", half)`, false},
		"replacing nothing by much":           {half + `x := replace(half, "", "0123456789")`, false},
		"replacing a few characters":          {`x := replace("a-b-c", "-", "_")`, true},
		"replacing many at once":              {half + `x := strings.replace_n({"1": half}, half)`, false},
		"replacing by pattern":                {half + `x := regex.replace(half, "[0-9]", "$0$0$0$0$0$0$0$0$0$0")`, false},
		"joining by a long separator":         {half + `x := concat(half, ["a", "b", "c", "d"])`, false},
		"printing a value that shares parts":  {doubled + `x := sprintf("%v", [x10])`, false},
		"marshalling one":                     {doubled + `x := json.marshal(x10)`, false},
		"writing one as YAML":                 {doubled + `x := yaml.marshal(x10)`, false},
		"patching one":                        {doubled + `x := json.patch({"a": x10}, [{"op": "add", "path": "/b", "value": 1}])`, false},
		"all addresses of version 6":          {`x := net.cidr_expand("fe80::/16")`, false},
		"all addresses of a small network":    {`x := net.cidr_expand("10.0.0.0/28")`, true},
		"patterns that meet in many ways":     {`x := regex.globs_match(concat("", ["a*" | some _ in numbers.range(1, 200)]), "a")`, false},
		"marshalling what is small":           {`x := json.marshal({"a": [1, 2]})`, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rego.New(
				rego.Query("data.p.x"),
				rego.Module("p.rego", "package p\n"+tc.rego),
			).Eval(t.Context())
			if (err == nil) != tc.ok {
				t.Fatalf("wanted ok %v, got %v", tc.ok, err)
			}
			if err != nil && !errors.Is(err, sandbox.ErrTooLarge) {
				t.Errorf("another error: %v", err)
			}
		})
	}
}
