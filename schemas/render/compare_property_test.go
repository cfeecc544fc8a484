package render

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// releases have other facts than those that Compare makes up.
var releases = []Context{
	someRelease,
	{Name: "a", Namespace: "q"},
	{Name: "zz", Namespace: "prod"},
	{Name: "ab", Namespace: "b"},
}

// withFacts says what comes beside the variables of the pairs: what depends on facts too.
const withFacts = `#Context: {name: string, namespace: string}
_pick: [if context.namespace == "prod" {"^[a-c]+$"}, "^[a-z]+$"][0]
_far: [if context.name == "a" {2}, 4][0]
let _top = [if context.namespace == "q" {"^[a-b]+$"}, "^[a-z]+$"][0]
_used: _top
`

// told is #Variables of t for the Release that c tells of.
func told(t *Template, c Context) cue.Value {
	return t.root.FillPath(factsPath, t.ctx.BuildExpr(t.factsOf(c))).LookupPath(variablesPath)
}

// accepted looks for values that t accepts by leaving out and trying anew what it refuses.
func (g grammar) accepted(t *Template, variables cue.Value) (map[string]any, bool) {
	o := g.object(0)
	for range 12 {
		known, err := refusal(t, variables, o)
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
func refusal(t *Template, variables cue.Value, o map[string]any) (known bool, refused error) {
	defer func() {
		if recover() != nil {
			known, refused = false, nil
		}
	}()
	return true, variables.Unify(t.ctx.BuildExpr(syntax(parsed(o)))).Validate(cue.Concrete(true), cue.Final())
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
	pairs := 150
	if testing.Short() {
		pairs = 40
	}
	if *comparePairs > 0 {
		pairs = *comparePairs
	}
	g := grammar{Rand: rand.New(rand.NewPCG(*compareSeed, 1))}
	property(t, pairs, func() (string, string) {
		old := g.fields(0)
		text := old
		for text == old {
			text = pick(g, g.edited(old), g.edited(old), g.edited(g.edited(old)), g.fields(0))
		}
		return old, text
	})
}

// The same, with anything in the templates changed, deep in them and beside #Variables.
func TestSafeIsSafeWhereverAChangeIs(t *testing.T) {
	pairs := 200
	if testing.Short() {
		pairs = 40
	}
	if *comparePairs > 0 {
		pairs = *comparePairs
	}
	g := grammar{Rand: rand.New(rand.NewPCG(*compareSeed, 2))}
	property(t, pairs, func() (string, string) {
		const between, end = "\n}\n", "_end: {"
		old, helpers := g.fields(0), g.helpers()
		text, changed := old, helpers
		for range 1 + g.IntN(2) {
			if g.IntN(4) > 0 {
				text = g.mangled(text)
			} else {
				changed = g.mangled(changed)
			}
		}
		return old + between + helpers + end, text + between + changed + end
	})
}

// The same, where the facts of a Release or other variables decide.
func TestSafeIsSafeUnderSeveralFacts(t *testing.T) {
	pairs := 120
	if testing.Short() {
		pairs = 60
	}
	if *comparePairs > 0 {
		pairs = *comparePairs
	}
	g := grammar{Rand: rand.New(rand.NewPCG(*compareSeed, 4))}
	property(t, pairs, func() (string, string) {
		kind := g.IntN(7)
		return g.dependent(kind), g.dependent(kind)
	})
}

// property looks, for each of pairs of templates that made makes, for values that are right
// for the first and wrong for the second although Compare says that there are none.
func property(t *testing.T, pairs int, made func() (old, text string)) {
	t.Helper()
	g := grammar{Rand: rand.New(rand.NewPCG(*compareSeed, 3))}
	counts := map[Verdict]int{}
	tried := 0
	for range pairs {
		old, text := made()
		before, err := Compile(aroundFacts(old))
		if err != nil {
			continue
		}
		after, err := Compile(aroundFacts(text))
		if err != nil {
			continue
		}
		c, err := Compare(before, after)
		if err != nil {
			t.Fatalf("comparing\n%s\nwith\n%s\n%v", old, text, err)
		}
		counts[c.Verdict]++
		if c.Verdict == Safe || c.Verdict == DefaultChanged {
			tried += g.about(old, text).contradict(t, before, after, c, old, text)
		}
	}
	t.Logf("%v, %d values", counts, tried)
	if tried < pairs {
		t.Errorf("only %d values were tried: the grammar makes too few that are right", tried)
	}
}

// contradict looks for a value that contradicts c; it returns how many it tried.
func (g grammar) contradict(t *testing.T, before, after *Template, c *Comparison, old, text string) (tried int) {
	t.Helper()
	const tries = 20
	for _, release := range []Context{pick(g, releases...), pick(g, releases...)} {
		was, is := told(before, release), told(after, release)
		for range tries {
			o, ok := g.accepted(before, was)
			if !ok {
				continue
			}
			tried++
			if _, err := refusal(after, is, o); err != nil {
				t.Errorf("%s was said of\n%s\n-- to --\n%s\nbut %v is refused now for %v: %v\n%+v", c.Verdict, old, text, o, release, err, c.Changes)
				return tried
			}
		}
	}
	return tried
}

// aroundFacts is a template with variables that may depend on facts.
func aroundFacts(variables string) map[string]string {
	files := around(variables)
	files["t.cue"] = strings.Replace(files["t.cue"], "#Context: {}\n", withFacts, 1)
	return files
}
