package gates

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"tidegate.io/tidegate/schemas/exempt"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// Exemption is a live BreakGlass, as far as ring 1 has to know: who may reach into which pod.
// Ring 1 has no clock. What it lets through because of an exemption, the webhook is asked
// about as well, which has one and without which nothing is let through. So an exemption ends
// on time even while no manager runs to take it out of ring 1.
type Exemption struct {
	Namespace, User, Pod string
}

// line is the exemption in ring 1. No part but the user's name can have a space or a slash,
// and that comes last.
func (e Exemption) line() string { return e.Namespace + "/" + e.Pod + " " + e.User }

// glassSuffix is the end of the name of a Gate's webhook about exemptions.
const glassSuffix = ".glass.gates.tidegate.io"

// glassRules are what an exemption for a pod opens. Never pods themselves: a cluster must
// start without the webhook.
func glassRules() []admissionregistrationv1.RuleWithOperations {
	kinds := []govern.Kind{{Resource: "pods/" + exempt.Ephemeral}}
	for _, sub := range exempt.Connections() {
		kinds = append(kinds, govern.Kind{Resource: "pods/" + sub})
	}
	return rules(kinds)
}

// glassCondition leaves out those whom ring 1 lets in by name, who must not depend on the
// webhook.
func glassCondition(g *v1alpha1.Gate, o Options) admissionregistrationv1.MatchCondition {
	writers := append([]string{o.Identity}, g.Spec.Writers...)
	slices.Sort(writers)
	return admissionregistrationv1.MatchCondition{
		Name: "not-let-in-by-name",
		Expression: fmt.Sprintf(`!(request.userInfo.username in %s) && !(request.userInfo.username in (has(request.subResource) && request.subResource == %q ? %s : %s))`,
			list(slices.Compact(writers)), exempt.Ephemeral, list(slices.Sorted(slices.Values(g.Spec.Allow.Debug))), list(slices.Sorted(slices.Values(g.Spec.Allow.Exec)))),
	}
}

// glassVariable is true for who has an exemption for the pod. Pods of a namespace that the
// webhook does not answer for yet are never exempted; see Loop.exemptions.
func glassVariable(o Options) admissionregistrationv1.Variable {
	lines := make([]string, 0, len(o.Exemptions))
	for _, e := range o.Exemptions {
		lines = append(lines, e.line())
	}
	slices.Sort(lines)
	return admissionregistrationv1.Variable{
		Name: "glass",
		Expression: fmt.Sprintf(`has(request.name) && request.resource.resource == "pods" && variables.sub in %s && (request.namespace + "/" + request.name + " " + variables.user) in %s`,
			list(append(exempt.Connections(), exempt.Ephemeral)), list(slices.Compact(lines))),
	}
}

// orGlass adds the exemptions to what is permitted, where the Gate has any.
func orGlass(g *v1alpha1.Gate, permitted string) string {
	if g.Spec.BreakGlass == nil {
		return permitted
	}
	return permitted + " || variables.glass"
}

// glassOf are the namespaces for which a Gate's webhook about exemptions stands.
func glassOf(w *admissionregistrationv1.ValidatingWebhookConfiguration, gate string) []string {
	for _, h := range w.Webhooks {
		if h.Name == gate+glassSuffix && h.NamespaceSelector != nil && len(h.NamespaceSelector.MatchExpressions) == 1 {
			return h.NamespaceSelector.MatchExpressions[0].Values
		}
	}
	return nil
}

// sinceGlass notes since when each Gate's webhook about exemptions has stood for a namespace.
func (l *Loop) sinceGlass(w *admissionregistrationv1.ValidatingWebhookConfiguration, now time.Time) {
	standing := map[string]time.Time{}
	for _, h := range w.Webhooks {
		gate, ok := strings.CutSuffix(h.Name, glassSuffix)
		if !ok {
			continue
		}
		for _, n := range glassOf(w, gate) {
			at, known := l.glass[gate+"/"+n]
			if !known && l.started {
				at = now
			}
			standing[gate+"/"+n] = at
		}
	}
	l.glass = standing
}

// exemptions are those for pods that are live now, in namespaces for which the webhook has
// answered for long enough that every API server asks it; and when to look again, or 0.
func (l *Loop) exemptions(ctx context.Context, gates []v1alpha1.Gate, namespaces []govern.Namespace) ([]Exemption, time.Duration, error) {
	if !slices.ContainsFunc(gates, func(g v1alpha1.Gate) bool { return g.Spec.BreakGlass != nil }) {
		return nil, 0, nil
	}
	var made v1alpha1.BreakGlassList
	if err := l.Client.List(ctx, &made); err != nil {
		return nil, 0, fmt.Errorf("listing BreakGlasses: %w", err)
	}
	var commands v1alpha1.BreakGlassCommandList
	if err := l.Client.List(ctx, &commands); err != nil {
		return nil, 0, fmt.Errorf("listing BreakGlassCommands: %w", err)
	}
	labels := map[string]map[string]string{}
	for _, ns := range namespaces {
		labels[ns.Name] = ns.Labels
	}
	now := l.Clock.Now()
	var out []Exemption
	var wait time.Duration
	for i := range made.Items {
		b := &made.Items[i]
		if !slices.ContainsFunc(b.Spec.Objects, isPod) {
			continue
		}
		governing, err := govern.Governing(gates, govern.Namespace{Name: b.Namespace, Labels: labels[b.Namespace]}, l.Options.ManagerNamespace)
		if err != nil {
			return nil, 0, err //nolint:wrapcheck // says what it did
		}
		rules, settled := map[string]*v1alpha1.BreakGlassRule{}, true
		for _, g := range governing {
			rules[g.Name] = g.Spec.BreakGlass
			at, stands := l.glass[g.Name+"/"+b.Namespace]
			settled = settled && stands && now.Sub(at) >= l.settle()
		}
		if !exempt.Of(exempt.Facts{BreakGlass: b, Commands: commands.Items, Rules: rules, Now: now}).Live() {
			continue
		}
		again := b.Spec.ExpiresAt.Sub(now)
		if !settled {
			again = min(again, l.settle())
		} else {
			for _, o := range b.Spec.Objects {
				if isPod(o) {
					out = append(out, Exemption{Namespace: b.Namespace, User: b.Spec.Actor, Pod: o.Name})
				}
			}
		}
		wait = sooner(wait, again)
	}
	slices.SortFunc(out, func(a, b Exemption) int { return cmp.Compare(a.line(), b.line()) })
	return slices.Compact(out), wait, nil
}

func isPod(o v1alpha1.ObjectName) bool { return o.Group == "" && o.Resource == "pods" }

// sooner is the lesser of two delays, of which 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
