package simulate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Condition is a short sentence about where a scenario stands, such as "step 3" or
// "weight above 20".
type Condition struct {
	Text  string
	holds func(w *world) bool
}

// conditionHelp lists the sentences, for messages.
const conditionHelp = `"phase Promoting", "reason TG-...", "revision v2", "step 3", "weight 20", "approved above 20", "new pods below 2" or "stable pods 8"`

// numbers are what a condition can compare with a number.
var numbers = map[string]func(w *world) int32{
	"step":     func(w *world) int32 { return w.current().status.Step },
	"weight":   func(w *world) int32 { return w.carried(w.current().spec.Revision) },
	"approved": func(w *world) int32 { return w.current().status.ApprovedWeight },
	"new pods": func(w *world) int32 { return w.available(w.current().spec.Revision) },
	"stable pods": func(w *world) int32 {
		if s := w.current().spec.Stable; s != nil {
			return w.available(s.Revision)
		}
		return 0
	},
	"baseline pods": func(w *world) int32 { return w.available(baselineOf(w.current().spec)) },
}

// parseCondition reads a sentence; ok is false where it is none.
func parseCondition(text string) (c Condition, ok bool) {
	words := strings.Fields(text)
	c.Text = strings.Join(words, " ")
	if len(words) == 2 {
		if c.holds = named(words[0], words[1]); c.holds != nil {
			return c, true
		}
	}
	if len(words) > 2 && words[1] == "pods" {
		words = append([]string{words[0] + " pods"}, words[2:]...)
	}
	if len(words) < 2 || len(words) > 3 || numbers[words[0]] == nil {
		return c, false
	}
	value := numbers[words[0]]
	n, ok := amount(words[0], words[len(words)-1])
	if !ok {
		return c, false
	}
	c.holds = func(w *world) bool { return int64(value(w)) == n }
	if len(words) == 2 {
		return c, true
	}
	switch words[1] {
	case "above":
		c.holds = func(w *world) bool { return int64(value(w)) > n }
	case "below":
		c.holds = func(w *world) bool { return int64(value(w)) < n }
	default:
		return c, false
	}
	return c, true
}

// amount reads the number that something is compared with; ok is false where it can never be that.
func amount(what, text string) (n int64, ok bool) {
	n, err := strconv.ParseInt(text, 10, 32)
	share := what == "weight" || what == "approved"
	return n, err == nil && n >= 0 && (!share || n <= full)
}

// named is a condition that compares with a name; nil where it is none.
func named(what, name string) func(w *world) bool {
	switch {
	case what == "phase" && slices.Contains(phases, name):
		return func(w *world) bool { return string(w.current().status.Phase) == name }
	case what == "reason" && strings.HasPrefix(name, "TG-"):
		return func(w *world) bool { return slices.Contains(w.current().passed, name) }
	case what == "revision":
		return func(w *world) bool { return w.current().spec.Revision == name }
	}
	return nil
}

// judge notes which conditions of a list hold, or do not, though they should not.
func (w *world) judge(list []Condition, holding bool, word string) {
	for _, c := range list {
		if c.holds(w) == holding && !slices.Contains(w.broken, c.Text) {
			w.broken = append(w.broken, c.Text)
			w.fail("expect.%s: wanted %q %s, found it %s at %s (%s)", word, c.Text, word,
				map[bool]string{true: "so", false: "not so"}[holding], short(w.since()), w.stands())
		}
	}
}

// stands says in a few words where the scenario stands.
func (w *world) stands() string {
	r := w.current()
	return fmt.Sprintf("%s %s, step %d, weight %d %%, %s", r.name(), r.status.Phase, r.status.Step, w.carried(r.spec.Revision), r.status.Reason)
}
