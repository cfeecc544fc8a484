// Package synctree shows where the sync of a template stands: which revision is in force,
// how far each wave is, who waits and why, and what people decided. A View is made of what
// was read from the cluster, and is drawn as a tree, told as facts, or given to tools as
// JSON. It reads nothing itself.
package synctree

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/cmd/tidegate/internal/tree"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// maxCommands is how many of the last commands are shown.
const maxCommands = 5

// View is all that is shown of one template.
type View struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Outcome    Outcome  `json:"outcome"`
	Template   Template `json:"template"`
	// Sync is nil before the first revision was published.
	Sync *Sync `json:"sync,omitempty"`
	// Revisions are the target, the one that is left behind, and the newest, newest first.
	Revisions []Revision `json:"revisions,omitempty"`
	Channels  []Channel  `json:"channels,omitempty"`
	// Commands are the last ones, newest first.
	Commands []Command `json:"commands,omitempty"`
	// Notes say what could not be read.
	Notes []string `json:"notes,omitempty"`
}

// Outcome says whether there is something left to wait for.
type Outcome string

const (
	// Underway is: Releases are being brought to the target, or the newest spec has not been
	// looked at yet.
	Underway Outcome = "Underway"
	// Synced is: every wave has been passed.
	Synced Outcome = "Synced"
	// Halted is: Releases failed, or the source is broken, and nothing more happens until
	// somebody acts.
	Halted Outcome = "Halted"
)

// Template is what the ReleaseTemplate says.
type Template struct {
	Name               string            `json:"name"`
	Sync               v1alpha1.SyncType `json:"sync"`
	LatestRevision     string            `json:"latestRevision,omitempty"`
	Releases           int32             `json:"releases"`
	Generation         int64             `json:"generation"`
	ObservedGeneration int64             `json:"observedGeneration"`
	// Broken is why the newest source is not published; empty where it is.
	Broken string `json:"broken,omitempty"`
	// Drifted is how many Releases this version's engine would render differently.
	Drifted int32 `json:"drifted,omitempty"`
}

// Sync is where the sync stands.
type Sync struct {
	Target         string             `json:"target"`
	From           string             `json:"from,omitempty"`
	RolledBackFrom string             `json:"rolledBackFrom,omitempty"`
	Phase          v1alpha1.SyncPhase `json:"phase"`
	// Reason is the stable code; docs/reasons.md explains it.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Wave is the current one, counted from 1; 0 before the first.
	Wave  int32  `json:"wave"`
	Waves []Wave `json:"waves,omitempty"`
	// Waiting are Releases that are not on the target, the most important first; at most 50.
	Waiting []v1alpha1.WaitingRelease `json:"waiting,omitempty"`
}

// Wave is one wave with its counts.
type Wave struct {
	v1alpha1.WaveStatus `json:",inline"`
	Number              int32 `json:"number"`
	// SoakUntil is when the soak ends; nil where none has begun.
	SoakUntil *time.Time `json:"soakUntil,omitempty"`
}

// Revision is one TemplateRevision.
type Revision struct {
	Name   string `json:"name"`
	Number int64  `json:"number"`
	// Role is target, from, latest or rolled back from.
	Role        string     `json:"role"`
	Digest      string     `json:"digest,omitempty"`
	Engine      string     `json:"engine,omitempty"`
	PublishedAt *time.Time `json:"publishedAt,omitempty"`
}

// Channel is a name for a revision.
type Channel struct {
	Name     string `json:"name"`
	Revision int64  `json:"revision"`
	// Missing is true where there is no such revision.
	Missing bool `json:"missing,omitempty"`
}

// Command is what a person decided.
type Command struct {
	Name     string                  `json:"name"`
	Action   v1alpha1.TemplateAction `json:"action"`
	Revision int64                   `json:"revision,omitempty"`
	Actor    string                  `json:"actor,omitempty"`
	Reason   string                  `json:"reason,omitempty"`
	At       time.Time               `json:"at"`
	// Outcome is empty while there is no answer.
	Outcome v1alpha1.CommandOutcome `json:"outcome,omitempty"`
	Message string                  `json:"message,omitempty"`
}

// Build makes a View of what was read. Revisions and commands of other templates are left
// out; revisions are nil where they could not be read.
func Build(t *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision, commands []v1alpha1.TemplateCommand) View {
	v := View{
		APIVersion: tree.APIVersion,
		Kind:       "TemplateStatus",
		Template: Template{
			Name:               t.Name,
			Sync:               cmp.Or(t.Spec.Sync.Type, v1alpha1.SyncImmediate),
			LatestRevision:     t.Status.LatestRevision,
			Releases:           t.Status.Releases,
			Generation:         t.Generation,
			ObservedGeneration: t.Status.ObservedGeneration,
		},
	}
	stalled := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionStalled)
	if stalled != nil && stalled.Status == metav1.ConditionTrue {
		v.Template.Broken = stalled.Message
	}
	if s := t.Status.Sync; s != nil {
		v.Template.Drifted = s.Drifted
		v.Sync = buildSync(t, s)
	}
	v.Revisions = buildRevisions(t, revisions)
	v.Channels = buildChannels(t, revisions)
	v.Commands = buildCommands(t.Name, commands)
	v.Outcome = v.outcome()
	return v
}

// stale says whether the status speaks of an older spec.
func (t Template) stale() bool { return t.ObservedGeneration != t.Generation }

func (v View) outcome() Outcome {
	switch {
	case v.Template.stale():
		return Underway
	case v.Template.Broken != "":
		return Halted
	case v.Sync == nil:
		return Underway
	}
	switch v.Sync.Phase {
	case v1alpha1.SyncSynced:
		return Synced
	case v1alpha1.SyncHalted:
		return Halted
	case v1alpha1.SyncSyncing, v1alpha1.SyncSoaking, v1alpha1.SyncPaused:
	}
	return Underway
}

func buildSync(t *v1alpha1.ReleaseTemplate, s *v1alpha1.TemplateSyncStatus) *Sync {
	out := &Sync{
		Target: s.Target, From: s.From, RolledBackFrom: s.RolledBackFrom, Phase: s.Phase, Reason: s.Reason, Message: s.Message,
		Wave: s.Wave, Waiting: s.Waiting,
	}
	soaks := map[string]time.Duration{}
	for _, w := range t.Spec.Sync.Waves {
		soaks[w.Name] = w.Soak.Duration
	}
	for i, w := range s.Waves {
		wave := Wave{WaveStatus: w, Number: int32(i) + 1}
		if soak := soaks[w.Name]; soak > 0 && s.SettledAt != nil && s.Phase == v1alpha1.SyncSoaking && wave.Number == s.Wave {
			until := s.SettledAt.Add(soak)
			wave.SoakUntil = &until
		}
		out.Waves = append(out.Waves, wave)
	}
	return out
}

func buildRevisions(t *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision) []Revision {
	roles := map[string]string{}
	name := func(revision, role string) {
		if revision != "" && roles[revision] == "" {
			roles[revision] = role
		}
	}
	if s := t.Status.Sync; s != nil {
		name(s.Target, "target")
		name(s.RolledBackFrom, "rolled back from")
		name(s.From, "from")
	}
	name(t.Status.LatestRevision, "latest")
	var out []Revision
	for i := range revisions {
		r := &revisions[i]
		role, ok := roles[r.Name]
		if !ok || r.Spec.Template != t.Name {
			continue
		}
		revision := Revision{Name: r.Name, Number: r.Spec.Number, Role: role, Digest: r.Spec.Digest, Engine: r.Spec.Engine}
		if at := r.CreationTimestamp; !at.IsZero() {
			revision.PublishedAt = &at.Time
		}
		out = append(out, revision)
	}
	slices.SortFunc(out, func(a, b Revision) int { return cmp.Compare(b.Number, a.Number) })
	return out
}

func buildChannels(t *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision) []Channel {
	var out []Channel
	for _, c := range t.Spec.Channels {
		there := slices.ContainsFunc(revisions, func(r v1alpha1.TemplateRevision) bool {
			return r.Spec.Template == t.Name && r.Spec.Number == c.Revision
		})
		out = append(out, Channel{Name: c.Name, Revision: c.Revision, Missing: revisions != nil && !there})
	}
	return out
}

func buildCommands(template string, commands []v1alpha1.TemplateCommand) []Command {
	var out []Command
	for i := range commands {
		c := &commands[i]
		if c.Spec.Template == template {
			out = append(out, Command{
				Name: c.Name, Action: c.Spec.Action, Revision: c.Spec.Revision, Actor: c.Spec.Actor, Reason: c.Spec.Reason,
				At: c.CreationTimestamp.Time, Outcome: c.Status.Outcome, Message: c.Status.Message,
			})
		}
	}
	slices.SortFunc(out, func(a, b Command) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(b.Name, a.Name))
	})
	return out[:min(len(out), maxCommands)]
}
