package render

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// grammar makes variables and values at random, of few names and small numbers, so that
// what is made of one often has to do with what is made of another.
type grammar struct{ *rand.Rand }

func pick[T any](g grammar, of ...T) T { return of[g.IntN(len(of))] }

func (g grammar) scalar() string {
	switch g.IntN(9) {
	case 0:
		return fmt.Sprintf("int & >=%d & <=%d", g.IntN(4), 3+g.IntN(6))
	case 1:
		return pick(g, "int", "number", "float", "string", "bool", "_", "uint8", "null | int", "int | string", "string | null")
	case 2:
		return pick(g, `"a" | "b"`, `"a" | "b" | "c"`, `"b" | "a"`, `1 | 2`, `"a" | 1`, `true`, `"a"`)
	case 3:
		return pick(g, `=~"^[a-b]+$"`, `=~"^[a-z]+$"`, `=~"^a"`, `=~"b$"`, `!~"^a"`, `=~"^[a-z]{1,3}$"`, `=~"^(ab|c)*$"`, `=~"\\bab?\\b"`)
	case 4:
		return fmt.Sprintf("strings.MaxRunes(%d)", 1+g.IntN(4))
	case 5:
		return fmt.Sprintf("strings.MinRunes(%d) & strings.MaxRunes(4)", g.IntN(3))
	case 6:
		return fmt.Sprintf("int & !=%d", g.IntN(4))
	case 7:
		return pick(g, "#P", "#Q", "#P | #Q", "number & >0 & <4", "number & >=0.5", "math.MultipleOf(2) & int", `=~"^a" & strings.MaxRunes(3)`)
	}
	return pick(g, "int & >2 | 1", "time.Duration", `string & !="a"`, `strings.HasPrefix("a")`, "int & >0 | string")
}

func (g grammar) value(depth int) string {
	if depth > 2 {
		return g.scalar()
	}
	switch g.IntN(12) {
	case 0:
		return fmt.Sprintf("[...%s]", g.value(depth+1))
	case 1:
		return fmt.Sprintf("[...%s] & list.MaxItems(%d)", g.scalar(), g.IntN(4))
	case 2:
		return fmt.Sprintf("[...%s] & list.MinItems(%d)", g.scalar(), g.IntN(3))
	case 3:
		return fmt.Sprintf("{[%s]: %s}", pick(g, "string", `=~"^[a-z]+$"`, `=~"^a"`, `"a" | "b"`), g.value(depth+1))
	case 4, 5:
		return "{\n" + g.fields(depth+1) + pick(g, "", "", "", "\n...") + "\n}"
	case 6:
		return fmt.Sprintf("{k: \"a\", x%s %s} | {k: \"b\", y?: int}", pick(g, ":", "?:", "!:"), g.scalar())
	case 7:
		return fmt.Sprintf("[...%s] & list.UniqueItems()", pick(g, "int", "string"))
	case 8:
		return pick(g, "{[string]: int} & struct.MaxFields(2)", "null | {a?: int}", "{a?: int} | string", "[int, string]", "(*[] | [...int]) & list.MaxItems(2)")
	}
	return g.scalar()
}

var someNames = []string{"a", "b", "c", "d", "e"}

func (g grammar) fields(depth int) string {
	var lines []string
	for _, name := range someNames[:2+g.IntN(3)] {
		if g.IntN(4) > 0 {
			lines = append(lines, g.field(name, depth))
		}
	}
	switch g.IntN(10) {
	case 0:
		lines = append(lines, "m: *1 | int", pick(g, "n?: int & >=m", "n?: >m", "n: *m | int", "n?: int & <=m"))
	case 1:
		lines = append(lines, fmt.Sprintf(`k: *%s | "p" | "q"`, pick(g, `"p"`, `"q"`)), pick(g, `if k == "p" {w?: int}`, `if k == "q" {w: int | *2}`, `if k == "q" {w!: int}`))
	case 2:
		lines = append(lines, "m: int | *1", pick(g, "_h: m & <5", "_h: >=m & 5", `let l = m
o?: int & >=l`))
	}
	return strings.Join(lines, "\n")
}

func (g grammar) field(name string, depth int) string {
	switch g.IntN(5) {
	case 0:
		return name + "!: " + g.value(depth)
	case 1:
		return name + ": " + pick(g, "*1 | int", "*2 | int", "*1 | int & <=5", `*"a" | string`, `*"a" | "b"`, "*true | bool", `*"a" | =~"^[a-z]+$"`, `*[] | [...int]`, `*"a" | =~"^a"`)
	case 2:
		return name + ": " + g.value(depth)
	}
	return name + "?: " + g.value(depth)
}

// edited is variables with one line made anew, taken away or added.
func (g grammar) edited(variables string) string {
	lines := strings.Split(variables, "\n")
	i := g.IntN(len(lines))
	name, _, _ := strings.Cut(strings.TrimLeft(lines[i], "\t "), ":")
	name = strings.TrimRight(name, "?!")
	if !slices.Contains(someNames, name) || strings.HasSuffix(lines[i], "{") {
		return variables
	}
	switch g.IntN(12) {
	case 0:
		return strings.Join(slices.Delete(lines, i, i+1), "\n")
	case 1:
		return strings.Join(slices.Insert(lines, i, "z"+g.field("z", 1)[1:]), "\n")
	case 2:
		lines[i] = strings.Replace(lines[i], "?:", pick(g, "!:", ":"), 1)
	case 3, 4:
		lines[i] = strings.Replace(lines[i], "!:", pick(g, "?:", ":"), 1)
	case 5, 6:
		// An alternative more.
		name, value, _ := strings.Cut(lines[i], ": ")
		lines[i] = fmt.Sprintf("%s: (%s) | %s", name, value, g.value(2))
	case 7, 8:
		// A constraint less.
		lines[i], _, _ = strings.Cut(lines[i], " & ")
	case 9:
		return strings.Join(slices.Insert(lines, i, "z: *1 | int"), "\n")
	case 10:
		lines[i] = strings.NewReplacer("<=3", "<=9", "<=4", "<=9", "{1,3}", "{1,4}", "MaxRunes(1)", "MaxRunes(3)", "MaxItems(1)", "MaxItems(2)", "a-b", "a-c", "MinRunes(2)", "MinRunes(1)").Replace(lines[i])
	default:
		lines[i] = g.field(name, 1)
	}
	return strings.Join(lines, "\n")
}

// json is a value that might be right.
func (g grammar) json(depth int) any {
	switch n := g.IntN(12); {
	case n < 4:
		return json.Number(pick(g, "0", "1", "2", "3", "4", "5", "7", "-1", "255", "256", "1.0", "0.5", "3.5"))
	case n < 8 || depth > 2:
		return pick(g, "a", "b", "", "ab", "abc", "c", "ba", "zzzz", "1s", "x b", "a b", "A")
	case n == 8:
		return pick[any](g, true, false, nil)
	case n == 9:
		list := []any{}
		one := g.json(depth + 1)
		for range g.IntN(4) {
			list = append(list, pick(g, one, g.json(depth+1)))
		}
		return list
	}
	return g.object(depth)
}

func (g grammar) object(depth int) map[string]any {
	o := map[string]any{}
	for _, name := range []string{"a", "b", "c", "d", "e", "k", "m", "n", "w", "x", "y", "o", "z"} {
		if g.IntN(3) == 0 {
			o[name] = g.json(depth + 1)
		}
	}
	if _, ok := o["k"]; ok {
		o["k"] = pick(g, "a", "b", "p", "q")
	}
	return o
}

// accepted looks for values that t accepts by leaving out and trying anew what it refuses.
func (g grammar) accepted(t *Template) (map[string]any, bool) {
	o := g.object(0)
	for range 12 {
		known, err := refusal(t, o)
		if err == nil {
			return o, known
		}
		for _, e := range errors.Errors(err) {
			way := e.Path()
			if len(way) < 2 {
				continue
			}
			name := strings.Trim(way[1], `"`)
			if _, is := o[name]; is && g.IntN(3) == 0 {
				delete(o, name)
			} else if slices.Contains(someNames, name) || is {
				o[name] = g.json(1)
			}
		}
	}
	return nil, false
}

// refusal is why t does not accept o. Where the engine panics nothing is known.
func refusal(t *Template, o map[string]any) (known bool, refused error) {
	defer func() {
		if recover() != nil {
			known, refused = false, nil
		}
	}()
	return true, t.variables.Unify(t.ctx.BuildExpr(syntax(parsed(o)))).Validate(cue.Concrete(true), cue.Final())
}

func parsed(o map[string]any) *values.Node {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	tree, mistakes := values.Parse(text)
	if len(mistakes) > 0 {
		panic(mistakes)
	}
	return tree
}

// A pair of templates that Compare does not call breaking or unknown accepts, in the second,
// all that the first does. What it calls breaking because of an example is not looked at
// here: the example was put to both.
func TestSafeIsSafe(t *testing.T) {
	pairs, tries := 150, 40
	if testing.Short() {
		pairs = 40
	}
	g := grammar{rand.New(rand.NewPCG(*compareSeed, 1))}
	if *comparePairs > 0 {
		pairs = *comparePairs
	}
	counts := map[Verdict]int{}
	tried := 0
	for range pairs {
		old := g.fields(0)
		text := old
		for text == old {
			text = pick(g, g.edited(old), g.edited(old), g.edited(g.edited(old)), g.fields(0))
		}
		before, err := Compile(around(old))
		if err != nil {
			continue
		}
		after, err := Compile(around(text))
		if err != nil {
			continue
		}
		c, err := Compare(before, after)
		if err != nil {
			t.Fatalf("comparing\n%s\nwith\n%s\n%v", old, text, err)
		}
		counts[c.Verdict]++
		if c.Verdict != Safe && c.Verdict != DefaultChanged {
			continue
		}
		for range tries {
			o, ok := g.accepted(before)
			if !ok {
				continue
			}
			tried++
			if _, err := refusal(after, o); err != nil {
				t.Errorf("%s was said of\n%s\n-- to --\n%s\nbut %v is refused now: %v\n%+v", c.Verdict, old, text, o, err, c.Changes)
				break
			}
		}
	}
	t.Logf("%v, %d values", counts, tried)
	if tried < pairs {
		t.Errorf("only %d values were tried: the grammar makes too few that are right", tried)
	}
}
