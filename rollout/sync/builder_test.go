package sync

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// start is when every test begins.
var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// at is so long after the start.
func at(after time.Duration) *metav1.MicroTime {
	t := metav1.NewMicroTime(start.Add(after))
	return &t
}

// of is a Release, namespace/name, that serves the revision, which was assigned to it at the
// start.
func of(key, revision string, change ...func(*Release)) Release {
	namespace, name, _ := strings.Cut(key, "/")
	r := Release{
		Namespace: namespace, Name: name, Labels: map[string]string{"team": namespace}, Generation: 1, Free: true,
		Has: revision, Tried: revision, Observed: 1, Phase: v1alpha1.ReleaseServing,
		Assigned: &v1alpha1.AssignedRevision{Name: revision, Generation: 1, At: *at(0)},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// given says that a revision has been assigned, and not been taken up.
func given(revision string) func(*Release) {
	return func(r *Release) { r.Assigned.Name = revision }
}

// rolling is a Release with a Rollout to the revision over what it had.
func rolling(revision string, phase v1alpha1.RolloutPhase, change ...func(*Rollout)) func(*Release) {
	return func(r *Release) {
		r.Stable = r.Has
		r.Assigned.Name, r.Has, r.Tried = revision, revision, revision
		r.Rollout = &Rollout{Name: r.Name + "-2", TemplateRevision: revision, Phase: phase}
		r.Phase = map[v1alpha1.RolloutPhase]v1alpha1.ReleasePhase{
			v1alpha1.RolloutAborting: v1alpha1.ReleaseAborting, v1alpha1.RolloutAborted: v1alpha1.ReleaseAborted,
		}[phase]
		if r.Phase == "" {
			r.Phase = v1alpha1.ReleaseProgressing
		}
		r.Message = "says " + string(phase)
		for _, c := range change {
			c(r.Rollout)
		}
	}
}

func stopped(o *Rollout)   { o.Paused = true }
func waits(o *Rollout)     { o.Waits = true }
func blameless(o *Rollout) { o.Blameless = true }
func first(o *Rollout)     { o.First = true }

func moves(r *Release)  { rolling("web-2", v1alpha1.RolloutProgressing)(r) }
func fails(r *Release)  { rolling("web-2", v1alpha1.RolloutAborted)(r) }
func pauses(r *Release) { rolling("web-2", v1alpha1.RolloutProgressing, stopped)(r) }

// broughtBack is a Release whose former revision a person has brought back.
func broughtBack(r *Release) {
	r.Restored, r.Stable, r.Phase = true, "web-1", v1alpha1.ReleaseAborted
	r.Rollout = &Rollout{Name: r.Name + "-3", TemplateRevision: "web-1", Phase: v1alpha1.RolloutSucceeded}
}

// breaks does not render with web-2.
func breaks(r *Release) {
	r.Assigned.Name, r.Tried, r.Phase, r.Message = "web-2", "web-2", v1alpha1.ReleaseInvalid, "values.port is missing"
}

func pinned(r *Release)     { r.Free, r.Assigned = false, nil }
func unassigned(r *Release) { r.Assigned = nil }

// fresh is a Release that nothing has been made of.
func fresh(key string) Release {
	return of(key, "", func(r *Release) {
		r.Assigned, r.Observed, r.Phase = nil, -1, ""
	})
}

// observation is of template web with the revisions web-1 to web-3, of which web-2 is the
// newest unless said otherwise; the policies allow everything.
func observation(spec v1alpha1.TemplateSync, status *v1alpha1.TemplateSyncStatus, releases ...Release) Observation {
	o := Observation{
		Template: "web", Spec: spec, Status: status, Latest: "web-2", Releases: releases,
		Revisions:   []Revision{{"web-1", 1}, {"web-2", 2}},
		Permissions: map[string]Permission{},
	}
	for _, w := range append(wavesOf(spec, false), v1alpha1.SyncWave{Name: Rest}) {
		o.Permissions[w.Name] = Permission{Allowed: true}
	}
	return o
}

func staged(waves ...v1alpha1.SyncWave) v1alpha1.TemplateSync {
	return v1alpha1.TemplateSync{Type: v1alpha1.SyncStaged, MaxConcurrent: 20, Waves: waves}
}

// team is a wave of one namespace.
func team(namespace string, change ...func(*v1alpha1.SyncWave)) v1alpha1.SyncWave {
	w := v1alpha1.SyncWave{Name: namespace, Namespaces: []string{namespace}}
	for _, c := range change {
		c(&w)
	}
	return w
}

func soak(d time.Duration) func(*v1alpha1.SyncWave) {
	return func(w *v1alpha1.SyncWave) { w.Soak.Duration = d }
}

func mayFail(n int32) func(*v1alpha1.SyncWave) {
	return func(w *v1alpha1.SyncWave) { w.MaxFailed = n }
}

func share(name string, percent int32) v1alpha1.SyncWave {
	return v1alpha1.SyncWave{Name: name, Percent: percent}
}

// underWay is the status of a sync from web-1 to web-2 in the wave, counted from 1.
func underWay(wave int32, phase v1alpha1.SyncPhase, waves ...string) *v1alpha1.TemplateSyncStatus {
	s := &v1alpha1.TemplateSyncStatus{Target: "web-2", From: "web-1", Phase: phase, Wave: wave, WaveStartedAt: at(0)}
	for i, w := range append(waves, Rest) {
		p := waveWaiting
		switch {
		case int32(i)+1 < wave || phase == v1alpha1.SyncSynced:
			p = waveDone
		case int32(i)+1 == wave:
			p = waveSyncing
		}
		s.Waves = append(s.Waves, v1alpha1.WaveStatus{Name: w, Phase: p})
	}
	return s
}

func command(action v1alpha1.TemplateAction, revision int64) Command {
	return Command{UID: types.UID("uid-" + string(action)), Name: string(action), Action: action, Revision: revision, Actor: "alice"}
}

// given returns "namespace/name revision" of each assignment, in order of the observation.
func gave(d Decision) string {
	words := make([]string, 0, len(d.Assign))
	for _, a := range d.Assign {
		revision := "nothing"
		if a.Assigned != nil {
			revision = a.Assigned.Name
		}
		words = append(words, fmt.Sprintf("%s/%s %s", a.Namespace, a.Name, revision))
	}
	return strings.Join(words, ", ")
}

// waitingFor returns "namespace/name State" of each Release that waits.
func waitingFor(d Decision) string {
	words := make([]string, 0, len(d.Status.Waiting))
	for _, w := range d.Status.Waiting {
		words = append(words, fmt.Sprintf("%s/%s %s", w.Namespace, w.Name, w.State))
	}
	return strings.Join(words, ", ")
}
