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

// rolloutCommand judges a RolloutCommand. It is a record: created once, by who it says,
// with the right to, and from then on Tidegate's.
func (h *own) rolloutCommand(ctx context.Context, r admission.Request) answer {
	if string(r.Operation) != govern.Create {
		return h.readonly(r)
	}
	c, refusal := decode[v1alpha1.RolloutCommand]("a RolloutCommand", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	verb, known := verbs[c.Spec.Action]
	return firstRefusal(map[string]string{"rollout": r.Namespace + "/" + c.Spec.Rollout, "action": string(c.Spec.Action)},
		func() answer { return actor(r, c.Spec.Actor) },
		func() answer { return ofGroups(r, c.Spec.Groups) },
		func() answer { return owned(r, ReasonCommandInvalid, c.OwnerReferences) },
		func() answer {
			if !known {
				return deny(ReasonCommandInvalid, "spec.action: wanted approve, pause, resume or abort, found %q; do: kubectl explain rolloutcommand.spec.action", c.Spec.Action)
			}
			return h.permitted(ctx, r, verb, rollouts, c.Spec.Rollout)
		},
		func() answer { return h.fits(ctx, r, c) },
	)
}

// firstRefusal asks the checks in order and returns the first that does not let pass,
// with the facts in any case.
func firstRefusal(facts map[string]string, checks ...func() answer) answer {
	a := answer{}
	for _, check := range checks {
		if a = check(); a.err != nil || a.denial != "" {
			break
		}
	}
	a.facts = facts
	return a
}

func actor(r admission.Request, claimed string) answer {
	if claimed == r.UserInfo.Username {
		return answer{}
	}
	return deny(ReasonCommandActor, "spec.actor: wanted %q, who creates the command, found %q; do: leave spec.actor out, the API server fills it in; "+
		"if it stays empty, MutatingAdmissionPolicy tidegate-actor of the chart is missing", r.UserInfo.Username, claimed)
}

// ofGroups refuses groups that the user is not in.
func ofGroups(r admission.Request, claimed []string) answer {
	for _, g := range claimed {
		if !slices.Contains(r.UserInfo.Groups, g) {
			return deny(ReasonCommandActor, "spec.groups: wanted groups that %q is in, found %q; do: leave spec.groups out, the API server fills it in", r.UserInfo.Username, g)
		}
	}
	return answer{}
}

// permitted asks RBAC for a verb on one object of Tidegate's own kinds, in the namespace
// of the request.
func (h *own) permitted(ctx context.Context, r admission.Request, verb, resource, name string) answer {
	allowed, err := h.Authorizer.Allowed(ctx, r.UserInfo, authorizationv1.ResourceAttributes{
		Namespace: r.Namespace, Verb: verb, Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: resource, Name: name,
	})
	if err != nil {
		return fail(fmt.Errorf("asking whether %q may %s: %w", r.UserInfo.Username, verb, err))
	}
	if allowed {
		return answer{}
	}
	role, option := "Role", " -n "+r.Namespace
	if r.Namespace == "" {
		role, option = "ClusterRole", ""
	}
	return deny(ReasonCommandForbidden, "wanted a user with the verb %q on %s.%s%s, found %q; do: ask for a %s with it; it is checked by: kubectl auth can-i %s %s.%s/%s%s",
		verb, resource, v1alpha1.GroupVersion.Group, inNamespace(r), r.UserInfo.Username, role, verb, resource, v1alpha1.GroupVersion.Group, name, option)
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
