package simulate

import (
	"slices"
	"time"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// observe is what the manager sees of a Rollout. Like the true observer it reads of one
// that has ended and is not the newest the commands alone.
func (w *world) observe(r *rollout) plan.Observation {
	o := plan.Observation{
		Spec: r.spec, Status: *r.status.DeepCopy(), Commands: slices.Clone(r.commands), Promotion: w.promotion(),
	}
	w.neighbours(r, &o)
	if r.status.Phase.Terminal() && o.Newer != "" {
		return o
	}
	o.Canary = w.sees(whichNew, r.spec.Revision)
	o.Stable, o.Baseline = plan.Set{Knowledge: plan.Absent}, w.sees(whichBaseline, baselineOf(r.spec))
	if s := r.spec.Stable; s != nil && s.Revision == r.spec.Revision {
		o.Stable = o.Canary
	} else if s != nil {
		o.Stable = w.sees(whichStable, s.Revision)
	}
	switch {
	case w.unread["shared"]:
	case w.sharedThere && !w.sharedEdited:
		o.Shared = plan.Present
	default:
		o.Shared = plan.Absent
	}
	o.Traffic = w.traffic(r)
	o.Job = w.jobState(plan.JobName(r.spec, r.status))
	for _, c := range r.calls {
		if w.now.Before(c.at) {
			c.Answer = plan.Answer{Call: c.Call}
		}
		o.Answers = append(o.Answers, c.Answer)
	}
	return o
}

// neighbours finds the other Rollouts of the Release that matter.
func (w *world) neighbours(r *rollout, o *plan.Observation) {
	var pinned int64
	for _, other := range w.rollouts {
		if r.spec.Stable != nil && other.name() == r.spec.Stable.Rollout {
			pinned = other.spec.Number
		}
	}
	for _, other := range w.rollouts {
		n := other.spec.Number
		switch {
		case n < r.spec.Number && !other.status.Phase.Terminal():
			o.Older = other.name()
		case n > r.spec.Number:
			o.Newer = other.name()
			s := r.spec.Stable
			o.Returns = s != nil && s.Revision == other.spec.Revision && s.Revision != r.spec.Revision
		}
		if other != r && other.status.Phase == v1alpha1.RolloutSucceeded && n > pinned {
			o.StableMoved = true
		}
	}
}

func (w *world) sees(as which, key string) plan.Set {
	switch {
	case w.unread[string(as)]:
		return plan.Set{}
	case w.rolling() && as == whichBaseline:
		return plan.Set{Knowledge: plan.Absent}
	case w.rolling():
		return w.workload.seen(key, w.now)
	case w.sets[key] == nil:
		return plan.Set{Knowledge: plan.Absent, Autoscaled: w.load > 0}
	}
	return w.sets[key].seen(w.now, w.load, w.route.live[key])
}

// traffic reads the route.
func (w *world) traffic(r *rollout) plan.Traffic {
	switch {
	case w.rolling(), w.unread["route"]:
		return plan.Traffic{}
	case !w.route.exists:
		return plan.Traffic{Knowledge: plan.Absent}
	}
	t := plan.Traffic{
		Knowledge: plan.Present, Settled: w.route.accepted, UpToDate: !w.route.edited, Split: w.split(),
		Exposure: plan.Exposure{Weight: w.route.weights[r.spec.Revision], Baseline: w.route.weights[baselineOf(r.spec)]},
	}
	if w.route.by == r.spec.Number {
		t.Header, t.Mirror = w.route.header, w.route.mirror
	}
	return t
}

func (w *world) promotion() plan.Promotion {
	switch p := w.policy; {
	case p.allowed:
		return plan.Promotion{Knowledge: plan.Present, Allowed: true}
	case p.unanswered:
		return plan.Promotion{}
	default:
		until := w.policyUntil
		if !until.IsZero() {
			until = until.Add(w.skew)
		}
		return plan.Promotion{Knowledge: plan.Present, Code: p.code, Message: p.message, Until: until}
	}
}

func (w *world) jobState(name string) plan.JobState {
	if name == "" || w.unread["job"] {
		return plan.JobState{Name: name}
	}
	for _, j := range w.jobs {
		if j.name == name {
			out := plan.JobState{Knowledge: plan.Present, Name: name, Finished: j.finished(w.now), Succeeded: j.good}
			if out.Finished && !j.good {
				out.Message = "BackoffLimitExceeded: Job has reached the specified backoff limit"
			}
			return out
		}
	}
	return plan.JobState{Knowledge: plan.Absent, Name: name}
}

// managerNow is the time by the manager's clock.
func (w *world) managerNow() time.Time { return w.now.Add(w.skew) }
