package cuepolicy

import (
	"encoding/json"
	"slices"

	"cuelang.org/go/cue"
)

// missing finds the fields that a schema has plainly and an object has not. Unification
// alone does not: it fills in what the schema says, and is content with it.
type missing struct {
	// known are the paths of conflicts, which say it already.
	known map[string]bool
	found []Finding
}

// absent is what an object has where it has nothing, which null is not.
type absent struct{}

// missing are those of an object with a schema that was unified with it, so that its
// conditions are decided.
func (i *instance) missing(unified cue.Value, raw []byte, known map[string]bool) []Finding {
	var object any
	if json.Unmarshal(raw, &object) != nil {
		return nil // it was read before
	}
	m := &missing{known: known}
	m.walk(unified, object, nil)
	return m.found
}

// walk compares what there is at a path, found being what the object has.
func (m *missing) walk(unified cue.Value, found any, path []string) {
	if len(m.found) > maxFindings || (len(path) > 0 && m.known[pathText(path)]) {
		return
	}
	_, nothing := found.(absent)
	switch unified.IncompleteKind() {
	case cue.StructKind:
		if !m.fields(unified, found, path) && nothing {
			m.add(unified, path)
		}
	case cue.ListKind:
		if nothing {
			m.add(unified, path)
			return
		}
		list, _ := found.([]any)
		items, err := unified.List()
		for n := 0; err == nil && n < len(list) && items.Next(); n++ {
			m.walk(items.Value(), list[n], slices.Concat(path, []string{items.Selector().String()}))
		}
	default:
		if nothing {
			m.add(unified, path)
		}
	}
}

// fields walks the plain fields of a struct, and says whether it has any fields, such as may
// be missing among them: a struct with nothing but those may be missing itself.
func (m *missing) fields(unified cue.Value, found any, path []string) (some bool) {
	fields, err := unified.Fields(cue.Optional(true), cue.Patterns(true))
	if err != nil {
		return true // a conflict, which is reported as one
	}
	object, _ := found.(map[string]any)
	for fields.Next() {
		some = true
		s := fields.Selector()
		if s.ConstraintType() != 0 || !s.IsString() {
			continue
		}
		next, ok := object[s.Unquoted()]
		if !ok {
			next = absent{}
		}
		m.walk(fields.Value(), next, slices.Concat(path, []string{s.String()}))
	}
	return some
}

func (m *missing) add(wanted cue.Value, path []string) {
	f := Finding{Path: pathText(path), Wanted: constraint(wanted), Found: "nothing"}
	f.Message, f.Fix, f.Code = attribute(wanted, "msg"), attribute(wanted, "fix"), attribute(wanted, "code")
	m.found = append(m.found, f)
}
