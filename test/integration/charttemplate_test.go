package integration

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/binaries"
	"tidegate.io/tidegate/webhook/govern"
)

// helmRun runs helm without a cluster.
func helmRun(t *testing.T, args ...string) (string, error) {
	t.Helper()
	paths, err := binaries.Build(t.Context(), io.Discard, "helm")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), paths["helm"], args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(home, "none"), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// helmTemplate renders the chart and decodes every object strictly: a field that its kind
// does not have fails the test.
func helmTemplate(t *testing.T, set ...string) []runtime.Object {
	t.Helper()
	args := []string{"template", "tidegate", chartDir, "--namespace", chartNamespace}
	for _, s := range set {
		if strings.HasPrefix(s, "--") {
			args = append(args, strings.Fields(s)...)
			continue
		}
		args = append(args, "--set", s)
	}
	out, err := helmRun(t, args...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	scheme := testScheme(t)
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	var objects []runtime.Object
	docs := yaml.NewYAMLReader(bufioReader(out))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		var plain unstructured.Unstructured
		if err := yaml.Unmarshal(doc, &plain.Object); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		switch {
		case len(plain.Object) == 0:
		case plain.GetKind() == "CustomResourceDefinition":
			objects = append(objects, &plain)
		default:
			object, _, err := strict.Decode(doc, nil, nil)
			if err != nil {
				t.Fatalf("%v\n%s", err, doc)
			}
			objects = append(objects, object)
		}
	}
}

func bufioReader(s string) *bufio.Reader { return bufio.NewReader(bytes.NewBufferString(s)) }

// all returns the objects of a type.
func all[T runtime.Object](objects []runtime.Object) []T {
	var out []T
	for _, o := range objects {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

// everything turns on all that the chart can make.
var everything = []string{
	"--api-versions tidegate.io/v1alpha1",
	"templates.web.create=true", "templates.web-bluegreen.create=true", "templates.grpc.create=true",
	"templates.worker.create=true", "templates.stateful.create=true", "templates.job.create=true",
	"metricSource.create=true", "metricSource.address=http://prometheus.monitoring:9090", "metricSource.caBundle=PEM",
	"gate.create=true", "gate.namespaces.names={shop}", "gate.namespaces.patterns={team-*}", "gate.writers={system:node:a}",
	"policies.imageRegistries.create=true", "policies.imageRegistries.registries={ghcr.io/shop}",
	"policies.freezeWindows.create=true", "policies.freezeWindows.zone=Europe/Berlin", "policies.freezeWindows.windows[0].from=18:00", "policies.freezeWindows.windows[0].to=08:00",
	"policies.freezeWindows.exceptions[0].namespaces={staging-*}",
	"policies.templatePins.create=true", "policies.templatePins.channels={stable}", "policies.templatePins.rules[0].namespaces={staging-*}", "policies.templatePins.rules[0].allowPins=true",
}

func TestChartLints(t *testing.T) {
	t.Parallel()
	if out, err := helmRun(t, "lint", "--strict", chartDir); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestChartGrantsNoWildcard(t *testing.T) {
	t.Parallel()
	objects := helmTemplate(t)
	rules := map[string][]rbacv1.PolicyRule{}
	for _, r := range all[*rbacv1.ClusterRole](objects) {
		rules[r.Name] = append(rules[r.Name], r.Rules...)
	}
	for _, r := range all[*rbacv1.Role](objects) {
		rules[r.Name] = append(rules[r.Name], r.Rules...)
	}
	if len(rules) < 5 {
		t.Fatalf("only %d roles", len(rules))
	}
	for name, list := range rules {
		for _, r := range list {
			for _, word := range slices.Concat(r.APIGroups, r.Resources, r.Verbs, r.NonResourceURLs) {
				if strings.Contains(word, "*") {
					t.Errorf("role %s has a wildcard: %+v", name, r)
				}
			}
			if slices.Contains(r.Verbs, "escalate") || slices.Contains(r.Verbs, "impersonate") || slices.Contains(r.Verbs, "bind") {
				t.Errorf("role %s could make itself greater: %+v", name, r)
			}
		}
	}
	for _, r := range all[*rbacv1.ClusterRole](objects) {
		for _, rule := range r.Rules {
			if slices.Contains(rule.Resources, "secrets") {
				t.Errorf("cluster role %s reads the Secrets of all namespaces", r.Name)
			}
		}
	}
}

func TestChartWebhookMatchesTheNarrowestSet(t *testing.T) {
	t.Parallel()
	hooks := all[*admissionregistrationv1.ValidatingWebhookConfiguration](helmTemplate(t))
	if len(hooks) != 1 || len(hooks[0].Webhooks) != 2 {
		t.Fatalf("%+v", hooks)
	}
	h, approvals := hooks[0].Webhooks[0], hooks[0].Webhooks[1]
	// Certificates for nodes must not wait for Tidegate.
	if approvals.Name != approvalWebhook || *approvals.FailurePolicy != admissionregistrationv1.Ignore ||
		len(approvals.Rules) != 1 || !slices.Equal(approvals.Rules[0].Resources, []string{"certificatesigningrequests/approval"}) {
		t.Errorf("%+v", approvals)
	}
	if h.ClientConfig.Service == nil || h.ClientConfig.Service.Name != "tidegate-webhook" || *h.ClientConfig.Service.Path != "/tidegate" {
		t.Errorf("%+v", h.ClientConfig)
	}
	if *h.FailurePolicy != admissionregistrationv1.Fail || *h.TimeoutSeconds > 10 {
		t.Errorf("%+v", h)
	}
	e := h.NamespaceSelector.MatchExpressions
	if len(e) != 1 || e[0].Key != "kubernetes.io/metadata.name" || e[0].Operator != "NotIn" || !slices.Contains(e[0].Values, chartNamespace) {
		t.Errorf("the manager's own namespace is matched: %+v", e)
	}
	if len(h.MatchConditions) != 3 || !strings.Contains(h.MatchConditions[0].Expression, `"`+chartIdentity+`"`) {
		t.Errorf("the manager's writes depend on the manager's webhook: %+v", h.MatchConditions)
	}
	// What empties a namespace, or goes with its owner, waits for nobody.
	for _, user := range govern.Cleaners(govern.Delete) {
		if !strings.Contains(h.MatchConditions[1].Expression, `"`+user+`"`) {
			t.Errorf("%s waits for the manager: %+v", user, h.MatchConditions[1])
		}
	}
	for _, r := range h.Rules {
		if !slices.Equal(r.APIGroups, []string{"tidegate.io"}) {
			t.Errorf("%+v", r)
		}
		for _, resource := range r.Resources {
			if strings.Contains(resource, "*") {
				t.Errorf("%+v", r)
			}
		}
	}

	outside := all[*admissionregistrationv1.ValidatingWebhookConfiguration](helmTemplate(t, "manager.enabled=false", "webhook.url=https://localhost:9443/"))
	if c := outside[0].Webhooks[0].ClientConfig; c.Service != nil || *c.URL != "https://localhost:9443/tidegate" {
		t.Errorf("%+v", c)
	}
}

func TestChartRunsTheManagerRestricted(t *testing.T) {
	t.Parallel()
	deployments := all[*appsv1.Deployment](helmTemplate(t))
	if len(deployments) != 1 {
		t.Fatalf("%d Deployments", len(deployments))
	}
	d := deployments[0]
	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	s := c.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != "RuntimeDefault" ||
		*s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("not restricted: %+v %+v", pod.SecurityContext, s)
	}
	if *d.Spec.Replicas < 2 || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 || *pod.TerminationGracePeriodSeconds < 70 {
		t.Errorf("not available enough: %+v", d.Spec)
	}
	if c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" || len(c.Resources.Limits) == 0 {
		t.Errorf("%+v", c)
	}

	// The manager knows every flag that the chart gives it: it fails at the kubeconfig.
	cmd := exec.CommandContext(t.Context(), buildManager(t), append(slices.Clone(c.Args), "--kubeconfig=/does/not/exist")...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "/does/not/exist") {
		t.Errorf("%v: %v\n%s", c.Args, err, out)
	}

	if n := len(all[*appsv1.Deployment](helmTemplate(t, "manager.enabled=false", "webhook.url=https://localhost:9443"))); n != 0 {
		t.Error("manager.enabled=false runs a manager")
	}
}

// kindsShipped is how many kinds the chart installs.
const kindsShipped = 11

func TestChartKinds(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(chartDir, "crds")); err == nil {
		t.Error("charts/tidegate/crds is there: Helm installs that folder once and never upgrades it, and the chart has these kinds in resources/crds; generate them there")
	}
	kinds := func(set ...string) (n, kept int) {
		for _, crd := range all[*unstructured.Unstructured](helmTemplate(t, set...)) {
			n++
			if crd.GetAnnotations()["helm.sh/resource-policy"] == "keep" {
				kept++
			}
		}
		return n, kept
	}
	if n, kept := kinds(); n != kindsShipped || kept != kindsShipped {
		t.Errorf("%d kinds, %d kept; wanted %d", n, kept, kindsShipped)
	}
	if n, kept := kinds("crds.keep=false"); n != kindsShipped || kept != 0 {
		t.Errorf("%d kinds, %d kept; wanted %d and none", n, kept, kindsShipped)
	}
	if n, _ := kinds("crds.install=false"); n != 0 {
		t.Errorf("%d kinds; wanted none", n)
	}
}

func TestChartShipsWhatTheRepositoryHas(t *testing.T) {
	t.Parallel()
	objects := helmTemplate(t, everything...)
	var shipped []string
	for _, template := range all[*v1alpha1.ReleaseTemplate](objects) {
		shipped = append(shipped, template.Name)
		want, err := templates.Files(template.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		if !maps.Equal(template.Spec.Files, want) {
			t.Errorf("wanted template %s as it is in the repository", template.Name)
		}
		compiled, err := render.Compile(template.Spec.Files)
		if err != nil {
			t.Errorf("%s: %v", template.Name, err)
			continue
		}
		if err := compiled.Check(); err != nil {
			t.Errorf("%s: %v", template.Name, err)
		}
		for _, f := range render.Vet(template.Spec.Files, render.VetOptions{Shallow: true}) {
			if f.Severity != render.SeverityAdvice {
				t.Errorf("%s: whoever installs the chart would read: %s", template.Name, f)
			}
		}
	}
	if slices.Sort(shipped); len(shipped) != 6 || !slices.Equal(shipped, slices.Sorted(slices.Values(templates.Names()))) {
		t.Errorf("wanted the templates %v, found %v", templates.Names(), shipped)
	}
	policies := all[*v1alpha1.DeployPolicy](objects)
	if len(policies) != 3 {
		t.Fatalf("%d policies", len(policies))
	}
	for _, p := range policies {
		if p.Spec.ParametersSchema == nil {
			t.Errorf("%s: wanted the schema of its parameters, found none", p.Name)
		}
		compiled, err := eval.Compile(eval.FromDeployPolicy(p))
		if err != nil {
			t.Error(err)
			continue
		}
		// Parameters that a policy cannot read would be an objection.
		in, err := eval.NewInput(map[string]any{
			"time": "2026-11-25T12:00:00Z", "release": eval.Release{Name: "cart", Namespace: "shop"}, "template": eval.Template{Name: "web", Channel: "stable"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := compiled.Eval(t.Context(), in); err != nil || len(got.Denials) > 0 {
			t.Errorf("%s: %+v, %v", p.Name, got, err)
		}
	}
	gates := all[*v1alpha1.Gate](objects)
	if len(gates) != 1 || !slices.Equal(gates[0].Spec.Namespaces.Names, []string{"shop"}) || !slices.Equal(gates[0].Spec.Namespaces.Patterns, []string{"team-*"}) {
		t.Errorf("%+v", gates)
	}
	sources := all[*v1alpha1.MetricSource](objects)
	if len(sources) != 1 || string(sources[0].Spec.Prometheus.CABundle) != "PEM" {
		t.Errorf("%+v", sources)
	}
	if bare := helmTemplate(t); len(all[*v1alpha1.Gate](bare))+len(all[*v1alpha1.ReleaseTemplate](bare)) > 0 {
		t.Error("something is governed or published that nobody asked for")
	}
}

func TestChartRefusesValuesThatCannotWork(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ set, want string }{
		"a typo in a key":               {"webhook.urll=https://x", "urll"},
		"a wrong type":                  {"manager.replicas=two", "integer"},
		"no manager and no URL":         {"manager.enabled=false", "set webhook.url"},
		"a URL without TLS":             {"webhook.url=http://x", "pattern"},
		"a URL with an IPv4 address":    {"webhook.url=https://127.0.0.1:9443", "use localhost"},
		"a URL with an IPv6 address":    {"webhook.url=https://[::1]:9443", "use localhost"},
		"a namespace of the system":     {"--namespace kube-system", "namespace of its own"},
		"too long for the API server":   {"webhook.timeoutSeconds=11", "maximum"},
		"shipped objects without kinds": {"gate.create=true", "helm upgrade --reuse-values"},
		"a Gate over nothing":           {"gate.create=true --api-versions tidegate.io/v1alpha1", "nothing would be governed"},
		"a source without an address":   {"metricSource.create=true --api-versions tidegate.io/v1alpha1", "base URL"},
		"a freeze without windows":      {"policies.freezeWindows.create=true --api-versions tidegate.io/v1alpha1", "at least one window"},
		"a window without an end":       {"policies.freezeWindows.windows[0].from=18:00", "to"},
		"an exception for everybody":    {"policies.freezeWindows.exceptions[0].releaseLabels=x", "releaseLabels"},
		"an audit that never rests":     {"audit.interval=5s", "at least 10s"},
		"one that rests too little":     {"audit.interval=0.1m", "at least 10s"},
		"records over what is there":    {"webhook.record.enabled=true,webhook.record.dir=/tmp/", "wanted a directory of its own"},
		"a policy that passes nothing":  {"policies.imageRegistries.create=true --api-versions tidegate.io/v1alpha1", "no image would pass"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"template", "tidegate", chartDir}
			words := strings.Fields(tc.set)
			if !strings.HasPrefix(tc.set, "--") {
				args = append(args, "--set", words[0])
				words = words[1:]
			}
			out, err := helmRun(t, append(args, words...)...)
			if err == nil || !strings.Contains(out, tc.want) {
				t.Errorf("%v, wanted %q:\n%.600s", err, tc.want, out)
			}
		})
	}
}
