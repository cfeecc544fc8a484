package tree

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Options say how a View is drawn.
type Options struct {
	Style term.Style
	// Now is what ages are counted to.
	Now time.Time
	// Columns is the width that sentences are wrapped to; 0 wraps nothing.
	Columns int
}

// node is one entry of the tree. Prose is wrapped, the other lines are not.
type node struct {
	text     string
	prose    bool
	children []node
}

// Draw returns the lines of the tree.
func Draw(v View, o Options) []string {
	root := node{text: releaseLine(v, o.Style)}
	root.add(sentence(staleNote(v.Release)), sentence(term.Line(v.Release.Message)))
	if v.Rollout != nil {
		root.add(rolloutNode(v.Rollout, v.Release.Message, o))
	}
	if len(v.Sets) > 0 {
		sets := node{text: "sets"}
		for _, s := range v.Sets {
			sets.add(node{text: setLine(s, o.Style)})
		}
		root.add(sets)
	}
	for _, n := range v.Notes {
		root.add(sentence("note: " + term.Line(n)))
	}
	return root.draw(nil, "", "", o)
}

// add appends the children that have a text.
func (n *node) add(children ...node) {
	for _, c := range children {
		if c.text != "" {
			n.children = append(n.children, c)
		}
	}
}

func sentence(text string) node { return node{text: text, prose: true} }

// draw appends the lines of n. First stands before its first line, rest before those
// that follow.
func (n node) draw(lines []string, first, rest string, o Options) []string {
	faint := func(s string) string { return o.Style.Paint(term.Faint, s) }
	text := []string{n.text}
	if n.prose {
		text = wrap(n.text, o.Columns-utf8.RuneCountInString(first))
	}
	trunk := rest
	if len(n.children) > 0 {
		trunk += o.Style.Symbol("│", "|")
	}
	for i, t := range text {
		if i == 0 {
			lines = append(lines, faint(first)+t)
		} else {
			lines = append(lines, faint(trunk)+t)
		}
	}
	for i, c := range n.children {
		if i < len(n.children)-1 {
			lines = c.draw(lines, rest+o.Style.Symbol("├─ ", "|- "), rest+o.Style.Symbol("│  ", "|  "), o)
		} else {
			lines = c.draw(lines, rest+o.Style.Symbol("└─ ", "`- "), rest+"   ", o)
		}
	}
	return lines
}

// wrap breaks text between words into lines of at most width characters.
func wrap(text string, width int) []string {
	words := strings.Fields(text)
	if width < 20 || len(words) == 0 {
		return []string{strings.Join(words, " ")}
	}
	var lines []string
	line := words[0]
	for _, w := range words[1:] {
		if utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > width {
			lines = append(lines, line)
			line = w
			continue
		}
		line += " " + w
	}
	return append(lines, line)
}

func releaseLine(v View, s term.Style) string {
	r := v.Release
	parts := []string{
		s.Paint(term.Strong, r.Namespace+"/"+r.Name),
		s.Paint(outcomeColor(v.Outcome), orElse(string(r.Phase), "not looked at yet")),
		"template " + orElse(r.TemplateRevision, r.Template),
	}
	if r.Revision != "" {
		parts = append(parts, "revision "+r.Revision)
	}
	return strings.Join(parts, "  ")
}

func outcomeColor(o Outcome) term.Color {
	switch o {
	case Serving:
		return term.Good
	case Failed:
		return term.Bad
	default:
		return term.Busy
	}
}

func staleNote(r Release) string {
	if !r.stale() {
		return ""
	}
	if r.ObservedGeneration < 1 {
		return "Tidegate has not looked at this Release yet; is the manager running?"
	}
	return fmt.Sprintf("the status speaks of generation %d of the spec; generation %d has not been looked at yet", r.ObservedGeneration, r.Generation)
}

func rolloutNode(r *Rollout, said string, o Options) node {
	n := node{text: rolloutLine(r, o.Style)}
	if c := r.AbortCause; c != nil {
		n.add(sentence(o.Style.Paint(term.Bad, "aborted") + ": " + term.Line(c.Message) + " (" + c.Code + ")"))
	}
	if r.Message != said && (r.AbortCause == nil || r.Message != r.AbortCause.Message) {
		n.add(sentence(term.Line(r.Message)))
	}
	n.add(node{text: "weight: " + weightText(r)}, sentence(r.Size))
	n.add(stepsNode(r, o))
	if r.Analysis != nil {
		n.add(analysisNode(r, o))
	}
	return n
}

func rolloutLine(r *Rollout, s term.Style) string {
	parts := []string{
		"rollout " + s.Paint(term.Strong, r.Name),
		s.Paint(phaseColor(r.Phase), orElse(string(r.Phase), "not looked at yet")),
	}
	if r.Paused {
		parts = append(parts, s.Paint(term.Busy, "paused"))
	}
	if r.Reason != "" {
		parts = append(parts, r.Reason)
	}
	return strings.Join(parts, "  ")
}

func phaseColor(p v1alpha1.RolloutPhase) term.Color {
	switch p {
	case v1alpha1.RolloutSucceeded:
		return term.Good
	case v1alpha1.RolloutAborted, v1alpha1.RolloutAborting:
		return term.Bad
	default:
		return term.Busy
	}
}

func weightText(r *Rollout) string {
	if !r.Strategy.InSets() {
		return fmt.Sprintf("%d %% of the pods, %d %% approved", r.Weight, r.ApprovedWeight)
	}
	return fmt.Sprintf("%d %% on the route, %d %% approved", r.Weight, r.ApprovedWeight)
}

func stepsNode(r *Rollout, o Options) node {
	if r.InPlace {
		return node{text: "steps: none, the revision already serves and is changed in place"}
	}
	n := node{text: "steps"}
	for _, s := range r.Steps {
		symbol, color := stepSymbol(s.State, o.Style)
		text := fmt.Sprintf("%s %d  %s", o.Style.Paint(color, symbol), s.Number, s.Text)
		if s.StartedAt != nil {
			text += "  " + sinceText(s, o.Now)
		}
		n.add(node{text: text})
	}
	return n
}

func stepSymbol(s StepState, style term.Style) (string, term.Color) {
	switch s {
	case StepDone:
		return style.Symbol("✔", "+"), term.Good
	case StepCurrent:
		return style.Symbol("▶", ">"), term.Busy
	case StepFailed:
		return style.Symbol("✘", "x"), term.Bad
	default:
		return style.Symbol("○", "."), term.Faint
	}
}

func sinceText(s Step, now time.Time) string {
	since := now.Sub(*s.StartedAt)
	text := "for " + span(since)
	if left := s.pause - since; left > 0 {
		text += ", " + span(left) + " to go"
	}
	return text
}

func analysisNode(r *Rollout, o Options) node {
	a := r.Analysis
	color := verdictColor(a.Verdict)
	n := node{text: fmt.Sprintf("analysis  %s  in step %d, %s ago",
		o.Style.Paint(color, string(a.Verdict)), a.Step, span(o.Now.Sub(a.TakenAt.Time)))}
	if len(a.Findings) == 0 {
		n.add(sentence(term.Line(a.Message)))
	}
	for _, f := range a.Findings {
		symbol := verdictSymbol(f.Verdict, o.Style)
		child := sentence(o.Style.Paint(verdictColor(f.Verdict), symbol) + " " + findingText(f, r.units[f.Metric]))
		if f.Verdict != v1alpha1.VerdictPass {
			child.add(sentence(term.Line(f.Message)))
		}
		n.add(child)
	}
	return n
}

// findingText says what was measured, with the numbers and the limit.
func findingText(f v1alpha1.Finding, unit string) string {
	parts := []string{f.Metric + " " + f.Judge, string(f.Verdict)}
	if f.Cause != "" {
		parts[1] += " (" + string(f.Cause) + ")"
	}
	arm := func(name, value, samples string) {
		switch {
		case value != "" && samples != "":
			parts = append(parts, fmt.Sprintf("%s %s of %s samples", name, number(value, unit), count(samples)))
		case value != "":
			parts = append(parts, name+" "+number(value, unit))
		case samples != "":
			parts = append(parts, fmt.Sprintf("%s %s samples", name, count(samples)))
		}
	}
	arm("canary", f.Canary, f.CanarySamples)
	arm("stable", f.Stable, f.StableSamples)
	if f.Limit != "" {
		parts = append(parts, "limit "+number(f.Limit, unit))
	}
	return parts[0] + ": " + strings.Join(parts[1:], ", ")
}

func verdictColor(v v1alpha1.Verdict) term.Color {
	switch v {
	case v1alpha1.VerdictPass:
		return term.Good
	case v1alpha1.VerdictFail:
		return term.Bad
	default:
		return term.Busy
	}
}

func verdictSymbol(v v1alpha1.Verdict, s term.Style) string {
	switch v {
	case v1alpha1.VerdictPass:
		return s.Symbol("✔", "+")
	case v1alpha1.VerdictFail:
		return s.Symbol("✘", "x")
	default:
		return "?"
	}
}

func setLine(s Set, style term.Style) string {
	color := term.Good
	if s.Available < s.Desired {
		color = term.Busy
	}
	text := fmt.Sprintf("%s  %s  %s", orElse(s.Revision, "(no revision)"), s.Role,
		style.Paint(color, fmt.Sprintf("%d of %d available", s.Available, s.Desired)))
	if s.Weight != nil {
		text += fmt.Sprintf("  %d %% of requests", *s.Weight)
	}
	if !s.Current {
		text += "  (the Deployment's newest change is not counted yet)"
	}
	return text
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
