package render

import (
	"strings"

	"cuelang.org/go/cue"

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
	v.lintSecret(d)
	v.lintReferredPatterns(d)
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
