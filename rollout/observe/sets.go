package observe

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
)

// set compares the objects of one set with those that are there.
func (r Reader) set(ctx context.Context, w *World, subject Subject, rendered *render.Result) plan.Set {
	if rendered == nil {
		return plan.Set{}
	}
	if manifest.Rolling(subject.Rollout.Spec) {
		return r.sharing(ctx, w, subject, rendered)
	}
	unknown := plan.Set{Autoscaled: manifest.Autoscaled(rendered)}
	unknown.Least, unknown.Most = manifest.BoundsOf(rendered)
	set, current := unknown, true
	set.Knowledge, set.UpToDate = plan.Absent, true
	var scaler *unstructured.Unstructured
	for _, obj := range rendered.Set {
		live, err := r.Get(ctx, obj)
		if err != nil {
			w.Unread = append(w.Unread, err)
			return unknown
		}
		w.saw(obj, live)
		if live == nil {
			set.UpToDate = false
			continue
		}
		set.Knowledge = plan.Present
		if !upToDate(w, live, obj, subject.Release) {
			set.UpToDate = false
		}
		set.Wide = set.Wide || subject.Rollout.Spec.Changes() && manifest.Wide(live, obj)
		if !manifest.IsWorkload(obj) {
			if obj.GetKind() == manifest.KindAutoscaler {
				scaler = live
			}
			set.Lifted = max(set.Lifted, manifest.Lifted(live))
			continue
		}
		c, err := countsOf(live)
		if err != nil {
			w.Unread = append(w.Unread, err)
			return unknown
		}
		current = c.current
		count(&set, c, manifest.InPlaceWorkload(obj, subject.Release.Name), manifest.RevisionOf(live) == rendered.Revision)
	}
	switch {
	case set.Knowledge == plan.Absent:
		set = unknown
		set.Knowledge = plan.Absent
		return set
	case !current:
		w.Lagging = true
		return unknown
	}
	set.Load = loadOf(scaler, set.Available)
	reachable, err := r.reachable(ctx, subject.Rollout.Spec.Router, rendered, set.Available)
	if err != nil {
		w.Unread = append(w.Unread, err)
		return unknown
	}
	set.Available = reachable
	return set
}

// count puts the pods of a live workload into its set: they count when they are available and of the
// newest template; a drifted template that was repaired would else lend its pods to the revision that was judged.
// A workload in place may have pods of another revision, and is of another one itself until it is changed.
func count(set *plan.Set, c counts, inPlace, own bool) {
	set.Desired = c.desired
	if !inPlace {
		set.Available = min(c.available, c.updated, c.desired)
		return
	}
	set.Older = c.older()
	if !own {
		set.Older = c.total
	}
	set.Available = max(0, min(c.available-set.Older, c.updated, c.desired))
}

// sharing compares a revision that shares its workload with others with what is there. The
// revision's own objects alone do not make it Present: its workload's template does.
func (r Reader) sharing(ctx context.Context, w *World, subject Subject, rendered *render.Result) plan.Set {
	workload := manifest.Workload(rendered)
	if workload == nil {
		w.Unread = append(w.Unread, fmt.Errorf("looking for the workload of revision %s: it renders to none", rendered.Revision))
		return plan.Set{}
	}
	set := plan.Set{
		Knowledge: plan.Absent, UpToDate: true,
		Autoscaled: manifest.Autoscaled(rendered), SelfSized: manifest.SelfSized(workload),
	}
	for _, obj := range rendered.Set {
		live, err := r.Get(ctx, obj)
		if err != nil {
			w.Unread = append(w.Unread, err)
			return plan.Set{}
		}
		switch {
		case live == nil:
			set.UpToDate = false
			continue
		case obj != workload:
			set.Leftovers = true
		default:
			w.Workload = live
			if manifest.RevisionOf(live) != rendered.Revision {
				set.UpToDate = false
				continue
			}
			set.Knowledge = plan.Present
			c, err := countsOf(live)
			if err != nil {
				w.Unread = append(w.Unread, err)
				return plan.Set{}
			}
			if !c.current {
				w.Lagging = true
				return plan.Set{}
			}
			// Nothing says how many pods are both of the newest template and available. At
			// the least it is as many as remain when every older pod is available too.
			set.Desired, set.Held = c.desired, manifest.Held(live)
			set.Available = max(0, min(c.available-c.older(), c.updated, c.desired))
		}
		if !upToDate(w, live, obj, subject.Release) {
			set.UpToDate = false
		}
	}
	if set.Knowledge == plan.Absent {
		set.UpToDate = false
	}
	return set
}

// counts are the numbers of pods of a workload.
type counts struct {
	// current says whether the numbers are those of the newest generation. They are not for
	// the moment that the workload's controller takes to notice a write; they then speak of
	// another size or another template, of which nothing follows for this one, so the set is
	// Unknown. Were that controller down, the set would stay Unknown, and so it should:
	// nobody would replace a pod that dies.
	current bool
	// desired is asked for, total are there, updated are of the newest template, available
	// have been ready for long enough.
	desired, total, updated, available int32
}

// older is how many pods are not of the newest template.
func (c counts) older() int32 { return max(0, c.total-c.updated) }

// countsOf reads the numbers of pods of a live workload. A CronJob has none that are to be
// waited for.
func countsOf(live *unstructured.Unstructured) (counts, error) {
	switch live.GetKind() {
	case manifest.KindDeployment:
		d, err := typed[appsv1.Deployment](live)
		if err != nil {
			return counts{}, err
		}
		return counts{
			current: d.Status.ObservedGeneration >= d.Generation, desired: orOne(d.Spec.Replicas),
			total: d.Status.Replicas, updated: d.Status.UpdatedReplicas, available: d.Status.AvailableReplicas,
		}, nil
	case manifest.KindStatefulSet:
		s, err := typed[appsv1.StatefulSet](live)
		if err != nil {
			return counts{}, err
		}
		return counts{
			current: s.Status.ObservedGeneration >= s.Generation, desired: orOne(s.Spec.Replicas),
			total: s.Status.Replicas, updated: s.Status.UpdatedReplicas, available: s.Status.AvailableReplicas,
		}, nil
	case manifest.KindDaemonSet:
		d, err := typed[appsv1.DaemonSet](live)
		if err != nil {
			return counts{}, err
		}
		return counts{
			current: d.Status.ObservedGeneration >= d.Generation, desired: d.Status.DesiredNumberScheduled,
			total: d.Status.CurrentNumberScheduled, updated: d.Status.UpdatedNumberScheduled, available: d.Status.NumberAvailable,
		}, nil
	}
	return counts{current: true}, nil
}

func orOne(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

func typed[T any](live *unstructured.Unstructured) (*T, error) {
	into := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(live.Object, into); err != nil {
		return nil, fmt.Errorf("decoding %s %s/%s: %w", live.GetKind(), live.GetNamespace(), live.GetName(), err)
	}
	return into, nil
}
