package simulate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// writeStatus is what the write of a status is called.
	writeStatus = "Status"
	// askAgain is how long the manager waits after a write that has failed.
	askAgain = 5 * time.Second
)

// execute does what was decided: the status first, then the actions in order. It returns
// whether the manager has lived to do all of it.
func (w *world) execute(r *rollout, d plan.Decision) bool {
	if !reflect.DeepEqual(r.status, d.Status) {
		if !w.write("") {
			return false
		}
		if w.refused[writeStatus] {
			w.failed(0)
			return true
		}
		r.status = *d.Status.DeepCopy()
	}
	for i, a := range d.Actions {
		if !w.write(a.Kind) {
			return false
		}
		if w.refused[string(a.Kind)] {
			w.failed(i + 1)
			w.records[len(w.records)-1].Actions[i].Failed = true
			return true
		}
		w.act(r, a)
	}
	return true
}

// failed leaves of the last decision the actions that were begun; the rest is for the next one, which comes
// as soon as the API server is asked again.
func (w *world) failed(begun int) {
	rec := &w.records[len(w.records)-1]
	rec.Actions = rec.Actions[:begun]
	w.again = w.now.Add(askAgain)
}

// write counts one write, of an action or of the status, and says whether the manager lives
// to do it. A call of a hook is no write.
func (w *world) write(kind plan.ActionKind) bool {
	counts := kind != plan.ActionCallHook
	if counts && w.writesLeft == 0 || kind != "" && kind == w.diesBefore {
		what := string(kind)
		if kind == "" {
			what = "the write of the status"
		}
		w.note("manager: has died before " + what)
		w.stop(w.sc.Defaults.Restart)
		return false
	}
	if counts && w.writesLeft > 0 {
		w.writesLeft--
	}
	return true
}

func (w *world) act(r *rollout, a plan.Action) {
	switch a.Kind {
	case plan.ActionApplyShared:
		w.sharedThere, w.sharedEdited = true, false
	case plan.ActionEnsureSet:
		w.ensure(r, a)
	case plan.ActionSetWeight:
		now := w.route
		w.route.edited, w.route.wide = false, false
		w.route.header, w.route.mirror, w.route.by = a.Exposure.Header, a.Exposure.Mirror, r.spec.Number
		touched := now.edited || now.wide || now.header != w.route.header || now.mirror != w.route.mirror
		w.turnRoute(r.spec, a.Exposure.Weight, a.Exposure.Baseline, touched)
	case plan.ActionRunJob:
		if !slices.ContainsFunc(w.jobs, func(j runningJob) bool { return j.name == a.Job }) {
			w.jobs = append(w.jobs, w.jobNamed(a.Job))
		}
	case plan.ActionStopJob:
		w.jobs = slices.DeleteFunc(w.jobs, func(j runningJob) bool { return j.name == a.Job })
	case plan.ActionCallHook:
		w.call(r, a.Call)
	case plan.ActionMeasure:
		r.status.Analysis = w.round(r)
	case plan.ActionRetire:
		w.retire(r, a.Role)
	case plan.ActionAnswer:
		r.commands = slices.DeleteFunc(r.commands, func(c plan.Command) bool { return c.Name == a.Command })
		if code, _, _ := strings.Cut(a.Message, ":"); a.Outcome == v1alpha1.OutcomeRefused {
			w.refusals = append(w.refusals, code)
		}
	}
}

// key is the set that a role of a Rollout means.
func (w *world) key(r *rollout, role plan.Role) string {
	switch {
	case role == plan.RoleBaseline:
		return baselineOf(r.spec)
	case role == plan.RoleStable && r.spec.Stable != nil:
		return r.spec.Stable.Revision
	}
	return r.spec.Revision
}

func (w *world) ensure(r *rollout, a plan.Action) {
	key := w.key(r, a.Role)
	if w.rolling() {
		l := &w.workload
		l.exists, l.edited, l.revision, l.held = true, false, key, a.Held
		l.configs[key] = true
		if l.replicas = a.Replicas; l.kind == WorkloadDaemonSet {
			l.replicas = w.sc.Replicas
		}
		return
	}
	s := w.set(key)
	s.exists, s.edited, s.asked = true, false, a.Replicas
	if w.load > 0 && a.Role != plan.RoleBaseline && (a.Role == plan.RoleStable || a.Least != s.lifted || w.sc.Router != v1alpha1.RouterService) {
		// What its autoscaler leaves it at least: what was rendered, or what it is told to.
		s.lifted, s.asked = a.Least, max(a.Least, w.rendered(r, a.Role))
	}
	s.resize(a.Replicas, w)
}

// rendered is how many pods a set is rendered with, or with how many at least.
func (w *world) rendered(r *rollout, role plan.Role) int32 {
	if role == plan.RoleStable && r.spec.Stable != nil {
		return r.spec.Stable.Replicas
	}
	return r.spec.Replicas
}

func (w *world) retire(r *rollout, role plan.Role) {
	key := w.key(r, role)
	if w.rolling() {
		delete(w.workload.configs, key)
		if r.spec.Stable == nil {
			w.workload.exists = false
		}
		return
	}
	*w.set(key) = set{stuck: w.set(key).stuck}
}

// call begins a try of a hook, unless it is under way.
func (w *world) call(r *rollout, c plan.Call) {
	if slices.ContainsFunc(r.calls, func(o call) bool { return o.Call == c }) {
		return
	}
	how := w.hooks[0]
	for _, h := range w.hooks {
		if h.Name == "" || h.Name == c.Hook {
			how = h
		}
	}
	out := call{Answer: plan.Answer{Call: c, Done: true}, at: w.now.Add(how.Takes)}
	switch how.Answer {
	case HookPasses:
		out.Passed, out.Final, out.Message = true, true, "200 OK"
	case HookRefuses:
		out.Final, out.Message = true, "403 Forbidden"
	case HookFails:
		out.Message = "503 Service Unavailable"
	case HookSilent:
		out.Message = "no answer in time"
		for _, h := range r.spec.Strategy.Hooks {
			if h.Name == c.Hook {
				out.at = w.now.Add(h.Timeout.Duration)
				out.Message = fmt.Sprintf("no answer within %s", short(h.Timeout.Duration))
			}
		}
	}
	r.calls = append(r.calls, out)
}

// round is a round of analysis taken now.
func (w *world) round(r *rollout) *v1alpha1.AnalysisRound {
	message := w.verdictMessage
	if message == "" {
		message = map[v1alpha1.Verdict]string{
			v1alpha1.VerdictPass:         "every metric is within its bounds",
			v1alpha1.VerdictFail:         "a metric is out of its bounds",
			v1alpha1.VerdictInconclusive: "there are too few requests to tell",
			v1alpha1.VerdictUnknown:      "the source of the metrics does not answer",
		}[w.verdict]
	}
	return &v1alpha1.AnalysisRound{
		Verdict: w.verdict, Step: r.status.Step, Digest: r.spec.Digest, Message: message,
		TakenAt: metav1.NewMicroTime(w.managerNow()),
	}
}
