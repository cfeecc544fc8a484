package main

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// restarts measures what a manager does that follows another, and when it is in control: when it
// has acted on what changed while there was none. A Release cannot change then, since nobody judges
// it, so somebody scales a Deployment behind Tidegate's back, which is put right.
func (w *world) restarts(ctx context.Context, b *block) error {
	if err := w.measured(ctx); err != nil {
		return err
	}
	begin, err := w.audit.mark()
	if err != nil {
		return err
	}
	if _, err := w.restart(ctx, w.options.limits); err != nil {
		return err
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	calls, err := w.audit.since(begin)
	if err != nil {
		return err
	}
	b.Requests = count(calls)
	b.target("writes and Events, nothing changed", float64(total(b.Requests, sortWrite, sortEvent)), "requests", 0)
	b.add("reads, nothing changed", float64(total(b.Requests, sortRead)), "requests")

	if err := w.stopManager(ctx); err != nil {
		return err
	}
	if err := w.takeOver(ctx, b, "after SIGTERM", 0, mostRestart); err != nil {
		return err
	}
	if err := w.killManager(ctx); err != nil {
		return err
	}
	if err := w.takeOver(ctx, b, "after SIGKILL, in the same pod", 1, mostRestart); err != nil {
		return err
	}
	if err := w.killManager(ctx); err != nil {
		return err
	}
	w.pod++
	if err := w.takeOver(ctx, b, "after SIGKILL, in another pod, with the lease of the dead to wait for", 2, 0); err != nil {
		return err
	}
	return w.judges(ctx, b)
}

// takeOver scales a Deployment while there is no manager, starts one, and measures when it has put
// that right.
func (w *world) takeOver(ctx context.Context, b *block, when string, number int, most time.Duration) error {
	release := releaseName(number)
	var found appsv1.DeploymentList
	if err := w.client.List(ctx, &found, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelRelease: release}); err != nil {
		return fmt.Errorf("looking for the Deployment of Release %s: %w", release, err)
	}
	if len(found.Items) != 1 {
		return fmt.Errorf("wanted one Deployment of Release %s at rest, found %d", release, len(found.Items))
	}
	wrong := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, w.options.replicas+1)
	if err := w.client.Patch(ctx, &found.Items[0], client.RawPatch(types.MergePatchType, wrong)); err != nil {
		return fmt.Errorf("scaling the Deployment of Release %s: %w", release, err)
	}
	begin, err := w.audit.mark()
	if err != nil {
		return err
	}
	m, err := w.startManager(ctx, w.options.limits)
	if err != nil {
		return err
	}
	ready := time.Since(m.began)
	var acted time.Time
	err = await(ctx, "the Deployment to be put right", longestUnsettled, func() (bool, error) {
		calls, err := w.audit.since(begin)
		if err != nil {
			return false, err
		}
		var ok bool
		acted, ok = firstAbout(calls, release, m.began, "deployments")
		return ok, nil
	})
	if err != nil {
		return err
	}
	b.add(when+": ready after", ready.Seconds(), "s")
	name := when + ": a change made meanwhile is acted on after"
	if most > 0 {
		b.target(name, acted.Sub(m.began).Seconds(), "s", most.Seconds())
	} else {
		b.add(name, acted.Sub(m.began).Seconds(), "s")
	}
	return nil
}

// retryChange is how often a change that nobody could judge is tried again.
const retryChange = 20 * time.Millisecond

// judges measures when a change of a Release is judged and acted on after a start: it is tried from
// the start on.
func (w *world) judges(ctx context.Context, b *block) error {
	if err := w.stopManager(ctx); err != nil {
		return err
	}
	begin, err := w.audit.mark()
	if err != nil {
		return err
	}
	type answer struct {
		change
		err error
	}
	accepted := make(chan answer, 1)
	began := time.Now()
	go func() {
		for {
			c, err := w.fleet.change(ctx, releaseName(2))
			// An admission webhook that is down is an internal error for the API server.
			if err == nil || !apierrors.IsInternalError(err) || time.Since(began) > longestUnsettled {
				accepted <- answer{c, err}
				return
			}
			if err := pause(ctx, retryChange); err != nil {
				accepted <- answer{c, err}
				return
			}
		}
	}()
	m, err := w.startManager(ctx, w.options.limits)
	if err != nil {
		return err
	}
	a := <-accepted
	if a.err != nil {
		return a.err
	}
	if _, err := w.fleet.finish(ctx, []change{a.change}, longestUnsettled); err != nil {
		return err
	}
	calls, err := w.audit.since(begin)
	if err != nil {
		return err
	}
	acted, ok := firstAbout(calls, a.release, m.began, "rollouts")
	if !ok {
		return fmt.Errorf("wanted a Rollout made for the change of Release %s, found none in the audit log", a.release)
	}
	b.add("after SIGTERM: a Release can be changed again after", a.accepted.Sub(m.began).Seconds(), "s")
	b.target("after SIGTERM: the first change of one is acted on after", acted.Sub(m.began).Seconds(), "s", mostRestart.Seconds())
	return nil
}
