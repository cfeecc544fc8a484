package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	managedflow "tidegate.io/tidegate/policies/library/managed-flow"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// gate judges writes of governed kinds.
type gate struct {
	Config
	flow *eval.Policy
	// renderings are those of Rollouts, each by the digest of what it is.
	renderings *lru.Cache[pinnedKey, *render.Result]
}

func (h *gate) judge(ctx context.Context, r admission.Request) answer {
	namespace, governing, refusal := h.governing(ctx, r)
	if refusal != nil {
		return *refusal
	}
	request := policyRequest(r)
	// Converting the objects for policies takes longer than all else, and most requests are
	// of those who may and of kinds that no policy is about.
	input := sync.OnceValues(func() (eval.Input, error) { return eval.RequestInput(v1alpha1.AtAdmission, request) })
	gr := schema.GroupResource{Group: r.Resource.Group, Resource: r.Resource.Resource}
	if gr.Group == "" && gr.Resource == "pods" {
		return h.connection(ctx, r, governing)
	}
	controllers := govern.Controllers(gr, r.SubResource, request.Operation)
	var exemption *v1alpha1.BreakGlass
	for _, g := range governing {
		facts := managedflow.Facts{
			Gate: managedflow.Gate{
				Name:    g.Name,
				Writers: append([]string{h.Identity}, g.Spec.Writers...),
				Allow:   managedflow.Allow{Autoscalers: append([]string{}, g.Spec.Allow.Autoscalers...)},
			},
			Controllers: controllers,
			Scope:       managedflow.ScopeAlways,
		}
		if govern.Labelled(g, gr) {
			facts.Scope = managedflow.ScopeLabelled
		}
		if exemption != nil || facts.Allows(request) {
			continue
		}
		var err error
		if exemption, err = h.exemption(ctx, r, governing); err != nil {
			return fail(err)
		}
		if exemption != nil {
			continue
		}
		in, err := input()
		if err != nil {
			return deny(ReasonMalformed, "wanted objects in JSON, found: %v; do: send the object as kubectl does", err)
		}
		return h.refuse(ctx, r, in, facts)
	}
	if a := h.asRendered(ctx, r, governing); a.refuses() || h.exempt(r, controllers) {
		return a
	}
	a := h.policies(ctx, secret.Mask{}, eval.AdmissionQuestion(request, &namespace, func() (string, bool) { return h.template(ctx, r) }, input))
	if exemption != nil {
		return h.use(ctx, r, exemption, governing, a)
	}
	return a
}

// exempt says whether DeployPolicies are not asked. They are about what comes in: what
// Tidegate changes or removes of what it made itself was judged when it was made, and a
// policy of today must stop neither a return to what served yesterday, nor the built-in
// controllers.
func (h *gate) exempt(r admission.Request, controllers []string) bool {
	return slices.Contains(controllers, r.UserInfo.Username) ||
		(r.UserInfo.Username == h.Identity && string(r.Operation) != govern.Create)
}

// governing returns the request's namespace and the Gates over it. That there is none, though
// the API server asks, is no consent: a cache may be late.
func (h *gate) governing(ctx context.Context, r admission.Request) (eval.Namespace, []*v1alpha1.Gate, *answer) {
	var ns corev1.Namespace
	var none eval.Namespace
	switch err := h.Reader.Get(ctx, types.NamespacedName{Name: r.Namespace}, &ns, client.UnsafeDisableDeepCopy); {
	case apierrors.IsNotFound(err):
		a := deny(ReasonGateUnknown, "wanted namespace %q to be known, found that it is not yet; do: try again in a moment", r.Namespace)
		return none, nil, &a
	case err != nil:
		a := fail(fmt.Errorf("reading namespace %q: %w", r.Namespace, err))
		return none, nil, &a
	}
	var list v1alpha1.GateList
	if err := h.Reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		a := fail(fmt.Errorf("listing gates: %w", err))
		return none, nil, &a
	}
	found, err := govern.Governing(list.Items, govern.Namespace{Name: ns.Name, Labels: ns.Labels}, h.ManagerNamespace)
	if err != nil {
		a := fail(err)
		return none, nil, &a
	}
	if len(found) == 0 {
		a := deny(ReasonGateUnknown, "wanted a Gate that governs namespace %q, found none, though ValidatingWebhookConfiguration tidegate-gates lists it; "+
			"do: try again in a moment; if it persists: kubectl get gates", r.Namespace)
		return none, nil, &a
	}
	// Labels that are known to be none are not labels that are not known.
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	return eval.Namespace{Name: ns.Name, Labels: ns.Labels}, found, nil
}

// refuse words the refusal of a request that the policy managed-flow does not allow. The
// policy is asked for its words only; that it consents after all changes nothing, and who
// owns the object gives no permission.
func (h *gate) refuse(ctx context.Context, r admission.Request, in eval.Input, facts managedflow.Facts) answer {
	facts.Release = h.owner(ctx, r)
	in, err := facts.Extend(in)
	if err != nil {
		return fail(err)
	}
	findings, err := h.flow.Eval(ctx, in)
	if err != nil {
		return fail(err)
	}
	a := answer{code: managedflow.ReasonBypass, denial: "wanted a request that policy managed-flow allows, found one that it does not; do: change the Release instead"}
	if len(findings.Denials) > 0 {
		a.code, a.denial = worded(findings.Denials[0])
	}
	a.facts = map[string]string{"gate": facts.Gate.Name, "policy": managedflow.Name, "release": facts.Release}
	return a
}

// template is the template of the Release that the object belongs to by its label, before or
// after; empty for none. It is not known where the Release cannot be read.
func (h *gate) template(ctx context.Context, r admission.Request) (name string, known bool) {
	for _, raw := range [][]byte{r.OldObject.Raw, r.Object.Raw} {
		var object metav1.PartialObjectMetadata
		if len(raw) == 0 {
			continue
		}
		if err := json.Unmarshal(raw, &object); err != nil {
			return "", false
		}
		owner := object.Labels[v1alpha1.LabelRelease]
		if owner == "" {
			continue
		}
		var release v1alpha1.Release
		if err := h.Reader.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: owner}, &release, client.UnsafeDisableDeepCopy); err != nil {
			return "", false
		}
		return release.Spec.Template.Name, true
	}
	return "", true
}

// revisionSuffix is what Tidegate puts behind the name of a Release.
var revisionSuffix = regexp.MustCompile(`^(.+)-[0-9a-f]{10}$`)

// owner is the Release that manages the object, for messages: by Tidegate's label on what
// is there, or else by name, if there is such a Release.
func (h *gate) owner(ctx context.Context, r admission.Request) string {
	var old, object metav1.PartialObjectMetadata
	if len(r.OldObject.Raw) > 0 && json.Unmarshal(r.OldObject.Raw, &old) == nil && old.Labels[v1alpha1.LabelRelease] != "" {
		return old.Labels[v1alpha1.LabelRelease]
	}
	candidates := []string{}
	if len(r.Object.Raw) > 0 && json.Unmarshal(r.Object.Raw, &object) == nil {
		candidates = append(candidates, object.Labels[v1alpha1.LabelRelease])
	}
	for _, name := range []string{r.Name, old.Name, object.Name} {
		candidates = append(candidates, name)
		if m := revisionSuffix.FindStringSubmatch(name); m != nil {
			candidates = append(candidates, m[1])
		}
	}
	for _, name := range candidates {
		var release v1alpha1.Release
		if name != "" && h.Reader.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: name}, &release) == nil {
			return name
		}
	}
	return ""
}

// policies asks the DeployPolicies about each question and words their verdicts.
func (c Config) policies(ctx context.Context, mask secret.Mask, questions ...eval.Question) answer {
	v := c.Policies.Set().JudgeAll(ctx, questions...)
	for _, name := range v.OverBudget {
		c.Metrics.overBudget.WithLabelValues(name).Inc()
		ctrl.LoggerFrom(ctx).Info("Policy is over its budget", "policy", name, "code", eval.ReasonPolicyBudget)
	}
	if len(v.Dryrun) > 0 {
		c.Metrics.dryrun.Add(float64(len(v.Dryrun)))
		for _, d := range v.Dryrun {
			ctrl.LoggerFrom(ctx).Info("policy in dryrun objects", "policy", d.Policy, "code", d.Code, "message", mask.Text(d.Message))
		}
	}
	a := answer{}
	for _, w := range v.Warnings {
		if line := fmt.Sprintf("%s (policy %s)", mask.Text(w.String()), w.Policy); !slices.Contains(a.warnings, line) {
			a.warnings = append(a.warnings, line)
		}
	}
	if len(v.Denials) == 0 {
		return a
	}
	first := v.Denials[0]
	a.code, a.facts = first.Code, map[string]string{"policy": first.Policy}
	lines := []string{}
	for _, d := range v.Denials {
		code, text := worded(d)
		text = mask.Text(text)
		if d.Policy != "" {
			text += fmt.Sprintf(" (policy %s)", d.Policy)
		}
		if len(lines) > 0 {
			text = code + ": " + text
		}
		if !slices.Contains(lines, text) {
			lines = append(lines, text)
		}
	}
	a.denial = strings.Join(lines, "\n")
	return a
}

// worded splits a violation into its code and the rest.
func worded(v eval.Violation) (code, text string) {
	return v.Code, strings.TrimPrefix(v.String(), v.Code+": ")
}

// policyRequest is the request as policies see it.
func policyRequest(r admission.Request) eval.Request {
	return eval.Request{
		UID:         string(r.UID),
		Kind:        eval.GroupKind(r.Kind),
		Resource:    eval.GroupResource(r.Resource),
		SubResource: r.SubResource,
		Name:        r.Name,
		Namespace:   r.Namespace,
		Operation:   string(r.Operation),
		UserInfo:    eval.UserInfo{Username: r.UserInfo.Username, UID: r.UserInfo.UID, Groups: r.UserInfo.Groups},
		Object:      present(r.Object.Raw),
		OldObject:   present(r.OldObject.Raw),
		DryRun:      r.DryRun != nil && *r.DryRun,
	}
}

// present is the raw object, or nothing where it is null.
func present(raw []byte) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
