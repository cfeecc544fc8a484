package news

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Kind is what happened.
type Kind string

// The kinds of events.
const (
	// Begun is: the Rollout walks its steps.
	Begun Kind = "Begun"
	// Step is: the exposure of a step is there, read back, or a step that exposes nothing more
	// was come to, which is of the severity Debug.
	Step Kind = "Step"
	// Waiting is: a person has to decide, by an approval or by the end of a pause.
	Waiting Kind = "Waiting"
	// Held is: the Rollout does not go on, for the reason that its code says.
	Held Kind = "Held"
	// FellBack is: exposure was lowered, and the Rollout goes on.
	FellBack Kind = "FellBack"
	// Promoting is: every step is passed.
	Promoting Kind = "Promoting"
	// Succeeded is: the revision is the stable one.
	Succeeded Kind = "Succeeded"
	// Aborting is: everything is on its way back to the stable revision.
	Aborting Kind = "Aborting"
	// Aborted is: the stable revision has everything again.
	Aborted Kind = "Aborted"
	// Repairing is: what serves was changed from outside, and is put right.
	Repairing Kind = "Repairing"
	// Notify is: a step of the strategy has something to say.
	Notify Kind = "Notify"
	// Test is: somebody sees whether a sink takes messages. It is about no Rollout, and no
	// route takes it.
	Test Kind = "Test"
)

// Kinds returns all kinds that routes take, in the order of a Rollout's life.
func Kinds() []Kind {
	return []Kind{Begun, Step, Waiting, Held, FellBack, Promoting, Succeeded, Aborting, Aborted, Repairing, Notify}
}

// Severity is how much an event asks for attention.
type Severity string

// The severities, the least first.
const (
	// Debug is the controller at work: holds that every Rollout goes through.
	Debug Severity = "debug"
	// Info is what goes as it should.
	Info Severity = "info"
	// Warning is what somebody has to look at, or decide.
	Warning Severity = "warning"
	// Error is a version that did not make it.
	Error Severity = "error"
)

// Severities returns all severities, the least first.
func Severities() []Severity { return []Severity{Debug, Info, Warning, Error} }

// Reaches says whether s is at least as grave as least.
func (s Severity) Reaches(least Severity) bool { return s.rank() >= least.rank() }

func (s Severity) rank() int {
	for i, other := range Severities() {
		if s == other {
			return i
		}
	}
	return 0
}

// Event is one thing to tell.
type Event struct {
	// ID is the same whenever the same thing is told again: receivers may drop what they
	// have seen.
	ID       string
	Kind     Kind
	Severity Severity
	// At is when it was decided.
	At time.Time

	Namespace string
	// Release is the name of the Release, and Labels are its labels.
	Release string
	Labels  map[string]string
	// Rollout is the name of the Rollout, Number the count of the Release's.
	Rollout string
	UID     string
	Number  int64
	// Revision names what runs, Digest all that was rendered, Template what rendered it.
	Revision, Digest, Template string

	Phase string
	// Step counts from 1 and is 0 before the first of Steps; Weight is the approved exposure
	// in percent.
	Step, Steps, Weight int32

	// Code is the stable code, and Why the sentence with the numbers. Both are empty for
	// Notify.
	Code, Why string
	// Text is what the step says, for Notify and Test alone.
	Text string
	// Remedy is what to do, empty where nothing is to be done.
	Remedy string
	// Sink is the name of the sink that the step asks for, for Notify alone; empty otherwise.
	Sink string
}

// Title says in a few words what happened to what.
func (e Event) Title() string {
	return fmt.Sprintf("%s/%s %s", e.Namespace, e.Release, e.happened())
}

func (e Event) happened() string {
	switch e.Kind {
	case Begun:
		return "begins to roll out revision " + e.Revision
	case Step:
		return fmt.Sprintf("is at %s with %d %%", e.place(), e.Weight)
	case Waiting:
		return "waits for a person at " + e.place()
	case Held:
		return "is held at " + e.place()
	case FellBack:
		return fmt.Sprintf("fell back to %s with %d %%", e.place(), e.Weight)
	case Promoting:
		return "promotes revision " + e.Revision
	case Succeeded:
		return "is on revision " + e.Revision
	case Aborting:
		return "aborts revision " + e.Revision
	case Aborted:
		return "has given up revision " + e.Revision
	case Repairing:
		return "was changed from outside and is being put right"
	case Notify:
		return "says at " + e.place()
	case Test:
		return "is a test message, about no rollout"
	}
	return string(e.Kind)
}

// place is where in its steps the Rollout is.
func (e Event) place() string {
	switch {
	case e.Phase == string(v1alpha1.RolloutSucceeded) || e.Phase == string(v1alpha1.RolloutAborted):
		return "its end"
	case e.Step == 0:
		return "its beginning"
	}
	return fmt.Sprintf("step %d/%d", e.Step, e.Steps)
}

// Body says why and what to do, a line each, as plain text.
func (e Event) Body() string {
	var lines []string
	switch {
	case e.Text != "":
		lines = append(lines, e.Text)
	case e.Why != "":
		lines = append(lines, fmt.Sprintf("Why: %s (%s)", e.Why, e.Code))
	}
	if e.Remedy != "" {
		lines = append(lines, "Do: "+e.Remedy)
	}
	return strings.Join(lines, "\n")
}

// identity makes the ID of what tells an event from all others.
func identity(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}
