// Package tree shows where a Release stands: a View is made of what was read from the
// cluster, and is drawn as a tree, told as facts that can be compared with the last
// ones, or given to tools as JSON. It reads nothing itself.
package tree

import (
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// APIVersion of the JSON form of a View. Fields are only ever added to it.
const APIVersion = "cli.tidegate.io/v1alpha1"

// View is all that is shown of one Release.
type View struct {
	APIVersion string  `json:"apiVersion"`
	Kind       string  `json:"kind"`
	Outcome    Outcome `json:"outcome"`
	Release    Release `json:"release"`
	// Rollout is the newest one; nil before the first.
	Rollout *Rollout `json:"rollout,omitempty"`
	// Sets are the sets of pods, the stable one first.
	Sets []Set `json:"sets,omitempty"`
	// Notes say what could not be read.
	Notes []string `json:"notes,omitempty"`
}

// Outcome says whether there is something left to wait for.
type Outcome string

const (
	// Underway is: work goes on, or the newest spec has not been looked at yet.
	Underway Outcome = "Underway"
	// Serving is: the spec's revision has all of the traffic.
	Serving Outcome = "Serving"
	// Failed is: the spec was rejected, and nothing more happens until somebody acts.
	Failed Outcome = "Failed"
)

// Release is what the Release says.
type Release struct {
	Namespace          string                `json:"namespace"`
	Name               string                `json:"name"`
	Template           string                `json:"template"`
	TemplateRevision   string                `json:"templateRevision,omitempty"`
	Phase              v1alpha1.ReleasePhase `json:"phase,omitempty"`
	Message            string                `json:"message,omitempty"`
	Revision           string                `json:"revision,omitempty"`
	StableRevision     string                `json:"stableRevision,omitempty"`
	Generation         int64                 `json:"generation"`
	ObservedGeneration int64                 `json:"observedGeneration"`
}

// Rollout is what the newest Rollout says.
type Rollout struct {
	Name     string                `json:"name"`
	Revision string                `json:"revision"`
	Phase    v1alpha1.RolloutPhase `json:"phase,omitempty"`
	Paused   bool                  `json:"paused,omitempty"`
	// Reason is the stable code; docs/reasons.md explains it.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// AbortCause is why it was aborted.
	AbortCause *v1alpha1.Cause `json:"abortCause,omitempty"`
	// Weight is the percentage of requests last read back from the route.
	Weight int32 `json:"weight"`
	// ApprovedWeight is what the gates have allowed.
	ApprovedWeight int32 `json:"approvedWeight"`
	// Size says how many pods there are to be in all, where that has changed under way.
	Size string `json:"size,omitempty"`
	// Strategy is how the revision comes into service. With rolling, weights are shares of
	// pods.
	Strategy v1alpha1.StrategyType `json:"strategy,omitempty"`
	// InPlace is true where the revision already serves, so that no step is walked.
	InPlace  bool                    `json:"inPlace,omitempty"`
	Steps    []Step                  `json:"steps,omitempty"`
	Analysis *v1alpha1.AnalysisRound `json:"analysis,omitempty"`
	// units of the metrics, by name.
	units map[string]string
}

// StepState says where a step lies.
type StepState string

const (
	// StepDone is behind the Rollout.
	StepDone StepState = "done"
	// StepCurrent is where the Rollout stands.
	StepCurrent StepState = "current"
	// StepNext is still to come.
	StepNext StepState = "next"
	// StepFailed is where the Rollout was aborted.
	StepFailed StepState = "failed"
	// StepSkipped was not reached by a Rollout that was aborted.
	StepSkipped StepState = "skipped"
)

// Step sets one thing or waits for one thing.
type Step struct {
	Number int32 `json:"number"`
	// Text says in a few words what it sets or waits for.
	Text string `json:"text"`
	// Weight is the one that holds after it.
	Weight int32     `json:"weight"`
	State  StepState `json:"state"`
	// StartedAt is when the current step began.
	StartedAt *time.Time `json:"startedAt,omitempty"`
	pause     time.Duration
}

// Role says what part a set has.
type Role string

const (
	// RoleStable is the set that an abort returns to, or that serves alone.
	RoleStable Role = "stable"
	// RoleCanary is the set that the newest Rollout brings into service.
	RoleCanary Role = "canary"
	// RoleOld is a set of neither; it is about to go.
	RoleOld Role = "old"
)

// Set is one revision's pods.
type Set struct {
	Revision  string `json:"revision"`
	Role      Role   `json:"role"`
	Desired   int32  `json:"desired"`
	Available int32  `json:"available"`
	// Current is false while the numbers speak of an older generation of the Deployment.
	Current bool `json:"current"`
	// Weight is the set's percentage of requests; nil where it is not known.
	Weight *int32 `json:"weight,omitempty"`
}

// Build makes a View of what was read. The rollout is the newest one and may be nil;
// the deployments are those labelled with the Release's name.
func Build(release *v1alpha1.Release, rollout *v1alpha1.Rollout, deployments []appsv1.Deployment) View {
	v := View{
		APIVersion: APIVersion,
		Kind:       "ReleaseStatus",
		Release: Release{
			Namespace:          release.Namespace,
			Name:               release.Name,
			Template:           release.Spec.Template.Name,
			TemplateRevision:   release.Status.TemplateRevision,
			Phase:              release.Status.Phase,
			Message:            release.Status.Message,
			Revision:           release.Status.Revision,
			StableRevision:     release.Status.StableRevision,
			Generation:         release.Generation,
			ObservedGeneration: release.Status.ObservedGeneration,
		},
	}
	v.Outcome = v.Release.outcome()
	if rollout != nil {
		v.Rollout = buildRollout(rollout)
	}
	for i := range deployments {
		v.Sets = append(v.Sets, buildSet(&deployments[i], release, rollout))
	}
	slices.SortStableFunc(v.Sets, func(a, b Set) int {
		if d := rank(a.Role) - rank(b.Role); d != 0 {
			return d
		}
		return strings.Compare(a.Revision, b.Revision)
	})
	return v
}

// outcome reads a phase only where it speaks of the newest spec: what an earlier spec
// came to says nothing about the one just applied.
func (r Release) outcome() Outcome {
	if r.stale() {
		return Underway
	}
	switch r.Phase {
	case v1alpha1.ReleaseServing:
		return Serving
	case v1alpha1.ReleaseAborted, v1alpha1.ReleaseInvalid:
		return Failed
	default:
		return Underway
	}
}

func (r Release) stale() bool { return r.ObservedGeneration != r.Generation }

func buildRollout(o *v1alpha1.Rollout) *Rollout {
	r := &Rollout{
		Name:           o.Name,
		Revision:       o.Spec.Revision,
		Phase:          o.Status.Phase,
		Paused:         o.Status.Paused,
		Reason:         o.Status.Reason,
		Message:        o.Status.Message,
		AbortCause:     o.Status.AbortCause,
		Weight:         o.Status.Weight,
		ApprovedWeight: o.Status.ApprovedWeight,
		Size:           sizeText(o.Spec),
		Strategy:       o.Spec.Strategy.Type,
		InPlace:        inPlace(o),
		Analysis:       o.Status.Analysis,
		units:          map[string]string{},
	}
	if o.Spec.Strategy.Analysis != nil {
		for _, m := range o.Spec.Strategy.Analysis.Metrics {
			r.units[m.Name] = m.Unit
		}
	}
	if r.InPlace {
		return r
	}
	steps := plan.Walked(o.Spec)
	levels := plan.Levels(steps)
	for i, s := range steps {
		step := Step{Number: int32(i) + 1, Text: s.Text(), Weight: levels[i+1].Weight}
		if s.Pause != nil && s.Pause.Duration != nil {
			step.pause = s.Pause.Duration.Duration
		}
		step.State = stepState(step.Number, o.Status)
		if step.State == StepCurrent && o.Status.StepStartedAt != nil {
			at := o.Status.StepStartedAt.Time
			step.StartedAt = &at
		}
		r.Steps = append(r.Steps, step)
	}
	return r
}

func inPlace(o *v1alpha1.Rollout) bool {
	return o.Spec.Stable != nil && o.Spec.Stable.Revision == o.Spec.Revision
}

func stepState(number int32, s v1alpha1.RolloutStatus) StepState {
	aborted := s.Phase == v1alpha1.RolloutAborting || s.Phase == v1alpha1.RolloutAborted
	switch {
	case s.Phase == v1alpha1.RolloutSucceeded, s.Phase == v1alpha1.RolloutPromoting:
		return StepDone
	case number < s.Step:
		return StepDone
	case number == s.Step && aborted:
		return StepFailed
	case number == s.Step:
		return StepCurrent
	case aborted:
		return StepSkipped
	default:
		return StepNext
	}
}

func buildSet(d *appsv1.Deployment, release *v1alpha1.Release, rollout *v1alpha1.Rollout) Set {
	s := Set{
		Revision:  d.Labels[v1alpha1.LabelRevision],
		Role:      RoleOld,
		Desired:   1, // The API server's default.
		Available: d.Status.AvailableReplicas,
		Current:   d.Status.ObservedGeneration >= d.Generation,
	}
	if d.Spec.Replicas != nil {
		s.Desired = *d.Spec.Replicas
	}
	weight := func(w int32) { s.Weight = &w }
	switch {
	case rollout == nil:
		if s.Revision == release.Status.StableRevision {
			s.Role = RoleStable
		}
	case s.Revision == rollout.Spec.Revision && (inPlace(rollout) || rollout.Status.Phase == v1alpha1.RolloutSucceeded):
		s.Role = RoleStable
		weight(rollout.Status.Weight)
	case s.Revision == rollout.Spec.Revision:
		s.Role = RoleCanary
		weight(rollout.Status.Weight)
	case rollout.Spec.Stable != nil && s.Revision == rollout.Spec.Stable.Revision:
		if rollout.Status.Phase != v1alpha1.RolloutSucceeded {
			s.Role = RoleStable
		}
		if rollout.Status.Phase != v1alpha1.RolloutPending {
			weight(100 - rollout.Status.Weight)
		}
	}
	return s
}

func rank(r Role) int {
	return slices.Index([]Role{RoleStable, RoleCanary, RoleOld}, r)
}
