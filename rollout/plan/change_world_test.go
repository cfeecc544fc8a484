package plan

import (
	"fmt"
	"strings"
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
	// routed is true where the sets are behind a route: what is wide is then the Service of the workload in place.
	// lent is true where that workload has no route of its own.
	routed, lent bool
}

func wayOf(spec v1alpha1.RolloutSpec) way {
	routed := spec.Changes() && spec.Router.Routes()
	return way{wide: spec.Changes() && spec.Strategy.Type.InSets(), routed: routed, lent: routed && !strings.HasSuffix(spec.TemplateRevision, ownRoute)}
}

// ownRoute ends the name of the template's revision in the worlds where the workload in place has a route of its own.
const ownRoute = "-routed"

// outOfPlace says whether the stable set of the world is a workload in place.
func (w *world) outOfPlace() bool { return w.spec.Changes() && w.spec.Strategy.Type.InSets() }

// seen adds what is seen of it.
func (y way) seen(o *Observation) {
	o.Traffic.Lent = y.lent
	switch {
	case !y.wide:
	case y.routed && o.Stable.Knowledge == Present:
		o.Stable.Wide, o.Stable.UpToDate = true, false
	case !y.routed && o.Traffic.Knowledge == Present:
		o.Traffic.Split, o.Traffic.Exposure = true, Exposure{}
	}
	if o.Stable.Knowledge == Present {
		o.Stable.Older = y.strangers
	}
}

func (y *way) act(a Action) {
	if a.Kind == ActionSetWeight && !y.routed || (a.Kind == ActionEnsureSet || y.routed && a.Kind == ActionRetire) && a.Role == RoleStable {
		y.wide = false
	}
}

// retireRoute is what the Release's controller does after the end: what serves has no route of its own.
func (w *world) retireRoute() {
	end := v1alpha1.RolloutSucceeded
	if w.outOfPlace() {
		end = v1alpha1.RolloutAborted
	}
	if w.way.lent && w.status.Phase == end {
		w.route.exists, w.route.settled, w.route.Exposure = false, false, Exposure{}
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
	if y.routed {
		known = o.Stable.Knowledge != Unknown && !o.Stable.Wide
	}
	crowded := o.Stable.Knowledge == Unknown || o.Stable.Older > 0
	aborting := d.Status.Phase == v1alpha1.RolloutAborting
	var out []string
	for _, a := range d.Actions {
		switch {
		case y.routed && a.Kind == ActionEnsureSet && a.Role == RoleStable && !aborting && !known && crowded:
			out = append(out, "I1: the Service leaves pods of another revision that serve")
		case y.routed && a.Kind == ActionEnsureSet && a.Role == RoleCanary && !known && a.Replicas > o.Canary.Desired:
			out = append(out, "I2: pods come up behind a Service that may select them")
		case y.lent && a.Kind == ActionSetWeight && o.Traffic.Knowledge == Absent && (aborting || d.Status.Phase == v1alpha1.RolloutAborted) && a.Exposure.Weight == 0:
			out = append(out, "I3: an abort makes a route that was not there before")
		case y.routed:
		case a.Kind == ActionSetWeight && d.Status.Phase != v1alpha1.RolloutAborting && a.Exposure.Weight == 0 && !known && crowded:
			out = append(out, "I1: requests are taken from pods of another revision that serve")
		case a.Kind == ActionEnsureSet && a.Role == RoleCanary && !known && d.Status.ApprovedWeight == 0 && a.Replicas > o.Canary.Desired:
			out = append(out, "I2: pods come up behind a Service that may select them, with nothing approved")
		}
	}
	return out
}

// lentOut says whether the route of a Rollout out of place is there for it alone: without it nothing is served
// but by the Service of the workload in place.
func (f facts) lentOut() bool { return f.o.Traffic.Lent && f.o.Spec.Strategy.Type.InSets() }

// neverTold says whether no gateway was ever asked by such a route to give the new revision anything.
func (f facts) neverTold() bool { return f.lentOut() && f.o.Status.ApprovedAt == nil }

var wayEvents = []event{
	{"the Service is made to select every pod", func(w *world) {
		w.way.wide = w.outOfPlace() && (w.route.exists && !w.way.routed || w.old.exists && w.way.routed)
	}},
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

// behindRoute is a change behind a route; own says whether the workload in place has one too.
func behindRoute(spec func() v1alpha1.RolloutSpec, own bool) func() v1alpha1.RolloutSpec {
	return changed(spec, func(s *v1alpha1.RolloutSpec) {
		s.Router = v1alpha1.RouterHTTPRoute
		if own {
			s.TemplateRevision += ownRoute
		}
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
		"over another, out of place, to a route":         behindRoute(outOfPlaceSpec(canarySpec), false),
		"over another, out of place, by a route":         behindRoute(outOfPlaceSpec(everythingButBaseline), true),
		"over another, out of place, blueGreen, a route": behindRoute(outOfPlaceSpec(blueGreenSpec), false),
		"over another, out of place, to a route, none":   behindRoute(outOfPlaceSpec(sized(canarySpec, 0, 3)), false),
		"over another, into place, from a route":         behindRoute(intoPlaceSpec, false),
		"over another, into place, by a route":           behindRoute(intoPlaceSpec, true),
		"over another, into place, none to three":        sized(intoPlaceSpec, 3, 0),
	} {
		if worlds[name] != nil {
			panic(fmt.Sprintf("the world %q is there twice", name))
		}
		worlds[name] = spec
	}
	events = append(events, wayEvents...)
}

// everythingButBaseline is every kind of step that a workload in place can be left by.
func everythingButBaseline() v1alpha1.RolloutSpec {
	return stepped(canarySpec, headers(), pauseForApproval(), mirror(10), scaleTo(50), mirror(0), weigh(25), analyze(), noHeaders(), weigh(50))()
}
