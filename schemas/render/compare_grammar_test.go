package render

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// grammar makes variables and values at random, of few names and small numbers, so that
// what is made of one often has to do with what is made of another.
type grammar struct {
	*rand.Rand
	// numbers and words stand in the templates that values are made for: what is next to a
	// bound tells more than what is far from all of them.
	numbers, words []string
}

func pick[T any](g grammar, of ...T) T { return of[g.IntN(len(of))] }

func (g grammar) scalar() string {
	switch g.IntN(10) {
	case 8:
		return pick(g, `context.name | "b"`, `!=context.name & string`, "strings.MaxRunes(len(context.name))", `=~"^\(context.name)"`, "int & <=len(context.namespace)", `[if context.namespace == "prod" {<3}, int][0]`, "_top", "int & <=_far")
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
	case 9:
		return g.composite(depth)
	}
	return g.scalar()
}

// number is a number in one of the ways to write it, and of any sign.
func (g grammar) number() string {
	return pick(g, "0", "1", "2", "3", "4", "5", "-1", "1.0", "0.5", "2.5", "3.0", "1e1", "0x3", "-0.5", "1K")
}

// composite is a value made with what the language has besides types and bounds.
func (g grammar) composite(depth int) string {
	name := func() string { return pick(g, "a", "b", "c") }
	switch g.IntN(20) {
	case 15, 16:
		return fmt.Sprintf("{[%s]: %s}", g.key(), g.scalar())
	case 17:
		return fmt.Sprintf("{%s?: %s, [%s]: %s}", name(), g.scalar(), g.key(), g.scalar())
	case 18:
		return fmt.Sprintf("{_q: %s, %s?: %s}", pick(g, "context.name", `"name"`, "len(context.name)"), name(), pick(g, "_q", `"name"`, "<=_q", "!=_q"))
	case 0:
		return fmt.Sprintf("{%s%s %s, [=~\"^[%s]$\"]: %s}", name(), pick(g, "?:", "!:", ":"), g.scalar(), pick(g, "a-z", "a", "b-d"), g.scalar())
	case 1:
		return fmt.Sprintf("close({%s?: %s, %s%s %s})", name(), g.scalar(), "d", pick(g, "?:", "!:"), g.value(depth+1))
	case 2:
		return fmt.Sprintf("[...%s] & list.MinItems(%d) & list.MaxItems(%d)", g.scalar(), g.IntN(3), 1+g.IntN(3))
	case 3:
		return fmt.Sprintf("[%s, ...%s]", g.scalar(), g.scalar())
	case 4:
		return fmt.Sprintf("[...%s] & [_, ...%s]", g.scalar(), pick(g, "_", "int", "string"))
	case 5:
		return pick(g, "bytes", "'a' | string", "bytes | int", "'a' | 'b' | 1")
	case 6:
		return fmt.Sprintf("%s & >=%s & <%s", pick(g, "number", "float", "int", "_"), g.number(), g.number())
	case 7:
		return fmt.Sprintf("%s | %s | !=%s", g.number(), g.number(), g.number())
	case 8:
		return fmt.Sprintf("*{k: \"a\", x: *%d | int} | {k: \"b\", y%s %s}", g.IntN(3), pick(g, "?:", "!:"), g.scalar())
	case 9:
		return fmt.Sprintf("{k: \"a\" | \"b\", if k == %s {x%s %s}, if k != \"a\" {y?: %s}}", pick(g, `"a"`, `"b"`), pick(g, "?:", "!:"), g.scalar(), g.scalar())
	case 10:
		return fmt.Sprintf("{m: *1 | int, o?: %s m, n?: {x?: int & <=m}}", pick(g, ">", "<", ">=", "!="))
	case 11:
		return pick(g, "#S", "#S & {a?: <5}", "{#S, e?: int}", "#S | {k!: \"b\"}", "[...#S]", "[string]: #S", "#E", "#S & #E", "#T")
	case 12:
		return fmt.Sprintf("%s([%s, %s])", pick(g, "or", "and", "or"), g.scalar(), g.scalar())
	case 13:
		return fmt.Sprintf("%s & matchN(%s, [%s, %s])", pick(g, "int", "_", "string"), pick(g, "1", ">=1", "0"), g.scalar(), g.scalar())
	case 14:
		return pick(g, `string | error("wanted a text")`, `strings.Contains("a")`, `=~"(?i)^a"`, `*null | string`, "[...[...int]]", "list.MaxItems(2)", "struct.MinFields(1)", `string & >"a"`, `=~"^a" | =~"b$"`)
	}
	return fmt.Sprintf("{let z = %s, y?: int & <=z, %s?: %s}", pick(g, "1", "3", "5"), name(), g.scalar())
}

// key is what the names of a map may be, by what is told elsewhere.
func (g grammar) key() string {
	return pick(g, `=~"^\(context.name)"`, `=~"^\(context.name)$"`, `=~"^[a-z]+$"`, `context.name | "x"`, `"name" | "x"`, "!=context.name",
		"strings.MaxRunes(len(context.name))", "strings.MaxRunes(4)", "=~_pick", "=~_top", `=~"^\(context.namespace)"`, `or([context.name, "x"])`)
}

// condition is something that holds in some Releases.
func (g grammar) condition() string {
	return pick(g, `context.namespace == "prod"`, `context.namespace != "q"`, `context.name == "a"`, `k == "p"`, `k != "q"`, "len(context.name) > 1", "m > 1")
}

// dependent is variables of one kind of which much depends on facts or on other variables.
// Two of the same kind often are the same for one Release and not for another.
func (g grammar) dependent(kind int) string {
	small := func() string {
		return pick(g, "int", "<5", "int & <5", "int & <3", `string`, `"name" | int`, "context.name | int")
	}
	marked := func() string { return pick(g, "?:", "?:", "?:", "!:") }
	switch kind {
	case 0:
		return fmt.Sprintf("m: {[%s]: %s}", g.key(), pick(g, "int", "int", "string"))
	case 1:
		return fmt.Sprintf("k: *\"p\" | \"q\"\na%s %s\nif %s {a?: %s}", marked(), small(), pick(g, `context.namespace == "prod"`, `k == "p"`), pick(g, "<5", "<5", "int"))
	case 2:
		return fmt.Sprintf("m: {%s?: %s, [%s]: %s}", pick(g, "a", "name", "zz"), small(), pick(g, `=~"^\(context.name)"`, "=~_pick"), pick(g, "<5", "<5", "int"))
	case 3:
		return fmt.Sprintf("l?: [...{_p: context.name, a?: %s}]", pick(g, `"name"`, "_p", "string", `_p | "b"`))
	case 4:
		return fmt.Sprintf("n: *%s | string\na?: !=n & string", pick(g, `"name"`, "context.name", `"b"`, "_pick"))
	case 5:
		return fmt.Sprintf("s: {a?: %s}\nif %s {s: {a?: %s}}", small(), pick(g, `context.namespace == "prod"`, `context.name == "a"`), pick(g, "<5", "int"))
	}
	return fmt.Sprintf("%s\nif context.namespace == \"prod\" {y?: int}", pick(g, "y?: int", "a?: int", "y?: <5", "y?: int & <3\na?: int"))
}

// helpers are definitions and hidden fields beside #Variables.
func (g grammar) helpers() string {
	return fmt.Sprintf("#S: {%s\n}\n#E: {a?: %s, ...}\n#T: {x%s %s, kids?: [...#T]}\n_limit: %d\n_names: [\"a\", \"%s\"]\n",
		g.fields(2), g.scalar(), pick(g, "?:", "!:", ":"), g.scalar(), g.IntN(6), pick(g, "b", "c"))
}

// mangleable is a part of a template that mangled replaces, and by what.
var mangleable = regexp.MustCompile(`[0-9]+|[<>]=?|[?!]:|"[a-z]+"|\b(?:int|number|float|string)\b|context\.name(?:space)?|[*&|]|\^|\$`)

// mangled is text with one token replaced, wherever it stands.
func (g grammar) mangled(text string) string {
	all := mangleable.FindAllStringIndex(text, -1)
	if len(all) == 0 {
		return text
	}
	at := all[g.IntN(len(all))]
	was, is := text[at[0]:at[1]], ""
	switch {
	case was[0] >= '0' && was[0] <= '9':
		is = pick(g, "0", "1", "2", "3", "4", "9", "5000")
	case was[0] == '<' || was[0] == '>':
		is = pick(g, "<", "<=", ">", ">=")
	case was == "?:" || was == "!:":
		is = pick(g, "?:", "!:", ":")
	case was[0] == '"':
		is = pick(g, `"a"`, `"b"`, `"c"`, `"ab"`, `"name"`, "context.name")
	case strings.HasPrefix(was, "context"):
		is = pick(g, "context.name", "context.namespace", `"name"`, `"a"`)
	case was == "&" || was == "|":
		is = pick(g, "&", "|", "| *", "| null |")
	case was != "*" && was != "^" && was != "$":
		is = pick(g, "int", "number", "float", "string", "_", "int & <5", "null | int")
	}
	return text[:at[0]] + is + text[at[1]:]
}

// about is g that makes values of what stands in the templates.
func (g grammar) about(templates ...string) grammar {
	g.numbers, g.words = nil, nil
	for _, text := range templates {
		for _, n := range numberPattern.FindAllString(text, -1) {
			i, err := strconv.Atoi(n)
			if err != nil {
				continue
			}
			g.numbers = append(g.numbers, n, strconv.Itoa(i+1), strconv.Itoa(i-1), n+".0", n+".5")
		}
		for _, w := range wordPattern.FindAllStringSubmatch(text, -1) {
			g.words = append(g.words, w[1], w[1]+"x", "x"+w[1])
		}
	}
	return g
}

var (
	numberPattern = regexp.MustCompile(`\b[0-9]{1,6}\b`)
	wordPattern   = regexp.MustCompile(`"\^?([a-z]+)\$?"`)
)

var someNames = []string{"a", "b", "c", "d", "e"}

func (g grammar) fields(depth int) string {
	var lines []string
	for _, name := range someNames[:2+g.IntN(3)] {
		if g.IntN(4) > 0 {
			lines = append(lines, g.field(name, depth))
		}
	}
	switch g.IntN(20) {
	case 15, 16, 17:
		lines = append(lines, "k: *\"p\" | \"q\"", "m: *1 | int", fmt.Sprintf("if %s {%s%s %s}", g.condition(), pick(g, someNames...), pick(g, "?:", "?:", "!:", ":"), g.scalar()))
	case 18:
		lines = append(lines, fmt.Sprintf("m: *%s | int", pick(g, "len(context.name)", "4", "_far")), pick(g, "n?: int & >=m", "n: *m | int", "s: {x?: int & <=m}"))
	case 19:
		lines = append(lines, fmt.Sprintf("s: {x?: %s}", g.scalar()), fmt.Sprintf("if %s {s: {x?: %s}}", g.condition(), g.scalar()))
	case 3:
		lines = append(lines, "m: *1 | int", fmt.Sprintf("s: {y?: int & %s, x: *m | int}", pick(g, "<m", ">=m", "<=_limit", "!=m")))
	case 4:
		lines = append(lines, "l?: [...string]", pick(g, "_short: len(l) & <3", "_some: [for x in l if x == \"b\" {x}]", "n?: int & <=len(l)", "n?: or(l)", "for x in _names {(x+x)?: int}"))
	case 5:
		lines = append(lines, fmt.Sprintf("n?: int & %s_limit", pick(g, "<", "<=", ">", "!=")), fmt.Sprintf("o?: or(_names) | %s", g.scalar()))
	case 6:
		lines = append(lines, "m?: int", pick(g, "if m != _|_ {n!: int}", "if m == _|_ {n?: int}", "if m > 2 {n?: int & <m}", "if m != _|_ if m > 1 {n: *3 | int}"))
	case 7:
		lines = append(lines, fmt.Sprintf("k!: %s", pick(g, `"a" | "b"`, `"a" | "b" | "c"`)), fmt.Sprintf(`w?: {a: {x?: %s}, b: {y!: %s}, c: int}[k]`, g.scalar(), g.scalar()))
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
	case n < 2 && len(g.numbers) > 0:
		return json.Number(pick(g, g.numbers...))
	case n < 4:
		return json.Number(pick(g, "0", "1", "2", "3", "4", "5", "7", "-1", "255", "256", "1.0", "0.5", "3.5"))
	case n < 6 && len(g.words) > 0:
		return pick(g, g.words...)
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
	for _, name := range []string{"a", "b", "c", "d", "e", "k", "m", "n", "w", "x", "y", "o", "z", "l", "s", "kids", "aa", "name", "zz"} {
		if g.IntN(3) == 0 {
			o[name] = g.json(depth + 1)
		}
	}
	if _, ok := o["k"]; ok {
		o["k"] = pick(g, "a", "b", "p", "q")
	}
	return o
}
