package render

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// crowded has maps and lists whose entries are wrong by themselves, or fit only one by one.
const crowded = `package t
import "struct"
#Variables: {
	letters: [=~"^[A-Z]+$"]: string
	few: {[string]: string} & struct.MaxFields(250)
	rows: [...{name!: string, port: int | *1}]
	above: {lo: *1 | int, [=~"^[A-Z]+$"]: int & >=lo}
	some?: {[string]: string} & struct.MinFields(2)
	flags?: {a?: int, b: *1 | int} & struct.MinFields(2)
}
#Context: {name: string}
values: #Variables
context: #Context
objects: {}
rollout: {type: "canary"}
`

// named is n entries in JSON, each with a name of its own.
func named(n int, prefix, value string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"%s%c%c": %s`, prefix, 'A'+i/26, 'A'+i%26, value)
	}
	return strings.Join(list, ", ")
}

// manyMistakes are values of crowded with n mistakes, by what they have in common.
var manyMistakes = map[string]func(n int) string{
	"entries of the wrong type":    func(n int) string { return `{"letters": {` + named(n, "K", `1`) + `}}` },
	"every other entry is wrong":   func(n int) string { return `{"letters": {` + alternating(n, `"v"`, `1`) + `}}` },
	"entries of the wrong name":    func(n int) string { return `{"letters": {` + named(n, "k", `"v"`) + `}}` },
	"right and wrong names":        func(n int) string { return `{"letters": {` + named(n, "K", `"v"`) + `, ` + named(n, "k", `"v"`) + `}}` },
	"more entries than may be":     func(n int) string { return `{"few": {` + named(250+n, "K", `"v"`) + `}}` },
	"more entries, and wrong ones": func(n int) string { return `{"few": {` + named(250, "K", `"v"`) + `, ` + named(n, "L", `1`) + `}}` },
	"entries below another one":    func(n int) string { return `{"above": {` + named(n, "K", `3`) + `, "lo": 5}}` },
	"half of the entries below it": func(n int) string {
		return `{"above": {` + named(n, "K", `3`) + `, ` + named(n, "L", `7`) + `, "lo": 5}}`
	},
	"every other entry is below it": func(n int) string { return `{"above": {` + alternating(n, `7`, `3`) + `, "lo": 5}}` },
	"items with an unknown name": func(n int) string {
		return `{"rows": [` + strings.TrimSuffix(strings.Repeat(`{"nam": "x", "name": "y"},`, n), ",") + `]}`
	},
	"a mistake in one of many": func(n int) string { return `{"letters": {` + named(n, "K", `"v"`) + `, "KZZZ": 1}}` },
}

// alternating is 2n entries in JSON, every other one of which has the value odd.
func alternating(n int, even, odd string) string {
	list := make([]string, 2*n)
	for i := range list {
		list[i] = fmt.Sprintf(`"K%c%c": %s`, 'A'+i/26, 'A'+i%26, []string{even, odd}[i%2])
	}
	return strings.Join(list, ", ")
}

// explained is what the values are told to have wrong.
func explained(t *testing.T, tpl *Template, valuesJSON string) *explainer {
	t.Helper()
	tree, mistakes := values.Parse([]byte(valuesJSON))
	if len(mistakes) > 0 {
		t.Fatalf("wanted values that can be read: %v", mistakes)
	}
	e := tpl.explain(tpl.variables, tree, cart)
	e.finish(errors.New("wrong"), tree)
	return e
}

// Twice the mistakes are twice the work: in memory, and in what the engine is asked. The
// margin is for the halving, which asks a little more of more.
func TestExplainingCostsWhatThereIsToExplain(t *testing.T) {
	tpl := compile(t, crowded)
	for name, text := range manyMistakes {
		t.Run(name, func(t *testing.T) {
			const n = 120
			work := func(n int) (spent, allocated float64) {
				valuesJSON := text(n)
				if e := explained(t, tpl, valuesJSON); e.cut {
					t.Errorf("%d: wanted an answer without an end put to it", n)
				} else {
					spent = float64(e.spent)
				}
				return spent, testing.AllocsPerRun(1, func() { explained(t, tpl, valuesJSON) })
			}
			spent, allocated := work(n)
			spentTwice, allocatedTwice := work(2 * n)
			if spentTwice > 2.5*spent || allocatedTwice > 2.5*allocated {
				t.Errorf("wanted twice the mistakes to cost at most two and a half times as much, found %.0f and %.0f values asked about, %.0f and %.0f allocations", spent, spentTwice, allocated, allocatedTwice)
			}
		})
	}
}

// Pairs that do not go together, of many variables, have no cheap explanation.
func TestExplainingEndsWhereVariablesOnlyFitOneByOne(t *testing.T) {
	const pairs = 200
	var variables, set strings.Builder
	for i := range pairs {
		fmt.Fprintf(&variables, "\tlow%[1]d: *1 | int\n\thigh%[1]d: *10 | int & >=low%[1]d\n", i)
		fmt.Fprintf(&set, `, "low%[1]d": 5, "high%[1]d": 3`, i)
	}
	tpl := compile(t, strings.Replace(crowded, "\tabove:", variables.String()+"\tabove:", 1))
	e := explained(t, tpl, `{"letters": {"a": "v"}`+set.String()+`}`)
	if !e.cut || e.spent > maxSpent+maxSpent/10 {
		t.Errorf("wanted an end after some %d values, found %d asked about", maxSpent, e.spent)
	}
	last := e.problems[len(e.problems)-1]
	if !slices.ContainsFunc(e.problems, func(p Problem) bool { return p.Path == "values.letters.a" }) || last.Path != "values" || !strings.Contains(last.Message, "may not be listed") {
		t.Errorf("wanted what is wrong by itself, and that there may be more, found %v", e.problems)
	}
}

func TestEntriesThatDoNotGoTogetherAreExplained(t *testing.T) {
	tpl := compile(t, crowded)
	for name, c := range map[string]struct{ values, want string }{
		"one entry below another one": {
			`{"above": {"A": 3, "B": 7, "lo": 5}}`,
			"values.above.A: wanted an integer of at least 5, found 3",
		},
		"several below it": {
			`{"above": {"A": 3, "B": 7, "C": 4, "lo": 5}}`,
			"values.above.A: wanted an integer of at least 5, found 3\nvalues.above.C: wanted an integer of at least 5, found 4",
		},
		"a map of too many entries": {
			`{"few": {` + named(253, "K", `"v"`) + `}}`,
			"values.few: wanted an object of at most 250 entries, found an object of 253 entries",
		},
		"a map of too many entries, one of them wrong": {
			`{"few": {"A": 1, ` + named(250, "K", `"v"`) + `}}`,
			"values.few: wanted an object of at most 250 entries, found an object of 251 entries\nvalues.few.A: wanted a string, found 1; put it in quotes: \"1\"",
		},
		"a map of too many entries, the last one wrong": {
			`{"few": {"Z": 1, ` + named(250, "K", `"v"`) + `}}`,
			"values.few: wanted an object of at most 250 entries, found an object of 251 entries\nvalues.few.Z: wanted a string, found 1; put it in quotes: \"1\"",
		},
		"a map of no entries":      {`{"some": {}}`, "values.some: wanted an object of at least 2 entries, found an object of 0 entries"},
		"a map of too few entries": {`{"some": {"a": "b"}}`, "values.some: wanted an object of at least 2 entries, found an object of 1 entry"},
		"what is declared counts":  {`{"flags": {}}`, "values.flags: wanted an object of at least 2 entries, found an object of 0 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tpl.Render([]byte(c.values), cart)
			if err == nil {
				t.Fatal("wanted an error, got none")
			}
			if c.want != "" && err.Error() != c.want {
				t.Errorf("wanted\n%s\nfound\n%s", c.want, err)
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if len(line) > 2*maxFound {
					t.Errorf("wanted lines that can be read, found one of %d bytes", len(line))
				}
			}
		})
	}
}

// A default that is computed from the context or from another variable is one: that it is not
// known yet is nobody's mistake.
func TestComputedDefaultsAreNotMissing(t *testing.T) {
	source := strings.Replace(testdata(t, "plain.cue"), "#Variables: {", `#Variables: {
	a?: int
	b: *"\(context.name)-x" | string
	c: *context.name | string
	d: #Named
	e: f: *"\(context.name)-f" | string
	g: *(h + 1) | int
	h: *1 | int
`, 1) + "\n#Named: *\"\\(context.name)-d\" | string\n"
	const right = `"image": "a:1"`
	for name, source := range map[string]string{
		"values that are #Variables":             source,
		"values that are #Variables and another": strings.Replace(source, "values: ", "values: {image: string} & ", 1),
	} {
		t.Run(name, func(t *testing.T) {
			tpl := compile(t, source)
			for values, want := range map[string]string{
				`{` + right + `}`:           "",
				`{` + right + `, "a": "x"}`: `values.a: wanted an integer, found "x"`,
				`{"a": "x"}`:                "values.a: wanted an integer, found \"x\"\nvalues.image: wanted a string, found nothing; set image",
				`{` + right + `, "b": 5}`:   `values.b: wanted a string, found 5; put it in quotes: "5"`,
				`{` + right + `, "h": "x"}`: `values.h: wanted an integer, found "x"`,
			} {
				_, err := tpl.Render([]byte(values), cart)
				if got := fmt.Sprint(err); want != "" && got != want || want == "" && err != nil {
					t.Errorf("%s: wanted %q, found %q", values, want, got)
				}
			}
		})
	}
}

func BenchmarkExplain(b *testing.B) {
	tpl := compile(b, crowded)
	for name, text := range manyMistakes {
		for _, n := range []int{1, 10, 100, 250} {
			valuesJSON := []byte(text(n))
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := tpl.Render(valuesJSON, cart); err == nil {
						b.Fatal("wanted an error")
					}
				}
			})
		}
	}
}

// Where variables bound each other one of them is named, once, with what it has to be beside
// the others as they are set.
func TestBoundsOnEachOtherAreOneLine(t *testing.T) {
	for what, c := range map[string]struct{ variables, values, want string }{
		"both are set": {
			`lo!: int & <=hi, hi!: int & >=lo`, `{"lo": 5, "hi": 3}`,
			"values.lo: wanted an integer of at most 3, found 5",
		},
		"both are set in a struct": {
			`s?: {lo!: int & <=hi, hi!: int & >=lo}`, `{"s": {"lo": 5, "hi": 3}}`,
			"values.s.lo: wanted an integer of at most 3, found 5",
		},
		"both are set in an entry of a list": {
			`l?: [...{lo!: int & <=hi, hi!: int & >=lo}]`, `{"l": [{"lo": 1, "hi": 3}, {"lo": 5, "hi": 3}]}`,
			"values.l[1].lo: wanted an integer of at most 3, found 5",
		},
		"one of them is sensitive": {
			`lo!: int & <=hi, hi!: int & >=lo @sensitive()`, `{"lo": 5, "hi": 3}`,
			"values.lo: wanted what goes with the other variables, found 5",
		},
		"one of them is the end of a chain": {
			`a!: int & >=b, b: (*3 | int) & <c, c!: int & >d, d!: int & >=b`, `{"a": 0, "b": 4, "c": 5, "d": 4}`,
			"values.a: wanted an integer of at least 4, found 0",
		},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := withVariables(t, c.variables).Render([]byte(c.values), cart)
			if err == nil || err.Error() != c.want {
				t.Errorf("wanted %s, found %v", c.want, err)
			}
		})
	}
}
