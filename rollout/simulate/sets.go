package simulate

import (
	"slices"
	"time"

	"tidegate.io/tidegate/rollout/plan"
)

// full is all of the requests, in percent.
const full = 100

// pod is one pod of a set.
type pod struct {
	// revision that it is of; of a workload in place alone.
	revision string
	// ready is when it becomes available; stuck ones never do, nor do failed ones again.
	ready         time.Time
	stuck, failed bool
}

func (p pod) available(now time.Time) bool { return !p.stuck && !p.failed && !now.Before(p.ready) }

// set is the objects of one revision.
type set struct {
	exists, edited bool
	// asked is the size that Tidegate or somebody has set, or what its autoscaler leaves the set at least;
	// desired is what the workload asks for, which is more where an autoscaler wants more. lifted is the
	// former where it is not what was rendered.
	asked, desired, lifted int32
	pods                   []pod
	// stuck is true where pods that are made do not become available.
	stuck bool
	// lowSince is since when an autoscaler would like fewer pods.
	lowSince time.Time
}

func (s *set) available(now time.Time) int32 {
	var n int32
	for _, p := range s.pods {
		if p.available(now) {
			n++
		}
	}
	return n
}

// resize makes or deletes pods. Those that are not available go first, then the newest.
func (s *set) resize(n int32, w *world) {
	s.desired = n
	for int32(len(s.pods)) < n { //nolint:gosec // at most maxPods
		s.pods = append(s.pods, w.newPod("", s.stuck))
	}
	for int32(len(s.pods)) > n { //nolint:gosec // at most maxPods
		at := slices.IndexFunc(s.pods, func(p pod) bool { return !p.available(w.now) })
		if at < 0 {
			at = len(s.pods) - 1
		}
		s.pods = slices.Delete(s.pods, at, at+1)
	}
}

// newPod is a pod that is made now.
func (w *world) newPod(revision string, stuck bool) pod {
	return pod{revision: revision, ready: w.now.Add(w.start), stuck: stuck}
}

// befall lets happen to a set what an event says.
func (s *set) befall(e podsEvent, w *world) {
	if e.start > 0 {
		w.start = e.start
	}
	if e.deleted {
		*s = set{stuck: s.stuck}
		return
	}
	s.stuck = (s.stuck || e.stuck) && !e.recovers
	jam(s.pods, e, w.now, "")
	if e.recovers {
		heal(s.pods, w, "")
	}
	s.edited = s.edited || e.edited && s.exists
	if e.scale >= 0 && s.exists {
		s.resize(e.scale, w)
	}
	hit(s.pods, e.fail, w.now, "", func(p *pod) { p.failed = true })
	stuck := s.stuck
	hit(s.pods, e.lose, w.now, "", func(p *pod) { *p = w.newPod("", stuck) })
}

// hit does something to at most n of the available pods of a revision, the oldest first.
func hit(pods []pod, n int32, now time.Time, revision string, do func(*pod)) {
	for i := range pods {
		if n > 0 && pods[i].revision == revision && pods[i].available(now) {
			do(&pods[i])
			n--
		}
	}
}

// jam keeps pods that are on their way from ever coming up, where an event says so.
func jam(pods []pod, e podsEvent, now time.Time, revision string) {
	for i := range pods {
		if p := &pods[i]; e.stuck && p.revision == revision && now.Before(p.ready) {
			p.stuck = true
		}
	}
}

// heal lets failed pods be available again, and stuck ones become so.
func heal(pods []pod, w *world, revision string) {
	for i := range pods {
		if p := &pods[i]; p.revision == revision && (p.stuck || p.failed) {
			if p.stuck {
				p.ready = w.now.Add(w.start)
			}
			p.stuck, p.failed = false, false
		}
	}
}

// seen is what Tidegate sees of a set that gets share percent of a load of so many pods; 0 is
// a set without an autoscaler.
func (s *set) seen(now time.Time, load, share int32) plan.Set {
	if !s.exists {
		return plan.Set{Knowledge: plan.Absent, Autoscaled: load > 0}
	}
	return plan.Set{
		Knowledge: plan.Present, UpToDate: !s.edited, Autoscaled: load > 0, Load: int64(load) * int64(share) * 1000 / full,
		Desired: s.desired, Available: min(s.available(now), s.desired), Lifted: s.lifted,
	}
}

const (
	// scaleEvery is how often an autoscaler looks.
	scaleEvery = 15 * time.Second
	// scaleDownAfter is how long it wants fewer pods before it takes them away.
	scaleDownAfter = 5 * time.Minute
)

// autoscale follows the load; share is the percentage of requests that the set gets. It
// returns whether it has more to do later.
func (s *set) autoscale(w *world, share int32) (later bool) {
	if w.load == 0 || !s.exists {
		return false
	}
	want := max(s.asked, (w.load*share+full-1)/full)
	switch {
	case want >= s.desired:
		s.lowSince = time.Time{}
		if want > s.desired {
			s.resize(want, w)
		}
		return false
	case s.lowSince.IsZero():
		s.lowSince = w.now
	case !w.now.Before(s.lowSince.Add(scaleDownAfter)):
		s.resize(want, w)
		s.lowSince = time.Time{}
		return false
	}
	return true
}
