package webhook

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/exempt"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// breakGlass judges a BreakGlass: who makes it may, its Gates allow it, and it names objects
// that a Gate governs. It never changes, and is not deleted while it exempts.
func (h *own) breakGlass(ctx context.Context, r admission.Request) answer {
	if h.tidegates(r) {
		return answer{}
	}
	switch string(r.Operation) {
	case govern.Delete:
		return h.breakGlassKept(r)
	case govern.Update:
		return breakGlassUnchanged(r)
	}
	b, refusal := decode[v1alpha1.BreakGlass]("a BreakGlass", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	// What is looked at is who asks and where, not what the object claims.
	b.Namespace = r.Namespace
	b.CreationTimestamp, b.DeletionTimestamp, b.Status = metav1.Time{}, nil, v1alpha1.BreakGlassStatus{}
	facts := map[string]string{"breakglass": r.Namespace + "/" + r.Name, "reason": b.Spec.Reason}
	return firstRefusal(facts,
		func() answer { return actor(r, b.Spec.Actor) },
		func() answer { return owned(r, ReasonBreakGlassInvalid, b.OwnerReferences) },
		func() answer { return h.exemptible(ctx, r, b) },
		func() answer { return h.permitted(ctx, r, "bypass", breakGlasses, r.Name) },
	)
}

// breakGlassKept keeps the record of an exemption for as long as it can be used.
func (h *own) breakGlassKept(r admission.Request) answer {
	old, refusal := decode[v1alpha1.BreakGlass]("the BreakGlass as it was", r.OldObject.Raw)
	if refusal != nil {
		return *refusal
	}
	if old.Status.Phase.Over() || !h.Clock.Now().Before(old.Spec.ExpiresAt.Time) {
		return answer{}
	}
	return deny(ReasonBreakGlassInvalid, "wanted a BreakGlass that has ended, found %q, which ends at %s; do: tidegate breakglass revoke %s -n %s --reason ..., and delete it then",
		old.Name, old.Spec.ExpiresAt.UTC().Format(time.RFC3339), old.Name, r.Namespace)
}

// breakGlassUnchanged is also a rule of the CRD; a CRD is easily replaced by an older one.
func breakGlassUnchanged(r admission.Request) answer {
	is, refusal := decode[v1alpha1.BreakGlass]("a BreakGlass", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	was, refusal := decode[v1alpha1.BreakGlass]("the BreakGlass as it was", r.OldObject.Raw)
	if refusal != nil {
		return *refusal
	}
	if equality.Semantic.DeepEqual(is.Spec, was.Spec) {
		return owned(r, ReasonBreakGlassInvalid, is.OwnerReferences, was.OwnerReferences...)
	}
	return deny(ReasonBreakGlassInvalid, "spec: wanted no change, found one; do: create another BreakGlass, and revoke this one: tidegate breakglass revoke %s -n %s", was.Name, r.Namespace)
}

// exemptible says whether the Gates allow the exemption, and name what it is about.
func (h *own) exemptible(ctx context.Context, r admission.Request, b *v1alpha1.BreakGlass) answer {
	if h.Exemptions == nil {
		return deny(ReasonBreakGlassForbidden, "wanted a manager that honours exemptions, found that this one does not; do: ask the platform team")
	}
	gates, err := h.gatesOver(ctx, r.Namespace)
	if err != nil {
		return fail(err)
	}
	now := h.Clock.Now()
	if problems := exempt.Problems(exempt.Facts{
		BreakGlass: b, Rules: rulesOf(gates), Groups: r.UserInfo.Groups, GroupsKnown: true, Now: now,
	}); len(problems) > 0 {
		return deny(ReasonBreakGlassForbidden, "BreakGlass in namespace %q:%s", r.Namespace, itemized(problems))
	}
	var wrong []string
	if !now.Before(b.Spec.ExpiresAt.Time) {
		wrong = append(wrong, fmt.Sprintf("spec.expiresAt: wanted a time after now, %s, found %s", now.UTC().Format(time.RFC3339), b.Spec.ExpiresAt.UTC().Format(time.RFC3339)))
	}
	for i, o := range b.Spec.Objects {
		if problem := objectProblem(gates, o); problem != "" {
			wrong = append(wrong, fmt.Sprintf("spec.objects[%d]: %s", i, problem))
		}
	}
	if len(wrong) > 0 {
		return deny(ReasonBreakGlassInvalid, "BreakGlass in namespace %q:%s\ndo: tidegate breakglass create --help", r.Namespace, itemized(wrong))
	}
	return answer{}
}

// objectProblem says why an object cannot be exempted, or is empty.
func objectProblem(gates []*v1alpha1.Gate, o v1alpha1.ObjectName) string {
	switch {
	case o.Name == "" || strings.ContainsAny(o.Name, "*?/ ") || strings.ContainsAny(o.Resource, "*?/ ") || strings.ContainsAny(o.Group, "*?/ "):
		return fmt.Sprintf("wanted the group, resource and name of one object, found %s; there are no patterns", describeObject(o))
	case o.Group == v1alpha1.GroupVersion.Group:
		return fmt.Sprintf("wanted an object that a Release is made into, found %s; Tidegate's own kinds have their commands", describeObject(o))
	case o.Group == "" && o.Resource == "pods":
		return ""
	}
	governed := func(k govern.Kind) bool {
		return k.Ring == govern.RingWebhook && k.Group == o.Group && k.Resource == o.Resource
	}
	if slices.ContainsFunc(govern.DefaultKinds(), governed) {
		return ""
	}
	for _, g := range gates {
		if slices.ContainsFunc(govern.ExtraKinds(g), governed) {
			return ""
		}
	}
	return fmt.Sprintf("wanted a governed resource such as deployments of group apps, or pods, found %s, which is written by the built-in controllers or is not governed", describeObject(o))
}

func describeObject(o v1alpha1.ObjectName) string {
	if o.Group == "" {
		return fmt.Sprintf("%s/%s", o.Resource, o.Name)
	}
	return fmt.Sprintf("%s.%s/%s", o.Resource, o.Group, o.Name)
}

// breakGlassCommand judges a decision about a BreakGlass. It is a record: created once, by
// who it says, with the right to, and from then on nobody's.
func (h *own) breakGlassCommand(ctx context.Context, r admission.Request) answer {
	if string(r.Operation) != govern.Create {
		return h.readonly(r)
	}
	c, refusal := decode[v1alpha1.BreakGlassCommand]("a BreakGlassCommand", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	var b v1alpha1.BreakGlass
	return firstRefusal(map[string]string{"breakglass": r.Namespace + "/" + c.Spec.BreakGlass, "action": string(c.Spec.Action)},
		func() answer { return actor(r, c.Spec.Actor) },
		func() answer {
			return owned(r, ReasonCommandInvalid, c.OwnerReferences, metav1.OwnerReference{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "BreakGlass", Name: c.Spec.BreakGlass, UID: c.Spec.UID,
			})
		},
		func() answer { return h.decidable(ctx, r, c, &b) },
		func() answer {
			switch c.Spec.Action {
			case v1alpha1.BreakGlassApprove:
				if r.UserInfo.Username == b.Spec.Actor {
					return deny(ReasonBreakGlassSelf, "wanted the approval of a second person, found that of %q, who made BreakGlass %q; do: ask somebody else to: tidegate breakglass approve %s -n %s",
						b.Spec.Actor, b.Name, b.Name, b.Namespace)
				}
				return h.permitted(ctx, r, "approve", breakGlasses, b.Name)
			case v1alpha1.BreakGlassRevoke:
				// Whoever has an exemption may give it up.
				if r.UserInfo.Username == b.Spec.Actor {
					return answer{}
				}
				return h.permitted(ctx, r, "revoke", breakGlasses, b.Name)
			}
			return deny(ReasonCommandInvalid, "spec.action: wanted approve or revoke, found %q; do: kubectl explain breakglasscommand.spec.action", c.Spec.Action)
		},
	)
}

// decidable says whether there is such a BreakGlass and it has not ended.
func (h *own) decidable(ctx context.Context, r admission.Request, c *v1alpha1.BreakGlassCommand, b *v1alpha1.BreakGlass) answer {
	switch err := h.Reader.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: c.Spec.BreakGlass}, b); {
	case apierrors.IsNotFound(err):
		return deny(ReasonCommandInvalid, "spec.breakGlass: wanted a BreakGlass in namespace %q, found none called %q; do: tidegate breakglass list -n %s", r.Namespace, c.Spec.BreakGlass, r.Namespace)
	case err != nil:
		return fail(fmt.Errorf("reading BreakGlass %s/%s: %w", r.Namespace, c.Spec.BreakGlass, err))
	case b.UID != c.Spec.UID:
		return deny(ReasonCommandInvalid, "spec.uid: wanted %q, that of BreakGlass %q, found %q; another one had its name before; do: read what it asks for, then: tidegate breakglass %s %s -n %s",
			b.UID, b.Name, c.Spec.UID, c.Spec.Action, b.Name, r.Namespace)
	case b.Status.Phase.Over() || !h.Clock.Now().Before(b.Spec.ExpiresAt.Time):
		return deny(ReasonCommandInvalid, "wanted a BreakGlass that has not ended, found %q, which ended at %s; do: create another one", b.Name, b.Spec.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return answer{}
}

// gatesOver are the Gates that govern a namespace.
func (c Config) gatesOver(ctx context.Context, namespace string) ([]*v1alpha1.Gate, error) {
	var ns corev1.Namespace
	if err := c.Reader.Get(ctx, types.NamespacedName{Name: namespace}, &ns); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading namespace %q: %w", namespace, err)
	}
	var list v1alpha1.GateList
	if err := c.Reader.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing gates: %w", err)
	}
	return govern.Governing(list.Items, govern.Namespace{Name: namespace, Labels: ns.Labels}, c.ManagerNamespace) //nolint:wrapcheck // says what it did
}

func rulesOf(gates []*v1alpha1.Gate) map[string]*v1alpha1.BreakGlassRule {
	out := make(map[string]*v1alpha1.BreakGlassRule, len(gates))
	for _, g := range gates {
		out[g.Name] = g.Spec.BreakGlass
	}
	return out
}

// objectOf is what a request is about, as a BreakGlass would name it. An object that is
// created has no name in the request where the API server makes it up.
func objectOf(r admission.Request) v1alpha1.ObjectName {
	return v1alpha1.ObjectName{Group: r.Resource.Group, Resource: r.Resource.Resource, Name: r.Name}
}

// exemption is the live BreakGlass that covers a request, or nil. It is found in the cache
// and by this replica's clock; before it lets anything through, use asks the API server.
func (h *gate) exemption(ctx context.Context, r admission.Request, gates []*v1alpha1.Gate) (*v1alpha1.BreakGlass, error) {
	rules := rulesOf(gates)
	for _, rule := range rules {
		if rule == nil {
			return nil, nil //nolint:nilnil // no exemption is an answer
		}
	}
	object := objectOf(r)
	if h.Exemptions == nil || object.Name == "" {
		return nil, nil //nolint:nilnil // no exemption is an answer
	}
	if object.Group == "" && object.Resource == "pods" && !exempt.PodSubResource(r.SubResource) {
		return nil, nil //nolint:nilnil // no exemption is an answer
	}
	var list v1alpha1.BreakGlassList
	if err := h.Reader.List(ctx, &list, client.InNamespace(r.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing BreakGlasses of namespace %q: %w", r.Namespace, err)
	}
	var commands v1alpha1.BreakGlassCommandList
	for i := range list.Items {
		b := &list.Items[i]
		if !exempt.Covers(b, r.UserInfo.Username, r.Namespace, object) {
			continue
		}
		if commands.Items == nil {
			if err := h.Reader.List(ctx, &commands, client.InNamespace(r.Namespace), client.UnsafeDisableDeepCopy); err != nil {
				return nil, fmt.Errorf("listing BreakGlassCommands of namespace %q: %w", r.Namespace, err)
			}
		}
		state := exempt.Of(exempt.Facts{
			BreakGlass: b, Commands: commands.Items, Rules: rules, Groups: r.UserInfo.Groups, GroupsKnown: true, Now: h.Clock.Now(),
		})
		if state.Live() {
			return b.DeepCopy(), nil
		}
	}
	return nil, nil //nolint:nilnil // no exemption is an answer
}

// use records that a request is let through, before it is, and adds to the answer what goes
// to the audit log and to whoever asked. A dry run uses nothing.
func (h *gate) use(ctx context.Context, r admission.Request, b *v1alpha1.BreakGlass, gates []*v1alpha1.Gate, a answer) answer {
	if a.denial != "" || a.err != nil {
		return a
	}
	if r.DryRun == nil || !*r.DryRun {
		refused, err := h.Exemptions.Use(ctx, b, rulesOf(gates), r.UserInfo.Groups, v1alpha1.BreakGlassUse{
			Time: metav1.NewTime(h.Clock.Now()), Request: r.UID, Operation: string(r.Operation),
			Object: objectOf(r), SubResource: r.SubResource, User: r.UserInfo.Username, Release: h.owner(ctx, r),
		})
		switch {
		case err != nil:
			return fail(err)
		case refused != "":
			return deny(ReasonBreakGlassOver, "wanted a BreakGlass that is in force, found %q: %s; do: tidegate breakglass list -n %s", b.Name, refused, r.Namespace)
		}
		h.Metrics.breakGlass.WithLabelValues(string(r.Operation)).Inc()
	}
	facts := map[string]string{"breakglass": b.Namespace + "/" + b.Name, "breakglass-reason": b.Spec.Reason, "breakglass-uid": string(b.UID)}
	maps.Copy(facts, a.facts)
	a.facts = facts
	a.warnings = append(slices.Clone(a.warnings), fmt.Sprintf("BreakGlass %s lets this past the managed flow until %s; it is recorded", b.Name, b.Spec.ExpiresAt.UTC().Format(time.RFC3339)))
	return a
}

// connection judges who reaches into a pod. The API server asks only about those whom ring 1
// would not let in by name; ring 1 knows no time, so the clock is looked at here.
func (h *gate) connection(ctx context.Context, r admission.Request, gates []*v1alpha1.Gate) answer {
	b, err := h.exemption(ctx, r, gates)
	switch {
	case err != nil:
		return fail(err)
	case b == nil:
		return deny(ReasonBreakGlassOver, "pods/%s %q in namespace %q: wanted a live BreakGlass of %q that names the pod, found none; do: tidegate breakglass create --object pods/%s -n %s --reason ...",
			r.SubResource, r.Name, r.Namespace, r.UserInfo.Username, r.Name, r.Namespace)
	}
	return h.use(ctx, r, b, gates, answer{})
}

// Exempter records uses of exemptions.
type Exempter interface {
	// Use says, of what stands at the API server now, why the BreakGlass does not exempt any
	// more, or records the use in it. After an error nothing may be let through.
	Use(ctx context.Context, b *v1alpha1.BreakGlass, rules map[string]*v1alpha1.BreakGlassRule, groups []string, use v1alpha1.BreakGlassUse) (refused string, err error)
}

// Exemptions is the Exempter of a manager. It reads from the API server and not from a
// cache, so a revocation counts on every replica with the next request.
type Exemptions struct {
	// Live reads from the API server.
	Live client.Reader
	// Writer writes the status of BreakGlasses.
	Writer client.StatusClient
	Clock  clock.PassiveClock
}

// Use implements Exempter.
func (e Exemptions) Use(ctx context.Context, b *v1alpha1.BreakGlass, rules map[string]*v1alpha1.BreakGlassRule, groups []string, use v1alpha1.BreakGlassUse) (refused string, err error) {
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		refused, err = e.record(ctx, b, rules, groups, use)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("recording the use of BreakGlass %s/%s: %w", b.Namespace, b.Name, err)
	}
	return refused, nil
}

func (e Exemptions) record(ctx context.Context, b *v1alpha1.BreakGlass, rules map[string]*v1alpha1.BreakGlassRule, groups []string, use v1alpha1.BreakGlassUse) (string, error) {
	var live v1alpha1.BreakGlass
	switch err := e.Live.Get(ctx, client.ObjectKeyFromObject(b), &live); {
	case apierrors.IsNotFound(err), err == nil && live.UID != b.UID:
		return "it is gone", nil
	case err != nil:
		return "", err //nolint:wrapcheck // a conflict is told by its type; Use says what was done
	}
	var commands v1alpha1.BreakGlassCommandList
	if err := e.Live.List(ctx, &commands, client.InNamespace(b.Namespace)); err != nil {
		return "", err //nolint:wrapcheck // Use says what was done
	}
	state := exempt.Of(exempt.Facts{
		BreakGlass: &live, Commands: commands.Items, Rules: rules, Groups: groups, GroupsKnown: true, Now: e.Clock.Now(),
	})
	if !state.Live() || !exempt.Covers(&live, use.User, b.Namespace, use.Object) {
		return state.Message, nil
	}
	// Whoever sees the use has to see that the exemption is live.
	live.Status.Phase, live.Status.Message, live.Status.Afterwards = state.Phase, state.Message, state.Afterwards
	exempt.Used(&live.Status, use)
	return "", e.Writer.Status().Update(ctx, &live, client.FieldOwner(v1alpha1.FieldManager)) //nolint:wrapcheck // a conflict is told by its type
}

var _ Exempter = Exemptions{}
