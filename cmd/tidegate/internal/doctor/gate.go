package doctor

import (
	"context"
	"errors"
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
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/gates"
	"tidegate.io/tidegate/webhook/govern"
)

const (
	// leaseLate is after how long without a sign a leader is taken for dead.
	leaseLate = time.Minute
	// skewMost is how far clocks may be apart.
	skewMost = 5 * time.Second
)

// oldest is the first version that serves what the chart brings: ValidatingAdmissionPolicy
// and MutatingAdmissionPolicy in v1.
const oldest = "1.36"

func version(_ context.Context, c Cluster) ([]Finding, error) {
	text, err := c.Version()
	if err != nil {
		return nil, err
	}
	v, err := utilversion.ParseGeneric(text)
	if err != nil {
		return nil, err
	}
	if !v.AtLeast(utilversion.MustParseGeneric(oldest)) {
		return []Finding{failed("upgrade the cluster", "wanted Kubernetes %s or newer, which serves the admission policies that the gate is made of, found %s", oldest, text)}, nil
	}
	return []Finding{ok("Kubernetes %s", text)}, nil
}

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
	return []Finding{ok("the built-in controllers have ServiceAccounts, as kube-controller-manager makes them with --use-service-account-credentials; that it still runs with that, only its command line says")}, nil
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
		if b := g.Spec.BreakGlass; b != nil && len(b.Users)+len(b.Groups) == 0 {
			out = append(out, warning("list who is on call in spec.breakGlass.users or .groups, or take spec.breakGlass away: kubectl edit gate "+g.Name,
				"Gate %s: spec.breakGlass lists nobody, so nobody can be exempted when it matters", g.Name))
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
