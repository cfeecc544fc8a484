package synctree

import (
	"fmt"
	"slices"
	"strings"

	"tidegate.io/tidegate/cmd/tidegate/internal/tree"
)

// Facts tells a View line by line, without ages, so that a line differs from an earlier one
// with the same key only where something happened.
func Facts(v View) []tree.Fact {
	t := v.Template
	parts := []string{"template " + t.Name}
	if s := v.Sync; s == nil {
		parts = append(parts, "not published yet")
	} else {
		state := fmt.Sprintf("%s, target %s", phaseText(s), s.Target)
		if s.Reason != "" {
			state += " (" + s.Reason + ")"
		}
		parts = append(parts, state)
	}
	if note := staleNote(t); note != "" {
		parts = append(parts, note)
	}
	if v.Sync != nil && v.Sync.Message != "" {
		parts = append(parts, v.Sync.Message)
	}
	facts := []tree.Fact{{Key: "template", Text: strings.Join(parts, ": ")}}
	if t.Broken != "" {
		facts = append(facts, tree.Fact{Key: "broken", Text: fmt.Sprintf("template %s: the newest source is not published: %s", t.Name, t.Broken)})
	}
	if v.Sync != nil {
		for _, w := range v.Sync.Waves {
			facts = append(facts, tree.Fact{Key: "wave " + w.Name, Text: fmt.Sprintf("wave %s: %s: %s", w.Name, w.Phase, countsText(w))})
		}
		for _, w := range v.Sync.Waiting {
			text := fmt.Sprintf("release %s/%s: %s, %s", w.Namespace, w.Name, w.State, placeText(w))
			if w.Message != "" {
				text += ": " + w.Message
			}
			facts = append(facts, tree.Fact{Key: "release " + w.Namespace + "/" + w.Name, Text: text})
		}
	}
	if t.Drifted > 0 {
		facts = append(facts, tree.Fact{Key: "drift", Text: "engine drift: " + driftText(t.Drifted)})
	}
	// Oldest first, as they came.
	for _, c := range slices.Backward(v.Commands) {
		facts = append(facts, tree.Fact{Key: "command " + c.Name, Text: fmt.Sprintf("command %s: %s", commandText(c), answerText(c))})
	}
	for i, n := range v.Notes {
		facts = append(facts, tree.Fact{Key: fmt.Sprintf("note %d", i), Text: "note: " + n})
	}
	return facts
}
