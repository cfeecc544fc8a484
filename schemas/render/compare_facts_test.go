package render

import (
	"testing"
)

// factual is a change with values that were right before it and are wrong after it in a
// Release of one name and namespace, though in others they may not be.
type factual struct {
	what, before, after string
	name, namespace     string
	values              string
}

// chosen is a pattern of names that is another one in one namespace.
const chosen = `_p: [if context.namespace == "prod" {"^[a-c]+$"}, "^[a-z]+$"][0]`

// What depends on the facts of a Release, or on other variables, is one thing for the facts
// that are made up and another for those there are. None of these may be called safe.
var factuals = []factual{
	// Names of maps.
	{"a pattern of the Release's name becomes one of any name", `m: [=~"^\(context.name)-"]: int`, `m: [=~"^[a-z]+-"]: int`, "web2", "shop", `{"m":{"web2-x":1}}`},
	{"a name that is the Release's becomes any name", `m: [=~"^\(context.name)$"]: int`, `m: [=~"^[a-z]+$"]: int`, "shop-cart", "shop", `{"m":{"shop-cart":1}}`},
	{"a name that is the Release's, by a helper, becomes any name", `_p: "^\(context.name)$" -- m: [=~_p]: int`, `_p: "^[a-z]+$" -- m: [=~_p]: int`, "shop-cart", "shop", `{"m":{"shop-cart":1}}`},
	{"a pattern becomes another one in one namespace", `m: [=~"^[a-z]+$"]: int`, chosen + ` -- m: [=~_p]: int`, "web", "prod", `{"m":{"zz":1}}`},
	{"a pattern becomes another one in one namespace, within a struct", `s?: {m?: [=~"^[a-z]+$"]: int}`, chosen + ` -- s?: {m?: [=~_p]: int}`, "web", "prod", `{"s":{"m":{"zz":1}}}`},
	{"a pattern becomes another one in one namespace, in the entries of a list", `l?: [...{[=~"^[a-z]+$"]: int}]`, chosen + ` -- l?: [...{[=~_p]: int}]`, "web", "prod", `{"l":[{"zz":1}]}`},
	{"a pattern becomes another one in one namespace, beside a second", `m: {[=~"^[a-z]+$"]: int, [=~"^[0-9]$"]: string}`, chosen + ` -- m: {[=~_p]: int, [=~"^[0-9]$"]: string}`, "web", "prod", `{"m":{"zz":1}}`},
	{"a pattern becomes another one by a variable", `p: *"z" | string; m: [=~"^[a-z]+$"]: int`, `_p: [if values.p == "a" {"^[a-c]+$"}, "^[a-z]+$"][0] -- p: *"z" | string; m: [=~_p]: int`, "web", "shop", `{"p":"a","m":{"zz":1}}`},
	{"a pattern is made of a variable", `p: *"^[a-z]+$" | string; m: [=~"^[a-z]+$"]: int`, `p: *"^[a-z]+$" | string; m: [=~p]: int`, "web", "shop", `{"p":"^q","m":{"zz":1}}`},
	{"a pattern is made of a let that is a variable", `k: *5 | int; m: {[strings.MaxRunes(5)]: int}`, `k: *5 | int; let K = k; m: {[strings.MaxRunes(K)]: int}`, "web", "shop", `{"k":1,"m":{"zzz":1}}`},
	{"a name of a choice becomes the Release's", `m: ["name" | "x"]: int`, `m: [context.name | "x"]: int`, "cart", "shop", `{"m":{"name":1}}`},
	{"a name of a choice that is computed becomes the Release's", `m: [or(["name", "x"])]: int`, `m: [or([context.name, "x"])]: int`, "cart", "shop", `{"m":{"name":1}}`},
	{"the name that is refused becomes the Release's", `m: [!="name"]: int`, `m: [!=context.name]: int`, "cart", "shop", `{"m":{"cart":1}}`},
	{"names may be as long as the Release's", `m: [strings.MaxRunes(4)]: int`, `m: [strings.MaxRunes(len(context.name))]: int`, "web", "shop", `{"m":{"abcd":1}}`},
	{"names begin with the Release's and no longer with the namespace", `m: [=~"^\(context.namespace)"]: int`, `m: [=~"^\(context.name)"]: int`, "cart", "shop", `{"m":{"shop-1":1}}`},
	{"a pattern is a let at the top, which changes in one namespace", `let L = "^[a-z]+$" -- m: [=~L]: int`, `let L = [if context.namespace == "prod" {"^[a-c]+$"}, "^[a-z]+$"][0] -- m: [=~L]: int`, "web", "prod", `{"m":{"zz":1}}`},
	{"a pattern within a definition changes in one namespace", `#S: {[=~"^[a-z]+$"]: int} -- s?: #S`, chosen + `; #S: {[=~_p]: int} -- s?: #S`, "web", "prod", `{"s":{"zz":1}}`},
	{"a pattern within a definition of #Variables changes in one namespace", `#S: {[=~"^[a-z]+$"]: int}; s?: #S`, chosen + ` -- #S: {[=~_p]: int}; s?: #S`, "web", "prod", `{"s":{"zz":1}}`},
	{"a hidden pattern within #Variables changes in one namespace", `_q: "^[a-z]+$"; m: [=~_q]: int`, `_q: [if context.namespace == "prod" {"^[a-c]+$"}, "^[a-z]+$"][0]; m: [=~_q]: int`, "web", "prod", `{"m":{"zz":1}}`},
	{"a variable gives way to a pattern that takes its name in most namespaces", `m: {zz?: int}`, chosen + ` -- m: {[=~_p]: int}`, "web", "prod", `{"m":{"zz":1}}`},
	{"a variable gives way to a pattern of the Release's name", `m: {"name-x"?: int}`, `m: {[=~"^\(context.name)-"]: int}`, "web", "prod", `{"m":{"name-x":1}}`},
	{"a variable is declared that a pattern took for one Release", `m: {[=~"^\(context.name)-"]: int}`, `m: {"x-1"?: <5, [=~"^\(context.name)-"]: int}`, "x", "shop", `{"m":{"x-1":9}}`},
	{"a pattern that binds a variable for one Release is added", `m: {"x-1"?: int}`, `m: {"x-1"?: int, [=~"^\(context.name)-"]: <3000000}`, "x", "shop", `{"m":{"x-1":4000000}}`},
	{"a variable narrows to what a pattern says for the names made up", `m: {"name-1"?: int, [=~"^\(context.name)-"]: <5}`, `m: {"name-1"?: int & <5, [=~"^\(context.name)-"]: <5}`, "x", "shop", `{"m":{"name-1":9}}`},
	{"a variable gives way to two patterns", `m: {ab?: int}`, `m: {[=~"^a"]: int, [=~"b$"]: <3000000}`, "web", "shop", `{"m":{"ab":4000000}}`},
	{"a struct that takes any name binds those of a Release", `s: {x?: int, ...}`, `s: {x?: int, [=~"^\(context.name)"]: int, ...}`, "web", "shop", `{"s":{"web":"a"}}`},
	{"a struct that takes any name binds others in one namespace", `s: {x?: int, [=~"^x"]: int, ...}`, `_q: [if context.namespace == "prod" {"^y"}, "^x"][0] -- s: {x?: int, [=~_q]: int, ...}`, "web", "prod", `{"s":{"yy":"a"}}`},
	{"an alternative's pattern changes in one namespace", `u?: {k!: "a", [=~"^[a-z]+$"]: int | "a"} | {k!: "b"}`, chosen + ` -- u?: {k!: "a", [=~_p]: int | "a"} | {k!: "b"}`, "web", "prod", `{"u":{"k":"a","zz":1}}`},

	// Conditions.
	{"a variable narrows to what a condition says in most namespaces", `x?: int; if context.namespace != "q" {x?: <5}`, `x?: int & <5; if context.namespace != "q" {x?: <5}`, "web", "q", `{"x":9}`},
	{"a variable narrows to what a condition says by default", `k: *"a" | "b"; x?: int; if k == "a" {x?: <5}`, `k: *"a" | "b"; x?: int & <5; if k == "a" {x?: <5}`, "web", "q", `{"k":"b","x":9}`},
	{"a variable narrows far above what is tried to what a condition says by default", `k: *"a" | string; x?: int; if k != "zebra" {x?: <3000000}`, `k: *"a" | string; x?: int & <3000000; if k != "zebra" {x?: <3000000}`, "web", "q", `{"k":"zebra","x":4000000}`},
	{"a variable must be set that a condition gives a default in most namespaces", `x?: int; if context.namespace != "q" {x: *1 | int}`, `x!: int; if context.namespace != "q" {x: *1 | int}`, "web", "q", `{}`},
	{"a variable is declared that a condition declares in one namespace", `a?: int; if context.namespace == "q" {y?: int}`, `a?: int; y?: <5; if context.namespace == "q" {y?: int}`, "web", "q", `{"y":9}`},
	{"a variable is declared that a condition's pattern takes in one namespace", `s: {x?: int, if context.namespace == "q" {[string]: int}}`, `s: {x?: int, y?: <5, if context.namespace == "q" {[string]: int}}`, "web", "q", `{"s":{"y":9}}`},
	{"a struct's variable narrows to what a condition beside the struct says", `s: {x?: int}; if context.namespace != "q" {s: {x?: <5}}`, `s: {x?: int & <5}; if context.namespace != "q" {s: {x?: <5}}`, "web", "q", `{"s":{"x":9}}`},
	{"a variable narrows to what a choice of definitions says in most namespaces", `#A: {x?: int}; #B: {x?: <5} -- s: {x?: int, [if context.namespace == "q" {#A}, #B][0]}`, `#A: {x?: int}; #B: {x?: <5} -- s: {x?: int & <5, [if context.namespace == "q" {#A}, #B][0]}`, "web", "q", `{"s":{"x":9}}`},
	{"a variable is removed that a condition declares in most namespaces", `x?: int; if context.namespace != "q" {x?: int}`, `if context.namespace != "q" {x?: int}`, "web", "q", `{"x":1}`},
	{"a loop over a variable declares what narrows", `l: *["x"] | [...string]; x?: int; for n in l {(n)?: <5}`, `l: *["x"] | [...string]; x?: int & <5; for n in l {(n)?: <5}`, "web", "q", `{"l":[],"x":9}`},

	// Values, entries and hidden fields.
	{"a value becomes the Release's name", `x?: "name" | "y"`, `x?: context.name | "y"`, "web", "q", `{"x":"name"}`},
	{"a value of an entry becomes a hidden field of it, the Release's name", `l?: [...{_p: context.name, x?: "name"}]`, `l?: [...{_p: context.name, x?: _p}]`, "web", "q", `{"l":[{"x":"name"}]}`},
	{"a value of a map's entry becomes a hidden field of it, the Release's name", `l?: [string]: {_p: context.name, x?: "name"}`, `l?: [string]: {_p: context.name, x?: _p}`, "web", "q", `{"l":{"a":{"x":"name"}}}`},
	{"a value of an alternative becomes a hidden field of it, the Release's name", `l?: {k!: "a", _p: context.name, x?: "name"} | {k!: "b"}`, `l?: {k!: "a", _p: context.name, x?: _p} | {k!: "b"}`, "web", "q", `{"l":{"k":"a","x":"name"}}`},
	{"a bound becomes a let at the top, the length of the name", `let L = 4 -- x?: int & <=L`, `let L = len(context.name) -- x?: int & <=L`, "web", "q", `{"x":4}`},
	{"a bound within a struct is a let at the top that narrows", `let L = 5 -- s?: {x?: int & <=L}`, `let L = 3 -- s?: {x?: int & <=L}`, "web", "q", `{"s":{"x":5}}`},
	{"a bound within a list is a let at the top that narrows", `let L = 4000000 -- s?: [...{x?: int & <=L}]`, `let L = 3000000 -- s?: [...{x?: int & <=L}]`, "web", "q", `{"s":[{"x":3500000}]}`},
	{"a list's entries are bounded in one namespace", `l?: [...int]`, `_e: [if context.namespace == "prod" {<5}, int][0] -- l?: [..._e]`, "web", "prod", `{"l":[9]}`},
	{"a list may have as many entries as the name has letters", `l?: [...int] & list.MaxItems(4)`, `l?: [...int] & list.MaxItems(len(context.name))`, "web", "prod", `{"l":[1,2,3,4]}`},
	{"a struct may have as many variables as the name has letters", `s: {[string]: int} & struct.MaxFields(4)`, `s: {[string]: int} & struct.MaxFields(len(context.name))`, "web", "prod", `{"s":{"a":1,"b":1,"c":1,"d":1}}`},
	{"an alternative is told by another word in one namespace", `u?: {k!: "a", x?: int} | {k!: "b"}`, `_k: [if context.namespace == "prod" {"c"}, "a"][0] -- u?: {k!: _k, x?: int} | {k!: "b"}`, "web", "prod", `{"u":{"k":"a","x":1}}`},

	// Defaults.
	{"a default that bounds another variable becomes the Release's name", `n: *"name" | string; m?: !=n`, `n: *context.name | string; m?: !=n`, "web", "q", `{"m":"web"}`},
	{"a default that bounds another variable becomes the length of the Release's name", `n: *4 | int; m?: int & >=n`, `n: *len(context.name) | int; m?: int & >=n`, "webshop", "q", `{"m":5}`},
	{"a default changes that another default is in one namespace, which bounds", `k: *1 | int; n: *[if context.namespace == "q" {k}, 1][0] | int; m?: int & >=n`, `k: *5 | int; n: *[if context.namespace == "q" {k}, 1][0] | int; m?: int & >=n`, "web", "q", `{"m":3}`},
	{"a default in an entry is a helper that changes, and bounds", `_h: 11 -- o?: [...{m: *_h | int, n?: int & >=m}]`, `_h: 20 -- o?: [...{m: *_h | int, n?: int & >=m}]`, "web", "q", `{"o":[{"n":15}]}`},
	{"a default in an entry is a let that changes, and bounds", `let H = 11 -- o?: [...{m: *H | int, n?: int & >=m}]`, `let H = 20 -- o?: [...{m: *H | int, n?: int & >=m}]`, "web", "q", `{"o":[{"n":15}]}`},
	{"a default becomes the Release's name, which is not accepted", `n: *"name" | =~"^[a-z]+$"`, `n: (*context.name | string) & =~"^[a-z]+$"`, "web2", "q", `{}`},
	{"a variable without a default in one namespace", `n: *1 | int`, `n: [if context.namespace == "q" {int}, *1 | int][0]`, "web", "q", `{}`},
	{"a variable is added that is another one by default, which a condition sets in most namespaces", `k?: int; if context.namespace != "q" {k: *1 | int}`, `k?: int; n: *k | int; if context.namespace != "q" {k: *1 | int}`, "web", "q", `{}`},
	{"a default changes that a struct's default is in one namespace", `k: *1 | int; s: {x: *[if context.namespace == "q" {k}, 1][0] | int}; m?: int & >=s.x`, `k: *5 | int; s: {x: *[if context.namespace == "q" {k}, 1][0] | int}; m?: int & >=s.x`, "web", "q", `{"m":3}`},
	{"a variable of an entry narrows to what a condition says by default", `l?: [...{k: *"a" | string, x?: int, if k != "zebra" {x?: <3000000}}]`, `l?: [...{k: *"a" | string, x?: int & <3000000, if k != "zebra" {x?: <3000000}}]`, "web", "q", `{"l":[{"k":"zebra","x":4000000}]}`},
	{"a variable of a map's entry narrows to what a condition says in most namespaces", `l?: [string]: {x?: int, if context.namespace != "q" {x?: <3000000}}`, `l?: [string]: {x?: int & <3000000, if context.namespace != "q" {x?: <3000000}}`, "web", "q", `{"l":{"a":{"x":4000000}}}`},
	{"a definition's variable narrows to what its condition says", `#S: {x?: int, if context.namespace != "q" {x?: <5}} -- s?: #S`, `#S: {x?: int & <5, if context.namespace != "q" {x?: <5}} -- s?: #S`, "web", "q", `{"s":{"x":9}}`},
	{"a variable narrows to what an embedded definition's condition says", `#S: {if context.namespace != "q" {x?: <5}} -- s?: {#S, x?: int}`, `#S: {if context.namespace != "q" {x?: <5}} -- s?: {#S, x?: int & <5}`, "web", "q", `{"s":{"x":9}}`},
	{"a variable narrows to what an embedded part of a helper says", `_h: {a: {if context.namespace != "q" {x?: <5}}} -- s?: {_h.a, x?: int}`, `_h: {a: {if context.namespace != "q" {x?: <5}}} -- s?: {_h.a, x?: int & <5}`, "web", "q", `{"s":{"x":9}}`},
	{"a variable narrows to what a condition within a condition says", `x?: int; if true {if context.namespace != "q" {x?: <5}}`, `x?: int & <5; if true {if context.namespace != "q" {x?: <5}}`, "web", "q", `{"x":9}`},
	{"a variable narrows to what a condition by a let says", `x?: int; let N = context.namespace; if N != "q" {x?: <5}`, `x?: int & <5; let N = context.namespace; if N != "q" {x?: <5}`, "web", "q", `{"x":9}`},
	{"a struct's variable loses its place to a condition's", `s: {x?: int, y?: int}; if context.namespace != "q" {s: {y?: int}}`, `s: {x?: int}; if context.namespace != "q" {s: {y?: int}}`, "web", "q", `{"s":{"y":9}}`},
	{"a hidden check is added that fails in one namespace", `a?: int`, `a?: int; _c: [if context.namespace == "q" {1 & 2}, 1][0]`, "web", "q", `{}`},
}

func TestCompareUnderSeveralFacts(t *testing.T) {
	for _, tc := range factuals {
		t.Run(tc.what, func(t *testing.T) {
			before, after := hostile(t, tc.before), hostile(t, tc.after)
			facts := Context{Name: tc.name, Namespace: tc.namespace, Template: "template"}
			if !takesFrom(t, before, facts, tc.values) || takesFrom(t, after, facts, tc.values) {
				t.Fatalf("wanted %s to be right for %s and wrong for %s, found otherwise", tc.values, tc.before, tc.after)
			}
			got, err := Compare(before, after)
			if err != nil {
				t.Fatal(err)
			}
			if got.Verdict != Breaking && got.Verdict != Unknown {
				t.Errorf("wanted breaking or unknown, found %s for %s -> %s: %+v", got.Verdict, tc.before, tc.after, got.Changes)
			}
		})
	}
}

// What a template checks of the values beside #Variables is not compared, and what it makes
// of them is no check.
func TestCompareSeesChecksBesideVariables(t *testing.T) {
	const variables = ` -- lo: *1 | int; hi: *9 | int; s?: {x?: int}; e: [string]: string; name: *"x" | string`
	for _, tc := range []struct {
		what, before, after string
		wanted              Verdict
	}{
		{"a comparison is added", ``, `_ok: true & (values.lo <= values.hi)`, Unknown},
		{"a comparison is added in two parts", ``, `_ok: true; _ok: values.lo <= values.hi`, Unknown},
		{"a bound is added", ``, `_v: values.lo & <5`, Unknown},
		{"a bound on a struct is added", ``, `_v: values.s & {x?: <5}`, Unknown},
		{"a bound by a helper is added", ``, `#Low: <5; _v: values.lo & #Low`, Unknown},
		{"a bound on what stands for the values is added", `_v: values; _w: _v.lo`, `_v: values; _w: _v.lo & <5`, Unknown},
		{"a bound on what a let stands for is added", `let V = values.lo; _w: V`, `let V = values.lo; _w: V & <5`, Unknown},
		{"a bound is added in an object", `objects: a: spec: replicas: values.lo`, `objects: a: spec: replicas: values.lo & <5`, Unknown},
		{"a bound is added in an entry", `objects: a: l: [for k, v in values.e {v}]`, `objects: a: l: [for k, v in values.e {v & =~"^a"}]`, Unknown},
		{"an error is added under a condition", ``, `_x: {if values.lo > values.hi {_|_}}`, Unknown},
		{"a helper that a bound is made of narrows", `_max: 9; _v: values.lo & <_max`, `_max: 5; _v: values.lo & <_max`, Unknown},
		{"a check is removed", `_ok: true & (values.lo <= values.hi)`, ``, Safe},
		{"a check stays", `_ok: true & (values.lo <= values.hi)`, `_ok: true & (values.lo <= values.hi); objects: a: kind: "x"`, Safe},
		{"an object takes another variable", `objects: a: spec: {n: values.lo}`, `objects: a: spec: {n: values.hi, m: values.lo, o: "\(values.name)-x"}`, Safe},
		{"a loop over values is edited", `objects: a: l: [for k, v in values.e {name: k}]`, `objects: a: l: [for k, v in values.e {name: k, value: v}]`, Safe},
		{"a condition on values is edited", `objects: {if values.lo > 2 {a: kind: "x"}}`, `objects: {if values.lo > 3 {a: kind: "y"}}`, Safe},
		{"structs are put together of values", `_l: {a: values.name}; objects: a: labels: _l`, `_l: {a: values.name}; objects: a: labels: _l & {b: values.name}`, Safe},
		{"a definition is filled with values", `#D: {n: int, k: string}; objects: a: #D & {n: values.lo, k: "a"}`, `#D: {n: int, k: string}; objects: a: #D & {n: values.hi, k: values.name}`, Safe},
		{"a bound on a fact is added", `_n: context.name`, `_n: context.name & strings.MaxRunes(20)`, Safe},
		{"the facts are bounded", `_n: 1`, `context: name: !="web"`, Unknown},
	} {
		t.Run(tc.what, func(t *testing.T) {
			got, err := Compare(hostile(t, tc.before+variables), hostile(t, tc.after+variables))
			if err != nil {
				t.Fatal(err)
			}
			if got.Verdict != tc.wanted {
				t.Errorf("wanted %s, found %s: %+v", tc.wanted, got.Verdict, got.Changes)
			}
			for _, ch := range got.Changes {
				if ch.Path != "values" {
					t.Errorf("wanted the path values, found %+v", ch)
				}
			}
		})
	}
}
