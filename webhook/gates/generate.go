// Package gates makes what stands at the API server out of Gates, and keeps it there:
//
//   - ring 1, a ValidatingAdmissionPolicy and its binding for each Gate, called
//     tidegate-gate-<gate>: identity rules over pods and what makes them. It stands while
//     no part of Tidegate runs. It also refuses the kinds of ring 2 in namespaces that
//     ring 2 does not list yet, so that a new namespace is governed from its first moment;
//   - ring 2, one ValidatingWebhookConfiguration called tidegate-gates: workload kinds and
//     what belongs to a Release, judged by the webhook, failing closed.
//
// Generate is pure; Loop does the reading and writing. The manager wires the loop up like
// this, on the leader only:
//
//	loop := &gates.Loop{
//		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: clock.RealClock{},
//		Options: gates.Options{Identity: identity, ManagerNamespace: namespace, Service: &gates.Service{...}},
//		CASecret: types.NamespacedName{Namespace: namespace, Name: certs.DefaultSecret},
//	}
//	err := loop.SetupWithManager(mgr)
//
// The bundle of tidegate-gates is the loop's: no certificate rotator may write it.
package gates

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

const (
	// Path is where the webhook judges writes of governed kinds.
	Path = "/gate"
	// WebhookName is the name of the ValidatingWebhookConfiguration of ring 2.
	WebhookName = "tidegate-gates"
	// LabelGate carries the name of the Gate that an admission object was made from.
	LabelGate = "tidegate.io/gate"

	prefix = "tidegate-gate-"
	// webhookKinds is the webhook that lists every governed namespace.
	webhookKinds   = "kinds.gates.tidegate.io"
	webhookTimeout = int32(5)
)

// PolicyName is the name of a Gate's ValidatingAdmissionPolicy and of its binding.
func PolicyName(gate string) string { return prefix + gate }

// Service is where the API server reaches the webhook inside of the cluster.
type Service struct {
	Namespace, Name string
	Port            int32
}

// Options is what the generated objects depend on besides the Gates.
type Options struct {
	// Identity is the manager's own user name, which may write all that is governed.
	Identity string
	// ManagerNamespace is never governed.
	ManagerNamespace string
	// URL is where the API server reaches the webhook from outside of the cluster, without
	// a path; exactly one of URL and Service is set.
	URL     string
	Service *Service
	// CABundle is the PEM of the authority of the webhook's certificate. While it is empty
	// there is no ring 2, and ring 1 refuses its kinds as well.
	CABundle []byte
	// Linger are namespaces that were deleted a moment ago. Ring 2 lists them still: one of
	// the same name may be made while an API server has an older ring 1, which relies on
	// ring 2 there.
	Linger []string
	// Exemptions are the live ones, for Gates that have a rule about them.
	Exemptions []Exemption
}

// Validate says what is missing.
func (o Options) Validate() error {
	switch {
	case o.Identity == "":
		return errors.New("generating gates: wanted the manager's user name, found none")
	case o.ManagerNamespace == "":
		return errors.New("generating gates: wanted the manager's namespace, found none")
	case (o.URL == "") == (o.Service == nil):
		return errors.New("generating gates: wanted either a URL or a Service of the webhook")
	}
	return nil
}

// From takes where the webhook is, and its authority, from a configuration that stands.
func (o *Options) From(w *admissionregistrationv1.ValidatingWebhookConfiguration) {
	if len(w.Webhooks) == 0 {
		return
	}
	c := w.Webhooks[0].ClientConfig
	o.CABundle = c.CABundle
	if c.URL != nil {
		o.URL = strings.TrimSuffix(*c.URL, Path)
	} else if c.Service != nil {
		o.Service = &Service{Namespace: c.Service.Namespace, Name: c.Service.Name}
		if c.Service.Port != nil {
			o.Service.Port = *c.Service.Port
		}
	}
}

// Listed are the namespaces that a standing configuration of ring 2 lists.
func Listed(w *admissionregistrationv1.ValidatingWebhookConfiguration) []string { return inWebhook(w) }

// Selection is which namespaces one Gate governs.
type Selection struct {
	// Namespaces exist and are governed, sorted.
	Namespaces []string
	// Selected are those that the selector chose, now or once, whether they exist or not,
	// sorted.
	Selected []string
	// Problem is why the Gate cannot be put into force; empty if it can.
	Problem string
}

// Standing is what should stand at the API server.
type Standing struct {
	Policies []*admissionregistrationv1.ValidatingAdmissionPolicy
	Bindings []*admissionregistrationv1.ValidatingAdmissionPolicyBinding
	Webhook  *admissionregistrationv1.ValidatingWebhookConfiguration
	// Selections has an entry for each Gate, by name.
	Selections map[string]Selection
}

// Generate makes the admission objects. Settled are the namespaces that every API server
// is known to send to the webhook by now: in the others ring 1 refuses the kinds of ring
// 2. The result depends on the arguments alone, not on their order.
func Generate(gates []v1alpha1.Gate, namespaces []govern.Namespace, settled []string, o Options) (Standing, error) {
	if err := o.Validate(); err != nil {
		return Standing{}, err
	}
	gates = slices.SortedFunc(slices.Values(gates), func(a, b v1alpha1.Gate) int { return cmp.Compare(a.Name, b.Name) })
	settled = slices.DeleteFunc(slices.Clone(settled), func(n string) bool { return len(pinned([]string{n}, namespaces)) == 0 })
	s := Standing{Selections: make(map[string]Selection, len(gates))}
	for i := range gates {
		g := &gates[i]
		selection := selectNamespaces(g, namespaces, o.ManagerNamespace)
		s.Selections[g.Name] = selection
		if selection.Problem != "" {
			continue
		}
		s.Policies = append(s.Policies, policy(g, selection, settled, o))
		s.Bindings = append(s.Bindings, binding(g))
	}
	s.Webhook = webhook(gates, s.Selections, o)
	return s, nil
}

// pinned are names of namespaces with when they were made, of those that exist.
func pinned(names []string, namespaces []govern.Namespace) []string {
	out := []string{}
	for _, ns := range namespaces {
		if slices.Contains(names, ns.Name) {
			out = append(out, ns.Name+"/"+ns.Created)
		}
	}
	return out
}

func selectNamespaces(g *v1alpha1.Gate, namespaces []govern.Namespace, managerNamespace string) Selection {
	var s Selection
	// Before all else: where every namespace is chosen by name, nobody else would look.
	if selector := g.Spec.Namespaces.Selector; selector != nil {
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			return Selection{Problem: fmt.Sprintf("spec.namespaces.selector: wanted a label selector, found: %v", err), Namespaces: g.Status.Namespaces, Selected: g.Status.Selected}
		}
	}
	for _, ns := range namespaces {
		governs, err := govern.Governs(g, ns, managerNamespace)
		if err != nil {
			return Selection{Problem: err.Error(), Namespaces: g.Status.Namespaces, Selected: g.Status.Selected}
		}
		if !governs {
			continue
		}
		s.Namespaces = append(s.Namespaces, ns.Name)
		if selected, err := govern.Selected(g, ns); err == nil && selected {
			s.Selected = append(s.Selected, ns.Name)
		}
	}
	// One that is gone may come again, without the label.
	for _, n := range g.Status.Selected {
		if govern.Remembered(g, n) && !slices.Contains(s.Selected, n) {
			s.Selected = append(s.Selected, n)
		}
	}
	slices.Sort(s.Namespaces)
	slices.Sort(s.Selected)
	return s
}

// listed are the namespaces that ring 2 lists for a Gate: those that exist, and those
// that are named whether they exist or not.
func listed(g *v1alpha1.Gate, s Selection, managerNamespace string) []string {
	out := slices.Clone(s.Namespaces)
	for _, n := range g.Spec.Namespaces.Names {
		if !govern.Excluded(n, managerNamespace) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func owner(g *v1alpha1.Gate) []metav1.OwnerReference {
	if g.UID == "" {
		return nil
	}
	return []metav1.OwnerReference{*metav1.NewControllerRef(g, v1alpha1.GroupVersion.WithKind("Gate"))}
}

func labels(gate string) map[string]string {
	l := map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy}
	if gate != "" {
		l[LabelGate] = gate
	}
	return l
}

func binding(g *v1alpha1.Gate) *admissionregistrationv1.ValidatingAdmissionPolicyBinding {
	return &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: admissionregistrationv1.SchemeGroupVersion.String(), Kind: "ValidatingAdmissionPolicyBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: PolicyName(g.Name), Labels: labels(g.Name), OwnerReferences: owner(g)},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        PolicyName(g.Name),
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
}

// webhook is ring 2. Every field that the API server would default is set, so that what
// stands can be compared with what should.
func webhook(gates []v1alpha1.Gate, selections map[string]Selection, o Options) *admissionregistrationv1.ValidatingWebhookConfiguration {
	w := &admissionregistrationv1.ValidatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: admissionregistrationv1.SchemeGroupVersion.String(), Kind: "ValidatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: WebhookName, Labels: labels("")},
	}
	if len(o.CABundle) == 0 {
		return w
	}
	var all []string
	for i := range gates {
		g := &gates[i]
		all = append(all, listed(g, selections[g.Name], o.ManagerNamespace)...)
	}
	if len(all) > 0 {
		all = append(all, o.Linger...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	full := func(k govern.Kind) bool { return k.Ring == govern.RingWebhook && !k.Light }
	light := func(k govern.Kind) bool { return k.Ring == govern.RingWebhook && k.Light }
	if len(all) > 0 {
		w.Webhooks = append(w.Webhooks,
			o.webhook(webhookKinds, all, rules(filter(govern.DefaultKinds(), full)), nil),
			o.webhook("labelled.gates.tidegate.io", all, rules(filter(govern.DefaultKinds(), light)), []admissionregistrationv1.MatchCondition{{
				Name:       "labelled",
				Expression: hasReleaseLabel("object") + " || " + hasReleaseLabel("oldObject"),
			}}),
		)
	}
	for i := range gates {
		g := &gates[i]
		namespaces, extra := listed(g, selections[g.Name], o.ManagerNamespace), govern.ExtraKinds(g)
		if len(extra) > 0 && len(namespaces) > 0 {
			w.Webhooks = append(w.Webhooks, o.webhook(g.Name+".kinds.gates.tidegate.io", namespaces, rules(extra), nil))
		}
		if g.Spec.BreakGlass != nil && len(namespaces) > 0 {
			w.Webhooks = append(w.Webhooks, o.webhook(g.Name+glassSuffix, namespaces, glassRules(), []admissionregistrationv1.MatchCondition{glassCondition(g, o)}))
		}
	}
	return w
}

func (o Options) webhook(name string, namespaces []string, rules []admissionregistrationv1.RuleWithOperations, conditions []admissionregistrationv1.MatchCondition) admissionregistrationv1.ValidatingWebhook {
	return admissionregistrationv1.ValidatingWebhook{
		Name:              name,
		ClientConfig:      o.clientConfig(),
		Rules:             rules,
		FailurePolicy:     new(admissionregistrationv1.Fail),
		MatchPolicy:       new(admissionregistrationv1.Equivalent),
		NamespaceSelector: in(namespaces),
		// Never by label of the object: its author would choose whether it is judged.
		ObjectSelector: &metav1.LabelSelector{},
		// The use of an exemption is recorded; a dry run uses nothing.
		SideEffects:             new(admissionregistrationv1.SideEffectClassNoneOnDryRun),
		TimeoutSeconds:          new(webhookTimeout),
		AdmissionReviewVersions: []string{"v1"},
		MatchConditions:         conditions,
	}
}

func (o Options) clientConfig() admissionregistrationv1.WebhookClientConfig {
	c := admissionregistrationv1.WebhookClientConfig{CABundle: o.CABundle}
	if o.Service == nil {
		c.URL = new(strings.TrimSuffix(o.URL, "/") + Path)
		return c
	}
	c.Service = &admissionregistrationv1.ServiceReference{
		Namespace: o.Service.Namespace, Name: o.Service.Name, Port: new(cmp.Or(o.Service.Port, 443)), Path: new(Path),
	}
	return c
}

func in(namespaces []string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpIn, Values: namespaces,
	}}}
}

func filter(kinds []govern.Kind, keep func(govern.Kind) bool) []govern.Kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k govern.Kind) bool { return !keep(k) })
}

// rules has one rule for each group, in every version of it, so that no other version of
// the same object is a way around.
func rules(kinds []govern.Kind) []admissionregistrationv1.RuleWithOperations {
	byGroup := map[string][]string{}
	for _, k := range kinds {
		byGroup[k.Group] = append(byGroup[k.Group], k.Resource)
	}
	out := make([]admissionregistrationv1.RuleWithOperations, 0, len(byGroup))
	for group, resources := range byGroup {
		slices.Sort(resources)
		out = append(out, admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Delete, admissionregistrationv1.Connect},
			Rule: admissionregistrationv1.Rule{
				APIGroups:   []string{group},
				APIVersions: []string{"*"},
				Resources:   slices.Compact(resources),
				Scope:       new(admissionregistrationv1.NamespacedScope),
			},
		})
	}
	slices.SortFunc(out, func(a, b admissionregistrationv1.RuleWithOperations) int {
		return cmp.Compare(a.APIGroups[0], b.APIGroups[0])
	})
	return out
}

func (s Selection) message() string {
	switch n := len(s.Namespaces); n {
	case 0:
		return "no existing namespace is governed"
	case 1:
		return "1 namespace is governed: " + s.Namespaces[0]
	default:
		return fmt.Sprintf("%d namespaces are governed", n)
	}
}
