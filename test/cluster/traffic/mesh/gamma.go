package mesh

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ControllerName is that of the answers to routes whose parent is a Service.
const ControllerName = "tidegate.test/mesh"

// parents are the Services that are parents of a route.
func parents(r *gatewayv1.HTTPRoute) []gatewayv1.ParentReference {
	var out []gatewayv1.ParentReference
	for _, p := range r.Spec.ParentRefs {
		if p.Group != nil && *p.Group == corev1.GroupName && p.Kind != nil && *p.Kind == "Service" {
			out = append(out, p)
		}
	}
	return out
}

// ofHTTPRoute reads a route for the requests to its parents, the Services.
func ofHTTPRoute(r *gatewayv1.HTTPRoute) route {
	out := route{name: "HTTPRoute " + r.Namespace + "/" + r.Name}
	for _, p := range parents(r) {
		out.hosts = append(out.hosts, names(string(p.Name), r.Namespace)...)
	}
	for i := range r.Spec.Rules {
		one, err := ofRule(&r.Spec.Rules[i], r.Namespace)
		if err != nil {
			out.broken = fmt.Errorf("rules[%d]: %w", i, err)
		}
		out.rules = append(out.rules, one)
	}
	return out
}

func ofRule(r *gatewayv1.HTTPRouteRule, namespace string) (rule, error) {
	var out rule
	for _, m := range r.Matches {
		one, err := ofRouteMatch(m)
		if err != nil {
			return out, err
		}
		out.matches = append(out.matches, one)
	}
	for _, ref := range r.BackendRefs {
		to, err := ofReference(ref.BackendObjectReference, namespace)
		if err != nil {
			return out, err
		}
		weight := 1
		if ref.Weight != nil {
			weight = int(*ref.Weight)
		}
		out.shares = append(out.shares, share{to: to, weight: weight})
	}
	for _, f := range r.Filters {
		if f.RequestMirror == nil || f.RequestMirror.Fraction != nil {
			return out, errors.New("filters other than mirrors by percent are not served here")
		}
		to, err := ofReference(f.RequestMirror.BackendRef, namespace)
		if err != nil {
			return out, err
		}
		percent := 100.0
		if f.RequestMirror.Percent != nil {
			percent = float64(*f.RequestMirror.Percent)
		}
		out.copies = append(out.copies, copyTo{to: to, percent: percent})
	}
	return out, nil
}

func ofReference(ref gatewayv1.BackendObjectReference, namespace string) (backend, error) {
	if ref.Kind != nil && *ref.Kind != "Service" || ref.Port == nil || ref.Namespace != nil && string(*ref.Namespace) != namespace {
		return backend{}, fmt.Errorf("backend %s is no port of a Service of the namespace", ref.Name)
	}
	return backend{namespace: namespace, service: string(ref.Name), port: *ref.Port}, nil
}

func ofRouteMatch(m gatewayv1.HTTPRouteMatch) (match, error) {
	var all []match
	if m.Path != nil {
		if m.Path.Type == nil || *m.Path.Type != gatewayv1.PathMatchPathPrefix || *m.Path.Value != "/" {
			return nil, errors.New("paths other than all are not served here")
		}
	}
	for _, h := range m.Headers {
		fits := func(s string) bool { return s == h.Value }
		if h.Type != nil && *h.Type == gatewayv1.HeaderMatchRegularExpression {
			// Unanchored, as with some gateways: a route has to anchor what it means.
			expression, err := regexp.Compile(h.Value)
			if err != nil {
				return nil, fmt.Errorf("reading an expression: %w", err)
			}
			fits = expression.MatchString
		}
		all = append(all, func(r *http.Request) bool {
			values := r.Header.Values(string(h.Name))
			return len(values) > 0 && fits(strings.Join(values, ","))
		})
	}
	if m.Method != nil || len(m.QueryParams) > 0 {
		return nil, errors.New("matches other than by path and headers are not served here")
	}
	return both(all), nil
}

// answer writes into a route's status what the mesh made of it, and says whether that is news.
// has tells whether a backend is there.
func answer(r *gatewayv1.HTTPRoute, read route, has func(backend) bool) bool {
	accepted := condition(string(gatewayv1.RouteConditionAccepted), r.Generation, read.broken == nil)
	resolved := condition(string(gatewayv1.RouteConditionResolvedRefs), r.Generation, true)
	for _, each := range read.rules {
		for _, s := range each.shares {
			if !has(s.to) {
				resolved = condition(resolved.Type, r.Generation, false)
			}
		}
	}
	var want, kept []gatewayv1.RouteParentStatus
	for _, p := range parents(r) {
		want = append(want, gatewayv1.RouteParentStatus{ParentRef: p, ControllerName: ControllerName, Conditions: []metav1.Condition{accepted, resolved}})
	}
	var mine []gatewayv1.RouteParentStatus
	for _, s := range r.Status.Parents {
		if s.ControllerName == ControllerName {
			mine = append(mine, s)
		} else {
			kept = append(kept, s)
		}
	}
	if same(mine, want) {
		return false
	}
	r.Status.Parents = slices.Concat(kept, want)
	return true
}

func condition(kind string, generation int64, holds bool) metav1.Condition {
	out := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: "Refused", ObservedGeneration: generation, LastTransitionTime: metav1.Now()}
	if holds {
		out.Status, out.Reason = metav1.ConditionTrue, kind
	}
	return out
}

// same compares answers but for their times.
func same(a, b []gatewayv1.RouteParentStatus) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if len(a[i].Conditions) != len(b[i].Conditions) || a[i].ParentRef.Name != b[i].ParentRef.Name {
			return false
		}
		for j, c := range a[i].Conditions {
			d := b[i].Conditions[j]
			if c.Type != d.Type || c.Status != d.Status || c.ObservedGeneration != d.ObservedGeneration {
				return false
			}
		}
	}
	return true
}
