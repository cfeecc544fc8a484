package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/binaries"
	"tidegate.io/tidegate/test/cluster/local"
)

const (
	chartDir       = "../../charts/tidegate"
	chartNamespace = "tidegate-system"
	chartIdentity  = "system:serviceaccount:" + chartNamespace + ":tidegate-manager"
)

// TestChart installs the chart with Helm as a person would, runs the manager as the
// ServiceAccount that the chart makes, turns the shipped objects on and uninstalls it all.
func TestChart(t *testing.T) {
	cluster := local.ForTest(t, local.Options{Prometheus: true})
	if err := cluster.InstallGatewayAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := chartWorld{T: t, cluster: cluster, webhookPort: freePort(t), probePort: freePort(t), metricsPort: freePort(t)}
	c.client = c.newClient()
	c.manager = buildManager(t)

	c.helm("install", "tidegate", chartDir, "--namespace", chartNamespace, "--create-namespace",
		"--set", "manager.enabled=false", "--set", "webhook.url="+c.webhookURL(), "--wait", "--timeout", "60s")
	c.nothingPassesWithoutTheManager()

	stop := c.start()
	c.awaitReadyz(http.StatusOK)
	c.webhookIsTrusted()
	c.turnOnWhatIsShipped()
	c.actorIsStamped()
	c.releaseIsApplied()
	c.upgradeKeepsTheCertificate()
	c.metricsAreServed()

	log := stop()
	for line := range strings.SplitSeq(log, "\n") {
		if strings.Contains(strings.ToLower(line), "forbidden") {
			t.Errorf("the chart's RBAC lacks something: %s", line)
		}
	}

	c.helm("uninstall", "tidegate", "--namespace", chartNamespace, "--wait", "--timeout", "60s")
	c.releasesOutliveTheChart()
}

type chartWorld struct {
	*testing.T
	cluster     *local.Cluster
	client      client.Client
	manager     string
	webhookPort int
	probePort   int
	metricsPort int
}

func (c *chartWorld) webhookURL() string { return fmt.Sprintf("https://localhost:%d", c.webhookPort) }

func (c *chartWorld) newClient() client.Client {
	c.Helper()
	made, err := client.New(c.cluster.RESTConfig(), client.Options{Scheme: testScheme(c.T)})
	if err != nil {
		c.Fatal(err)
	}
	return made
}

// helm runs helm as the administrator.
func (c *chartWorld) helm(args ...string) {
	c.Helper()
	paths, err := binaries.Build(c.Context(), io.Discard, "helm")
	if err != nil {
		c.Fatal(err)
	}
	cmd := exec.CommandContext(c.Context(), paths["helm"], args...)
	home := c.TempDir()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.cluster.Kubeconfig(),
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// start runs the manager as the chart's ServiceAccount. The function returned ends it as a
// kubelet does, checks that it ended well and returns its log.
func (c *chartWorld) start() (stop func() string) {
	c.Helper()
	kubeconfig, err := c.cluster.ServiceAccountKubeconfig(c.Context(), chartNamespace, "tidegate-manager")
	if err != nil {
		c.Fatal(err)
	}
	var log lockedBuffer
	cmd := exec.Command(c.manager,
		"--kubeconfig", kubeconfig,
		"--namespace", chartNamespace,
		"--webhook-url", c.webhookURL(),
		"--webhook-port", fmt.Sprint(c.webhookPort),
		"--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", c.probePort),
		"--metrics-bind-address", fmt.Sprintf("127.0.0.1:%d", c.metricsPort),
		"--shutdown-delay", "2s",
		"--log-level", "debug",
	)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	c.Cleanup(func() {
		_ = cmd.Process.Kill()
		if c.Failed() {
			c.Logf("the manager's log:\n%s", log.String())
		}
	})
	return func() string {
		c.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			c.Fatal(err)
		}
		// Readiness fails first, while the webhook still answers.
		c.awaitReadyz(http.StatusInternalServerError)
		if conn, err := net.DialTimeout("tcp", fmt.Sprintf("localhost:%d", c.webhookPort), time.Second); err != nil {
			c.Errorf("the webhook closed as soon as the manager was asked to stop: %v", err)
		} else {
			_ = conn.Close()
		}
		select {
		case err := <-done:
			if err != nil {
				c.Errorf("the manager ended with %v", err)
			}
		case <-time.After(within):
			c.Error("the manager did not end")
		}
		return log.String()
	}
}

func (c *chartWorld) awaitReadyz(want int) {
	c.Helper()
	last := ""
	c.await(fmt.Sprintf("/readyz to give %d", want), func() bool {
		code, body, err := httpGet(c.Context(), fmt.Sprintf("http://127.0.0.1:%d/readyz?verbose", c.probePort))
		last = fmt.Sprintf("%d %s %v", code, body, err)
		return err == nil && code == want
	}, func() string { return last })
}

func (c *chartWorld) await(what string, holds func() bool, last func() string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			c.Fatalf("waited for %s; last seen: %s", what, last())
		case <-tick.C:
		}
	}
}

// nothingPassesWithoutTheManager shows that Tidegate's own kinds fail closed.
func (c *chartWorld) nothingPassesWithoutTheManager() {
	c.Helper()
	// The API server takes up a new webhook after a moment.
	var err error
	c.await("a MetricSource to be refused while no manager runs", func() bool {
		err = c.client.Create(c.Context(), &v1alpha1.MetricSource{
			ObjectMeta: metav1.ObjectMeta{Name: "early"},
			Spec:       v1alpha1.MetricSourceSpec{Prometheus: v1alpha1.PrometheusSource{Address: "http://prometheus"}},
		}, client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "failed calling webhook")
	}, func() string { return fmt.Sprint(err) })
}

// approvalWebhook is the one webhook of the chart that fails open, and is about no kind of
// Tidegate's.
const approvalWebhook = "certificates.tidegate.io"

// webhookIsTrusted shows that the API server reaches the manager by the certificate.
func (c *chartWorld) webhookIsTrusted() {
	c.Helper()
	var hooks admissionregistrationv1.ValidatingWebhookConfiguration
	if err := c.client.Get(c.Context(), client.ObjectKey{Name: "tidegate"}, &hooks); err != nil {
		c.Fatal(err)
	}
	var secret corev1.Secret
	if err := c.client.Get(c.Context(), client.ObjectKey{Namespace: chartNamespace, Name: "tidegate-webhook-cert"}, &secret); err != nil {
		c.Fatal(err)
	}
	for _, h := range hooks.Webhooks {
		if len(h.ClientConfig.CABundle) == 0 || !bytes.Equal(h.ClientConfig.CABundle, secret.Data["ca.crt"]) {
			c.Errorf("webhook %s does not carry the authority of the Secret", h.Name)
		}
		if h.Name == approvalWebhook {
			continue // see TestChartWebhookMatchesTheNarrowestSet
		}
		if h.FailurePolicy == nil || *h.FailurePolicy != admissionregistrationv1.Fail {
			c.Errorf("webhook %s does not fail closed", h.Name)
		}
		for _, r := range h.Rules {
			if len(r.APIGroups) != 1 || r.APIGroups[0] != "tidegate.io" {
				c.Errorf("webhook %s matches %v", h.Name, r.APIGroups)
			}
		}
	}
}

// turnOnWhatIsShipped upgrades the chart with the shipped objects, all judged by the
// webhook, and waits until they are in effect.
func (c *chartWorld) turnOnWhatIsShipped() {
	c.Helper()
	if err := c.client.Create(c.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "governed"}}); err != nil {
		c.Fatal(err)
	}
	c.helm("upgrade", "tidegate", chartDir, "--namespace", chartNamespace, "--reuse-values",
		"--set", "templates.web.create=true",
		"--set", "metricSource.create=true", "--set", "metricSource.address="+c.cluster.State().PrometheusURL,
		"--set", "gate.create=true", "--set", "gate.namespaces.names={governed}", "--set", "gate.writers={"+local.KwokUser+"}",
		"--set", "policies.imageRegistries.create=true", "--set", "policies.imageRegistries.registries={docker.io/shop}",
		"--wait", "--timeout", "60s")
	for what, of := range map[string]struct {
		object     client.Object
		conditions func(client.Object) []metav1.Condition
	}{
		"web": {&v1alpha1.ReleaseTemplate{}, func(o client.Object) []metav1.Condition {
			return o.(*v1alpha1.ReleaseTemplate).Status.Conditions
		}},
		"prometheus": {&v1alpha1.MetricSource{}, func(o client.Object) []metav1.Condition {
			return o.(*v1alpha1.MetricSource).Status.Conditions
		}},
		"production": {&v1alpha1.Gate{}, func(o client.Object) []metav1.Condition {
			return o.(*v1alpha1.Gate).Status.Conditions
		}},
		"image-registries": {&v1alpha1.DeployPolicy{}, func(o client.Object) []metav1.Condition {
			return o.(*v1alpha1.DeployPolicy).Status.Conditions
		}},
	} {
		last := ""
		c.await(what+" to be Ready", func() bool {
			if err := c.client.Get(c.Context(), client.ObjectKey{Name: what}, of.object); err != nil {
				last = err.Error()
				return false
			}
			last = fmt.Sprintf("%+v", of.conditions(of.object))
			return meta.IsStatusConditionTrue(of.conditions(of.object), v1alpha1.ConditionReady)
		}, func() string { return last })
	}
	var revisions v1alpha1.TemplateRevisionList
	if err := c.client.List(c.Context(), &revisions); err != nil || len(revisions.Items) != 1 {
		c.Fatalf("found %d revisions, %v", len(revisions.Items), err)
	}
	revision := revisions.Items[0]
	if s := revision.Spec; s.Schema == nil || s.Engine == "" || revision.Name != v1alpha1.RevisionName("web", 1, s.Digest) {
		c.Errorf("%s is not whole: %+v", revision.Name, s)
	}
	// Whoever may write them cannot give a name to another source.
	again := &v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: "web-2-0123456789"}, Spec: revision.Spec}
	again.Spec.Number = 2
	if err := c.client.Create(c.Context(), again, client.DryRunAll); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "digits of its digest") {
		c.Errorf("a revision under a wrong name: %v", err)
	}
}

// actorIsStamped shows that nobody decides in another's name. Dry run: there is no Rollout.
func (c *chartWorld) actorIsStamped() {
	c.Helper()
	command := &v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: chartNamespace, Name: "claimed"},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: "cart-1", Action: v1alpha1.CommandPause, Actor: "somebody-else"},
	}
	if err := c.client.Create(c.Context(), command, client.DryRunAll); err != nil {
		c.Fatal(err)
	}
	if command.Spec.Actor == "" || command.Spec.Actor == "somebody-else" {
		c.Errorf("the actor is %q", command.Spec.Actor)
	}
	command.ResourceVersion, command.Namespace = "", "governed"
	err := c.client.Create(c.Context(), command, client.DryRunAll)
	if err == nil || !strings.Contains(err.Error(), "wanted a Rollout") {
		c.Errorf("a command about a Rollout that is not there: %v", err)
	}
}

// releaseIsApplied shows that the manager may make what a Release becomes, as the
// ServiceAccount that the chart gives rights to, in a namespace that it governs.
func (c *chartWorld) releaseIsApplied() {
	c.Helper()
	release := &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: "governed", Name: "cart"},
		Spec: v1alpha1.ReleaseSpec{
			Template: v1alpha1.TemplateReference{Name: "web"},
			Values: &runtime.RawExtension{Raw: []byte(
				`{"image": "shop/cart:1", "containerPort": 8080, "replicas": 2, "resources": {"cpu": "100m", "memory": "64Mi"}}`)},
		},
	}
	if err := c.client.Create(c.Context(), release); err != nil {
		c.Fatal(err)
	}
	missing := ""
	c.await("the objects of the Release", func() bool {
		missing = ""
		for kind, list := range map[string]client.ObjectList{
			"Deployment": &appsv1.DeploymentList{}, "Service": &corev1.ServiceList{},
			"PodDisruptionBudget": &policyv1.PodDisruptionBudgetList{}, "HTTPRoute": &gatewayv1.HTTPRouteList{},
		} {
			if err := c.client.List(c.Context(), list, client.InNamespace("governed"), client.MatchingLabels{v1alpha1.LabelRelease: "cart"}); err != nil {
				c.Fatal(err)
			}
			if meta.LenList(list) == 0 {
				missing += " " + kind
			}
		}
		return missing == ""
	}, func() string {
		state, _ := c.cluster.Kubectl(c.Context(), "get", "releases,rollouts,deployments,replicasets,pods", "-n", "governed", "-o", "wide")
		events, _ := c.cluster.Kubectl(c.Context(), "get", "events", "-n", "governed")
		return "missing:" + missing + "\n" + state + events
	})
}

// upgradeKeepsTheCertificate shows that Helm leaves alone what the manager fills in.
func (c *chartWorld) upgradeKeepsTheCertificate() {
	c.Helper()
	key := client.ObjectKey{Namespace: chartNamespace, Name: "tidegate-webhook-cert"}
	var before, after corev1.Secret
	if err := c.client.Get(c.Context(), key, &before); err != nil {
		c.Fatal(err)
	}
	c.helm("upgrade", "tidegate", chartDir, "--namespace", chartNamespace, "--reuse-values", "--set", "webhook.timeoutSeconds=7")
	if err := c.client.Get(c.Context(), key, &after); err != nil {
		c.Fatal(err)
	}
	if !bytes.Equal(before.Data["ca.crt"], after.Data["ca.crt"]) || !bytes.Equal(before.Data["tls.key"], after.Data["tls.key"]) {
		c.Error("an upgrade changed the certificate")
	}
	c.webhookIsTrusted()
}

func (c *chartWorld) metricsAreServed() {
	c.Helper()
	code, body, err := httpGet(c.Context(), fmt.Sprintf("http://127.0.0.1:%d/metrics", c.metricsPort))
	if err != nil || code != http.StatusOK || !strings.Contains(body, "tidegate_webhook_cert_expiry_timestamp_seconds") {
		c.Errorf("/metrics: %d, %v", code, err)
	}
}

// releasesOutliveTheChart shows that an uninstall takes nobody's Releases, and leaves
// nothing that refuses writes.
func (c *chartWorld) releasesOutliveTheChart() {
	c.Helper()
	var list v1alpha1.ReleaseList
	if err := c.client.List(c.Context(), &list); err != nil {
		c.Errorf("the kinds went with the chart: %v", err)
	}
	var hooks admissionregistrationv1.ValidatingWebhookConfiguration
	if err := c.client.Get(c.Context(), client.ObjectKey{Name: "tidegate"}, &hooks); !apierrors.IsNotFound(err) {
		c.Errorf("the webhook configuration is still there: %v", err)
	}
}

// buildManager builds the manager.
func buildManager(t *testing.T) string {
	t.Helper()
	return filepath.Join(programs(t), "tidegate-manager")
}

// freePort returns a port on which nobody listens now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("listening at %v", l.Addr())
	}
	return addr.Port
}

func httpGet(ctx context.Context, url string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), errors.Join(err, res.Body.Close())
}

// lockedBuffer is written by a process and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
