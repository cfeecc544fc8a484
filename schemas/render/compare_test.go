package render

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

var (
	updateChanges = flag.Bool("update-changes", false, "rewrite the table in docs/changes.md")
	comparePairs  = flag.Int("compare-pairs", 0, "how many pairs of templates TestSafeIsSafe makes; 0 for a few")
	compareSeed   = flag.Uint64("compare-seed", 1, "where TestSafeIsSafe begins")
)

// change is one row: a sentence, #Variables before and after, and what it means.
type change struct {
	what     string
	old, new string
	want     Verdict
}

// changes is the table of docs/changes.md.
var changes = []struct {
	title string
	rows  []change
}{
	{"Variables come and go", []change{
		{what: "nothing changes", old: `a: int`, new: `a: int`, want: Safe},
		{what: "a variable is added that may be left out", old: `a?: int`, new: `a?: int, b?: string`, want: Safe},
		{what: "a variable is added with a default", old: `a!: int`, new: `a!: int, b: int | *5`, want: Safe},
		{what: "a variable is added with a default that is another variable", old: `a!: int`, new: `a!: int, b: *a | int`, want: Safe},
		{what: "a struct is added whose variables all have defaults", old: `a!: int`, new: `a!: int, b: {c: *1 | int, d?: string}`, want: Safe},
		{what: "a list is added that is empty by default", old: `a!: int`, new: `a!: int, b: [...string]`, want: Safe},
		{what: "a map is added", old: `a!: int`, new: `a!: int, env: [string]: string`, want: Safe},
		{what: "a variable is added that must be set", old: `a?: int`, new: `a?: int, b!: string`, want: Breaking},
		{what: "a variable is added without a default", old: `a?: int`, new: `a?: int, b: string`, want: Breaking},
		{what: "a struct is added with a variable that must be set", old: `a?: int`, new: `a?: int, b: {c!: string}`, want: Breaking},
		{what: "a variable is removed", old: `a?: int, b?: string`, new: `a?: int`, want: Breaking},
		{what: "a variable with a default is removed", old: `a?: int, b: string | *"x"`, new: `a?: int`, want: Breaking},
		{what: "a variable is removed that no value could be given to", old: `a?: int, b?: _|_`, new: `a?: int`, want: Safe},
		{what: "a variable is renamed", old: `port!: int`, new: `containerPort!: int`, want: Breaking},
		{what: "a variable within a struct is removed", old: `r: {cpu?: string, memory?: string}`, new: `r: {cpu?: string}`, want: Breaking},
		{what: "a variable that must be set is added within a struct that may be left out", old: `r?: {cpu?: string}`, new: `r?: {cpu?: string, memory!: string}`, want: Breaking},
		{what: "only a comment changes", old: "// one\na: int", new: "// two\na: int", want: Safe},
		{what: "only an attribute changes", old: `a: int @ui("x")`, new: `a: int @ui("y") @sensitive()`, want: Safe},
		{what: "a variable becomes @immutable", old: `a?: int`, new: `a?: int @immutable()`, want: Safe},
	}},
	{"What must be set, and defaults", []change{
		{what: "a variable must be set that could be left out", old: `a?: int`, new: `a!: int`, want: Breaking},
		{what: "a variable need no longer be set", old: `a!: int`, new: `a?: int`, want: Safe},
		{what: "a variable that must be set gets a default", old: `a!: int`, new: `a: int | *3`, want: Safe},
		{what: "a variable that could be left out gets a default", old: `a?: int`, new: `a: int | *3`, want: DefaultChanged},
		{what: "a default is removed and the variable must be set", old: `a: int | *3`, new: `a: int`, want: Breaking},
		{what: "a default is removed and the variable may be left out", old: `a: int | *3`, new: `a?: int`, want: DefaultChanged},
		{what: "a default changes", old: `a: int | *3`, new: `a: int | *4`, want: DefaultChanged},
		{what: "another of the names becomes the default", old: `a: *"s" | "m" | "l"`, new: `a: "s" | *"m" | "l"`, want: DefaultChanged},
		{what: "a default within a struct changes", old: `r: {cpu: *"1" | string}`, new: `r: {cpu: *"2" | string}`, want: DefaultChanged},
		{what: "a default list changes", old: `a: *["x"] | [...string]`, new: `a: *["y"] | [...string]`, want: DefaultChanged},
		{what: "a default changes and a bound widens", old: `a: *3 | int & <10`, new: `a: *4 | int & <20`, want: DefaultChanged},
		{what: "a fixed value changes", old: `a: "v1"`, new: `a: "v2"`, want: Breaking},
	}},
	{"Types", []change{
		{what: "a type changes", old: `a?: int`, new: `a?: string`, want: Breaking},
		{what: "a type is added", old: `a?: int`, new: `a?: int | string`, want: Safe},
		{what: "a type is taken away", old: `a?: int | string`, new: `a?: int`, want: Breaking},
		{what: "an integer may be any number", old: `a?: int`, new: `a?: number`, want: Safe},
		{what: "a number must be an integer", old: `a?: number`, new: `a?: int`, want: Breaking},
		{what: "a number is written as an integer or a fraction", old: `a?: number`, new: `a?: int | float`, want: Safe},
		{what: "null is accepted", old: `a?: string`, new: `a?: string | null`, want: Safe},
		{what: "null is refused", old: `a?: string | null`, new: `a?: string`, want: Breaking},
		{what: "anything is accepted", old: `a?: int`, new: `a?: _`, want: Safe},
		{what: "anything is no longer accepted", old: `a?: _`, new: `a?: int`, want: Breaking},
		{what: "a smaller machine type", old: `a?: uint16`, new: `a?: uint8`, want: Breaking},
		{what: "a bound is written as a machine type", old: `a?: int & >=0 & <=255`, new: `a?: uint8`, want: Safe},
		{what: "a boolean must be true", old: `a?: bool`, new: `a?: true`, want: Breaking},
		{what: "both booleans are named", old: `a?: bool`, new: `a?: true | false`, want: Safe},
	}},
	{"Bounds of numbers", []change{
		{what: "a bound widens", old: `a?: int & <=10`, new: `a?: int & <=20`, want: Safe},
		{what: "a bound narrows", old: `a?: int & <=20`, new: `a?: int & <=10`, want: Breaking},
		{what: "a bound narrows beside a default", old: `a: *2 | int & >=1 & <=100`, new: `a: *2 | int & >=1 & <=10`, want: Breaking},
		{what: "a bound is added", old: `a?: int`, new: `a?: int & >0`, want: Breaking},
		{what: "a bound is removed", old: `a?: int & >0`, new: `a?: int`, want: Safe},
		{what: "a bound is written otherwise", old: `a?: int & >0`, new: `a?: int & >=1`, want: Safe},
		{what: "a bound of fractions closes", old: `a?: number & <=1`, new: `a?: number & <1`, want: Breaking},
		{what: "a bound moves into a definition", old: `a?: int & >=1 & <=65535`, new: `a?: #Port`, want: Safe},
		{what: "a definition narrows", old: `a?: #Low`, new: `a?: #Lower`, want: Breaking},
		{what: "one number is refused", old: `a?: int`, new: `a?: int & !=5`, want: Breaking},
		{what: "another number is refused", old: `a?: int & !=5`, new: `a?: int & !=6`, want: Breaking},
		{what: "one number is refused far from all others", old: `a?: int`, new: `a?: int & !=123456789`, want: Breaking},
		{what: "one number is refused within a range", old: `a?: int & >=0 & <=500`, new: `a?: int & >=0 & <=500 & !=250`, want: Breaking},
		{what: "another text is refused", old: `a?: string & !="x"`, new: `a?: string & !="y"`, want: Breaking},
		{what: "a long text may be one letter shorter", old: `a?: strings.MaxRunes(5000)`, new: `a?: strings.MaxRunes(4999)`, want: Breaking},
		{what: "a long list may have one entry less", old: `a?: [...int] & list.MaxItems(200)`, new: `a?: [...int] & list.MaxItems(199)`, want: Breaking},
		{what: "one number is no longer refused", old: `a?: int & !=5`, new: `a?: int`, want: Safe},
		{what: "a range is spelled out", old: `a?: int & >=1 & <=3`, new: `a?: 1 | 2 | 3`, want: Safe},
		{what: "a range loses its middle", old: `a?: int & >=1 & <=3`, new: `a?: 1 | 3`, want: Breaking},
		{what: "numbers must be multiples", old: `a?: int`, new: `a?: int & math.MultipleOf(5)`, want: Breaking},
	}},
	{"Names, patterns and lengths of strings", []change{
		{what: "a name is added", old: `a?: "x" | "y"`, new: `a?: "x" | "y" | "z"`, want: Safe},
		{what: "a name is removed", old: `a?: "x" | "y" | "z"`, new: `a?: "x" | "y"`, want: Breaking},
		{what: "a name is removed beside a default", old: `a: *"x" | "y" | "z"`, new: `a: *"x" | "y"`, want: Breaking},
		{what: "names change their order", old: `a?: "x" | "y"`, new: `a?: "y" | "x"`, want: Safe},
		{what: "any string instead of names", old: `a?: "x" | "y"`, new: `a?: string`, want: Safe},
		{what: "names instead of any string", old: `a?: string`, new: `a?: "x" | "y"`, want: Breaking},
		{what: "a pattern is added", old: `a?: string`, new: `a?: =~"^[a-z]+$"`, want: Breaking},
		{what: "a pattern is removed", old: `a?: =~"^[a-z]+$"`, new: `a?: string`, want: Safe},
		{what: "a pattern loosens", old: `a?: =~"^[a-z]+$"`, new: `a?: =~"^[a-z0-9]+$"`, want: Safe},
		{what: "a pattern tightens", old: `a?: =~"^[a-z0-9]+$"`, new: `a?: =~"^[a-z]+$"`, want: Breaking},
		{what: "a pattern tightens beside a default", old: `a: *"x" | =~"^[a-z0-9]+$"`, new: `a: *"x" | =~"^[a-z]+$"`, want: Breaking},
		{what: "a pattern is written otherwise", old: `a?: =~"^(a|b)+$"`, new: `a?: =~"^[ab]([ab])*$"`, want: Safe},
		{what: "a pattern loses its anchor", old: `a?: =~"^[a-z]+$"`, new: `a?: =~"^[a-z]+"`, want: Safe},
		{what: "a pattern may be longer", old: `a?: =~"^[a-z]{1,5}$"`, new: `a?: =~"^[a-z]{1,50}$"`, want: Safe},
		{what: "a pattern and a length become one pattern", old: `a?: =~"^[a-z]+$" & strings.MaxRunes(10)`, new: `a?: =~"^[a-z]{1,10}$"`, want: Safe},
		{what: "a pattern is refused", old: `a?: string`, new: `a?: !~"^kube-"`, want: Breaking},
		{what: "a string may be longer", old: `a?: strings.MaxRunes(10)`, new: `a?: strings.MaxRunes(20)`, want: Safe},
		{what: "a string must be shorter", old: `a?: strings.MaxRunes(20)`, new: `a?: strings.MaxRunes(10)`, want: Breaking},
		{what: "a string must be longer", old: `a?: strings.MinRunes(1)`, new: `a?: strings.MinRunes(3)`, want: Breaking},
		{what: "a string must be a duration", old: `a?: string`, new: `a?: time.Duration`, want: Breaking},
		{what: "a string need not be a duration", old: `a?: time.Duration`, new: `a?: string`, want: Safe},
		{what: "the author's words for a mistake change", old: `a?: int & >0 | error("x")`, new: `a?: int & >0 | error("y")`, want: Safe},
		{what: "a validator that is not understood is replaced by another", old: `a?: math.MultipleOf(10)`, new: `a?: math.MultipleOf(5)`, want: Unknown},
		{what: "a pattern that is too large to follow changes", old: `a?: =~"^([a-z]{1,900}x){1,3}$"`, new: `a?: =~"^([a-z]{1,901}x){1,3}$"`, want: Unknown},
	}},
	{"Lists", []change{
		{what: "an entry may be more", old: `a?: [...int & <=5]`, new: `a?: [...int & <=9]`, want: Safe},
		{what: "an entry may be less", old: `a?: [...int & <=9]`, new: `a?: [...int & <=5]`, want: Breaking},
		{what: "more entries", old: `a?: [...string] & list.MaxItems(3)`, new: `a?: [...string] & list.MaxItems(5)`, want: Safe},
		{what: "fewer entries", old: `a?: [...string] & list.MaxItems(5)`, new: `a?: [...string] & list.MaxItems(3)`, want: Breaking},
		{what: "fewer entries beside a default", old: `a: (*[] | [...string]) & list.MaxItems(5)`, new: `a: (*[] | [...string]) & list.MaxItems(3)`, want: Breaking},
		{what: "an entry is needed", old: `a?: [...string]`, new: `a?: [...string] & list.MinItems(1)`, want: Breaking},
		{what: "no entry is needed", old: `a?: [...string] & list.MinItems(1)`, new: `a?: [...string]`, want: Safe},
		{what: "no entry twice", old: `a?: [...string]`, new: `a?: [...string] & list.UniqueItems()`, want: Breaking},
		{what: "an entry twice", old: `a?: [...string] & list.UniqueItems()`, new: `a?: [...string]`, want: Safe},
		{what: "an entry gets a variable with a default", old: `a?: [...{n!: string}]`, new: `a?: [...{n!: string, m: *1 | int}]`, want: Safe},
		{what: "an entry gets a variable that must be set", old: `a?: [...{n!: string}]`, new: `a?: [...{n!: string, m!: int}]`, want: Breaking},
		{what: "an entry's variable gets another default", old: `a?: [...{n: *1 | int}]`, new: `a?: [...{n: *2 | int}]`, want: DefaultChanged},
		{what: "a list of a fixed length changes", old: `a?: [int, string]`, new: `a?: [int, int]`, want: Unknown},
		{what: "a value or a list of them", old: `a?: string`, new: `a?: string | [...string]`, want: Safe},
		{what: "no longer a value or a list of them", old: `a?: string | [...string]`, new: `a?: [...string]`, want: Breaking},
	}},
	{"Maps and open structs", []change{
		{what: "a map's value may be more", old: `env: [string]: string`, new: `env: [string]: string | int`, want: Safe},
		{what: "a map's value may be less", old: `env: [string]: string | int`, new: `env: [string]: string`, want: Breaking},
		{what: "a map's names are bound", old: `env: [string]: string`, new: `env: [=~"^[A-Z]+$"]: string`, want: Breaking},
		{what: "a map's names are freed", old: `env: [=~"^[A-Z]+$"]: string`, new: `env: [string]: string`, want: Safe},
		{what: "a map's names loosen", old: `env: [=~"^[A-Z]+$"]: string`, new: `env: [=~"^[A-Z_]+$"]: string`, want: Safe},
		{what: "a map's names tighten", old: `env: [=~"^[A-Z_]+$"]: string`, new: `env: [=~"^[A-Z]+$"]: string`, want: Breaking},
		{what: "a map becomes a struct", old: `env: [string]: string`, new: `env: {a?: string}`, want: Breaking},
		{what: "a struct becomes a map", old: `env: {a?: string}`, new: `env: [string]: string`, want: Safe},
		{what: "a map's entry gets bounds of its own", old: `env: [string]: string`, new: `env: {[string]: string, a?: =~"^x"}`, want: Breaking},
		{what: "a map gets a second pattern", old: `env: [string]: string`, new: `env: {[string]: string, [=~"^A"]: strings.MaxRunes(3)}`, want: Breaking},
		{what: "a struct opens", old: `a: {x?: int}`, new: `a: {x?: int, ...}`, want: Safe},
		{what: "a struct closes", old: `a: {x?: int, ...}`, new: `a: {x?: int}`, want: Breaking},
		{what: "an open struct declares a variable", old: `a: {...}`, new: `a: {x?: int, ...}`, want: Breaking},
		{what: "a map may have fewer entries", old: `env: {[string]: string} & struct.MaxFields(5)`, new: `env: {[string]: string} & struct.MaxFields(0)`, want: Breaking},
		{what: "a map may have any number of entries", old: `env: {[string]: string} & struct.MaxFields(5)`, new: `env: [string]: string`, want: Safe},
	}},
	{"Alternatives", []change{
		{what: "an alternative is added", old: `a?: {k: "a", x!: int} | {k: "b"}`, new: `a?: {k: "a", x!: int} | {k: "b"} | {k: "c"}`, want: Safe},
		{what: "an alternative is removed", old: `a?: {k: "a", x!: int} | {k: "b"}`, new: `a?: {k: "a", x!: int}`, want: Breaking},
		{what: "an alternative widens", old: `a?: {k: "a", x!: int & <5} | {k: "b"}`, new: `a?: {k: "a", x!: int} | {k: "b"}`, want: Safe},
		{what: "an alternative narrows", old: `a?: {k: "a", x!: int} | {k: "b"}`, new: `a?: {k: "a", x!: int & <5} | {k: "b"}`, want: Breaking},
		{what: "an alternative must set more", old: `a?: {k: "a"} | {k: "b"}`, new: `a?: {k: "a", x!: int} | {k: "b"}`, want: Breaking},
		{what: "alternatives change their order", old: `a?: {k: "a"} | {k: "b"}`, new: `a?: {k: "b"} | {k: "a"}`, want: Safe},
		{what: "a struct or nothing narrows", old: `a: null | {x!: int}`, new: `a: null | {x!: int & <3}`, want: Breaking},
	}},
	{"Rules between variables", []change{
		{what: "a rule between two variables stays", old: `min!: int, max!: >=min`, new: `min!: int, max!: >=min`, want: Safe},
		{what: "a rule between two variables stays beside another change", old: `min!: int, max!: int & >=min, b?: int`, new: `min!: int, max!: int & >=min, b?: int, c?: int`, want: Safe},
		{what: "a rule between two variables stays while one of them widens", old: `min!: int & >1, max!: int & >=min`, new: `min!: int, max!: int & >=min`, want: Safe},
		{what: "a rule between two variables is added", old: `min!: int, max!: int`, new: `min!: int, max!: int & >=min`, want: Breaking},
		{what: "a rule between two variables is removed", old: `min!: int, max!: int & >=min`, new: `min!: int, max!: int`, want: Safe},
		{what: "a rule between two variables is turned round", old: `min!: int, max!: int & >=min`, new: `min!: int, max!: int & <=min`, want: Breaking},
		{what: "a rule stays and the default that it refers to changes", old: `min: *1 | int, max!: int & >=min`, new: `min: *5 | int, max!: int & >=min`, want: Breaking},
		{what: "a condition stays", old: `k: *"b" | "a", if k == "a" {x!: int}`, new: `k: *"b" | "a", if k == "a" {x!: int}, z?: int`, want: Safe},
		{what: "a condition is added that asks for more", old: `k: *"b" | "a"`, new: `k: *"b" | "a", if k == "a" {x!: int}`, want: Breaking},
		{what: "a condition is removed with what it declared", old: `k: *"b" | "a", if k == "a" {x?: int}`, new: `k: *"b" | "a"`, want: Breaking},
		{what: "a condition is added that declares what may be left out", old: `k: *"b" | "a"`, new: `k: *"b" | "a", if k == "a" {x?: int}`, want: Unknown},
		{what: "a condition stays and the default that it asks about changes", old: `k: *"a" | "b", if k == "a" {x?: int}`, new: `k: "a" | *"b", if k == "a" {x?: int}`, want: Breaking},
		{what: "a variable narrows to what a condition says of it by default", old: `k: *"a" | "b", x?: int, if k == "a" {x?: <5}`, new: `k: *"a" | "b", x?: int & <5, if k == "a" {x?: <5}`, want: Unknown},
		{what: "a variable widens that a condition bounds", old: `k: *"a" | "b", x?: int & <5, if k == "a" {x?: >2}`, new: `k: *"a" | "b", x?: int, if k == "a" {x?: >2}`, want: Safe},
		{what: "what a condition declares narrows", old: `p: {k!: "a" | "b", if k == "a" {x!: int}}`, new: `p: {k!: "a" | "b", if k == "a" {x!: int & <5}}`, want: Breaking},
		{what: "what a condition declares widens", old: `p: {k!: "a" | "b", if k == "a" {x!: int & <5}}`, new: `p: {k!: "a" | "b", if k == "a" {x!: int}}`, want: Unknown},
		{what: "a hidden check is added", old: `a!: int, b!: int`, new: `a!: int, b!: int, _sum: a+b & <10`, want: Breaking},
		{what: "a hidden check is removed", old: `a!: int, b!: int, _sum: a+b & <10`, new: `a!: int, b!: int`, want: Safe},
		{what: "variables are embedded from a definition", old: `team?: string`, new: `#Team`, want: Safe},
	}},
}

const templateAround = `package t

import (
	"list"
	"math"
	"strings"
	"struct"
	"time"
)

_uses: [list.MaxItems, math.MultipleOf, strings.MaxRunes, struct.MaxFields, time.Duration]

#P: int & >=1 & <=5
#Q: =~"^a"
#Port: int & >=1 & <=65535
#Low: int & <10
#Lower: int & <5
#Team: {team?: string}

#Context: {}
context: #Context
values: #Variables
objects: {}
rollout: {}
#Variables: {
%s
}
`

func around(variables string) map[string]string {
	return map[string]string{"t.cue": fmt.Sprintf(templateAround, variables)}
}

func withVariables(t testing.TB, variables string) *Template {
	t.Helper()
	template, err := Compile(around(strings.ReplaceAll(variables, ", ", "\n")))
	if err != nil {
		t.Fatalf("compiling %s: %v", variables, err)
	}
	return template
}

func TestCompare(t *testing.T) {
	rows := 0
	for _, group := range changes {
		for _, row := range group.rows {
			rows++
			t.Run(row.what, func(t *testing.T) {
				got := compared(t, row)
				if got.Verdict != row.want {
					t.Errorf("wanted %s, found %s for %s -> %s: %+v", row.want, got.Verdict, row.old, row.new, got.Changes)
				}
				if !slices.IsSortedFunc(got.Changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) }) {
					t.Errorf("wanted changes sorted by path, found %+v", got.Changes)
				}
			})
		}
	}
	if rows < 60 {
		t.Errorf("wanted a table of at least 60 changes, found %d", rows)
	}
}

func compared(t testing.TB, row change) *Comparison {
	t.Helper()
	got, err := Compare(withVariables(t, row.old), withVariables(t, row.new))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

const (
	changesPage  = "../../docs/changes.md"
	tableBegins  = "<!-- The tables are written by: go test ./schemas/render -run TestChangesAreDocumented -update-changes -->\n"
	tableEnds    = "<!-- End of the tables. -->\n"
	nothingFound = "nothing is different"
)

// The page for people has every row of the table, with what Compare says of it today.
func TestChangesAreDocumented(t *testing.T) {
	var b strings.Builder
	code := func(s string) string {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\n", "; "), "|", "\\|")
		return "`" + s + "`"
	}
	for _, group := range changes {
		fmt.Fprintf(&b, "\n### %s\n\n| change | before | after | verdict | why |\n|---|---|---|---|---|\n", group.title)
		for _, row := range group.rows {
			got := compared(t, row)
			why := nothingFound
			for _, ch := range got.Changes {
				if ch.Verdict == got.Verdict {
					why = ch.Why
					break
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.what, code(row.old), code(row.new), got.Verdict, strings.ReplaceAll(why, "|", "\\|"))
		}
	}
	page, err := os.ReadFile(changesPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), tableBegins)
	table, after, end := strings.Cut(rest, "\n"+tableEnds)
	if !ok || !end {
		t.Fatalf("wanted the lines that the tables stand between in %s, found none", changesPage)
	}
	if table == b.String() {
		return
	}
	if !*updateChanges {
		t.Fatalf("%s does not say what Compare does; do: go test ./schemas/render -run TestChangesAreDocumented -update-changes", changesPage)
	}
	whole := before + tableBegins + b.String() + "\n" + tableEnds + after
	if err := os.WriteFile(changesPage, []byte(whole), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A revision compared with itself, and with one whose objects alone differ, has no changes.
func TestCompareLooksAtVariablesAlone(t *testing.T) {
	before, err := Compile(around("a?: int"))
	if err != nil {
		t.Fatal(err)
	}
	other := around("a?: int")
	other["t.cue"] = strings.Replace(other["t.cue"], "objects: {}", "objects: {x: kind: \"Service\"}", 1)
	after, err := Compile(other)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Template{before, after} {
		got, err := Compare(before, x)
		if err != nil || got.Verdict != Safe || got.Changes == nil || len(got.Changes) != 0 {
			t.Errorf("found %+v %v", got, err)
		}
	}
}

// What a sensitive variable may be, or is by default, is not repeated.
func TestCompareKeepsSecrets(t *testing.T) {
	for _, row := range []change{
		{old: `a: *"hunter2" | string @sensitive()`, new: `a: *"hunter3" | string @sensitive()`, want: DefaultChanged},
		{old: `a?: "hunter2" | "x" @sensitive()`, new: `a?: "x" @sensitive()`, want: Breaking},
		{old: `a?: "hunter2" @sensitive()`, new: `b?: int`, want: Breaking},
		{old: `a: *"hunter2" | string @sensitive()`, new: `a!: string @sensitive()`, want: Breaking},
	} {
		got := compared(t, row)
		if text := fmt.Sprint(got.Changes); got.Verdict != row.want || strings.Contains(text, "hunter") {
			t.Errorf("%s: found %s %s", row.old, got.Verdict, text)
		}
	}
}

// Many goroutines may compare the same templates.
func TestCompareMayRunTwiceAtATime(t *testing.T) {
	before, after := withVariables(t, "a?: int & <9, r: {b: *1 | int}"), withVariables(t, "a?: int & <5, r: {b: *2 | int}")
	want, err := Compare(before, after)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, err := Compare(before, after); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("found %+v %v, wanted %+v", got, err, want)
			}
		})
	}
	all.Wait()
}
