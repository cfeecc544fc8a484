package plan

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// way is what a world has more where a Release goes from a workload in place to sets.
type way struct {
	// wide is true while the Service selects every pod of the Release.
	wide bool
	// strangers are pods of other revisions in the workload; they go with time, unless they are stuck.
	strangers int32
	stuck     bool
}

func wayOf(spec v1alpha1.RolloutSpec) way {
	return way{wide: spec.Changes() && spec.Strategy.Type.InSets()}
}

// outOfPlace says whether the stable set of the world is a workload in place.
func (w *world) outOfPlace() bool { return w.spec.Changes() && w.spec.Strategy.Type.InSets() }

// seen adds what is seen of it.
func (y way) seen(o *Observation) {
	if y.wide && o.Traffic.Knowledge == Present {
		o.Traffic.Split, o.Traffic.Exposure = true, Exposure{}
	}
	if o.Stable.Knowledge == Present {
		o.Stable.Older = y.strangers
	}
}

func (y *way) act(a Action) {
	if a.Kind == ActionSetWeight {
		y.wide = false
	}
}

func (y *way) tick() {
	if !y.stuck {
		y.strangers = 0
	}
}

// broken says what no decision may do while the Service selects every pod.
func (y way) broken(o Observation, d Decision) []string {
	if !o.Spec.Changes() || !o.Spec.Strategy.Type.InSets() {
		return nil
	}
	known := o.Traffic.Knowledge == Absent || o.Traffic.Knowledge == Present && !o.Traffic.Split
	var out []string
	for _, a := range d.Actions {
		switch {
		case a.Kind == ActionSetWeight && d.Status.Phase != v1alpha1.RolloutAborting && a.Exposure.Weight == 0 && !known && (o.Stable.Knowledge == Unknown || o.Stable.Older > 0):
			out = append(out, "I1: requests are taken from pods of another revision that serve")
		case a.Kind == ActionEnsureSet && a.Role == RoleCanary && !known && d.Status.ApprovedWeight == 0 && a.Replicas > o.Canary.Desired:
			out = append(out, "I2: pods come up behind a Service that may select them, with nothing approved")
		}
	}
	return out
}

var wayEvents = []event{
	{"the Service is made to select every pod", func(w *world) { w.way.wide = w.outOfPlace() && w.route.exists }},
	{"pods of another revision are in the workload", func(w *world) {
		if w.outOfPlace() {
			w.way.strangers, w.way.stuck = 2, true
		}
	}},
}

// outOfPlaceSpec is a Rollout of sets over a workload in place, behind a plain Service.
func outOfPlaceSpec(spec func() v1alpha1.RolloutSpec) func() v1alpha1.RolloutSpec {
	return changed(spec, func(s *v1alpha1.RolloutSpec) {
		s.Router, s.Workload, s.Stable.Strategy = v1alpha1.RouterService, "Deployment", v1alpha1.StrategyRolling
	})
}

// intoPlaceSpec is a Rollout of a workload in place over sets: what they were kept for is pinned with it.
func intoPlaceSpec() v1alpha1.RolloutSpec {
	s := blueGreenSpec()
	s.Strategy.Type, s.Stable.Strategy = v1alpha1.StrategyRolling, v1alpha1.StrategyCanary
	s.Router, s.Workload = v1alpha1.RouterService, "Deployment"
	s.Strategy.Steps = []v1alpha1.Step{pauseForApproval(), weigh(100), analyze()}
	s.Strategy.ScaleDownDelay = &metav1.Duration{Duration: time.Minute}
	return s
}

func init() {
	for name, spec := range map[string]func() v1alpha1.RolloutSpec{
		"over another, out of place":                     outOfPlaceSpec(canarySpec),
		"over another, out of place, blueGreen":          outOfPlaceSpec(blueGreenSpec),
		"over another, out of place, three pods to none": outOfPlaceSpec(sized(blueGreenSpec, 0, 3)),
		"over another, into place":                       intoPlaceSpec,
		"over another, into place, none to three":        sized(intoPlaceSpec, 3, 0),
	} {
		if worlds[name] != nil {
			panic(fmt.Sprintf("the world %q is there twice", name))
		}
		worlds[name] = spec
	}
	events = append(events, wayEvents...)
}
