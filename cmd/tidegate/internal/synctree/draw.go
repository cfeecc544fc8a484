package synctree

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/cmd/tidegate/internal/tree"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// States of a Release that waits, and phases of a wave, as the status spells them.
const (
	stateFailed = "Failed"
	stateBroken = "Broken"

	waveWaiting = "Waiting"
	waveDone    = "Done"
	waveHalted  = "Halted"
)

// Draw returns the lines of the tree.
func Draw(v View, o tree.Options) []string {
	root := tree.Item{Text: templateLine(v, o.Style)}
	root.Add(tree.Sentence(staleNote(v.Template)))
	if v.Template.Broken != "" {
		root.Add(tree.Sentence(o.Style.Paint(term.Bad, "the newest source is not published: ") + term.Line(v.Template.Broken)))
	}
	if s := v.Sync; s != nil {
		if s.Reason != "" {
			root.Add(tree.Item{Text: s.Reason, Items: []tree.Item{tree.Sentence(term.Line(s.Message))}})
		} else {
			root.Add(tree.Sentence(term.Line(s.Message)))
		}
		root.Add(revisionItems(v, o), waveItems(s, o), waitingItems(s, o.Style))
	}
	if n := v.Template.Drifted; n > 0 {
		root.Add(tree.Sentence(o.Style.Paint(term.Busy, "engine drift: ") + driftText(n)))
	}
	root.Add(commandItems(v.Commands, o))
	for _, n := range v.Notes {
		root.Add(tree.Sentence("note: " + term.Line(n)))
	}
	return tree.Outline(root, o)
}

func templateLine(v View, s term.Style) string {
	parts := []string{s.Paint(term.Strong, v.Template.Name)}
	if v.Sync == nil {
		return strings.Join(append(parts, s.Paint(outcomeColor(v.Outcome), "not published yet")), "  ")
	}
	parts = append(parts, s.Paint(outcomeColor(v.Outcome), phaseText(v.Sync)), "target "+v.Sync.Target)
	if v.Sync.From != "" && v.Sync.Phase != v1alpha1.SyncSynced {
		parts = append(parts, "from "+v.Sync.From)
	}
	return strings.Join(append(parts, "sync "+string(v.Template.Sync), plural(v.Template.Releases, "release")), "  ")
}

func phaseText(s *Sync) string {
	if s.RolledBackFrom != "" {
		return fmt.Sprintf("%s (rolled back from %s)", s.Phase, s.RolledBackFrom)
	}
	return string(s.Phase)
}

func outcomeColor(o Outcome) term.Color {
	switch o {
	case Synced:
		return term.Good
	case Halted:
		return term.Bad
	case Underway:
	}
	return term.Busy
}

// staleNote says that the status speaks of an older spec, or is empty.
func staleNote(t Template) string {
	if !t.stale() {
		return ""
	}
	if t.ObservedGeneration <= 0 {
		return "the template has not been looked at yet; is the manager running?"
	}
	return fmt.Sprintf("the status speaks of generation %d of the spec; generation %d has not been looked at yet", t.ObservedGeneration, t.Generation)
}

func driftText(n int32) string {
	return fmt.Sprintf("%s would be rendered differently by this version of Tidegate than when judged; nothing of it is applied", plural(n, "release"))
}

func plural(n int32, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// group is an entry that is left out where it holds nothing.
func group(title string, items []tree.Item) tree.Item {
	if len(items) == 0 {
		return tree.Item{}
	}
	return tree.Item{Text: title, Items: items}
}

func revisionItems(v View, o tree.Options) tree.Item {
	var items []tree.Item
	for _, r := range v.Revisions {
		text := r.Name + "  " + r.Role
		if r.PublishedAt != nil {
			text += "  published " + ago(*r.PublishedAt, o.Now)
		}
		if r.Engine != "" {
			text += "  engine " + r.Engine
		}
		items = append(items, tree.Item{Text: text})
	}
	for _, c := range v.Channels {
		items = append(items, tree.Item{Text: channelText(v.Template.Name, c, o.Style)})
	}
	return group("revisions", items)
}

func channelText(template string, c Channel, s term.Style) string {
	text := fmt.Sprintf("channel %s is %s-%d", c.Name, template, c.Revision)
	if c.Missing {
		text += s.Paint(term.Bad, ", which does not exist")
	}
	return text
}

func waveItems(s *Sync, o tree.Options) tree.Item {
	var items []tree.Item
	width := 0
	for _, w := range s.Waves {
		width = max(width, len(w.Name))
	}
	for _, w := range s.Waves {
		symbol, color := waveSymbol(w.Phase, o.Style)
		text := fmt.Sprintf("%s %d  %-*s  %-7s  %s", o.Style.Paint(color, symbol), w.Number, width, w.Name, w.Phase, countsText(w))
		if w.SoakUntil != nil {
			text += "  " + soakText(*w.SoakUntil, o.Now)
		}
		items = append(items, tree.Item{Text: text})
	}
	return group("waves", items)
}

func waveSymbol(phase string, s term.Style) (string, term.Color) {
	switch phase {
	case waveDone:
		return s.Symbol("✔", "+"), term.Good
	case waveHalted:
		return s.Symbol("✘", "x"), term.Bad
	case waveWaiting:
		return s.Symbol("○", "."), term.Faint
	}
	return s.Symbol("▶", ">"), term.Busy
}

// countsText says how many Releases of a wave are where.
func countsText(w Wave) string {
	parts := []string{fmt.Sprintf("%d of %d settled", w.Settled, w.Releases)}
	for _, c := range []struct {
		n    int32
		what string
	}{{w.Moving, "moving"}, {w.Failed, "failed"}, {w.Excused, "not waited for"}, {w.Forgiven, "accepted by a resume"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return strings.Join(parts, ", ")
}

func soakText(until, now time.Time) string {
	if left := until.Sub(now); left > 0 {
		return "soaks for " + left.Round(time.Second).String() + " more"
	}
	return "has soaked"
}

func waitingItems(s *Sync, style term.Style) tree.Item {
	var items []tree.Item
	for _, w := range s.Waiting {
		item := tree.Item{Text: fmt.Sprintf("%s/%s  %s  %s", w.Namespace, w.Name, style.Paint(stateColor(w.State), w.State), placeText(w))}
		if w.Message != "" {
			item.Add(tree.Sentence(term.Line(w.Message)))
		}
		items = append(items, item)
	}
	return group("not on "+s.Target, items)
}

func stateColor(state string) term.Color {
	switch state {
	case stateFailed, stateBroken:
		return term.Bad
	}
	return term.Busy
}

func placeText(w v1alpha1.WaitingRelease) string {
	text := "on " + w.Revision
	if w.Revision == "" {
		text = "on none yet"
	}
	if w.Wave != "" {
		text += ", wave " + w.Wave
	}
	return text
}

func commandItems(commands []Command, o tree.Options) tree.Item {
	var items []tree.Item
	for _, c := range commands {
		item := tree.Item{Text: fmt.Sprintf("%s  %s  %s", commandText(c), ago(c.At, o.Now), answerText(c))}
		if c.Reason != "" {
			item.Add(tree.Sentence("reason: " + term.Line(c.Reason)))
		}
		items = append(items, item)
	}
	return group("last commands", items)
}

func commandText(c Command) string {
	text := string(c.Action)
	if c.Revision != 0 {
		text += fmt.Sprintf(" to %d", c.Revision)
	}
	if c.Actor != "" {
		text += " by " + term.Line(c.Actor)
	}
	return text
}

func answerText(c Command) string {
	switch {
	case c.Outcome == "":
		return "no answer yet"
	case c.Message != "":
		return string(c.Outcome) + ": " + term.Line(c.Message)
	}
	return string(c.Outcome)
}

func ago(at, now time.Time) string {
	if at.IsZero() {
		return "just now"
	}
	return duration.HumanDuration(now.Sub(at)) + " ago"
}
