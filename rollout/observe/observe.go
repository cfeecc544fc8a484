// Package observe reads from the cluster the facts that a rollout decision rests on.
//
// A decision to raise exposure must not rest on a world that an own write has already
// changed, so the reader that is given is one that is never older than the manager's own
// writes (package fence). What another manager writes is not covered by it: the writes that
// would cost requests are conditional on the versions that were observed, and a Rollout
// that has ended asks the API server for newer ones before it puts anything right.
//
// What cannot be read is Unknown, on which nothing is raised; it is never taken for
// absent. Only the commands and the other Rollouts of the Release have no Unknown: when
// these cannot be read there is no observation, since an abort might be among them.
package observe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Fields by which Rollouts and RolloutCommands are selected, by the API server (they are
// selectable fields) and by the manager's cache (they are indexed).
const (
	// FieldRelease is the Release of a Rollout.
	FieldRelease = "spec.release"
	// FieldRollout is the Rollout of a RolloutCommand.
	FieldRollout = "spec.rollout"
)

// Subject is the Rollout to be observed, and what it should look like.
type Subject struct {
	Release *v1alpha1.Release
	Rollout *v1alpha1.Rollout
	// Siblings are all Rollouts of the Release, this one included.
	Siblings []v1alpha1.Rollout
	// Sides are what the Rollout's revisions render to. What they lack is observed as
	// Unknown.
	Sides manifest.Sides
}

// World is what was seen.
type World struct {
	plan.Observation
	// Route is the live object that spreads the requests, nil where there is none or it could not be read. A
	// write of weights is conditional on its resourceVersion, so that a manager that was
	// held up cannot bring back an exposure that another one has taken away.
	Route *unstructured.Unstructured
	// Workload is the live workload that the revisions share, nil where they do not, where
	// there is none or it could not be read. With rolling it is what carries the exposure, so
	// a write that raises it is conditional on its resourceVersion too.
	Workload *unstructured.Unstructured
	// Seen are the objects of the sets, on whose versions the writes of a set are conditional. It is
	// nil of a Rollout that has ended: what it puts right may have lost the label by which the
	// cache knows it.
	Seen Versions
	// Lagging is true when the deployment controller has not yet looked at the newest
	// generation of a workload, so that its set is Unknown for a moment.
	Lagging bool
	// Unread lists the reads that failed; each stands for an Unknown in the Observation.
	Unread []error
}

// Reader reads worlds.
type Reader struct {
	// Live is never older than what this process has written.
	Live client.Reader
}

// Siblings returns all Rollouts of a Release, by number.
func (r Reader) Siblings(ctx context.Context, release *v1alpha1.Release) ([]v1alpha1.Rollout, error) {
	all, err := Rollouts(ctx, r.Live, release.Namespace, release.Name)
	return Controlled(all, release.UID), err
}

// Controlled returns those of rollouts whose controller has the uid. The others belonged
// to a former Release of the same name: nobody moves them. They go with it, or are taken over
// before the Release that there is now begins.
func Controlled(rollouts []v1alpha1.Rollout, uid types.UID) []v1alpha1.Rollout {
	var out []v1alpha1.Rollout
	for i := range rollouts {
		if owner := metav1.GetControllerOf(&rollouts[i]); owner != nil && owner.UID == uid {
			out = append(out, rollouts[i])
		}
	}
	return out
}

// Rollouts returns all Rollouts that name the Release as from has them, by number. Not all
// need be of the Release that there is now; see Controlled.
func Rollouts(ctx context.Context, from client.Reader, namespace, release string) ([]v1alpha1.Rollout, error) {
	var list v1alpha1.RolloutList
	if err := from.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{FieldRelease: release}); err != nil {
		return nil, fmt.Errorf("listing the Rollouts of Release %s/%s: %w", namespace, release, err)
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.Rollout) int { return cmp.Compare(a.Spec.Number, b.Spec.Number) })
	return list.Items, nil
}

// Observe reads the world of one Rollout. An error means that there is no observation. Of
// a Rollout that has ended and is not the newest only the commands are read.
func (r Reader) Observe(ctx context.Context, subject Subject) (*World, error) {
	rollout := subject.Rollout
	commands, err := Unanswered(ctx, r.Live, rollout)
	if err != nil {
		return nil, err
	}
	w := &World{Observation: plan.Observation{
		Spec:     rollout.Spec,
		Status:   *rollout.Status.DeepCopy(),
		Commands: commands,
	}}
	w.Older, w.Newer, w.Returns = neighbours(rollout, subject.Siblings)
	w.StableMoved = stableMoved(rollout, subject.Siblings)

	phase := rollout.Status.Phase
	if phase.Terminal() && w.Newer != "" {
		// It looks after nothing any more; the objects that bear its names are another's.
		return w, nil
	}
	if !phase.Terminal() {
		w.Seen = Versions{}
	}
	w.Job = r.job(ctx, w, subject)
	w.Canary = r.set(ctx, w, subject, subject.Sides.Canary)
	if rollout.Spec.Stable == nil {
		w.Stable = plan.Set{Knowledge: plan.Absent}
	} else {
		w.Stable = r.set(ctx, w, subject, subject.Sides.Stable)
	}
	if manifest.InPlace(rollout.Spec) {
		// One set, which is to be as the newer render has it.
		w.Stable = w.Canary
	}
	w.Baseline = r.baseline(ctx, w, subject)
	w.Shared = r.shared(ctx, w, subject, phase)
	w.Traffic = r.traffic(ctx, w, subject, phase)
	return w, nil
}

// neighbours returns the name of an older Rollout that has not ended and that of the
// newest newer one, and whether that one brings back the stable revision.
func neighbours(rollout *v1alpha1.Rollout, siblings []v1alpha1.Rollout) (older, newer string, returns bool) {
	stable := rollout.Spec.Stable
	for i := range siblings {
		other := &siblings[i]
		switch {
		case other.Spec.Number < rollout.Spec.Number && !other.Status.Phase.Terminal():
			older = other.Name
		case other.Spec.Number > rollout.Spec.Number:
			newer = other.Name
			returns = stable != nil && stable.Revision == other.Spec.Revision && stable.Revision != rollout.Spec.Revision
		}
	}
	return older, newer, returns
}

// stableMoved says whether a Rollout newer than the one that is pinned as stable has
// succeeded, the observed one aside.
func stableMoved(rollout *v1alpha1.Rollout, siblings []v1alpha1.Rollout) bool {
	var pinned int64
	if s := rollout.Spec.Stable; s != nil {
		// The pinned one may have been deleted; the number is in its name.
		digits := strings.TrimPrefix(s.Rollout, rollout.Spec.Release+"-")
		pinned, _ = strconv.ParseInt(digits, 10, 64)
	}
	for i := range siblings {
		other := &siblings[i]
		if other.Name != rollout.Name && other.Status.Phase == v1alpha1.RolloutSucceeded && other.Spec.Number > pinned {
			return true
		}
	}
	return false
}

// Unanswered returns the unanswered commands about rollout as from has them, oldest first.
// A command that is older than rollout is about a former Rollout of the same name, and is
// never obeyed. Times are whole seconds, so one of the same second counts.
func Unanswered(ctx context.Context, from client.Reader, rollout *v1alpha1.Rollout) ([]plan.Command, error) {
	var list v1alpha1.RolloutCommandList
	if err := from.List(ctx, &list, client.InNamespace(rollout.Namespace),
		client.MatchingFields{FieldRollout: rollout.Name}); err != nil {
		return nil, fmt.Errorf("listing the commands about Rollout %s/%s: %w", rollout.Namespace, rollout.Name, err)
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.RolloutCommand) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var out []plan.Command
	for i := range list.Items {
		c := &list.Items[i]
		if c.Status.Outcome != "" || c.CreationTimestamp.Before(&rollout.CreationTimestamp) {
			continue
		}
		out = append(out, plan.Command{
			Name: c.Name, Action: c.Spec.Action, Step: c.Spec.Step, Actor: c.Spec.Actor, Reason: c.Spec.Reason,
		})
	}
	return out, nil
}

// shared compares the objects outside of the sets with those that are there.
func (r Reader) shared(ctx context.Context, w *World, subject Subject, phase v1alpha1.RolloutPhase) plan.Knowledge {
	if !subject.Sides.Complete(subject.Rollout.Spec) {
		return plan.Unknown
	}
	all := plan.Present
	for _, obj := range manifest.Shared(subject.Sides, phase) {
		live, err := r.Get(ctx, obj)
		if err != nil {
			w.Unread = append(w.Unread, err)
			return plan.Unknown
		}
		if live == nil || !upToDate(w, live, obj, subject.Release) || manifest.Narrow(live, obj) {
			w.Narrow = w.Narrow || live != nil && manifest.Narrow(live, obj)
			all = plan.Absent
		}
	}
	return all
}

// Get returns the live object with the identity of obj, nil where there is none.
func (r Reader) Get(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(obj.GroupVersionKind())
	switch err := r.Live.Get(ctx, client.ObjectKeyFromObject(obj), live); {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // absent is a fact, not a failure
	case err != nil:
		return nil, fmt.Errorf("reading %s %s/%s: %w", obj.GetKind(), obj.GetNamespace(), obj.GetName(), err)
	}
	return live, nil
}

func upToDate(w *World, live, rendered *unstructured.Unstructured, release *v1alpha1.Release) bool {
	want, err := manifest.Wanted(rendered, release)
	if err != nil {
		w.Unread = append(w.Unread, err)
		return false
	}
	return manifest.UpToDate(live, want)
}
