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

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// verbs are the custom RBAC verbs, on rollouts.tidegate.io, of each action.
var verbs = map[v1alpha1.CommandAction]string{
	v1alpha1.CommandApprove:  "approve",
	v1alpha1.CommandAbort:    "abort",
	v1alpha1.CommandPause:    "pause",
	v1alpha1.CommandResume:   "pause",
	v1alpha1.CommandSkipStep: "skip-step",
	v1alpha1.CommandPromote:  "promote",
	v1alpha1.CommandRetry:    "retry",
	v1alpha1.CommandRollBack: "roll-back",
}

// ends are the ends of a Rollout that an action is about; the others are about Rollouts that
// have not ended.
var ends = map[v1alpha1.CommandAction]v1alpha1.RolloutPhase{
	v1alpha1.CommandRetry:    v1alpha1.RolloutAborted,
	v1alpha1.CommandRollBack: v1alpha1.RolloutSucceeded,
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
				return deny(ReasonCommandInvalid, "spec.action: wanted approve, pause, resume, abort, skip-step, promote, retry or roll-back, found %q; do: kubectl explain rolloutcommand.spec.action", c.Spec.Action)
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
	if slices.Contains(rollout.Spec.Strategy.RequireReason, c.Spec.Action) && strings.TrimSpace(c.Spec.Reason) == "" {
		return deny(ReasonCommandReason, "spec.reason: wanted the reason for %s, which the template of Release %q asks for, found none; do: give the command again with --reason TEXT",
			c.Spec.Action, rollout.Spec.Release)
	}
	if a := inPhase(&rollout, c.Spec.Action); a.denial != "" {
		return a
	}
	switch c.Spec.Action {
	case v1alpha1.CommandApprove:
		return approvable(&rollout, c.Spec.Step)
	case v1alpha1.CommandSkipStep:
		if n := len(rollout.Spec.Strategy.Steps); int(c.Spec.Step) > n {
			return deny(ReasonCommandInvalid, "spec.step: wanted a step of Rollout %q, which has %d, found %d; do: tidegate status %s -n %s",
				rollout.Name, n, c.Spec.Step, rollout.Spec.Release, r.Namespace)
		}
	case v1alpha1.CommandRetry, v1alpha1.CommandRollBack:
		return h.asJudged(ctx, &rollout)
	case v1alpha1.CommandPause, v1alpha1.CommandResume, v1alpha1.CommandAbort, v1alpha1.CommandPromote:
	}
	return answer{}
}

// asJudged refuses to make a Rollout once more whose inputs do not render any more as they were
// judged. What cannot be found out here, the loop that makes it finds out, and says so in
// the command's outcome.
func (h *own) asJudged(ctx context.Context, rollout *v1alpha1.Rollout) answer {
	remedy := fmt.Sprintf("do: apply Release %s with the values of the Rollout, so that what they render to now is judged: kubectl get rollout %s -n %s -o jsonpath={.spec.values}",
		rollout.Spec.Release, rollout.Name, rollout.Namespace)
	var revision v1alpha1.TemplateRevision
	switch err := h.Reader.Get(ctx, types.NamespacedName{Name: rollout.Spec.TemplateRevision}, &revision); {
	case apierrors.IsNotFound(err):
		return deny(ReasonCommandInvalid, "wanted TemplateRevision %q, which Rollout %q pins, found that it is gone; %s", rollout.Spec.TemplateRevision, rollout.Name, remedy)
	case err != nil:
		return fail(fmt.Errorf("reading TemplateRevision %s: %w", rollout.Spec.TemplateRevision, err))
	}
	source := Source{Digest: revision.Spec.Digest, Files: revision.Spec.Files}
	result, err := h.Renderer.Render(ctx, source, rawValues(rollout.Spec.Values), render.Context{
		Name: rollout.Spec.Release, Namespace: rollout.Namespace, Template: revision.Spec.Template,
	})
	if err == nil && result.Digest != rollout.Spec.Digest {
		return deny(ReasonCommandInvalid, "wanted inputs that render to %s, as when Rollout %q was judged, found that this version's engine makes %s of them; %s",
			rollout.Spec.Digest, rollout.Name, result.Digest, remedy)
	}
	return answer{}
}

// inPhase refuses what comes too late for a Rollout, or too early.
func inPhase(rollout *v1alpha1.Rollout, action v1alpha1.CommandAction) answer {
	phase := rollout.Status.Phase
	end, about := ends[action]
	switch {
	case about && phase != end:
		do := fmt.Sprintf("look for one: tidegate history %s -n %s", rollout.Spec.Release, rollout.Namespace)
		if phase == "" {
			phase = v1alpha1.RolloutPending
		}
		return deny(ReasonCommandInvalid, "wanted a Rollout that is %s, to %s, found %q %s; do: %s", end, action, rollout.Name, phase, do)
	case !about && phase.Terminal():
		return deny(ReasonCommandInvalid, "wanted a Rollout that has not ended, found %q %s; do: look for the current one: kubectl get release %s -n %s",
			rollout.Name, phase, rollout.Spec.Release, rollout.Namespace)
	}
	return answer{}
}

// approvable says whether a step asks for an approval.
func approvable(rollout *v1alpha1.Rollout, step int32) answer {
	steps := []string{}
	for i, s := range rollout.Spec.Strategy.Steps {
		if s.Pause != nil && s.Pause.Approval {
			steps = append(steps, fmt.Sprint(i+1))
		}
	}
	if !slices.Contains(steps, fmt.Sprint(step)) {
		which := "which has none"
		if len(steps) > 0 {
			which = "which are " + strings.Join(steps, ", ")
		}
		return deny(ReasonCommandInvalid, "spec.step: wanted a step of Rollout %q that asks for approval, %s, found %d; do: tidegate status %s -n %s",
			rollout.Name, which, step, rollout.Spec.Release, rollout.Namespace)
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
