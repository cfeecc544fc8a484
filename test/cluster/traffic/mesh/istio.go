package mesh

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	networkingv1 "istio.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ofVirtualService reads a VirtualService by the types of Istio, which refuse a field that Istio
// does not have. What this mesh does not do is refused too, so that no test rests on it.
func ofVirtualService(u *unstructured.Unstructured) route {
	out := route{name: "VirtualService " + u.GetNamespace() + "/" + u.GetName()}
	raw, err := json.Marshal(u.Object["spec"])
	if err != nil {
		out.broken = fmt.Errorf("encoding the spec: %w", err)
		return out
	}
	spec := &networkingv1.VirtualService{}
	if err := protojson.Unmarshal(raw, spec); err != nil {
		// The hosts are read all the same, to answer for them.
		out.hosts, _, _ = unstructured.NestedStringSlice(u.Object, "spec", "hosts")
		out.broken = fmt.Errorf("reading the spec: %w", err)
		return out
	}
	for _, host := range spec.GetHosts() {
		out.hosts = append(out.hosts, names(host, u.GetNamespace())...)
	}
	if len(spec.GetTls())+len(spec.GetTcp()) > 0 {
		out.broken = errors.New("routes for TLS and TCP are not served here")
	}
	for i, http := range spec.GetHttp() {
		r, err := ofHTTP(http, u.GetNamespace())
		if err != nil {
			out.broken = fmt.Errorf("http[%d]: %w", i, err)
		}
		out.rules = append(out.rules, r)
	}
	return out
}

// names are the host names that a request may have for a host: a short name is a Service's.
func names(host, namespace string) []string {
	if strings.ContainsAny(host, ".*") {
		return []string{host}
	}
	return []string{host, host + "." + namespace, host + "." + namespace + ".svc", host + "." + namespace + ".svc.cluster.local"}
}

func ofHTTP(h *networkingv1.HTTPRoute, namespace string) (rule, error) {
	out := rule{
		answer: int(h.GetDirectResponse().GetStatus()), redirect: h.GetRedirect().GetUri(),
		timeout: h.GetTimeout().AsDuration(),
		retries: int(h.GetRetries().GetAttempts()),
	}
	if h.GetDelegate() != nil || h.GetRewrite() != nil || h.GetFault() != nil || h.GetCorsPolicy() != nil || h.GetHeaders() != nil {
		return out, errors.New("delegates, rewrites, faults, CORS and headers are not served here")
	}
	if h.GetDirectResponse() == nil && h.GetRedirect() == nil && len(h.GetRoute()) == 0 {
		return out, errors.New("neither route, nor redirect, nor directResponse, which Istio refuses")
	}
	for _, m := range h.GetMatch() {
		one, err := ofMatch(m)
		if err != nil {
			return out, err
		}
		out.matches = append(out.matches, one)
	}
	if err := out.share(h.GetRoute(), namespace); err != nil {
		return out, err
	}
	return out, out.mirror(h, namespace)
}

// share reads destinations. A single one has all of the requests, whatever its weight.
func (r *rule) share(all []*networkingv1.HTTPRouteDestination, namespace string) error {
	for _, d := range all {
		to, err := ofDestination(d.GetDestination(), namespace)
		if err != nil {
			return err
		}
		weight := int(d.GetWeight())
		if len(all) == 1 {
			weight = 100
		}
		r.shares = append(r.shares, share{to: to, weight: weight})
	}
	return nil
}

func (r *rule) mirror(h *networkingv1.HTTPRoute, namespace string) error {
	if h.GetMirror() != nil {
		if len(h.GetMirrors()) > 0 {
			return errors.New("mirror beside mirrors, which Istio refuses")
		}
		return r.copy(h.GetMirror(), h.GetMirrorPercentage(), namespace)
	}
	for _, m := range h.GetMirrors() {
		if err := r.copy(m.GetDestination(), m.GetPercentage(), namespace); err != nil {
			return err
		}
	}
	return nil
}

func (r *rule) copy(d *networkingv1.Destination, percentage *networkingv1.Percent, namespace string) error {
	to, err := ofDestination(d, namespace)
	if err != nil {
		return err
	}
	percent := 100.0
	if percentage != nil {
		percent = percentage.GetValue()
	}
	r.copies = append(r.copies, copyTo{to: to, percent: percent})
	return nil
}

// ofDestination is the Service that a host names. A subset would need a DestinationRule.
func ofDestination(d *networkingv1.Destination, namespace string) (backend, error) {
	if d.GetSubset() != "" {
		return backend{}, fmt.Errorf("subset %q of %s: there is no DestinationRule here", d.GetSubset(), d.GetHost())
	}
	service, domain, qualified := strings.Cut(d.GetHost(), ".")
	if qualified {
		namespace, _, _ = strings.Cut(domain, ".")
	}
	return backend{namespace: namespace, service: service, port: int32(d.GetPort().GetNumber())}, nil
}

func ofMatch(m *networkingv1.HTTPMatchRequest) (match, error) {
	var all []match
	if m.GetUri() != nil {
		text, err := ofText(m.GetUri())
		if err != nil {
			return nil, err
		}
		all = append(all, func(r *http.Request) bool { return text(r.URL.Path) })
	}
	for name, value := range m.GetHeaders() {
		if name != strings.ToLower(name) {
			return nil, fmt.Errorf("header %s is not in lower case, which Istio refuses", name)
		}
		text, err := ofText(value)
		if err != nil {
			return nil, err
		}
		all = append(all, func(r *http.Request) bool {
			return len(r.Header.Values(name)) > 0 && text(strings.Join(r.Header.Values(name), ","))
		})
	}
	rest := []bool{
		m.GetScheme() != nil, m.GetMethod() != nil, m.GetAuthority() != nil, len(m.GetWithoutHeaders()) > 0,
		len(m.GetQueryParams()) > 0, m.GetPort() > 0, len(m.GetSourceLabels()) > 0, len(m.GetGateways()) > 0, m.GetIgnoreUriCase(),
	}
	for _, given := range rest {
		if given {
			return nil, errors.New("matches other than by uri and headers are not served here")
		}
	}
	return both(all), nil
}

func both(all []match) match {
	return func(r *http.Request) bool {
		for _, m := range all {
			if !m(r) {
				return false
			}
		}
		return true
	}
}

// ofText is a StringMatch. An expression is RE2 and held to the whole value; nothing at all wants
// the header to be there.
func ofText(m *networkingv1.StringMatch) (func(string) bool, error) {
	switch is := m.GetMatchType().(type) {
	case *networkingv1.StringMatch_Exact:
		return func(s string) bool { return s == is.Exact }, nil
	case *networkingv1.StringMatch_Prefix:
		return func(s string) bool { return strings.HasPrefix(s, is.Prefix) }, nil
	case *networkingv1.StringMatch_Regex:
		whole, err := regexp.Compile(`\A(?:` + is.Regex + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("reading an expression: %w", err)
		}
		return whole.MatchString, nil
	}
	return func(string) bool { return true }, nil
}
