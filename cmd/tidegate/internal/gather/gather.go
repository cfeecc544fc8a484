// Package gather reads from the cluster what the command line shows and acts on.
package gather

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/tidegate/internal/history"
	"tidegate.io/tidegate/cmd/tidegate/internal/tree"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Reader reads in one namespace.
type Reader struct {
	Client    client.Reader
	Namespace string
}

// NotFoundError is returned where there is no Release, or no ReleaseTemplate, of a name.
type NotFoundError struct {
	// Namespace is empty for a ReleaseTemplate.
	Namespace string
	Name      string
	// Near are names of others in the same place that look alike, nearest first.
	Near []string
	// Elsewhere are other namespaces that have a Release of the name.
	Elsewhere []string
}

// Error says what was wanted, what there is and how to see the rest.
func (e *NotFoundError) Error() string {
	var b strings.Builder
	list := "templates"
	if e.Namespace == "" {
		fmt.Fprintf(&b, "there is no ReleaseTemplate %q", e.Name)
	} else {
		fmt.Fprintf(&b, "there is no Release %q in namespace %q", e.Name, e.Namespace)
		list = "releases -n " + e.Namespace
	}
	if len(e.Near) > 0 {
		fmt.Fprintf(&b, "; did you mean %s?", strings.Join(e.Near, ", "))
	}
	if len(e.Elsewhere) > 0 {
		fmt.Fprintf(&b, "; there is one in namespace %s: add -n %s", strings.Join(e.Elsewhere, ", "), e.Elsewhere[0])
	}
	if len(e.Near)+len(e.Elsewhere) == 0 {
		fmt.Fprintf(&b, "; list what there is with: tidegate get %s", list)
	}
	return b.String()
}

// Release reads a Release. The error is a NotFoundError where there is none.
func (r Reader) Release(ctx context.Context, name string) (*v1alpha1.Release, error) {
	release := &v1alpha1.Release{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, release)
	if apierrors.IsNotFound(err) {
		return nil, r.notFound(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Release %s/%s: %w", r.Namespace, name, err)
	}
	return release, nil
}

// notFound looks for names that may have been meant. Where it may not list, it knows of
// none.
func (r Reader) notFound(ctx context.Context, name string) error {
	notFound := &NotFoundError{Namespace: r.Namespace, Name: name}
	var all v1alpha1.ReleaseList
	if err := r.Client.List(ctx, &all); err != nil {
		all.Items = nil
		if err := r.Client.List(ctx, &all, client.InNamespace(r.Namespace)); err != nil {
			return notFound
		}
	}
	var here []string
	for i := range all.Items {
		switch o := &all.Items[i]; {
		case o.Namespace == r.Namespace:
			here = append(here, o.Name)
		case o.Name == name:
			notFound.Elsewhere = append(notFound.Elsewhere, o.Namespace)
		}
	}
	slices.Sort(notFound.Elsewhere)
	notFound.Near = Near(name, here)
	return notFound
}

// Near returns the names that may have been meant by name, nearest first: those that a
// third of its letters, or two, would make, and those that contain it.
func Near(name string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var candidates []candidate
	for _, n := range names {
		d := levenshtein.ComputeDistance(name, n)
		if d <= max(2, len(name)/3) && d < min(len(name), len(n)) || strings.Contains(n, name) {
			candidates = append(candidates, candidate{n, d})
		}
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	var near []string
	for _, c := range candidates[:min(len(candidates), 5)] {
		near = append(near, c.name)
	}
	return near
}

// Rollouts returns the Rollouts of the Release, the newest first.
func (r Reader) Rollouts(ctx context.Context, release string) ([]v1alpha1.Rollout, error) {
	var list v1alpha1.RolloutList
	if err := r.Client.List(ctx, &list, client.InNamespace(r.Namespace)); err != nil {
		return nil, fmt.Errorf("listing the Rollouts of namespace %s: %w", r.Namespace, err)
	}
	of := slices.DeleteFunc(list.Items, func(o v1alpha1.Rollout) bool { return o.Spec.Release != release })
	slices.SortFunc(of, func(a, b v1alpha1.Rollout) int { return cmp.Compare(b.Spec.Number, a.Spec.Number) })
	return of, nil
}

// NewestRollout returns the Rollout of the Release with the highest number, or nil.
func (r Reader) NewestRollout(ctx context.Context, release string) (*v1alpha1.Rollout, error) {
	all, err := r.Rollouts(ctx, release)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// History reads what became of a Release so far. Commands that the user may not read are
// left out.
func (r Reader) History(ctx context.Context, release string) (history.View, error) {
	o, err := r.Release(ctx, release)
	if err != nil {
		return history.View{}, err
	}
	rollouts, err := r.Rollouts(ctx, release)
	if err != nil {
		return history.View{}, err
	}
	var commands v1alpha1.RolloutCommandList
	if err := r.Client.List(ctx, &commands, client.InNamespace(r.Namespace)); err != nil && !apierrors.IsForbidden(err) {
		return history.View{}, fmt.Errorf("listing the commands of namespace %s: %w", r.Namespace, err)
	}
	return history.Of(o, rollouts, commands.Items), nil
}

// View reads all that is shown of a Release. What the user may not read is left out and
// noted, except for the Release itself.
func (r Reader) View(ctx context.Context, name string) (tree.View, error) {
	release, err := r.Release(ctx, name)
	if err != nil {
		return tree.View{}, err
	}
	var notes []string
	rollout, err := r.NewestRollout(ctx, name)
	if apierrors.IsForbidden(err) {
		notes = append(notes, fmt.Sprintf("the Rollouts of namespace %s cannot be shown: you may not list them", r.Namespace))
	} else if err != nil {
		return tree.View{}, err
	}
	var deployments appsv1.DeploymentList
	err = r.Client.List(ctx, &deployments, client.InNamespace(r.Namespace), client.MatchingLabels{v1alpha1.LabelRelease: name})
	if apierrors.IsForbidden(err) {
		notes = append(notes, fmt.Sprintf("the sets cannot be shown: you may not list Deployments in namespace %s", r.Namespace))
	} else if err != nil {
		return tree.View{}, fmt.Errorf("listing the Deployments of %s/%s: %w", r.Namespace, name, err)
	}
	inPlace, err := r.inPlace(ctx, rollout)
	if apierrors.IsForbidden(err) {
		notes = append(notes, fmt.Sprintf("the pods cannot be shown: you may not read %ss in namespace %s", rollout.Spec.Workload, r.Namespace))
	} else if err != nil {
		return tree.View{}, err
	}
	view := tree.Build(release, rollout, append(deployments.Items, inPlace...))
	view.Notes = notes
	return view, nil
}

// inPlace returns the workload that the revisions share, where it is not a Deployment, with
// its numbers in the place where a Deployment has them. A CronJob has none.
func (r Reader) inPlace(ctx context.Context, rollout *v1alpha1.Rollout) ([]appsv1.Deployment, error) {
	if rollout == nil || rollout.Spec.Strategy.Type.InSets() {
		return nil, nil
	}
	var out appsv1.Deployment
	key := client.ObjectKey{Namespace: r.Namespace, Name: rollout.Spec.Release}
	var err error
	switch rollout.Spec.Workload {
	case "StatefulSet":
		var s appsv1.StatefulSet
		err = r.Client.Get(ctx, key, &s)
		out.ObjectMeta, out.Spec.Replicas = s.ObjectMeta, s.Spec.Replicas
		out.Status.AvailableReplicas, out.Status.ObservedGeneration = s.Status.AvailableReplicas, s.Status.ObservedGeneration
	case "DaemonSet":
		var d appsv1.DaemonSet
		err = r.Client.Get(ctx, key, &d)
		out.ObjectMeta, out.Spec.Replicas = d.ObjectMeta, &d.Status.DesiredNumberScheduled
		out.Status.AvailableReplicas, out.Status.ObservedGeneration = d.Status.NumberAvailable, d.Status.ObservedGeneration
	default:
		return nil, nil
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the %s of %s: %w", rollout.Spec.Workload, key, err)
	}
	return []appsv1.Deployment{out}, nil
}

// ReleaseNames lists the names of the namespace's Releases, for completion.
func (r Reader) ReleaseNames(ctx context.Context) ([]string, error) {
	var list v1alpha1.ReleaseList
	if err := r.Client.List(ctx, &list, client.InNamespace(r.Namespace)); err != nil {
		return nil, fmt.Errorf("listing the Releases of namespace %s: %w", r.Namespace, err)
	}
	names := make([]string, 0, len(list.Items))
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	slices.Sort(names)
	return names, nil
}
