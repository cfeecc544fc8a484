package controller

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// discreetError is an error whose text does not have what must not be shown.
type discreetError struct {
	text string
	err  error
}

func (e *discreetError) Error() string { return e.text }

func (e *discreetError) Unwrap() error { return e.err }

// discreet is err, about something that was rendered, without the sensitive values of the
// Rollout, and of the others of its Release: an API server repeats in
// its answer what it refuses, and answers go to statuses, events and logs.
func discreet(ctx context.Context, from client.Reader, rollout *v1alpha1.Rollout, err error) error {
	if err == nil {
		return nil
	}
	values, unknown := secretsOf(ctx, from, rollout)
	if unknown != nil {
		reason := string(apierrors.ReasonForError(err))
		if reason == "" {
			reason = "no reason"
		}
		return &discreetError{"the API server gave " + reason + "; its words are not shown, since it could not be found out which of them are sensitive: " + unknown.Error(), err}
	}
	if text := secret.New(values).Text(err.Error()); text != err.Error() {
		return &discreetError{text, err}
	}
	return err
}

// secretsOf are the sensitive values of a Rollout and of the others of its Release: what it
// returns to is applied again, with the values of then.
func secretsOf(ctx context.Context, from client.Reader, rollout *v1alpha1.Rollout) ([]string, error) {
	all, err := observe.Rollouts(ctx, from, rollout.Namespace, rollout.Spec.Release)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it did
	}
	var out []string
	for _, r := range append(all, *rollout) {
		if r.Spec.Values == nil {
			continue
		}
		var revision v1alpha1.TemplateRevision
		switch err := from.Get(ctx, types.NamespacedName{Name: r.Spec.TemplateRevision}, &revision); {
		case apierrors.IsNotFound(err):
			continue // it cannot be rendered, so nothing of it is applied
		case err != nil:
			return nil, err //nolint:wrapcheck // the caller says what it was about
		}
		if revision.Spec.Schema != nil {
			out = append(out, secret.Values(revision.Spec.Schema.Raw, r.Spec.Values.Raw)...)
		}
	}
	return out, nil
}
