package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// formerStep and formerPreview are the fields of the form of strategies before steps that each
// set one thing.
var (
	formerStep    = []string{"weight", "hold", "analysis", "approval"}
	formerPreview = []string{"hold", "approval"}
)

// former returns a line for each step, and for a preview, in that form: what it is to
// be written as. There are templates in it, whose authors need to be told how to go on.
func former(rollout map[string]any) []string {
	var lines []string
	steps, _ := rollout["steps"].([]any)
	for i, item := range steps {
		step, _ := item.(map[string]any)
		if found := said(step, formerStep); len(found) > 0 {
			lines = append(lines, fmt.Sprintf("rollout.steps[%d].%s: wanted one of %s, since a step sets one thing or waits for one thing, found %s; write %s",
				i, found[0], strings.Join(stepKinds(), ", "), listed(found), cmp.Or(strings.Join(rewritten(step), ", "), "no step at all")))
		}
	}
	preview := child(rollout, "preview")
	if found := said(preview, formerPreview); len(found) > 0 {
		lines = append(lines, fmt.Sprintf("rollout.preview.%s: wanted replicas alone, since what comes before the switch is said in steps, found %s; write steps: [%s]",
			found[0], listed(found), strings.Join(append(rewritten(preview), "{setWeight: 100}"), ", ")))
	}
	return lines
}

// said are those of fields that m has.
func said(m map[string]any, fields []string) []string {
	return slices.DeleteFunc(slices.Clone(fields), func(field string) bool {
		_, set := m[field]
		return !set
	})
}

// rewritten is a step of that form as steps of this one.
func rewritten(step map[string]any) []string {
	var out []string
	if weight, set := step["weight"]; set {
		out = append(out, fmt.Sprintf("{setWeight: %s}", shown(weight)))
	}
	if hold, set := step["hold"]; set && hold != "0s" {
		out = append(out, fmt.Sprintf("{pause: duration: %s}", shown(hold)))
	}
	if step["analysis"] == true {
		out = append(out, "{analyze: {}}")
	}
	if step["approval"] == true {
		out = append(out, "{pause: approval: true}")
	}
	return out
}
