package render

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cuelang.org/go/cue"
)

// hostile is a template with what source says: what stands before -- beside #Variables, the
// rest within.
func hostile(t *testing.T, source string) *Template {
	t.Helper()
	beside, variables, ok := strings.Cut(source, " -- ")
	if !ok {
		beside, variables = "", source
	}
	if !strings.Contains(source, "#Variables:") {
		variables = fmt.Sprintf("#Variables: {\n%s\n}\n", variables)
	}
	whole := hostileTemplate
	if strings.Contains(source, "values: #Variables") {
		whole = strings.Replace(whole, "values: #Variables\n", "", 1)
	}
	text := strings.ReplaceAll(beside+"\n"+variables, "; ", "\n")
	template, err := Compile(map[string]string{"t.cue": whole + text})
	if err != nil {
		t.Fatalf("compiling %s: %v", text, err)
	}
	return template
}

// takes says whether values are right for a template, as rendering asks it.
func takes(t *testing.T, template *Template, text string) bool {
	t.Helper()
	return takesFrom(t, template, someRelease, text)
}

// takesFrom is takes for the Release that c tells of.
func takesFrom(t *testing.T, template *Template, c Context, text string) bool {
	t.Helper()
	var o map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&o); err != nil {
		t.Fatal(err)
	}
	root := template.root.FillPath(factsPath, template.ctx.BuildExpr(template.factsOf(c)))
	v := template.ctx.BuildExpr(syntax(parsed(o)))
	// A bound that asks for the values as a whole finds them only at values.
	return root.LookupPath(variablesPath).Unify(v).Validate(cue.Concrete(true), cue.Final()) == nil &&
		root.LookupPath(valuesPath).Unify(v).Validate() == nil &&
		root.FillPath(valuesPath, v).LookupPath(valuesPath).Validate(cue.Concrete(true), cue.Final()) == nil
}

// witnessed is one change with values that were right before it.
type witnessed struct {
	what, before, after string
	values              string
	wanted              Verdict
}

// Each change comes with values that were right and are wrong. None may be called safe.
// Numbers are far from those that are tried, so that a proof has to notice.
func TestCompareNeverCallsABreakSafe(t *testing.T) {
	for _, tc := range []witnessed{
		{"a bound becomes a let that stands for a variable, and is hidden", `m: *5 | int; n?: int & <=5`, `m: *5 | int; let _m = m; n?: int & <=_m`, `{"m":1,"n":4}`, Unknown},
		{"a struct that took any name takes those of a pattern", `o?: {...}`, `o?: {[=~"^[a-z]+$"]: _}`, `{"o":{"A B":1}}`, Breaking},
		{"a struct that took any name takes those of two patterns", `o?: {...}`, `o?: {[=~"^[a-z]+$"]: _, [=~"^[0-9]$"]: _}`, `{"o":{"A B":1}}`, Breaking},
		{"a pattern of names is made of a variable that had the same text by default", `m: *"a" | string; o?: {[=~"^a"]: int}`, `m: *"a" | string; o?: {[=~"^\(m)"]: int}`, `{"m":"b","o":{"aa":1}}`, Breaking},
		{"a pattern bounds a variable that is declared beside it", `o?: {a?: string}`, `o?: {a?: string, [=~"^a"]: =~"^x"}`, `{"o":{"a":"zzzz"}}`, Breaking},
		{"a pattern bounds a number that is declared beside it far above what is tried", `o?: {a?: int}`, `o?: {a?: int, [=~"^a"]: <3000000}`, `{"o":{"a":4000000}}`, Unknown},
		{"a pattern bounds a variable that has a default", `o: {a: *1 | int}`, `o: {a: *1 | int, [=~"^a"]: <3000000}`, `{"o":{"a":4000000}}`, Unknown},
		{"a variable is added that is another one by default, which one number may not be", `a!: int`, `a!: int; b: (*a | int) & !=4`, `{"a":4}`, Unknown},
		{"a variable is added that is another one by default, up to a bound", `a!: int`, `a!: int; b: (*a | int) & <2000000`, `{"a":3000000}`, Unknown},
		{"a variable is added that is another one, up to a bound", `a!: int`, `a!: int; b: a & <2000000`, `{"a":3000000}`, Unknown},
		{"a variable is added that is made of another one, up to a length", `a!: string`, `a!: string; b: "\(a)-x" & strings.MaxRunes(500)`, `{"a":"` + strings.Repeat("y", 600) + `"}`, Unknown},
		{"a struct is added that asks for more under a condition on another variable", `m: *1 | int`, `m: *1 | int; s: {if m > 3000000 {n!: int}}`, `{"m":4000000}`, Unknown},
		{"a let in the entries of a map narrows", `o?: [string]: {let z = 5000; y?: int & <=z}`, `o?: [string]: {let z = 4000; y?: int & <=z}`, `{"o":{"a":{"y":4500}}}`, Breaking},
		{"a let in the entries of a list narrows", `o?: [...{let z = 5000; y?: int & <=z}]`, `o?: [...{let z = 4000; y?: int & <=z}]`, `{"o":[{"y":4500}]}`, Breaking},
		{"a let in an alternative narrows", `o?: {k!: "a", let z = 5000, y?: int & <=z} | {k!: "b"}`, `o?: {k!: "a", let z = 4000, y?: int & <=z} | {k!: "b"}`, `{"o":{"k":"a","y":4500}}`, Breaking},
		{"a default in the entries of a list changes, which bounds another variable there", `o?: [...{m: *1 | int, n?: int & >=m}]`, `o?: [...{m: *3000000 | int, n?: int & >=m}]`, `{"o":[{"n":2000000}]}`, Breaking},
		{"a default in the entries of a map changes, which bounds another variable there", `o?: [string]: {m: *1 | int, n?: int & >=m}`, `o?: [string]: {m: *3000000 | int, n?: int & >=m}`, `{"o":{"x":{"n":2000000}}}`, Breaking},
		{"a default in the entries of a list changes by little", `o?: [...{m: *11 | int, n?: int & >=m}]`, `o?: [...{m: *20 | int, n?: int & >=m}]`, `{"o":[{"n":15}]}`, Unknown},
		{"a default in an alternative changes, which bounds another variable there", `o?: {k!: "a", m: *11 | int, n?: int & >=m} | {k!: "b"}`, `o?: {k!: "a", m: *20 | int, n?: int & >=m} | {k!: "b"}`, `{"o":{"k":"a","n":15}}`, Unknown},
		{"a variable must not be what a struct takes, which takes more", `s: {x?: int & <5}; b?: matchN(0, [s])`, `s: {x?: int}; b?: matchN(0, [s])`, `{"b":{"x":7}}`, Unknown},
		{"the variables of a struct are counted, and one with a default is added", `s: {x!: int}; _c: true & (len(s) < 2 || s.x != 4242)`, `s: {x!: int, y: *1 | int}; _c: true & (len(s) < 2 || s.x != 4242)`, `{"s":{"x":4242}}`, Unknown},
		{"a default changes that is referred to beside #Variables", `values: #Variables & {a: int, b?: >a}; #Variables: {a: *1 | int, b?: int}`, `values: #Variables & {a: int, b?: >a}; #Variables: {a: *5 | int, b?: int}`, `{"b":3}`, Unknown},
		{"the values are counted beside #Variables, and a variable with a default is added", `values: #Variables & struct.MaxFields(2); #Variables: {a?: int, b?: int}`, `values: #Variables & struct.MaxFields(2); #Variables: {a?: int, b?: int, c: *1 | int}`, `{"a":1,"b":1}`, Unknown},
		{"a struct may have some variables at once, and one with a default is added", `o?: {a?: int, b?: int, c?: int, d?: int, e?: int, f?: int} & struct.MaxFields(5)`, `o?: {a?: int, b?: int, c?: int, d?: int, e?: int, f?: int, g: *1 | int} & struct.MaxFields(5)`, `{"o":{"a":1,"b":1,"c":1,"d":1,"e":1}}`, Unknown},
		{"#Variables may have some variables at once, and one with a default is added", `#Variables: {a?: int, b?: int, c?: int, d?: int, e?: int, f?: int} & struct.MaxFields(5)`, `#Variables: {a?: int, b?: int, c?: int, d?: int, e?: int, f?: int, g: *1 | int} & struct.MaxFields(5)`, `{"a":1,"b":1,"c":1,"d":1,"e":1}`, Unknown},
		{"a number of matches is asked for, and a variable with a default is added that matches", `o?: {x?: int} & matchN(1, [{x!: 4242, ...}, {y!: _, ...}, {x?: !=4242, ...}])`, `o?: {x?: int, y: *1 | int} & matchN(1, [{x!: 4242, ...}, {y!: _, ...}, {x?: !=4242, ...}])`, `{"o":{"x":4242}}`, Breaking},
		{"an alternative is added that takes what another takes, with a default", `a?: {x?: int} | {k!: "b"}`, `a?: {x?: int} | {k!: "b"} | {x?: int, y: *2 | int}`, `{"a":{"x":1}}`, Breaking},
		{"an alternative is added that takes one number of what another takes, with a default", `a?: {x?: int} | {k!: "b"}`, `a?: {x?: int} | {k!: "b"} | {x!: 4242, y: *2 | int}`, `{"a":{"x":4242}}`, Unknown},
		{"an alternative widens to what another takes", `a?: {k!: "a", x?: int} | {k!: "b", y: *1 | int}`, `a?: {k!: "a", x?: int} | {k!: "a" | "b", y: *1 | int}`, `{"a":{"k":"a"}}`, Breaking},
		{"the mark of a default is taken from a struct", `s?: *{x: 1} | {x: int}`, `s?: {x: 1} | {x: int}`, `{"s":{}}`, Breaking},
		{"the mark of a default is taken from one of two structs", `s?: *{x: 1, y?: int} | {x: 2, y?: int}`, `s?: {x: 1, y?: int} | {x: 2, y?: int}`, `{"s":{}}`, Breaking},
		{"a struct narrows beside its default", `s: *{x: 1} | {x: int & <10}`, `s: *{x: 1} | {x: int & <5}`, `{"s":{"x":7}}`, Unknown},
		{"the entries of a list narrow to what the first of them is", `a?: [...int] & [<5, ...]`, `a?: [...<5] & [<5, ...]`, `{"a":[1,10]}`, Unknown},
		{"a list of other structs is accepted, of which some are both", `a?: [...{x?: int}] | string`, `a?: [...{x?: int}] | string | [...{x?: int, y: *2 | int}]`, `{"a":[{"x":1}]}`, Breaking},
		{"a bound becomes the alias of a variable", `m: *5 | int; n?: int & <=5`, `X=m: *5 | int; n?: int & <=X`, `{"m":1,"n":4}`, Unknown},
		{"a bound becomes the alias of a variable, and is hidden", `m: *5 | int; n?: int & <=5`, `_X=m: *5 | int; n?: int & <=_X`, `{"m":1,"n":4}`, Unknown},
		{"a bound becomes the alias of a variable, named as a definition", `m: *5 | int; n?: int & <=5`, `#X=m: *5 | int; n?: int & <=#X`, `{"m":1,"n":4}`, Unknown},
		{"a default changes that a let stands for", `m: *1 | int; let l = m; o?: int & >=l`, `m: *3000000 | int; let l = m; o?: int & >=l`, `{"o":2000000}`, Breaking},
		{"a struct among alternatives may have fewer variables at once", `p?: ({a?: int, b?: int, c?: int, d?: int, e?: int, f?: int, k!: "a"} & struct.MaxFields(6)) | {k!: "b"}`, `p?: ({a?: int, b?: int, c?: int, d?: int, e?: int, f?: int, k!: "a"} & struct.MaxFields(5)) | {k!: "b"}`, `{"p":{"a":1,"b":1,"c":1,"d":1,"e":1,"k":"a"}}`, Unknown},
		{"a struct among alternatives may have some variables at once, and one with a default is added", `p?: ({a?: int, b?: int, c?: int, d?: int, e?: int, f?: int, k!: "a"} & struct.MaxFields(6)) | {k!: "b"}`, `p?: ({a?: int, b?: int, c?: int, d?: int, e?: int, f?: int, k!: "a", g: *1 | int} & struct.MaxFields(6)) | {k!: "b"}`, `{"p":{"a":1,"b":1,"c":1,"d":1,"e":1,"k":"a"}}`, Unknown},
		{"an alternative is added that takes the variable by which another was told", `p?: {k: "a", x!: int} | {k: "b"}`, `p?: {k: "a", x!: int} | {k: "b"} | {k: "c", x?: int}`, `{"p":{"x":1}}`, Breaking},
		{"a variable is added with two defaults that need not be the same", `m: *1 | int`, `m: *1 | int; n: *m | *1 | int`, `{"m":2}`, Breaking},
		{"a pattern refuses one letter", `a?: =~"^a.b$"`, `a?: =~"^a[^x]b$"`, `{"a":"axb"}`, Breaking},
		{"a bound beside a definition excludes the definition's default", `#D: *1 | int -- a: #D & >0`, `#D: *1 | int -- a: #D & >1`, `{"a":1}`, Breaking},
		{"a definition's default is refused beside it, and another takes its place", `#D: *1 | int -- a: #D & <9`, `#D: *0 | int -- a: #D & <9 & !=0 | *5`, `{"a":0}`, Breaking},
		{"a variable must be set within a struct that may be left out", `o?: {a?: int}`, `o?: {a!: int}`, `{"o":{}}`, Breaking},
		{"a fixed value must be written", `k: "a"`, `k!: "a"`, `{}`, Breaking},
		{"a number must be a fraction", `a?: number`, `a?: float`, `{"a":1}`, Breaking},
		{"an integer must be a fraction", `a?: int`, `a?: float`, `{"a":1}`, Breaking},
		{"a bound with an exponent narrows", `a?: number & <1e10`, `a?: number & <1e9`, `{"a":5000000000}`, Unknown},
		{"a number narrows beside null, its default", `a: *null | int`, `a: *null | int & <3000000`, `{"a":4000000}`, Unknown},
		{"null alone is refused", `a?: _`, `a?: !=null`, `{"a":null}`, Breaking},
		{"a string must be bytes, which no value is", `a?: string`, `a?: bytes`, `{"a":"x"}`, Breaking},
		{"a list gets a fixed length", `a?: [...int]`, `a?: [int, int]`, `{"a":[1]}`, Breaking},
		{"a list of a fixed length loses an entry", `a: [int | *1, int | *1]`, `a: [int | *1]`, `{"a":[1,1]}`, Breaking},
		{"the length of a list is bounded by a variable", `m: *200 | int; a?: [...int] & list.MaxItems(200)`, `m: *200 | int; a?: [...int] & list.MaxItems(m)`, `{"m":1,"a":[1,2]}`, Breaking},
		{"a length becomes a pattern that does not take line ends", `a?: strings.MaxRunes(3)`, `a?: =~"^.{0,3}$"`, `{"a":"\n"}`, Breaking},
		{"a bound narrows in a conjunction that is computed", `a?: and([int, >0])`, `a?: and([int, >1])`, `{"a":1}`, Breaking},
		{"a name is gone from a choice that is computed", `a?: or([1, 2])`, `a?: or([1])`, `{"a":2}`, Breaking},
		{"a conjunction of nothing, which takes anything, gets a type", `a?: and([])`, `a?: and([int])`, `{"a":"x"}`, Breaking},
		{"one number more is refused", `a?: !=1 & !=2`, `a?: !=1 & !=2 & !=4242`, `{"a":4242}`, Breaking},
		{"a definition that holds itself narrows far above what is tried", `#T: {x?: int, kids?: [...#T]} -- t?: #T`, `#T: {x?: int & <3000000, kids?: [...#T]} -- t?: #T`, `{"t":{"kids":[{"x":4000000}]}}`, Unknown},
		{"one of two definitions that hold each other narrows", `#T: {x?: int, kids?: [...#U]}; #U: {y?: int, kids?: [...#T]} -- t?: #T`, `#T: {x?: int, kids?: [...#U]}; #U: {y?: int & <3000000, kids?: [...#T]} -- t?: #T`, `{"t":{"kids":[{"y":4000000}]}}`, Unknown},
		{"a hidden number that bounds narrows far above what is tried", `_d: 4000000 -- a?: int & <_d`, `_d: 3000000 -- a?: int & <_d`, `{"a":3500000}`, Breaking},
		{"a condition is added that bounds a variable", `k: *"a" | "b"; x?: int`, `k: *"a" | "b"; x?: int; if k == "b" {x?: <3000000}`, `{"k":"b","x":4000000}`, Unknown},
		{"a condition is added that refuses a number", `k: int | *1`, `k: int | *1; if k == 4242 {k: _|_}`, `{"k":4242}`, Unknown},
		{"a loop is added that refuses an entry", `l?: [...string]; _n: {}`, `l?: [...string]; _n: {for x in l if x == "zebra" {bad: 1 & 2}}`, `{"l":["zebra"]}`, Unknown},
		{"a bound that is a difference narrows", `a?: int & <=(5000 - 1)`, `a?: int & <=(4000 - 1)`, `{"a":4500}`, Breaking},
		{"a bound that is a product of a hidden number narrows", `_x: 2 -- a?: int & <=(_x * 4000)`, `_x: 2 -- a?: int & <=(_x * 3000)`, `{"a":7000}`, Breaking},
		{"one of two patterns that both hold narrows", `o: {[string]: int} & {[=~"^a"]: <5000}`, `o: {[string]: int} & {[=~"^a"]: <4000}`, `{"o":{"ab":4500}}`, Unknown},
		{"names of an open struct get types", `o?: {a?: int, ...}`, `o?: {a?: int, ...} & {[string]: int | string}`, `{"o":{"b":true}}`, Unknown},
		{"lists within a list must not have an entry twice", `a?: [...[...int]]`, `a?: [...[...int] & list.UniqueItems()]`, `{"a":[[1,1]]}`, Breaking},
		{"a list must have an entry", `a?: [...int]`, `a?: [...int] & list.Contains(1)`, `{"a":[]}`, Breaking},
		{"numbers above one are refused by a condition on the number", `a?: int`, `a?: int & matchIf(>4000000, <1, _)`, `{"a":5000000}`, Unknown},
		{"a text in its order narrows by one letter", `a?: string & <"zzzz"`, `a?: string & <"zzza"`, `{"a":"zzzb"}`, Unknown},
		{"a name that is a variable's value is bounded", `n: *"k" | string; o: {a?: string}`, `n: *"k" | string; o: {a?: string, "\(n)"?: <3000000}`, `{"n":"a","o":{"a":"x"}}`, Unknown},
		{"a variable is added that is by default another one which may be missing", `s: {x?: int}`, `s: {x?: int}; b: *s.x | int`, `{}`, Breaking},
		{"a name that was a variable's value is fixed", `n: *"k" | string; o: {a?: string, "\(n)"?: int}`, `n: *"k" | string; o: {a?: string, k?: int}`, `{"n":"z","o":{"z":1}}`, Unknown},
		{"a let in an alternative of the entries of a list narrows", `o?: [...{k!: "a", let z = 5000, y?: int & <=z} | {k!: "b"}]`, `o?: [...{k!: "a", let z = 4000, y?: int & <=z} | {k!: "b"}]`, `{"o":[{"k":"a","y":4500}]}`, Breaking},
		{"an alternative is added that is the default too", `p?: *{k: "a"} | {k: "b"}`, `p?: *{k: "a"} | {k: "b"} | *{k: "c"}`, `{"p":{}}`, Breaking},
		{"an alternative is added that is the default too, beside a definition", `#A: {k: "a"} -- p?: *#A | {k: "b"}`, `#A: {k: "a"} -- p?: *#A | {k: "b"} | *{k: "c"}`, `{"p":{}}`, Breaking},
		{"a default becomes a choice, one side of which may be missing", `a: *1 | int; o?: int; b: *1 | int`, `a: *1 | int; o?: int; b: *[if a == 4242 {o}, 1][0] | int`, `{"a":4242}`, Unknown},
		{"a name of an open struct may not have one value", `o?: {...}`, `o?: {x?: matchN(0, [4242]), ...}`, `{"o":{"x":4242}}`, Unknown},
		{"a struct that took any name takes all but one", `o?: {...}`, `o?: {[!="qqq"]: _}`, `{"o":{"qqq":1}}`, Unknown},
		{"a map may not have one name", `o?: [=~"^a"]: int`, `o?: [=~"^a" & !="aqqq"]: int`, `{"o":{"aqqq":1}}`, Unknown},
		{"a condition is removed with what it declared for one value", `k: *"b" | string; if k == "qqqq" {x?: int}`, `k: *"b" | string`, `{"k":"qqqq","x":1}`, Unknown},
		{"a default changes that a condition asks about", `k: *"b" | string; m: *1 | int; if k == "qqqq" {x?: int & >m}`, `k: *"b" | string; m: *3000000 | int; if k == "qqqq" {x?: int & >m}`, `{"k":"qqqq","x":5}`, Unknown},
		{"a struct is added with a list that another variable decides about", `m: *1 | int`, `m: *1 | int; s: {l: [if m == 4242 {_|_}, 1]}`, `{"m":4242}`, Unknown},
		{"a variable is removed that only large numbers suited", `a?: int & math.MultipleOf(9973) & >9973`, `b?: int`, `{"a":19946}`, Breaking},
		{"a let is within a struct that is added", `m: *1 | int`, `m: *1 | int; s: {let z = m, q: (*1 | int) & <=(4000 - z)}`, `{"m":5000}`, Unknown},
		{"a map is removed whose values only large numbers suited", `o?: [=~"^a"]: int & math.MultipleOf(9973) & >9973`, `o?: {}`, `{"o":{"ab":19946}}`, Breaking},
		{"one number is missing from a range that is now spelled out", `a?: int & >=1000 & <=1005`, `a?: 1000 | 1001 | 1002 | 1004 | 1005`, `{"a":1003}`, Breaking},
		{"the end of a range is outside of it now", `a?: number & >=0 & <=4000000.5`, `a?: number & >=0 & <4000000.5`, `{"a":4000000.5}`, Breaking},
		{"a default deep in the entries of a list changes, which bounds another variable there", `o?: [...{s?: {m: *1 | int}, n?: int & >=s.m}]`, `o?: [...{s?: {m: *20 | int}, n?: int & >=s.m}]`, `{"o":[{"s":{},"n":5}]}`, Unknown},
		{"a variable in the entries of a list is always there, which a rule asks about", `o?: [...{y?: 5, n?: int, _c: {if y != _|_ {x: n & >4000}}}]`, `o?: [...{y: 5, n?: int, _c: {if y != _|_ {x: n & >4000}}}]`, `{"o":[{"n":1}]}`, Breaking},
		{"a default changes by little, which bounds another variable", `m: *11 | int; n?: int & >=m`, `m: *20 | int; n?: int & >=m`, `{"n":15}`, Unknown},
		{"a default changes, which another variable may not be", `m: *11 | int; n?: int & !=m`, `m: *4242 | int; n?: int & !=m`, `{"n":4242}`, Unknown},
		{"one number is refused in a range of more than 64 bits", `a?: int & >=0 & <=18446744073709551620`, `a?: int & >=0 & !=4242 & <=18446744073709551620`, `{"a":4242}`, Breaking},
		{"the mark of a default spreads to the other alternative", `p?: *{k: "a"} | {k: "b"}`, `p?: *({k: "a"} | {k: "b"}) | {k: "c"}`, `{"p":{}}`, Breaking},
	} {
		t.Run(tc.what, func(t *testing.T) {
			before, after := hostile(t, tc.before), hostile(t, tc.after)
			if !takes(t, before, tc.values) || takes(t, after, tc.values) {
				t.Fatalf("wanted %s to be right for %s and wrong for %s, found otherwise", tc.values, tc.before, tc.after)
			}
			got, err := Compare(before, after)
			if err != nil {
				t.Fatal(err)
			}
			if got.Verdict != tc.wanted {
				t.Errorf("wanted %s, found %s for %s -> %s: %+v", tc.wanted, got.Verdict, tc.before, tc.after, got.Changes)
			}
		})
	}
}

// None of these breaks anybody, so none may be called breaking. Where unknown is wanted a
// proof is missing, and it is right to say so.
func TestCompareCallsNothingABreakThatIsNone(t *testing.T) {
	for _, tc := range []witnessed{
		{"a default becomes another variable that has the same one", `m: *1 | int; n: *1 | int`, `m: *1 | int; n: *m | int`, `{"m":5}`, DefaultChanged},
		{"a default is no longer another variable", `m: *1 | int; n: *m | int`, `m: *1 | int; n: *1 | int`, `{"m":5}`, Unknown},
		{"a map among alternatives may have fewer entries than anybody has", `p?: ({[string]: int} & struct.MaxFields(200)) | string`, `p?: ({[string]: int} & struct.MaxFields(100)) | string`, `{}`, Unknown},
		{"a struct becomes anything", `a?: {x?: int}`, `a?: _`, `{"a":{"x":1}}`, Unknown},
		{"an alternative is added that is told by a name which must be set", `p?: {k!: "a", x?: int} | {k!: "b"}`, `p?: {k!: "a", x?: int} | {k!: "b"} | {k!: "c"}`, `{"p":{"k":"a"}}`, Safe},
		{"an alternative that is told by a name gets a variable with a default", `p?: {k!: "a", x?: int} | {k!: "b"}`, `p?: {k!: "a", x?: int, y: *1 | int} | {k!: "b"}`, `{"p":{"k":"a"}}`, Safe},
		{"an alternative that has a name gets a variable with a default", `p?: {k: "a", x?: int} | {k: "b"}`, `p?: {k: "a", x?: int, y: *1 | int} | {k: "b"}`, `{"p":{"k":"a"}}`, Safe},
		{"an alternative is added beside one that is the default", `p: *{k: "a", x?: int} | {k: "b"}`, `p: *{k: "a", x?: int} | {k: "b"} | {k: "c"}`, `{"p":{"k":"a"}}`, Safe},
		{"a struct or nothing gets a variable with a default", `p: null | {x?: int}`, `p: null | {x?: int, y: *1 | int}`, `{"p":{}}`, Safe},
		{"a variable with a default is added beside a rule", `r: {min: *1 | int, max: (*5 | int) & >=min}`, `r: {min: *1 | int, max: (*5 | int) & >=min, x: *1 | int}`, `{"r":{"min":2}}`, Safe},
		{"a struct is added whose variables rest on each other", `a?: int`, `a?: int; r: {min: *1 | int, max: (*5 | int) & >=min, let z = max, q: *z | int}`, `{"a":1}`, Safe},
		{"a struct is added with a default that is a variable beside it", `a: *1 | int`, `a: *1 | int; r: {min: *a | int, max: *2 | int}`, `{"a":1}`, Safe},
		{"a variable with a default is added beside a rule between two others", `a: *1 | int; b?: int & >=a`, `a: *1 | int; b?: int & >=a; c: *"x" | string`, `{"b":3}`, Safe},
		{"a pattern is written lazily", `a?: =~"^a*?b$"`, `a?: =~"^a*b$"`, `{"a":"aab"}`, Safe},
		{"a list of three numbers without doubles has three entries at most", `a?: [...(1|2|3)] & list.UniqueItems()`, `a?: [...(1|2|3)] & list.MaxItems(3)`, `{"a":[1,2,3]}`, Unknown},
		{"a list of one entry has no doubles", `a?: [...(1|2|3)] & list.MaxItems(1)`, `a?: [...(1|2|3)] & list.UniqueItems()`, `{"a":[1]}`, Unknown},
		{"a default among defaults changes", `a: *(*1 | 2) | 3`, `a: *(1 | *2) | 3`, `{}`, DefaultChanged},
		{"a definition's default changes that is not the variable's", `#D: *1 | int -- a: #D | *7`, `#D: *2 | int -- a: #D | *7`, `{}`, Safe},
		{"a variable that must be set is marked so", `a: int`, `a!: int`, `{"a":1}`, Safe},
		{"a variable that must be set is no longer marked so", `a!: int`, `a: int`, `{"a":1}`, Safe},
		{"a name that must be written is fixed", `k!: "a"`, `k: "a"`, `{"k":"a"}`, Safe},
		{"an integer may also be a fraction", `a?: int`, `a?: float | int`, `{"a":1}`, Safe},
		{"a fraction gets the range of a machine type", `a?: number & <1`, `a?: float64 & <1`, `{"a":0}`, Unknown},
		{"the mark of a default moves to a variable that may be left out", `a?: null | int`, `a?: int | *null`, `{"a":1}`, Safe},
		{"bytes are no longer accepted, which no value is", `a?: bytes | string`, `a?: string`, `{"a":"x"}`, Safe},
		{"bytes are no longer accepted beside a number", `a?: bytes | int`, `a?: int`, `{"a":1}`, Safe},
		{"a list of a fixed length may have any", `a?: [int, int]`, `a?: [...int]`, `{"a":[1,2]}`, Unknown},
		{"a list of a fixed length may have more", `a?: [int]`, `a?: [int, ...int]`, `{"a":[1]}`, Unknown},
		{"a default in a list of a fixed length changes", `a: [*1 | int]`, `a: [*2 | int]`, `{}`, Unknown},
		{"a length becomes a pattern that takes line ends", `a?: strings.MaxRunes(3)`, `a?: =~"(?s)^.{0,3}$"`, `{"a":"\n"}`, Safe},
		{"the least length becomes a pattern", `a?: strings.MinRunes(2)`, `a?: =~"(?s)^..+$"`, `{"a":"aa"}`, Safe},
		{"a name is added to a choice that is computed", `a?: or([1, 2])`, `a?: or([1, 2, 3])`, `{"a":2}`, Safe},
		{"a hidden check is added that takes whatever is set", `a?: int; _b: int & <5`, `a?: int; _b: int & <5; _b: *a | int`, `{"a":7}`, Unknown},
		{"a condition is added that declares a variable with a default", `k: *"a" | "b"`, `k: *"a" | "b"; if k == "b" {z: *1 | int}`, `{"k":"b"}`, Unknown},
		{"a loop is added that declares variables with defaults", `l: *[] | [...string]`, `l: *[] | [...string]; for x in l {"\(x)": int | *1}`, `{"l":["a"]}`, Unknown},
		{"a variable is no longer immutable", `a: *1 | int @immutable()`, `a: *1 | int`, `{"a":1}`, Safe},
		{"a variable becomes sensitive", `a?: string`, `a?: string @sensitive()`, `{"a":"x"}`, Safe},
		{"a map's entries get a variable with a default", `o: [string]: {a?: int}`, `o: [string]: {a?: int, b: *1 | int}`, `{"o":{"x":{"a":1}}}`, Safe},
		{"a struct is closed as it was", `o?: close({a?: int})`, `o?: {a?: int}`, `{"o":{"a":1}}`, Safe},
		{"a variable is added that is by default one within a struct", `s: {x: *1 | int}`, `s: {x: *1 | int}; b: *s.x | int`, `{"s":{"x":3}}`, Safe},
		{"a list is added that holds another variable by default", `a: *"x" | string`, `a: *"x" | string; l: *[a] | [...string]`, `{"a":"y"}`, Safe},
		{"a variable is added whose value is chosen by another", `a: *"x" | string`, `a: *"x" | string; l: [if a == "q" {1}, 2][0]`, `{"a":"y"}`, Unknown},
		{"a variable is added with the same default twice", `a: *1 | int`, `a: *1 | int; b: *1 | *1 | int`, `{"a":2}`, Safe},
		{"a map's entries get a default that may not be their name", `o: [string]: {a?: int}`, `o: [N=string]: {a?: int, b: *"x" | !=N}`, `{"o":{"x":{"a":1}}}`, Safe},
		{"a variable is added that is a fact by default", `a?: int`, `a?: int; b: *context.name | string`, `{}`, Safe},
		{"a default alternative gets a variable with a default", `p: *{k: "a", x?: int} | {k: "b"}`, `p: *{k: "a", x?: int, y: *1 | int} | {k: "b"}`, `{"p":{"k":"a"}}`, DefaultChanged},
		{"an alternative beside the default gets a variable with a default", `p: *{k: "a", x?: int} | {k: "b"}`, `p: *{k: "a", x?: int} | {k: "b", y: *1 | int}`, `{"p":{"k":"a"}}`, Safe},
		{"another alternative becomes the default", `p: *{k: "a", x?: int} | {k: "b", x?: int}`, `p: {k: "a", x?: int} | *{k: "b", x?: int}`, `{"p":{"k":"a"}}`, Unknown},
		{"an alternative is added that takes the same variables and is told by its name", `p?: {k: "a", x?: int} | {k: "b", x?: int}`, `p?: {k: "a", x?: int} | {k: "b", x?: int} | {k: "c", x?: int}`, `{"p":{"k":"a"}}`, Safe},
	} {
		t.Run(tc.what, func(t *testing.T) {
			before, after := hostile(t, tc.before), hostile(t, tc.after)
			if !takes(t, before, tc.values) || !takes(t, after, tc.values) {
				t.Fatalf("wanted %s to be right for %s and for %s, found otherwise", tc.values, tc.before, tc.after)
			}
			got, err := Compare(before, after)
			if err != nil {
				t.Fatal(err)
			}
			if got.Verdict != tc.wanted {
				t.Errorf("wanted %s, found %s for %s -> %s: %+v", tc.wanted, got.Verdict, tc.before, tc.after, got.Changes)
			}
		})
	}
}
