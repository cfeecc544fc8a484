package webhook

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// verbs are the custom RBAC verbs, on rollouts.tidegate.io, of each action.
var verbs = map[v1alpha1.CommandAction]string{
	v1alpha1.CommandApprove: "approve",
	v1alpha1.CommandAbort:   "abort",
	v1alpha1.CommandPause:   "pause",
	v1alpha1.CommandResume:  "pause",
}

// command judges a RolloutCommand. It is a record: created once, by who it says, with the
// right to, and from then on Tidegate's.
func (h *own) command(ctx context.Context, r admission.Request) answer {
	if string(r.Operation) != govern.Create {
		return h.readonly(r)
	}
	c, refusal := decode[v1alpha1.RolloutCommand]("a RolloutCommand", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	facts := map[string]string{"rollout": r.Namespace + "/" + c.Spec.Rollout, "action": string(c.Spec.Action)}
	for _, check := range []func(context.Context, admission.Request, *v1alpha1.RolloutCommand) answer{
		h.actor, h.permitted, h.fits,
	} {
		if a := check(ctx, r, c); a.err != nil || a.denial != "" {
			a.facts = facts
			return a
		}
	}
	return answer{facts: facts}
}

func (h *own) actor(_ context.Context, r admission.Request, c *v1alpha1.RolloutCommand) answer {
	if c.Spec.Actor == r.UserInfo.Username {
		return answer{}
	}
	return deny(ReasonCommandActor, "spec.actor: wanted %q, who creates the command, found %q; do: leave spec.actor out, the API server fills it in; "+
		"if it stays empty, MutatingAdmissionPolicy tidegate-actor of the chart is missing", r.UserInfo.Username, c.Spec.Actor)
}

func (h *own) permitted(ctx context.Context, r admission.Request, c *v1alpha1.RolloutCommand) answer {
	verb, ok := verbs[c.Spec.Action]
	if !ok {
		return deny(ReasonCommandInvalid, "spec.action: wanted approve, pause, resume or abort, found %q", c.Spec.Action)
	}
	allowed, err := h.Authorizer.Allowed(ctx, r.UserInfo, authorizationv1.ResourceAttributes{
		Namespace: r.Namespace, Verb: verb, Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: rollouts, Name: c.Spec.Rollout,
	})
	if err != nil {
		return fail(fmt.Errorf("asking whether %q may %s: %w", r.UserInfo.Username, verb, err))
	}
	if !allowed {
		return deny(ReasonCommandForbidden, "wanted a user with the verb %q on rollouts.%s in namespace %q, found %q; do: ask for a Role with it; it is checked by: kubectl auth can-i %s rollouts.%s/%s -n %s",
			verb, v1alpha1.GroupVersion.Group, r.Namespace, r.UserInfo.Username, verb, v1alpha1.GroupVersion.Group, c.Spec.Rollout, r.Namespace)
	}
	return answer{}
}

// fits says whether the Rollout can still do what is asked.
func (h *own) fits(ctx context.Context, r admission.Request, c *v1alpha1.RolloutCommand) answer {
	var rollout v1alpha1.Rollout
	switch err := h.Reader.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: c.Spec.Rollout}, &rollout); {
	case apierrors.IsNotFound(err):
		return deny(ReasonCommandInvalid, "spec.rollout: wanted a Rollout in namespace %q, found none called %q; do: kubectl get rollouts.%s -n %s",
			r.Namespace, c.Spec.Rollout, v1alpha1.GroupVersion.Group, r.Namespace)
	case err != nil:
		return fail(fmt.Errorf("reading Rollout %s/%s: %w", r.Namespace, c.Spec.Rollout, err))
	}
	if label, ok := c.Labels[v1alpha1.LabelRollout]; ok && label != c.Spec.Rollout {
		return deny(ReasonCommandInvalid, "metadata.labels[%s]: wanted %q, as spec.rollout, found %q; do: leave the label out", v1alpha1.LabelRollout, c.Spec.Rollout, label)
	}
	if rollout.Status.Phase.Terminal() {
		return deny(ReasonCommandInvalid, "wanted a Rollout that has not ended, found %q %s; do: look for the current one: kubectl get release %s -n %s",
			rollout.Name, rollout.Status.Phase, rollout.Spec.Release, r.Namespace)
	}
	if c.Spec.Action != v1alpha1.CommandApprove {
		return answer{}
	}
	steps := []string{}
	for i, s := range rollout.Spec.Strategy.Steps {
		if s.Approval {
			steps = append(steps, fmt.Sprint(i+1))
		}
	}
	if !slices.Contains(steps, fmt.Sprint(c.Spec.Step)) {
		which := "which has none"
		if len(steps) > 0 {
			which = "which are " + strings.Join(steps, ", ")
		}
		return deny(ReasonCommandInvalid, "spec.step: wanted a step of Rollout %q that asks for approval, %s, found %d; do: tidegate status %s -n %s",
			rollout.Name, which, c.Spec.Step, rollout.Spec.Release, r.Namespace)
	}
	return answer{}
}

// ReviewAuthorizer asks the API server, by SubjectAccessReview.
type ReviewAuthorizer struct {
	// Client creates the reviews, which the API server answers and does not keep.
	Client client.Writer
}

// Allowed implements Authorizer.
func (a ReviewAuthorizer) Allowed(ctx context.Context, user authenticationv1.UserInfo, what authorizationv1.ResourceAttributes) (bool, error) {
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for k, v := range user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		ResourceAttributes: &what, User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra,
	}}
	if err := a.Client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("creating a SubjectAccessReview: %w", err)
	}
	return review.Status.Allowed && !review.Status.Denied, nil
}
