package simulate

import (
	"slices"
	"time"

	"tidegate.io/tidegate/rollout/plan"
)

// workload is what the revisions of the strategy rolling share. Its controller replaces
// pods as that of its kind does.
type workload struct {
	kind           Workload
	exists, edited bool
	// revision is that of the template; held is the partition of a StatefulSet.
	revision       string
	replicas, held int32
	// pods are by ordinal with a StatefulSet.
	pods []pod
	// stuck are revisions whose pods do not become available.
	stuck map[string]bool
	// configs are revisions whose own objects are there.
	configs map[string]bool
}

func (l *workload) size() int32 { return int32(len(l.pods)) } //nolint:gosec // at most twice maxPods

func (l *workload) count(which func(pod) bool) int32 {
	var n int32
	for _, p := range l.pods {
		if which(p) {
			n++
		}
	}
	return n
}

// befall lets happen to a revision's pods what an event says.
func (l *workload) befall(e podsEvent, revision string, w *world) {
	if e.start > 0 {
		w.start = e.start
	}
	if e.deleted {
		*l = workload{kind: l.kind, stuck: l.stuck, configs: l.configs}
		return
	}
	l.stuck[revision] = (l.stuck[revision] || e.stuck) && !e.recovers
	jam(l.pods, e, w.now, revision)
	if e.recovers {
		heal(l.pods, w, revision)
	}
	l.edited = l.edited || e.edited
	if e.scale >= 0 {
		l.replicas = e.scale
	}
	hit(l.pods, e.fail, w.now, revision, func(p *pod) { p.failed = true })
	hit(l.pods, e.lose, w.now, revision, func(p *pod) { *p = w.newPod(revision, l.stuck[revision]) })
}

// work is what the workload's controller does now. It is called until it does nothing.
func (l *workload) work(w *world) bool {
	if !l.exists {
		if len(l.pods) == 0 {
			return false
		}
		l.pods = nil
		return true
	}
	if l.kind == WorkloadDeployment {
		return l.surge(w)
	}
	return l.replace(w)
}

// surge is the rolling update of a Deployment: a quarter more pods than asked for, rounded
// up, and a quarter fewer available ones, rounded down, as by default.
func (l *workload) surge(w *world) bool {
	isNew := func(p pod) bool { return p.revision == l.revision }
	most, least := l.replicas+(l.replicas+3)/4, l.replicas-l.replicas/4
	older := l.size() - l.count(isNew)
	switch {
	case l.count(isNew) < l.replicas && l.size() < most:
		l.pods = append(l.pods, w.newPod(l.revision, l.stuck[l.revision]))
		return true
	case older == 0 && l.size() > l.replicas:
		l.pods = slices.Delete(l.pods, len(l.pods)-1, len(l.pods))
		return true
	case older == 0:
		return false
	}
	dead := slices.IndexFunc(l.pods, func(p pod) bool { return !isNew(p) && !p.available(w.now) })
	up := l.count(func(p pod) bool { return p.available(w.now) })
	if dead < 0 && up > least {
		dead = slices.IndexFunc(l.pods, func(p pod) bool { return !isNew(p) })
	}
	if dead < 0 {
		return false
	}
	l.pods = slices.Delete(l.pods, dead, dead+1)
	return true
}

// replace is the rolling update of a StatefulSet or a DaemonSet: pod by pod, of a StatefulSet the
// highest ordinal first, and the next only when the one before is available.
func (l *workload) replace(w *world) bool {
	switch {
	case l.size() < l.replicas:
		l.pods = append(l.pods, w.newPod(l.revision, l.stuck[l.revision]))
		return true
	case l.size() > l.replicas:
		l.pods = slices.Delete(l.pods, len(l.pods)-1, len(l.pods))
		return true
	}
	if l.kind == WorkloadDaemonSet {
		return l.replaceOne(w)
	}
	for i := l.size() - 1; i >= l.held; i-- {
		p := &l.pods[i]
		switch {
		case p.revision != l.revision:
			*p = w.newPod(l.revision, l.stuck[l.revision])
			return true
		case !p.available(w.now):
			return false
		}
	}
	return false
}

// replaceOne replaces a pod of a DaemonSet. One that is not available goes first, and any other only
// while all are.
func (l *workload) replaceOne(w *world) bool {
	older := func(p pod) bool { return p.revision != l.revision }
	at := slices.IndexFunc(l.pods, func(p pod) bool { return older(p) && !p.available(w.now) })
	if all := l.count(func(p pod) bool { return p.available(w.now) }) == l.size(); at < 0 && all {
		at = slices.IndexFunc(l.pods, older)
	}
	if at < 0 {
		return false
	}
	l.pods[at] = w.newPod(l.revision, l.stuck[l.revision])
	return true
}

// seen is what Tidegate sees of one revision, counted as its observer counts.
func (l *workload) seen(revision string, now time.Time) plan.Set {
	s := plan.Set{Knowledge: plan.Absent, SelfSized: l.kind == WorkloadDaemonSet, Leftovers: l.configs[revision]}
	if !l.exists || l.revision != revision {
		return s
	}
	updated := l.count(func(p pod) bool { return p.revision == revision })
	available := l.count(func(p pod) bool { return p.available(now) })
	s.Knowledge, s.UpToDate, s.Desired, s.Held = plan.Present, !l.edited, l.replicas, l.held
	s.Available = max(0, min(available-(l.size()-updated), updated, l.replicas))
	return s
}
