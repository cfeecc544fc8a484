package tree

import (
	"fmt"
	"strings"
)

// Fact is one line about one thing. Facts hold no ages, so that a fact differs from an
// earlier one with the same key only where something happened.
type Fact struct {
	// Key says what it is about; unique in one View.
	Key string
	// Text is the line.
	Text string
}

// Facts tells a View line by line.
func Facts(v View) []Fact {
	r := v.Release
	phase := orElse(string(r.Phase), "not looked at yet")
	facts := []Fact{{"release", join(fmt.Sprintf("release %s/%s", r.Namespace, r.Name), phase, staleNote(r), r.Message)}}
	if o := v.Rollout; o != nil {
		facts = append(facts, rolloutFacts(o, r.Message)...)
	}
	for _, s := range v.Sets {
		text := fmt.Sprintf("set %s (%s): %d of %d available", orElse(s.Revision, "(no revision)"), s.Role, s.Available, s.Desired)
		if s.Weight != nil {
			text += fmt.Sprintf(", %d %% of requests", *s.Weight)
		}
		facts = append(facts, Fact{"set " + s.Revision, text})
	}
	for i, n := range v.Notes {
		facts = append(facts, Fact{fmt.Sprintf("note %d", i), "note: " + n})
	}
	return facts
}

func rolloutFacts(o *Rollout, said string) []Fact {
	state := orElse(string(o.Phase), "not looked at yet")
	if o.Paused {
		state += ", paused"
	}
	if o.Reason != "" {
		state += " (" + o.Reason + ")"
	}
	message := o.Message
	if message == said {
		message = ""
	}
	facts := []Fact{{"rollout", join("rollout "+o.Name, state, message)}}
	if c := o.AbortCause; c != nil {
		facts = append(facts, Fact{"abort " + o.Name, fmt.Sprintf("rollout %s: aborted: %s (%s)", o.Name, c.Message, c.Code)})
	}
	facts = append(facts, Fact{"weight", fmt.Sprintf("rollout %s: weight: %s", o.Name, weightText(o))})
	if o.Size != "" {
		facts = append(facts, Fact{"size", fmt.Sprintf("rollout %s: %s", o.Name, o.Size)})
	}
	for _, s := range o.Steps {
		if s.State == StepCurrent || s.State == StepFailed {
			facts = append(facts, Fact{"step", join(fmt.Sprintf("rollout %s: step %d of %d", o.Name, s.Number, len(o.Steps)), fmt.Sprintf("%s, %s", s.State, s.Text))})
		}
	}
	if a := o.Analysis; a != nil {
		said := []string{fmt.Sprintf("%s in step %d", a.Verdict, a.Step)}
		if len(a.Findings) == 0 && a.Message != "" {
			said = append(said, a.Message)
		}
		for _, f := range a.Findings {
			said = append(said, findingText(f, o.units[f.Metric]))
		}
		facts = append(facts, Fact{"analysis", fmt.Sprintf("rollout %s: analysis: %s", o.Name, strings.Join(said, "; "))})
	}
	return facts
}

// join puts colons between the parts that are not empty.
func join(parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, ": ")
}

// Changed returns the facts that are new or differ from before, in their order.
func Changed(before, after []Fact) []Fact {
	old := map[string]string{}
	for _, f := range before {
		old[f.Key] = f.Text
	}
	var changed []Fact
	for _, f := range after {
		if text, ok := old[f.Key]; !ok || text != f.Text {
			changed = append(changed, f)
		}
	}
	return changed
}
