// Package history shows what became of a Release so far: its Rollouts, newest first, and
// of one of them every move and every decision of a person. It is pure.
package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// View is the history of a Release.
type View struct {
	Namespace string  `json:"namespace"`
	Release   string  `json:"release"`
	Rollouts  []Entry `json:"rollouts"`
}

// Outcome says in a word what became of a Rollout.
type Outcome string

// The outcomes.
const (
	// Serving is what the requests go to.
	Serving Outcome = "serving"
	// Served has been in service, and another one is now.
	Served Outcome = "served"
	// Aborted was turned back.
	Aborted Outcome = "aborted"
	// UnderWay has not ended.
	UnderWay Outcome = "under way"
)

// Entry is one Rollout.
type Entry struct {
	Number           int64   `json:"number"`
	Name             string  `json:"name"`
	Revision         string  `json:"revision"`
	TemplateRevision string  `json:"templateRevision"`
	Digest           string  `json:"digest"`
	Strategy         string  `json:"strategy"`
	Outcome          Outcome `json:"outcome"`
	// Reason and Message say where it stands or how it ended.
	Reason  string     `json:"reason,omitempty"`
	Message string     `json:"message,omitempty"`
	Created time.Time  `json:"created"`
	Ended   *time.Time `json:"ended,omitempty"`
	// Restores is the name of the Rollout whose revision it brought back.
	Restores string                  `json:"restores,omitempty"`
	Known    bool                    `json:"known,omitempty"`
	Sizes    []Size                  `json:"sizes,omitempty"`
	Values   string                  `json:"values,omitempty"`
	Moves    []v1alpha1.HistoryEntry `json:"moves,omitempty"`
	Checks   []v1alpha1.Check        `json:"checks,omitempty"`
	Commands []Command               `json:"commands,omitempty"`
}

// Command is a person's decision about a Rollout.
type Command struct {
	At      time.Time               `json:"at"`
	Action  v1alpha1.CommandAction  `json:"action"`
	Step    int32                   `json:"step,omitempty"`
	Actor   string                  `json:"actor,omitempty"`
	Reason  string                  `json:"reason,omitempty"`
	Outcome v1alpha1.CommandOutcome `json:"outcome,omitempty"`
	Message string                  `json:"message,omitempty"`
}

// Of makes the history out of the Rollouts of a Release and the commands about them.
func Of(release *v1alpha1.Release, rollouts []v1alpha1.Rollout, commands []v1alpha1.RolloutCommand) View {
	v := View{Namespace: release.Namespace, Release: release.Name, Rollouts: []Entry{}}
	for i := range rollouts {
		if rollouts[i].Spec.Release == release.Name {
			v.Rollouts = append(v.Rollouts, entryOf(&rollouts[i], commands))
		}
	}
	slices.SortFunc(v.Rollouts, func(a, b Entry) int { return cmp.Compare(b.Number, a.Number) })
	serving := false
	for i := range v.Rollouts {
		if e := &v.Rollouts[i]; e.Outcome == Serving {
			if serving {
				e.Outcome = Served
			}
			serving = true
		}
	}
	return v
}

func entryOf(r *v1alpha1.Rollout, commands []v1alpha1.RolloutCommand) Entry {
	e := Entry{
		Number: r.Spec.Number, Name: r.Name, Revision: r.Spec.Revision, TemplateRevision: r.Spec.TemplateRevision,
		Digest: r.Spec.Digest, Strategy: string(r.Spec.Strategy.Type), Outcome: UnderWay,
		Reason: r.Status.Reason, Message: r.Status.Message, Created: r.CreationTimestamp.Time,
		Known: r.Spec.Known, Moves: r.Status.History, Checks: r.Status.Checks,
	}
	e.Sizes = sizesOf(r.Spec)
	if restores := r.Spec.Restores; restores != nil {
		e.Restores = restores.Rollout
	}
	if r.Spec.Values != nil {
		if text, err := yaml.JSONToYAML(r.Spec.Values.Raw); err == nil {
			e.Values = string(text)
		}
	}
	switch r.Status.Phase {
	case v1alpha1.RolloutSucceeded:
		e.Outcome = Serving
	case v1alpha1.RolloutAborted:
		e.Outcome = Aborted
	case v1alpha1.RolloutPending, v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutAborting:
	}
	if r.Status.Phase.Terminal() {
		for _, move := range r.Status.History {
			if move.Phase == r.Status.Phase {
				e.Ended = &move.At.Time
			}
		}
	}
	if cause := r.Status.AbortCause; cause != nil && e.Outcome == Aborted {
		e.Reason, e.Message = cause.Code, cause.Message
	}
	for i := range commands {
		c := &commands[i]
		if c.Spec.Rollout == r.Name {
			e.Commands = append(e.Commands, Command{
				At: c.CreationTimestamp.Time, Action: c.Spec.Action, Step: c.Spec.Step, Actor: c.Spec.Actor,
				Reason: c.Spec.Reason, Outcome: c.Status.Outcome, Message: c.Status.Message,
			})
		}
	}
	slices.SortStableFunc(e.Commands, func(a, b Command) int { return a.At.Compare(b.At) })
	return e
}

// Find returns the Rollout with a number, a name or a revision; with a revision the newest.
func (v View) Find(which string) (Entry, bool) {
	for _, e := range v.Rollouts {
		if which == e.Name || which == fmt.Sprint(e.Number) || which == e.Revision {
			return e, true
		}
	}
	return Entry{}, false
}

// Table returns the lines of the history, newest first.
func (v View) Table(style term.Style, now time.Time) []string {
	if len(v.Rollouts) == 0 {
		return []string{fmt.Sprintf("Release %s/%s has no Rollout yet.", v.Namespace, v.Release)}
	}
	rows := [][]string{{"NUMBER", "REVISION", "OUTCOME", "TEMPLATE", "TOOK", "AGE", "WHY"}}
	for _, e := range v.Rollouts {
		rows = append(rows, []string{
			fmt.Sprint(e.Number), e.Revision, string(e.Outcome), e.TemplateRevision, e.took(now), short(now.Sub(e.Created)), e.why(),
		})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		var b strings.Builder
		for j, cell := range row {
			text := fmt.Sprintf("%-*s", widths[j]+2, cell)
			if i > 0 && j == 2 {
				text = style.Paint(colour(v.Rollouts[i-1].Outcome), text)
			}
			b.WriteString(text)
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

func colour(o Outcome) term.Color {
	switch o {
	case Serving:
		return term.Good
	case Aborted:
		return term.Bad
	case UnderWay:
		return term.Busy
	case Served:
	}
	return term.Faint
}

func (e Entry) took(now time.Time) string {
	if e.Ended == nil {
		return short(now.Sub(e.Created)) + " so far"
	}
	return short(e.Ended.Sub(e.Created))
}

// why is a sentence short enough for a table.
func (e Entry) why() string {
	const limit = 90
	var text string
	switch {
	case e.Restores != "" && e.Outcome != Aborted:
		text = "brought back from " + e.Restores
	case e.Outcome == Aborted || e.Outcome == UnderWay:
		text = e.Reason + ": " + term.Line(e.Message)
	case e.Known:
		text = "known to be good, walked no steps"
	}
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit-3]) + "..."
	}
	return text
}

// Lines returns all that is known of one Rollout.
func (e Entry) Lines(style term.Style, now time.Time) []string {
	out := []string{
		fmt.Sprintf("Rollout %s: revision %s, %s", e.Name, e.Revision, style.Paint(colour(e.Outcome), string(e.Outcome))),
		fmt.Sprintf("  template %s, strategy %s, %s", e.TemplateRevision, e.Strategy, e.Digest),
		fmt.Sprintf("  created %s, took %s", e.Created.UTC().Format(time.RFC3339), e.took(now)),
	}
	if e.Restores != "" {
		out = append(out, "  brought back the revision of "+e.Restores)
	}
	out = append(out, e.sizeLines()...)
	if e.Message != "" {
		out = append(out, fmt.Sprintf("  %s: %s", e.Reason, term.Line(e.Message)))
	}
	out = append(out, "Moves:")
	for _, m := range e.Moves {
		out = append(out, fmt.Sprintf("  %s  %-11s step %d, %d %%  %s: %s", m.At.UTC().Format(time.TimeOnly), m.Phase, m.Step, m.Weight, m.Reason, term.Line(m.Message)))
	}
	if len(e.Checks) > 0 {
		out = append(out, "Jobs and hooks:")
	}
	for _, c := range e.Checks {
		what := "job " + c.Job
		if c.Job == "" {
			what = "hook " + c.Hook
		}
		out = append(out, fmt.Sprintf("  %s  step %d  %s: %s %s", c.At.UTC().Format(time.TimeOnly), c.Step, what, c.Outcome, term.Line(c.Message)))
	}
	if len(e.Commands) > 0 {
		out = append(out, "Decisions of people:")
	}
	for _, c := range e.Commands {
		out = append(out, "  "+c.line())
	}
	if e.Values != "" {
		out = append(out, "Values:")
		for line := range strings.Lines(e.Values) {
			out = append(out, "  "+strings.TrimRight(term.Plain(line), "\n"))
		}
	}
	return out
}

func (c Command) line() string {
	text := fmt.Sprintf("%s  %s", c.At.UTC().Format(time.TimeOnly), c.Action)
	if c.Step > 0 {
		text += fmt.Sprintf(" of step %d", c.Step)
	}
	if c.Actor != "" {
		text += " by " + term.Line(c.Actor)
	}
	if c.Reason != "" {
		text += ": " + term.Line(c.Reason)
	}
	if c.Outcome == "" {
		return text + " (not answered yet)"
	}
	return text + fmt.Sprintf(" (%s: %s)", c.Outcome, term.Line(c.Message))
}

// short is a time to the second below an hour, and coarser above.
func short(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
