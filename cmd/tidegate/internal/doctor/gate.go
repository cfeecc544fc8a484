package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/gates"
	"tidegate.io/tidegate/webhook/govern"
)

const (
	// ownWebhook judges Tidegate's own kinds.
	ownWebhook = "tidegate"
	// optionalWebhook is asked about certificates, which nobody waits for.
	optionalWebhook = "certificates.tidegate.io"
	certSecret      = "tidegate-webhook-cert"
	// certLeft is how long before its end a certificate should have been renewed.
	certLeft = 7 * 24 * time.Hour
	// leaseLate is after how long without a sign a leader is taken for dead.
	leaseLate = time.Minute
	// skewMost is how far clocks may be apart.
	skewMost = 5 * time.Second
)

func kinds(_ context.Context, c Cluster) ([]Finding, error) {
	served, err := c.Served(v1alpha1.GroupVersion.String())
	if err != nil {
		return nil, err
	}
	if !served {
		return []Finding{failed("install the chart: docs/install.md", "wanted the kinds of %s, found none", v1alpha1.GroupVersion)}, nil
	}
	return []Finding{ok("%s is served", v1alpha1.GroupVersion)}, nil
}

// controllers looks for built-in controllers that share one identity: then the gate cannot
// tell the one that makes pods from the one that makes tokens.
func controllers(ctx context.Context, c Cluster) ([]Finding, error) {
	shared, err := gates.SharedIdentity(c.Client)(ctx)
	if err != nil {
		return nil, err
	}
	if shared {
		return []Finding{failed("start kube-controller-manager with --use-service-account-credentials", gates.SharedMessage)}, nil
	}
	return []Finding{ok("the built-in controllers have identities of their own")}, nil
}

func webhooks(ctx context.Context, c Cluster) ([]Finding, error) {
	var out []Finding
	for _, name := range []string{ownWebhook, gates.WebhookName} {
		var w admissionregistrationv1.ValidatingWebhookConfiguration
		err := c.Client.Get(ctx, client.ObjectKey{Name: name}, &w)
		if apierrors.IsNotFound(err) {
			out = append(out, failed("helm upgrade the chart; see that the manager runs: kubectl -n "+c.Namespace+" get pods",
				"wanted ValidatingWebhookConfiguration %s, found none", name))
			continue
		}
		if err != nil {
			return out, err
		}
		problems := []string{}
		for i := range w.Webhooks {
			h := &w.Webhooks[i]
			if h.Name == optionalWebhook {
				continue
			}
			if h.FailurePolicy == nil || *h.FailurePolicy != admissionregistrationv1.Fail {
				problems = append(problems, h.Name+" does not fail closed")
			}
			if h.ObjectSelector != nil && len(h.ObjectSelector.MatchLabels)+len(h.ObjectSelector.MatchExpressions) > 0 {
				problems = append(problems, h.Name+" leaves objects out by their labels")
			}
			if h.MatchPolicy == nil || *h.MatchPolicy != admissionregistrationv1.Equivalent {
				problems = append(problems, h.Name+" does not match equivalent versions")
			}
			if block, _ := pem.Decode(h.ClientConfig.CABundle); block == nil {
				problems = append(problems, h.Name+" has no caBundle")
			}
		}
		if len(problems) > 0 {
			out = append(out, failed("see that the manager runs, which puts it right: kubectl -n "+c.Namespace+" get pods", "%s: %s", name, strings.Join(problems, ", ")))
			continue
		}
		out = append(out, ok("%s fails closed (%d webhooks)", name, len(w.Webhooks)))
	}
	return out, nil
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
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: certSecret}, &s); err != nil {
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

func lease(ctx context.Context, c Cluster) ([]Finding, error) {
	var l coordinationv1.Lease
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: managerAccount}, &l)
	if apierrors.IsNotFound(err) {
		return []Finding{failed("kubectl -n "+c.Namespace+" get pods", "wanted a leader of the managers, found no lease")}, nil
	}
	if err != nil {
		return nil, err
	}
	if l.Spec.RenewTime == nil || c.Now().Sub(l.Spec.RenewTime.Time) > leaseLate {
		return []Finding{failed("kubectl -n "+c.Namespace+" get pods; rollouts stand still and nothing is put right without a leader", "wanted a leader that shows signs of life, found the last one of %v", l.Spec.RenewTime)}, nil
	}
	return []Finding{ok("a leader runs")}, nil
}

func gateObjects(ctx context.Context, c Cluster) ([]Finding, error) {
	var list v1alpha1.GateList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return []Finding{warning("make a Gate: docs/gate.md", "nothing is governed: there is no Gate")}, nil
	}
	var out []Finding
	for i := range list.Items {
		g := &list.Items[i]
		ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
		switch {
		case ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != g.Generation:
			message := "it has no condition Ready"
			if ready != nil {
				message = ready.Message
			}
			out = append(out, failed("kubectl describe gate "+g.Name, "Gate %s is not in force: %s", g.Name, message))
		case len(g.Status.Namespaces) == 0:
			out = append(out, warning("kubectl edit gate "+g.Name, "Gate %s governs no namespace", g.Name))
		default:
			out = append(out, ok("Gate %s governs %d namespaces", g.Name, len(g.Status.Namespaces)))
		}
		if len(g.Spec.Allow.Gateways) == 0 {
			out = append(out, warning("list the gateway controllers in spec.allow.gateways: kubectl edit gate "+g.Name,
				"Gate %s lets everybody with the right write the status of routes, from which Tidegate reads whether they were accepted", g.Name))
		}
	}
	return out, nil
}

// rings compares what stands with what the Gates say.
func rings(ctx context.Context, c Cluster) ([]Finding, error) {
	var list v1alpha1.GateList
	var namespaces corev1.NamespaceList
	var webhook admissionregistrationv1.ValidatingWebhookConfiguration
	if err := errors.Join(c.Client.List(ctx, &list), c.Client.List(ctx, &namespaces)); err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return nil, nil
	}
	if err := c.Client.Get(ctx, client.ObjectKey{Name: gates.WebhookName}, &webhook); err != nil {
		return nil, err
	}
	o, known := c.generation(&webhook, namespaces.Items)
	standing, err := gates.Generate(list.Items, known, gates.Listed(&webhook), o)
	if err != nil {
		return nil, err
	}
	var out []Finding
	const do = "see that the manager runs, which puts it right within seconds; if it persists, its version and that of the Gates differ"
	if !equality.Semantic.DeepEqual(standing.Webhook.Webhooks, webhook.Webhooks) {
		out = append(out, failed(do, "ValidatingWebhookConfiguration %s is not what the Gates say", gates.WebhookName))
	}
	for i, want := range standing.Policies {
		var p admissionregistrationv1.ValidatingAdmissionPolicy
		var b admissionregistrationv1.ValidatingAdmissionPolicyBinding
		for _, live := range []client.Object{&p, &b} {
			if err := c.Client.Get(ctx, client.ObjectKey{Name: want.Name}, live); client.IgnoreNotFound(err) != nil {
				return out, err
			}
		}
		if !equality.Semantic.DeepEqual(want.Spec, p.Spec) || !equality.Semantic.DeepEqual(standing.Bindings[i].Spec, b.Spec) {
			out = append(out, failed(do, "the ValidatingAdmissionPolicy %s or its binding is missing, or not what the Gate says", want.Name))
		}
		for _, w := range typeWarnings(&p) {
			out = append(out, warning("tell Tidegate's maintainers", "%s: %s", want.Name, w))
		}
	}
	if len(out) == 0 {
		out = append(out, ok("both rings stand as the Gates say (%d policies)", len(standing.Policies)))
	}
	return out, nil
}

// generation is what the manager generates the rings from, with the namespaces that webhook
// still lists after they have gone.
func (c Cluster) generation(webhook *admissionregistrationv1.ValidatingWebhookConfiguration, namespaces []corev1.Namespace) (gates.Options, []govern.Namespace) {
	o := gates.Options{Identity: c.identity(), ManagerNamespace: c.Namespace}
	o.From(webhook)
	known := make([]govern.Namespace, 0, len(namespaces))
	for i := range namespaces {
		known = append(known, gates.Namespace(&namespaces[i]))
	}
	for _, n := range gates.Listed(webhook) {
		if !slices.ContainsFunc(known, func(k govern.Namespace) bool { return k.Name == n }) {
			o.Linger = append(o.Linger, n)
		}
	}
	return o, known
}

func typeWarnings(p *admissionregistrationv1.ValidatingAdmissionPolicy) []string {
	if p.Status.TypeChecking == nil {
		return nil
	}
	var out []string
	for _, w := range p.Status.TypeChecking.ExpressionWarnings {
		// It knows no field of kinds that a rule is about in a group that is not installed.
		if !strings.Contains(w.Warning, "undefined field") {
			out = append(out, w.FieldRef+": "+w.Warning)
		}
	}
	return out
}

// guard compares the chart's policies with what the chart says.
func guard(ctx context.Context, c Cluster) ([]Finding, error) {
	var standing corev1.ConfigMap
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: gates.DefaultChart}, &standing)
	if apierrors.IsNotFound(err) {
		return []Finding{failed("helm upgrade the chart", "wanted ConfigMap %s, from which the chart's policies are put back, found none", gates.DefaultChart)}, nil
	}
	if err != nil {
		return nil, err
	}
	objects, err := gates.ChartObjects(&standing)
	if err != nil {
		return nil, err
	}
	var out []Finding
	guards := 0
	for _, want := range objects {
		if strings.HasPrefix(want.GetName(), "tidegate-guard-") && want.GetKind() == "ValidatingAdmissionPolicy" {
			guards++
		}
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(want.GroupVersionKind())
		switch err := c.Client.Get(ctx, client.ObjectKeyFromObject(want), live); {
		case client.IgnoreNotFound(err) != nil:
			return out, err
		case err != nil || !gates.SameSpec(want, live):
			out = append(out, failed("see that the manager runs, which puts it back: kubectl -n "+c.Namespace+" get pods", "%s %s is missing, or not what the chart says", want.GetKind(), want.GetName()))
		}
	}
	if guards == 0 {
		out = append(out, warning("helm upgrade --set guard.enabled=true", "nothing guards Tidegate's own configuration (guard.enabled is false)"))
	}
	if len(out) == 0 {
		out = append(out, ok("the chart's policies stand (%d guards)", guards))
	}
	return out, nil
}

func policies(ctx context.Context, c Cluster) ([]Finding, error) {
	var list v1alpha1.DeployPolicyList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	var out []Finding
	for i := range list.Items {
		p := &list.Items[i]
		ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != metav1.ConditionTrue {
			message := "it has no condition Ready"
			if ready != nil {
				message = ready.Message
			}
			out = append(out, failed("kubectl describe deploypolicy "+p.Name, "DeployPolicy %s does not serve as written: %s", p.Name, message))
		}
	}
	if len(out) == 0 {
		out = append(out, ok("%d DeployPolicies serve", len(list.Items)))
	}
	return out, nil
}

func gateway(_ context.Context, c Cluster) ([]Finding, error) {
	served, err := c.Served("gateway.networking.k8s.io/v1")
	if err != nil {
		return nil, err
	}
	if !served {
		return []Finding{warning("install the CRDs of the Gateway API; templates that spread requests need them", "gateway.networking.k8s.io/v1 is not served")}, nil
	}
	return []Finding{ok("the Gateway API is served")}, nil
}

func metrics(ctx context.Context, c Cluster) ([]Finding, error) {
	var list v1alpha1.MetricSourceList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	if c.Reach == nil {
		return nil, nil
	}
	var out []Finding
	for i := range list.Items {
		m := &list.Items[i]
		if err := c.Reach(ctx, strings.TrimSuffix(m.Spec.Prometheus.Address, "/")+"/-/ready"); err != nil {
			out = append(out, warning("ask from within the cluster: rollouts that measure by it hold while it is away", "MetricSource %s does not answer this machine: %v", m.Name, err))
			continue
		}
		out = append(out, ok("MetricSource %s answers", m.Name))
	}
	return out, nil
}

// skew compares clocks by the time that the API server puts on an object.
func skew(ctx context.Context, c Cluster) ([]Finding, error) {
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "tidegate-doctor-"}}
	before := c.Now()
	if err := c.Client.Create(ctx, o, client.DryRunAll); err != nil {
		return nil, err
	}
	stamped := o.CreationTimestamp.Time
	// The stamp has whole seconds.
	if early, late := before.Sub(stamped)-time.Second, stamped.Sub(c.Now()); early > skewMost || late > skewMost {
		return []Finding{warning("set the clocks: freeze windows and expiries go by the manager's", "this machine's clock and the API server's are %s apart", max(early, late).Round(time.Second))}, nil
	}
	return []Finding{ok("the clocks agree")}, nil
}

// pods looks for pods that are not what they were made from: a mutating webhook that puts
// a container into pods leaves the workload as it was rendered.
func pods(ctx context.Context, c Cluster) ([]Finding, error) {
	var list v1alpha1.GateList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	governed := []string{}
	for i := range list.Items {
		governed = append(governed, list.Items[i].Status.Namespaces...)
	}
	slices.Sort(governed)
	var out []Finding
	count := 0
	for _, ns := range slices.Compact(governed) {
		n, found, err := podsOf(ctx, c, ns)
		if err != nil {
			return out, err
		}
		count += n
		out = append(out, found...)
	}
	if len(out) == 0 {
		out = append(out, ok("%d pods in governed namespaces run what made them", count))
	}
	return out, nil
}
