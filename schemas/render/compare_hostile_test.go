package render

import (
	"strings"
	"testing"
)

const hostileTemplate = `package t

import (
	"list"
	"math"
	"net"
	"strings"
	"struct"
	"time"
)

_uses: [list.MaxItems, math.MultipleOf, strings.MaxRunes, struct.MaxFields, time.Duration, net.IPv4]

#Context: {name: string, namespace: string}
context: #Context
values: #Variables
objects: {}
rollout: {}
`

// Changes as somebody writes them who knows CUE and not how they are compared. What stands
// before -- is beside #Variables. Wanted are the verdicts that are right; where unknown is
// one of them, it is right to say so and better to know.
func TestCompareWhatAnybodyMayWrite(t *testing.T) {
	for _, tc := range []struct {
		what, before, after string
		wanted              string
	}{
		{"a fraction is refused that is an integer by value", `a?: int`, `a?: int & !=5.0`, "breaking"},
		{"an integer is refused that is a fraction by value", `a?: number & >=4.5 & <=5.5`, `a?: number & >=4.5 & <=5.5 & !=5`, "breaking"},
		{"a refused fraction is an integer again", `a?: int & !=5.0`, `a?: int`, "safe"},
		{"one of two declarations narrows", `a?: int; a?: <10`, `a?: int; a?: <5`, "breaking"},
		{"two declarations become one", `a?: int; a?: <10`, `a?: int & <10`, "safe"},
		{"#Variables stands in two parts, of which one narrows", `#Variables: {a?: int}; #Variables: {a?: <10}`, `#Variables: {a?: int}; #Variables: {a?: <5}`, "breaking"},
		{"#Variables is split in two", `#Variables: {a?: int, b?: string}`, `#Variables: {a?: int}; #Variables: {b?: string}`, "safe"},
		{"a hidden number narrows", `_max: 5 -- a?: int & <=_max`, `_max: 3 -- a?: int & <=_max`, "breaking"},
		{"the platform's limit narrows", `_platform: {max: 5} -- a?: int & <=_platform.max`, `_platform: {max: 3} -- a?: int & <=_platform.max`, "breaking"},
		{"the platform's limit widens", `_platform: {max: 3} -- a?: int & <=_platform.max`, `_platform: {max: 5} -- a?: int & <=_platform.max`, "safe"},
		{"another of the platform's numbers changes", `_platform: {max: 3, x: 1} -- a?: int & <=_platform.max`, `_platform: {max: 3, x: 2} -- a?: int & <=_platform.max`, "safe"},
		{"the platform's limit moves deeper", `_platform: {max: 3} -- a?: int & <=_platform.max`, `_platform: {limits: max: 3} -- a?: int & <=_platform.limits.max`, "safe"},
		{"the platform's limit is in two places, of which one narrows", `_platform: max: int; _platform: max: 5 -- a?: int & <=_platform.max`, `_platform: max: int; _platform: max: 3 -- a?: int & <=_platform.max`, "breaking"},
		{"names made by a loop lose one", `_plans: {s: 1, m: 2, l: 3} -- a?: or([for k, _ in _plans {k}])`, `_plans: {s: 1, m: 2} -- a?: or([for k, _ in _plans {k}])`, "breaking unknown"},
		{"names made of a list lose one", `_names: ["a", "b"] -- a?: or(_names)`, `_names: ["a"] -- a?: or(_names)`, "breaking unknown"},
		{"a let narrows", `let max = 5 -- a?: int & <=max`, `let max = 3 -- a?: int & <=max`, "breaking unknown"},
		{"a let within narrows", `let max = 5; a?: int & <=max`, `let max = 3; a?: int & <=max`, "breaking unknown"},
		{"a let is renamed", `let max = 5; a?: int & <=max`, `let most = 5; a?: int & <=most`, "safe unknown"},
		{"what a pattern is made of changes", `_p: "a" -- a?: =~"^\(_p)-"`, `_p: "ab" -- a?: =~"^\(_p)-"`, "breaking unknown"},
		{"a definition that holds itself narrows", `#Tree: {kids?: [...#Tree], x: *1 | int & <5} -- t?: #Tree`, `#Tree: {kids?: [...#Tree], x: *1 | int & <4} -- t?: #Tree`, "breaking unknown"},
		{"a default is another variable than before", `a!: int; c!: int; b: *a | int`, `a!: int; c!: int; b: *c | int`, "default-changed unknown"},
		{"a default that is made of a variable changes", `a!: string; b: *"\(a)-x" | string`, `a!: string; b: *"\(a)-y" | string`, "default-changed unknown"},
		{"a default that is made of another variable changes", `a!: string; c!: string; b: *"\(a)" | string`, `a!: string; c!: string; b: *"\(c)" | string`, "default-changed unknown"},
		{"a default that is a fact changes to another", `b: *context.name | string`, `b: *context.namespace | string`, "default-changed unknown"},
		{"a default that is made of a fact changes", `b: *"\(context.name)-x" | string`, `b: *"\(context.name)-y" | string`, "default-changed unknown"},
		{"a default that is made of a fact stays beside another change", `b: *"\(context.name)-x" | string; c?: int`, `b: *"\(context.name)-x" | string; c?: int | string`, "safe"},
		{"a default that is a sum changes", `a!: int; b: *(a+1) | int`, `a!: int; b: *(a+2) | int`, "default-changed unknown"},
		{"a default that is a sum is removed", `a!: int; b: *(a+1) | int`, `a!: int; b: int`, "breaking unknown"},
		{"a variable that was another one is free and must be set", `a!: int; b: a`, `a!: int; b: int`, "breaking unknown"},
		{"a variable that was made of another one is free and must be set", `a!: string; b: "\(a)-x"`, `a!: string; b: string`, "breaking unknown"},
		{"a default that is made of a variable stays while its bounds widen", `a!: string; b: *"\(a)-x" | =~"^a"`, `a!: string; b: *"\(a)-x" | string`, "safe"},
		{"a variable gets a default that is made of another", `a!: string; b!: string`, `a!: string; b: *"\(a)-x" | string`, "safe"},
		{"a default of a helper changes", `_d: {x: 5} -- b: *_d.x | int`, `_d: {x: 6} -- b: *_d.x | int`, "default-changed unknown"},
		{"a variable is added with a default that is made of another", `a!: string`, `a!: string; b: *"\(a)-x" | string`, "safe"},
		{"a variable is added with a default that is a fact", `a!: string`, `a!: string; b: *context.name | string`, "safe"},
		{"a variable is added with a default that is made of a fact", `a!: string`, `a!: string; b: *"\(context.name).example" | string`, "safe"},
		{"a variable is added with a default that is made of a variable that may be missing", `a?: string`, `a?: string; b: *"\(a)-x" | string`, "breaking unknown"},
		{"a variable is added with a default that is a fact, up to a length", `a!: string`, `a!: string; b: (*context.name | string) & strings.MaxRunes(9)`, "unknown"},
		{"a default under a condition changes", `k: *"a" | "b"; if k == "a" {x: *1 | int}`, `k: *"a" | "b"; if k == "a" {x: *2 | int}`, "default-changed unknown"},
		{"a default of an alternative changes", `s: {k: "a", x: *1 | int} | {k: "b"}`, `s: {k: "a", x: *2 | int} | {k: "b"}`, "default-changed unknown"},
		{"a default that is a struct changes", `s: *{x: 1} | {x: int}`, `s: *{x: 2} | {x: int}`, "default-changed unknown"},
		{"a default in an entry of a map changes", `m: [string]: {b: *1 | int}`, `m: [string]: {b: *2 | int}`, "default-changed"},
		{"an entry that a map has by default changes", `m: {[string]: string, a: *"x" | string}`, `m: {[string]: string, a: *"y" | string}`, "default-changed"},
		{"an entry that a map has by default is gone", `m: {[string]: string, a: *"x" | string}`, `m: [string]: string`, "default-changed"},
		{"a variable with a default is gone from an open struct", `m: {a: *"x" | string, ...}`, `m: {...}`, "default-changed"},
		{"a map's entries lose a variable", `m?: [string]: {n!: string, v?: int}`, `m?: [string]: {n!: string}`, "breaking"},
		{"a map's entries lose a variable deep inside", `m?: [string]: {v?: {w?: int}}`, `m?: [string]: {v?: {}}`, "breaking"},
		{"a map's entries that were open are closed", `m?: [string]: {n!: string, ...}`, `m?: [string]: {n!: string}`, "breaking"},
		{"a map's entries that were open are closed, by a helper", `_E: {n!: string, ...} -- m?: [string]: _E`, `_E: {n!: string} -- m?: [string]: _E`, "breaking"},
		{"what is within a map's entries is closed", `m?: [string]: {w?: {z?: int, ...}}`, `m?: [string]: {w?: {z?: int}}`, "breaking"},
		{"a map's entries get a variable that may be left out", `m?: [string]: {n!: string}`, `m?: [string]: {n!: string, v?: int}`, "safe"},
		{"a map's entries get a variable with a default", `m: [string]: {n: *1 | int}`, `m: [string]: {n: *1 | int, v: *"x" | string}`, "safe"},
		{"a map's entries open", `m?: [string]: {n!: string}`, `m?: [string]: {n!: string, ...}`, "safe"},
		{"an entry of a list is closed", `m?: [...{n!: string, ...}]`, `m?: [...{n!: string}]`, "breaking"},
		{"an alternative is closed", `m?: {k: "a", ...} | {k: "b"}`, `m?: {k: "a"} | {k: "b"}`, "breaking unknown"},
		{"an alternative beside null is closed", `m?: null | {k?: "a", ...}`, `m?: null | {k?: "a"}`, "breaking"},
		{"an alternative in a map is closed", `m?: [string]: {k: "a", ...} | {k: "b"}`, `m?: [string]: {k: "a"} | {k: "b"}`, "breaking unknown"},
		{"an alternative in a map loses a variable", `m?: [string]: {k: "a", v?: int} | {k: "b"}`, `m?: [string]: {k: "a"} | {k: "b"}`, "breaking"},
		{"an alternative in a map opens", `m?: [string]: {k: "a"} | {k: "b"}`, `m?: [string]: {k: "a", ...} | {k: "b"}`, "safe unknown"},
		{"an alternative beside null stays open", `m?: null | {k?: "a", ...}`, `m?: null | {k?: "a" | "b", ...}`, "safe"},
		{"a variable is gone from an alternative that is open", `m?: null | {k?: "a", v?: int, ...}`, `m?: null | {k?: "a", ...}`, "safe"},
		{"an open struct is closed by a definition", `#B: {x?: int} -- m?: {x?: int, ...}`, `#B: {x?: int} -- m?: #B & {...}`, "breaking"},
		{"an open struct of anything is closed", `m?: {_, a?: int}`, `m?: {a?: int}`, "breaking unknown"},
		{"a map loses both of its patterns", `m?: {[=~"^a"]: int, [=~"^b"]: string}`, `m?: {}`, "breaking unknown"},
		{"names of an open struct that match a pattern change their type", `m?: {[=~"^a"]: int, ...}`, `m?: {[=~"^a"]: string, ...}`, "breaking unknown"},
		{"an open struct bounds what matches a pattern", `m?: {...}`, `m?: {[=~"^a"]: int, ...}`, "breaking unknown"},
		{"an open struct becomes a map of strings", `m?: {...}`, `m?: {[string]: string}`, "breaking"},
		{"an open struct is written as a map", `m?: {...}`, `m?: {[string]: _}`, "safe unknown"},
		{"a part that is embedded narrows", `#Base: {a?: int & <10} -- #Base; b?: int`, `#Base: {a?: int & <5} -- #Base; b?: int`, "breaking"},
		{"a part that is embedded loses a variable", `#Base: {a?: int, c?: int} -- #Base; b?: int`, `#Base: {a?: int} -- #Base; b?: int`, "breaking"},
		{"a part is written out", `#Base: {a?: int & <10}; #Variables: {#Base, b?: int}`, `#Variables: {a?: int & <10, b?: int}`, "safe"},
		{"one of two definitions that both hold narrows", `#P: {a?: int & <10, b?: int}; #Q: {a?: >2, b?: int}; #Variables: #P & #Q`, `#P: {a?: int & <10, b?: int}; #Q: {a?: >3, b?: int}; #Variables: #P & #Q`, "breaking"},
		{"a definition within hides one beside", `#P: int & <10 -- a?: #P`, `#P: int & <10 -- #P: <5; a?: #P`, "breaking"},
		{"a number of matches is asked for", `a?: int`, `a?: matchN(1, [>5, <3])`, "breaking unknown"},
		{"more matches are asked for", `a?: matchN(>=1, [>5, <10]) & int`, `a?: matchN(2, [>5, <10]) & int`, "breaking unknown"},
		{"the author's words come with a narrower bound", `a?: int & >0 & <9 | error("1 to 8")`, `a?: int & >0 & <8 | error("1 to 8")`, "breaking"},
		{"the author's words are added", `a: *"x" | "y"`, `a: *"x" | "y" | error("x or y")`, "safe"},
		{"any text instead of a host name", `a?: net.FQDN`, `a?: string`, "safe"},
		{"any text instead of a host name that must be set", `a: net.FQDN`, `a: string`, "safe"},
		{"any text instead of a URL", `a?: net.URL`, `a?: string`, "safe"},
		{"any text instead of a time", `a?: time.Time`, `a?: string`, "safe"},
		{"an address must be of version 4", `a?: net.IP`, `a?: net.IPv4`, "breaking unknown"},
		{"a text must be an address", `a?: string`, `a?: net.IPv4`, "breaking unknown"},
		{"an address may also be a list of bytes, and may not any more", `a?: net.IPv4`, `a?: net.IPv4 & string`, "breaking unknown"},
		{"the way of writing a time changes", `a?: time.Format("2006-01-02")`, `a?: time.Format("2006-01-02T15")`, "breaking unknown"},
		{"a list without doubles is written with brackets", `a?: [...string] & list.UniqueItems`, `a?: [...string] & list.UniqueItems()`, "safe"},
		{"an entry that is first must be there", `a?: [...string]`, `a?: [string, ...string]`, "breaking"},
		{"the entries of lists in a list narrow", `a?: [...[...int]]`, `a?: [...[...int & <5]]`, "breaking"},
		{"an entry of a list is moved into a definition", `l?: [...{n!: string, v?: int}]`, `#E: {n!: string, v?: int} -- l?: [...#E]`, "safe"},
		{"how long a list must be is told by a helper", `_n: 1 -- a?: [...string] & list.MinItems(_n)`, `_n: 2 -- a?: [...string] & list.MinItems(_n)`, "breaking unknown"},
		{"a pattern ignores case", `a?: =~"^[A-Za-z]+$"`, `a?: =~"(?i)^[a-z]+$"`, "safe"},
		{"a pattern matches within lines no longer", `a?: =~"(?m)^a$"`, `a?: =~"^a$"`, "breaking"},
		{"a pattern matches line ends no longer", `a?: =~"(?s)^a.*$"`, `a?: =~"^a.*$"`, "breaking"},
		{"a pattern wants the end of a word", `a?: =~"\\bfoo"`, `a?: =~"\\bfoo\\b"`, "breaking unknown"},
		{"letters of every script become those of one", `a?: =~"^\\pL+$"`, `a?: =~"^[a-zA-Z]+$"`, "breaking"},
		{"a text in its order narrows", `a?: string & >"b"`, `a?: string & >"c"`, "breaking unknown"},
		{"bounds of a number are cut at a half", `a?: int & >=-1.5`, `a?: int & >-1`, "breaking"},
		{"bounds of an integer are the same at a half", `a?: int & >-2`, `a?: int & >=-1.5`, "safe"},
		{"a range gets a hole", `a?: int & >=0 & <300`, `a?: (int & >=0 & <150) | (int & >150 & <300)`, "breaking unknown"},
		{"a check that is hidden is added", `a!: int; b!: int`, `a!: int; b!: int; _check: true & (a < b)`, "breaking unknown"},
		{"the values are bounded beside #Variables", `a?: int`, `values: a?: <5 -- a?: int`, "breaking unknown"},
		{"a sum is bounded in an entry", `l?: [...{a!: int, b!: int}]`, `l?: [...{a!: int, b!: int, _c: <b & a}]`, "breaking unknown"},
		{"a name may not be its value", `m: [string]: string`, `m: [N=string]: string & !=N`, "breaking unknown"},
		{"a type is the name of a let", `a?: string`, `let string = "x"; a?: string`, "breaking unknown"},
		{"a variable is named as a type", `int: *5 | number; a?: <=int`, `int: *3 | number; a?: <=int`, "breaking unknown"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			got, err := Compare(hostile(t, tc.before), hostile(t, tc.after))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(tc.wanted, string(got.Verdict)) {
				t.Errorf("wanted %s, found %s for %s -> %s: %+v", tc.wanted, got.Verdict, tc.before, tc.after, got.Changes)
			}
		})
	}
}
