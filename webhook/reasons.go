package webhook

import (
	"tidegate.io/tidegate/policies/eval"
	managedflow "tidegate.io/tidegate/policies/library/managed-flow"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/webhook/gates"
)

// Codes of the webhook's denials.
const (
	// ReasonGateUnknown is: the API server asked about a namespace that no Gate is known to
	// govern.
	ReasonGateUnknown = "TG-GATE-UNKNOWN"
	// ReasonMutated is: a workload that is not what its template rendered.
	ReasonMutated = "TG-GATE-MUTATED"
	// ReasonReadonly is: a kind, or a status, that Tidegate alone writes.
	ReasonReadonly = "TG-KIND-READONLY"
	// ReasonTemplateNotFound is: a Release names a template, or a revision of one, that is
	// not there.
	ReasonTemplateNotFound = "TG-TEMPLATE-NOTFOUND"
	// ReasonReleaseOrphan is: a Release is deleted without what was made for it.
	ReasonReleaseOrphan = "TG-RELEASE-ORPHAN"
	// ReasonValuesImmutable is: a Release changes a value that its template fixes for life.
	ReasonValuesImmutable = "TG-VALUES-IMMUTABLE"
	// ReasonTemplateInUse is: a template is deleted that Releases name.
	ReasonTemplateInUse = "TG-TEMPLATE-INUSE"
	// ReasonTemplateBreaking is: a template changes so that values are refused which were
	// good, and nobody declared that this is meant.
	ReasonTemplateBreaking = "TG-TEMPLATE-BREAKING"
	// ReasonTemplateChannel is: a channel of a template names a revision that is not there.
	ReasonTemplateChannel = "TG-TEMPLATE-CHANNEL"
	// ReasonPolicyInvalid is: a DeployPolicy does not compile.
	ReasonPolicyInvalid = "TG-POLICY-INVALID"
	// ReasonGateSpec is: a Gate that would govern what it must not, or nothing.
	ReasonGateSpec = "TG-GATE-SPEC"
	// ReasonSourceInvalid is: a MetricSource that cannot be queried.
	ReasonSourceInvalid = "TG-SOURCE-INVALID"
	// ReasonCommandActor is: a command whose actor is not who created it.
	ReasonCommandActor = "TG-COMMAND-ACTOR"
	// ReasonCommandInvalid is: a command that does not fit its Rollout or template.
	ReasonCommandInvalid = "TG-COMMAND-INVALID"
	// ReasonCommandReason is: a command without the reason that the template asks for.
	ReasonCommandReason = "TG-COMMAND-REASON"
	// ReasonCommandForbidden is: RBAC does not give the verb.
	ReasonCommandForbidden = "TG-COMMAND-FORBIDDEN"
	// ReasonBreakGlassForbidden is: no Gate allows the exemption, or not to this user.
	ReasonBreakGlassForbidden = "TG-BREAKGLASS-FORBIDDEN"
	// ReasonBreakGlassInvalid is: a BreakGlass that names what cannot be exempted, or that is
	// changed or deleted.
	ReasonBreakGlassInvalid = "TG-BREAKGLASS-INVALID"
	// ReasonBreakGlassSelf is: the author of a BreakGlass approves it.
	ReasonBreakGlassSelf = "TG-BREAKGLASS-SELF"
	// ReasonBreakGlassOver is: no BreakGlass is in force any more, or none yet.
	ReasonBreakGlassOver = "TG-BREAKGLASS-OVER"
	// ReasonMalformed is: an object that cannot be decoded.
	ReasonMalformed = "TG-REQUEST-MALFORMED"
)

// codes are all that a denial can have, those that a DeployPolicy makes up aside.
var codes = []string{
	ReasonGateUnknown, ReasonMutated, gates.ReasonGuard, ReasonReadonly, ReasonTemplateNotFound, ReasonReleaseOrphan, ReasonValuesImmutable, ReasonTemplateInUse, ReasonTemplateBreaking, ReasonTemplateChannel, ReasonPolicyInvalid, ReasonGateSpec,
	ReasonSourceInvalid, ReasonCommandActor, ReasonCommandInvalid, ReasonCommandReason, ReasonCommandForbidden, ReasonBreakGlassForbidden, ReasonBreakGlassInvalid, ReasonBreakGlassSelf, ReasonBreakGlassOver, ReasonMalformed,
	managedflow.ReasonBypass, eval.ReasonPolicyDeny, eval.ReasonPolicyError, eval.ReasonPolicyBudget, render.ReasonValuesInvalid, render.ReasonTemplateBroken,
	worker.ReasonRenderBudget,
}
