package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/gates"
)

const (
	// ownWebhook judges Tidegate's own kinds: the configuration, and the webhook in it.
	ownWebhook = "tidegate"
	ownKinds   = "own.tidegate.io"
	// optionalWebhook is asked about certificates, which nobody waits for.
	optionalWebhook = "certificates.tidegate.io"
	certSecret      = "tidegate-webhook-cert"
	// certLeft is how long before its end a certificate should have been renewed.
	certLeft = 7 * 24 * time.Hour
)

// webhooks looks whether both configurations ask about what they should, and fail closed.
// What ring 2 should be follows from the Gates, and is compared by rings.
func webhooks(ctx context.Context, c Cluster) ([]Finding, error) {
	var all v1alpha1.GateList
	if err := c.Client.List(ctx, &all); err != nil {
		return nil, err
	}
	ca, err := c.authority(ctx)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, name := range []string{ownWebhook, gates.WebhookName} {
		var w admissionregistrationv1.ValidatingWebhookConfiguration
		err := c.Client.Get(ctx, client.ObjectKey{Name: name}, &w)
		switch {
		case apierrors.IsNotFound(err) && name == gates.WebhookName && len(all.Items) == 0:
			continue // It comes with the first Gate.
		case apierrors.IsNotFound(err):
			out = append(out, failed("helm upgrade the chart; see that the manager runs: kubectl -n "+c.Namespace+" get pods",
				"wanted ValidatingWebhookConfiguration %s, found none", name))
			continue
		case err != nil:
			return out, err
		}
		var problems []string
		for i := range w.Webhooks {
			if w.Webhooks[i].Name != optionalWebhook {
				problems = append(problems, loose(&w.Webhooks[i], ca)...)
			}
		}
		if name == ownWebhook {
			problems = append(problems, c.ownProblems(&w)...)
		}
		if len(problems) > 0 {
			out = append(out, failed("helm upgrade the chart, which writes it anew; the manager, if it runs, puts the rest right: kubectl -n "+c.Namespace+" get pods", "%s: %s", name, strings.Join(problems, ", ")))
			continue
		}
		out = append(out, ok("%s fails closed (%d webhooks)", name, len(w.Webhooks)))
	}
	return out, nil
}

// loose says what makes a webhook let through what it should not.
func loose(h *admissionregistrationv1.ValidatingWebhook, ca []byte) []string {
	var out []string
	if h.FailurePolicy == nil || *h.FailurePolicy != admissionregistrationv1.Fail {
		out = append(out, h.Name+" does not fail closed")
	}
	if h.ObjectSelector != nil && len(h.ObjectSelector.MatchLabels)+len(h.ObjectSelector.MatchExpressions) > 0 {
		out = append(out, h.Name+" leaves objects out by their labels")
	}
	if h.MatchPolicy == nil || *h.MatchPolicy != admissionregistrationv1.Equivalent {
		out = append(out, h.Name+" does not match equivalent versions")
	}
	switch block, _ := pem.Decode(h.ClientConfig.CABundle); {
	case block == nil:
		out = append(out, h.Name+" has no caBundle")
	case len(ca) > 0 && !bytes.Equal(bytes.TrimSpace(h.ClientConfig.CABundle), bytes.TrimSpace(ca)):
		out = append(out, h.Name+" trusts another authority than that of Secret "+certSecret)
	}
	return out
}

// ownRules are the kinds that the chart's own webhook must be asked about, by operation.
var ownRules = map[admissionregistrationv1.OperationType][]string{
	admissionregistrationv1.Create: {"releases", "deploypolicies", "metricsources", "gates", "releasetemplates", "templaterevisions", "rollouts", "rolloutcommands", "templatecommands", "breakglasses", "breakglasscommands"},
	admissionregistrationv1.Update: {"releases", "deploypolicies", "metricsources", "gates", "releasetemplates", "templaterevisions", "rollouts", "rolloutcommands", "templatecommands", "breakglasses", "breakglasscommands", "rollouts/status", "gates/status", "breakglasses/status"},
	admissionregistrationv1.Delete: {"releases", "gates", "releasetemplates", "templaterevisions", "rollouts", "rolloutcommands", "templatecommands", "breakglasses", "breakglasscommands"},
}

// unasked is what the chart's own webhook may leave out, by the names of its conditions: what
// the manager writes, what goes with its namespace or its owner, and the deletion of a
// Release that takes along what was made for it.
func (c Cluster) unasked() map[string]string {
	const gc, namespaces = "system:serviceaccount:kube-system:generic-garbage-collector", "system:serviceaccount:kube-system:namespace-controller"
	return map[string]string{
		"not-the-manager": fmt.Sprintf("request.userInfo.username != %q", c.identity()),
		"not-who-cleans-up": fmt.Sprintf(`!(has(request.namespace) && request.namespace != "" && !has(request.subResource) && `+
			`(request.operation == "DELETE" && request.resource.resource != "releases" && request.userInfo.username in [%q, %q] || `+
			`request.operation == "UPDATE" && request.userInfo.username == %q && object.?spec == oldObject.?spec))`, gc, namespaces, gc),
		"not-a-plain-deletion": `request.operation != "DELETE" || request.resource.resource != "releases" || ` +
			`(request.?options.?orphanDependents.hasValue() ? request.options.orphanDependents : ` +
			`request.?options.?propagationPolicy.hasValue() ? request.options.propagationPolicy == "Orphan" : ` +
			`"orphan" in oldObject.metadata.?finalizers.orValue([]))`,
	}
}

// ownProblems compares the webhook over Tidegate's own kinds with what the chart has.
func (c Cluster) ownProblems(w *admissionregistrationv1.ValidatingWebhookConfiguration) []string {
	at := slices.IndexFunc(w.Webhooks, func(h admissionregistrationv1.ValidatingWebhook) bool { return h.Name == ownKinds })
	if at < 0 {
		return []string{"it has no webhook " + ownKinds}
	}
	h := &w.Webhooks[at]
	var out []string
	for _, op := range []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Delete} {
		for _, resource := range ownRules[op] {
			if !asked(h.Rules, op, resource) {
				out = append(out, fmt.Sprintf("%s is not asked about %s of %s", h.Name, op, resource))
			}
		}
	}
	if s := h.NamespaceSelector; s == nil || len(s.MatchLabels) > 0 || len(s.MatchExpressions) != 1 ||
		s.MatchExpressions[0].Key != corev1.LabelMetadataName || s.MatchExpressions[0].Operator != metav1.LabelSelectorOpNotIn || !slices.Equal(s.MatchExpressions[0].Values, []string{c.Namespace}) {
		out = append(out, fmt.Sprintf("%s has another namespaceSelector than every namespace but %s", h.Name, c.Namespace))
	}
	for _, m := range h.MatchConditions {
		if m.Expression != c.unasked()[m.Name] {
			out = append(out, fmt.Sprintf("%s leaves out what does not meet %q: %s", h.Name, m.Name, m.Expression))
		}
	}
	return out
}

func asked(rules []admissionregistrationv1.RuleWithOperations, op admissionregistrationv1.OperationType, resource string) bool {
	return slices.ContainsFunc(rules, func(r admissionregistrationv1.RuleWithOperations) bool {
		return slices.Contains(r.APIGroups, v1alpha1.GroupVersion.Group) && (slices.Contains(r.Resources, resource) || slices.Contains(r.Resources, "*/*")) &&
			(slices.Contains(r.Operations, op) || slices.Contains(r.Operations, admissionregistrationv1.OperationAll))
	})
}

// authority is that of the Secret; nil where it cannot be known, which certificate tells.
func (c Cluster) authority(ctx context.Context) ([]byte, error) {
	var s corev1.Secret
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: certSecret}, &s)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	return s.Data["ca.crt"], err
}

// answers has the webhook refuse a Gate that nobody means.
func answers(ctx context.Context, c Cluster) ([]Finding, error) {
	gate := &v1alpha1.Gate{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "doctor-"},
		Spec: v1alpha1.GateSpec{
			Namespaces: v1alpha1.NamespaceScope{Names: []string{"tidegate-doctor"}},
			Kinds:      []v1alpha1.GovernedKind{{Group: "coordination.k8s.io", Resources: []string{"leases"}}},
		},
	}
	err := c.Client.Create(ctx, gate, client.DryRunAll)
	switch {
	case err == nil:
		return []Finding{failed("kubectl get validatingwebhookconfiguration "+ownWebhook+" -o yaml", "wanted the webhook to refuse a Gate over leases (a dry run), found it admitted: the webhook is not asked")}, nil
	case strings.Contains(err.Error(), "TG-GATE-SPEC"):
		return []Finding{ok("the webhook answers")}, nil
	case strings.Contains(err.Error(), "calling webhook"):
		return []Finding{failed("kubectl -n "+c.Namespace+" get pods; until it answers, writes of governed kinds are refused", "wanted an answer of the webhook, found: %v", err)}, nil
	case apierrors.IsForbidden(err):
		return []Finding{{Level: Unknown, Message: fmt.Sprintf("asking the webhook needs the right to create gates: %v", err)}}, nil
	}
	return nil, err
}

func certificate(ctx context.Context, c Cluster) ([]Finding, error) {
	var s corev1.Secret
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: certSecret}, &s)
	if apierrors.IsNotFound(err) {
		return []Finding{failed("see that the manager runs, which makes it: kubectl -n "+c.Namespace+" get pods", "wanted Secret %s with the webhook's certificate, found none", certSecret)}, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, key := range []string{"ca.crt", "tls.crt"} {
		block, _ := pem.Decode(s.Data[key])
		if block == nil {
			out = append(out, failed("see that the manager runs, which makes it: kubectl -n "+c.Namespace+" get pods", "wanted a certificate in %s of Secret %s, found none", key, certSecret))
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return out, err
		}
		now := c.Now()
		switch left := cert.NotAfter.Sub(now); {
		case left <= 0 || cert.NotBefore.After(now):
			out = append(out, failed("see the manager's log; it renews certificates by itself", "%s is valid from %s to %s", key, cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339)))
		case left < certLeft:
			out = append(out, warning("see the manager's log; it should have renewed it by now", "%s ends in %s", key, left.Round(time.Hour)))
		default:
			out = append(out, ok("%s is valid until %s", key, cert.NotAfter.Format(time.DateOnly)))
		}
	}
	return out, nil
}
