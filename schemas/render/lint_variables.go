package render

import (
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/language"
	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// lintVariables finds what the language lets pass in #Variables.
func (v *vetter) lintVariables() {
	if !v.template.linked {
		v.fail(CodeOpenStruct, place(v.template.root.LookupPath(valuesPath).Pos()), "wanted just values: #Variables, found something else, so that a template may read what no team can set; move what is added there into a hidden field")
	}
	for _, d := range v.template.declared() {
		if d.path != values.Root {
			v.lintVariable(d)
		}
		v.lintOpen(d)
		v.lintDefault(d)
		v.lintDependentDefaults(d)
	}
}

func (v *vetter) lintVariable(d declared) {
	if d.kind == fieldOf && shape.Description(d.value) == "" {
		v.warn(CodeUndocumented, d.position, "%s: wanted a comment that says what it is for, found none; write one above it", d.path)
	}
	scalar := d.value.IncompleteKind()&(cue.StructKind|cue.ListKind) == 0
	if d.kind == fieldOf && d.constraint == 0 && scalar && shape.NeedsValue(d.value) {
		v.advise(CodeIncomplete, d.position, "%s: wanted %s!: where a Release must set it, found a field that has no value and no mark; add the ! (or ? where it may be left out, or a default)", d.path, lastName(d.path))
	}
	if _, has := d.value.Default(); has && d.constraint != 0 && d.kind == fieldOf && scalar {
		mark := "!"
		if d.constraint == cue.OptionalConstraint {
			mark = "?"
		}
		v.advise(CodeDefaultUnused, d.position, "%s: wanted a default or the mark %s, found both; a field with %s never takes its default, so remove one", d.path, mark, mark)
	}
	if d.value.IncompleteKind() == cue.TopKind {
		v.advise(CodeFreeForm, d.position, "%s: wanted to know what is accepted, found _, which accepts anything; name a type", d.path)
	}
	v.lintUse(d)
	v.lintSecret(d)
	v.lintReferredPatterns(d)
}

// lintUse finds variables that nobody can set, or not by their name.
func (v *vetter) lintUse(d declared) {
	if impossible(d.value) && !d.conditional {
		v.fail(CodeImpossible, d.position, "%s: wanted something that a Release can set, found bounds that no value fits; widen them, or remove the variable", d.path)
	}
	if name := lastName(d.path); d.kind == fieldOf && slices.Contains(yamlWords, strings.ToLower(name)) {
		v.warn(CodeYAMLName, d.position, "%s: wanted a name that YAML reads as text, found %s, which it takes for a boolean or for null unless it is in quotes; give it another name", d.path, name)
	}
}

// yamlWords are what YAML 1.1, which kubectl reads, takes for a boolean or for null.
var yamlWords = []string{"y", "yes", "on", "true", "n", "no", "off", "false", "null", "~"}

// possible says whether v may have a value, for all that is told by itself.
func possible(v cue.Value) bool { return !impossible(v) && !badlyMatched(v) }

// impossible says whether no value fits v, as far as that can be told without the values of
// others.
func impossible(v cue.Value) bool {
	if shape.DependentAnywhere(v) || shape.Refused(v) {
		return false
	}
	if shape.Kinds(v)&(cue.StructKind|cue.ListKind) == 0 && v.IncompleteKind() == cue.BottomKind {
		return v.Validate() != nil || shape.EmptyChoice(v)
	}
	arms := shape.Of(v).Arms
	return len(arms) > 0 && !slices.ContainsFunc(arms, func(a shape.Arm) bool { return !a.Empty() && !unmatched(a) })
}

// unmatched says whether no text matches the patterns of a.
func unmatched(a shape.Arm) bool {
	if a.Kind != shape.String || a.Literal != "" || len(a.Patterns)+len(a.AntiPatterns) == 0 {
		return false
	}
	if slices.ContainsFunc(slices.Concat(a.Patterns, a.AntiPatterns), func(p string) bool { _, err := regexp.Compile(p); return err != nil }) {
		return false // That is told by itself.
	}
	found := false
	whole := language.Search(setOf(a), nil, func(string, []bool) bool {
		found = true
		return true
	})
	return whole && !found
}

func lastName(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// lintOpen finds structs in which a misspelt name is no error.
func (v *vetter) lintOpen(d declared) {
	if !isStruct(d.value) || !v.template.open(d.value) {
		return
	}
	switch {
	case !d.leaf:
		v.fail(CodeOpenStruct, d.position, "%s: wanted a closed struct, so that a typo is an error, found that it accepts any name beside its fields; remove the ... or the pattern, or move the free names into a map of their own", d.path)
	case !d.isMap:
		v.advise(CodeFreeForm, d.position, "%s: wanted to know what is accepted, found a struct that accepts any name and value; write its fields, or a map such as [string]: string", d.path)
	}
}
