package webhook

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// policy judges a DeployPolicy: it must compile, its parameters must fit and its tests pass.
func (h *own) policy(ctx context.Context, r admission.Request) answer {
	if string(r.Operation) == govern.Delete {
		return answer{}
	}
	p, refusal := decode[v1alpha1.DeployPolicy]("a DeployPolicy", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	err := h.Policies.Check(ctx, eval.FromDeployPolicy(p))
	var mistakes *eval.CompileError
	switch {
	case errors.As(err, &mistakes):
		return deny(ReasonPolicyInvalid, "DeployPolicy %q: wanted a policy that compiles and passes its tests, found:%s", p.Name, itemized(mistakes.Lines))
	case err != nil:
		return fail(err)
	}
	return answer{}
}

// gate judges a Gate: it must be readable, and must leave alone what the cluster and
// Tidegate need in order to start.
func (h *own) gate(r admission.Request) answer {
	if string(r.Operation) == govern.Delete {
		old, refusal := decode[v1alpha1.Gate]("the Gate as it was", r.OldObject.Raw)
		if refusal != nil {
			return *refusal
		}
		a := answer{facts: map[string]string{"gate": old.Name}}
		if n := len(old.Status.Namespaces); n > 0 {
			a.warnings = []string{fmt.Sprintf("Gate %s governed %d namespaces, which anybody with the rights may write to from now on, unless another Gate governs them", old.Name, n)}
		}
		return a
	}
	g, refusal := decode[v1alpha1.Gate]("a Gate", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	if problems := gateProblems(g, h.ManagerNamespace); len(problems) > 0 {
		return deny(ReasonGateSpec, "Gate %q:%s", g.Name, itemized(problems))
	}
	a := answer{facts: map[string]string{"gate": g.Name}}
	if b := g.Spec.BreakGlass; b != nil && len(b.Users)+len(b.Groups) == 0 {
		a.warnings = []string{fmt.Sprintf("Gate %s: spec.breakGlass lists neither users nor groups, so that nobody can be exempted; list who is on call", g.Name)}
	}
	return a
}

// selectorProblem says what is wrong with a selector of namespaces; none is well.
func selectorProblem(selector *metav1.LabelSelector) string {
	if selector == nil {
		return ""
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	switch {
	case err != nil:
		return fmt.Sprintf("wanted a label selector, found: %v", err)
	case s.Empty():
		return "wanted a label, found an empty selector, which would select every namespace; list matchLabels or matchExpressions"
	}
	return ""
}

func gateProblems(g *v1alpha1.Gate, managerNamespace string) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	scope := g.Spec.Namespaces
	for i, n := range scope.Names {
		if govern.Excluded(n, managerNamespace) {
			add("spec.namespaces.names[%d]: wanted a namespace other than kube-* and %s, which must be able to start without Tidegate, found %q; leave it out", i, managerNamespace, n)
		}
	}
	for i, p := range scope.Patterns {
		switch {
		case strings.HasPrefix(p, "kube-"):
			add("spec.namespaces.patterns[%d]: wanted a pattern of governable namespaces, found %q; kube-* namespaces are never governed", i, p)
		case strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789-*") != "" || strings.Trim(p, "*") == "":
			add("spec.namespaces.patterns[%d]: wanted lower-case letters, digits, - and at least one character besides *, found %q", i, p)
		}
	}
	if problem := selectorProblem(scope.Selector); problem != "" {
		add("spec.namespaces.selector: %s", problem)
	}
	for i, k := range g.Spec.Kinds {
		for j, resource := range k.Resources {
			if problem := govern.KindProblem(schema.GroupResource{Group: k.Group, Resource: resource}); problem != "" {
				add("spec.kinds[%d].resources[%d]: wanted a governable resource, found %q of group %q: %s", i, j, resource, k.Group, problem)
			}
		}
	}
	return append(out, peopleProblems(g)...)
}

// peopleProblems says which names of users and groups in a Gate are none.
func peopleProblems(g *v1alpha1.Gate) []string {
	var out []string
	type users struct {
		path string
		list []string
	}
	lists := []users{
		{"spec.writers", g.Spec.Writers},
		{"spec.allow.exec", g.Spec.Allow.Exec},
		{"spec.allow.debug", g.Spec.Allow.Debug},
		{"spec.allow.autoscalers", g.Spec.Allow.Autoscalers},
		{"spec.allow.gateways", g.Spec.Allow.Gateways},
	}
	if b := g.Spec.BreakGlass; b != nil {
		lists = append(lists, users{"spec.breakGlass.users", b.Users})
		for i, group := range b.Groups {
			if problem := groupProblem(group); problem != "" {
				out = append(out, fmt.Sprintf("spec.breakGlass.groups[%d]: wanted a group of people on call, found %q: %s", i, group, problem))
			}
		}
	}
	for _, l := range lists {
		for i, u := range l.list {
			if problem := userProblem(u); problem != "" {
				out = append(out, fmt.Sprintf("%s[%d]: wanted an exact user name, found %q: %s", l.path, i, u, problem))
			}
		}
	}
	return out
}

// groupProblem says why a group is none that may be exempted, or is empty.
func groupProblem(g string) string {
	switch {
	case strings.TrimSpace(g) != g || g == "":
		return "it is empty or begins or ends with a space"
	case strings.Contains(g, "*"):
		return "it would be taken literally; list each group"
	case slices.Contains([]string{"system:authenticated", "system:unauthenticated", "system:serviceaccounts"}, g):
		return "everybody is in it"
	}
	return ""
}

// userProblem says why a name is none of a user, or is empty.
func userProblem(u string) string {
	switch {
	case strings.TrimSpace(u) != u || u == "":
		return "it is empty or begins or ends with a space"
	case strings.Contains(u, "*"):
		return "it would be taken literally; list each user"
	case strings.HasPrefix(u, "system:serviceaccounts"),
		slices.Contains([]string{"system:masters", "system:authenticated", "system:unauthenticated", "system:nodes"}, u):
		return "that is a group; groups are never trusted, since who is in one is decided elsewhere; list each user"
	case u == "system:anonymous":
		return "everybody without credentials has it"
	}
	return ""
}

// maxQueryTimeout bounds the time-out of one query.
const maxQueryTimeout = time.Minute

// source judges a MetricSource: it must be possible to query it.
func (h *own) source(r admission.Request) answer {
	if string(r.Operation) == govern.Delete {
		return answer{}
	}
	s, refusal := decode[v1alpha1.MetricSource]("a MetricSource", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	problems, warnings := sourceProblems(s.Spec.Prometheus)
	if len(problems) > 0 {
		return deny(ReasonSourceInvalid, "MetricSource %q:%s", s.Name, itemized(problems))
	}
	return answer{warnings: warnings}
}

func sourceProblems(p v1alpha1.PrometheusSource) (problems, warnings []string) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	u, err := url.Parse(p.Address)
	switch {
	case err != nil:
		add("spec.prometheus.address: wanted a URL such as http://prometheus.monitoring:9090, found: %v", err)
	case (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		add("spec.prometheus.address: wanted a URL such as http://prometheus.monitoring:9090, found %q", u.Redacted())
	case u.User != nil:
		add("spec.prometheus.address: wanted no credentials in the URL, found some; put them into a Secret and name it in spec.prometheus.secretName")
	case u.RawQuery != "" || u.Fragment != "":
		add("spec.prometheus.address: wanted a URL without ? and #, found %q", u.Redacted())
	case u.Scheme == "http" && len(p.CABundle) > 0:
		warnings = append(warnings, "spec.prometheus.caBundle is not used, since the address is http")
	}
	if d := p.Timeout.Duration; d < 0 || d > maxQueryTimeout {
		add("spec.prometheus.timeout: wanted a duration up to %s, found %s", maxQueryTimeout, d)
	}
	if len(p.CABundle) > 0 && certificates(p.CABundle) == 0 {
		add("spec.prometheus.caBundle: wanted PEM with at least one certificate, found none that can be read")
	}
	return problems, warnings
}

// certificates counts those in a PEM bundle; 0 when any cannot be read.
func certificates(bundle []byte) int {
	n := 0
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); block.Type != "CERTIFICATE" || err != nil {
			return 0
		}
		n++
	}
	return n
}
