package plan

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Between a workload that is changed in place and sets a Release changes behind the one Service that
// bears its name, or behind a route. For that Rollout the workload in place is one of the two sets. Behind the
// Service:
//
//   - From it to sets, the Service selects every pod of the Release at first. It is made to select the pods of
//     the workload's revision alone, which loses none where all of them are of it, and that is read
//     back before the new set has any pod, since its first pod would be behind the Service too.
//   - From sets to it, the workload comes up whole beside the old set, and the Service is switched at
//     once, as with blueGreen.
//
// Behind a route that Service belongs to the workload in place, and is one of the two between which the route
// moves the requests:
//
//   - From it to sets, the Service is made to select the pods of the workload's revision alone, and that
//     is read back before the new set has any pod. Whoever calls it gets that revision until the old workload
//     is retired, and the Service with it.
//   - From sets to it, the Service comes up with the workload. In the end the route leads to the Service, or is
//     gone where the new revision renders none.
//
// What is deleted in the end is gone with its pods before the Rollout ends (package apply), and the next
// rollout in place makes the Service select every pod again before it touches the workload.

// Follow pins in spec, which is over a revision that came by was, what a change between sets and a workload in
// place needs: by what way the other serves, the router, and for how long the sets are kept that a workload in
// place takes over from, which has no delays of its own.
func Follow(spec *v1alpha1.RolloutSpec, over v1alpha1.RolloutSpec) {
	was := over.Strategy
	spec.Stable.Strategy = was.Type
	if !spec.Changes() {
		spec.Stable.Strategy = ""
	}
	if spec.Strategy.Type.InSets() {
		return
	}
	// What another Rollout has pinned of it is not for this one.
	spec.Strategy.DrainDelay, spec.Strategy.ScaleDownDelay = metav1.Duration{}, nil
	if spec.Changes() {
		spec.Router = cmp.Or(over.Router, v1alpha1.RouterHTTPRoute) // before Rollouts said so, all were behind one
		spec.Strategy.DrainDelay, spec.Strategy.ScaleDownDelay = was.DrainDelay, &metav1.Duration{Duration: was.Warm()}
	}
}

// behindPods keeps a Rollout from beginning while pods of another revision are left in the workload that was
// changed in place: what would be made of the Service would take their requests away.
func behindPods(t *turn) ruling {
	if !t.outOfPlace || !t.crowded() {
		return silence
	}
	t.wake(t.now.Add(look))
	if t.o.Stable.Knowledge == Unknown {
		return hold(ReasonHoldUnknown, "waiting: the pods of the stable revision %s could not be read; trying again every %s", t.stableName(), look)
	}
	return hold(ReasonHoldStable,
		"waiting: the change from rolling wants all pods of the workload to be of revision %s, and %d are not; see them with: kubectl get pods -l %s=%s -L %s; if they do not go, apply a Release that rolls out by rolling first",
		t.stableName(), t.o.Stable.Older, v1alpha1.LabelRelease, t.o.Spec.Release, v1alpha1.LabelRevision)
}

// crowded says whether pods of more than the stable revision may be behind the Service.
func (t *turn) crowded() bool {
	return t.outOfPlace && (t.o.Stable.Knowledge == Unknown || t.o.Stable.Older > 0)
}

// cutsOff says whether to carry e would take the requests from pods of the workload in place that are not of the
// stable revision yet. An abort does so all the same: what was begun, was begun without them.
func (t *turn) cutsOff(e Exposure) bool {
	wide := t.route.Knowledge == Unknown || t.route.Knowledge == Present && t.route.Split
	return t.crowded() && wide && e.Weight == 0 && t.st.Phase != v1alpha1.RolloutAborting
}

// mayGrow says whether the new set may have more pods.
func (t *turn) mayGrow() bool {
	return !t.open() && (!t.split() || t.ratioMayGrow().silent)
}

// open says whether pods of the new set would be behind the Service before any weight is approved for them.
func (t *turn) open() bool {
	switch {
	case !t.outOfPlace:
		return false
	case t.routed():
		return t.o.Stable.Knowledge == Unknown || t.o.Stable.Wide
	case t.st.ApprovedWeight > 0:
		return false
	}
	tr := t.route
	return tr.Knowledge == Unknown || tr.Knowledge == Present && (tr.Split || !tr.Settled)
}

// routed says whether the sets are behind a route.
func (t *turn) routed() bool { return t.o.Spec.Router.Routes() }

// narrows says whether to apply the workload in place would make its Service take the requests from pods that
// are not of its revision yet. As with cutsOff an abort does so all the same.
func (t *turn) narrows() bool {
	return t.routed() && t.crowded() && t.o.Stable.Wide && t.st.Phase != v1alpha1.RolloutAborting
}

// routeGoes says whether what serves has no route of its own, so that the one of the Rollout is deleted.
func (t *turn) routeGoes() bool {
	end := v1alpha1.RolloutSucceeded
	if t.outOfPlace {
		end = v1alpha1.RolloutAborted
	}
	return t.o.Traffic.Lent && t.st.Phase == end
}

// untold says whether no request has come to the new set by a route that is there for this Rollout alone: none
// was approved, so that it does not matter whether a gateway has accepted it.
func (t *turn) untold() bool {
	tr := t.o.Traffic
	return tr.Lent && t.outOfPlace && (tr.Knowledge == Absent || tr.Knowledge == Present && tr.Exposure == (Exposure{}) && t.st.ApprovedAt == nil)
}

// unneeded says whether an abort leaves the route of a Rollout as it is: it is not there, or leads to nobody new and goes.
func (t *turn) unneeded() bool {
	tr := t.o.Traffic
	return tr.Lent && t.outOfPlace && (tr.Knowledge == Absent || t.routeGoes() && tr.Exposure == (Exposure{}))
}
