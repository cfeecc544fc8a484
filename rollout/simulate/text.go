package simulate

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Text writes the decisions for people: each with what has happened before it, what is done
// and why. Where all is false only those that did or changed something are there.
func (r Result) Text(out io.Writer, all bool) error {
	var b strings.Builder
	for _, rec := range r.Records {
		for _, e := range rec.Events {
			fmt.Fprintf(&b, "%-7s * %s\n", at(e.Seconds), e.Text)
		}
		if rec.Shown || all {
			rec.write(&b)
		}
	}
	r.Summary.write(&b)
	_, err := io.WriteString(out, b.String())
	return err
}

// at is a time since the beginning.
func at(seconds float64) string {
	return short(time.Duration(seconds * float64(time.Second)).Round(time.Millisecond))
}

func (rec Record) write(b *strings.Builder) {
	step := "no step"
	if rec.Step > 0 {
		step = fmt.Sprintf("step %d/%d %s", rec.Step, rec.Steps, rec.StepText)
	}
	weight := fmt.Sprintf("%d %%", rec.Weight)
	if rec.Weight != rec.ApprovedWeight && !rec.Phase.Terminal() && rec.Phase != v1alpha1.RolloutPending {
		weight = fmt.Sprintf("%d -> %d %%", rec.Weight, rec.ApprovedWeight)
	}
	pods := fmt.Sprintf("new %d/%d, stable %d/%d", rec.CanaryAvailable, rec.CanaryReplicas, rec.StableAvailable, rec.StableReplicas)
	if rec.BaselineReplicas > 0 {
		pods += fmt.Sprintf(", baseline %d/%d", rec.BaselineAvailable, rec.BaselineReplicas)
	}
	line := fmt.Sprintf("%-7s %s %-11s  %-28s  %-12s  %s", at(rec.Seconds), rec.Rollout, rec.Phase, step, weight, pods)
	fmt.Fprintln(b, strings.TrimRight(line, " "))
	for _, a := range rec.Actions {
		failed := ""
		if a.Failed {
			failed = ", which the API server refuses"
		}
		fmt.Fprintf(b, "        > %s%s\n", a.text(), failed)
	}
	for _, m := range rec.Moves {
		if m.Reason != plan.ReasonStepReached { // that is no news: the step is in the line above
			fmt.Fprintf(b, "        %s: %s\n", m.Reason, m.Message)
		}
	}
	if rec.Reason != "" {
		fmt.Fprintf(b, "        %s: %s\n", rec.Reason, rec.Message)
	}
}

func (s Summary) write(b *strings.Builder) {
	end := string(s.Outcome)
	if !s.Settled {
		end += ", not settled"
	} else if !s.Outcome.Terminal() {
		end += ", waiting for a person or for a change"
	}
	serving := "no revision has all of the requests"
	if s.Serving != "" {
		serving = s.Serving + " has all of the requests"
	}
	fmt.Fprintf(b, "= %s %s after %s (%s); %s; highest weight %d %%; requests at risk %s", s.Rollout, end, at(s.Seconds), s.Reason, serving, s.HighestWeight, at(s.SecondsAtRisk))
	if s.AtRisk != "" {
		fmt.Fprintf(b, ": %s", s.AtRisk)
	}
	b.WriteString("\n")
}

// JSON writes one decision a line, and a last line with the summary.
func (r Result) JSON(out io.Writer, all bool) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	var events []EventRecord
	for _, rec := range r.Records {
		events = append(events, rec.Events...)
		if !rec.Shown && !all {
			continue
		}
		rec.Events, events = events, nil
		if err := enc.Encode(rec); err != nil {
			return err
		}
	}
	return enc.Encode(struct {
		Kind string `json:"kind"`
		Summary
		Failures []string `json:"failures"`
	}{"summary", r.Summary, append([]string{}, r.Failures...)})
}
