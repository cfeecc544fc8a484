package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/webhook/certs"
	"tidegate.io/tidegate/webhook/gates"
)

// mailer is the Release that is in service all the time, and the Deployment it is made into.
const mailer = "mailer"

// TestFailures breaks what Tidegate rests on, one thing after the other, in a cluster with
// the chart as it is installed. Meanwhile somebody tries the gate without a pause, and must
// never get through, and works beside it, and must never be held up.
func TestFailures(t *testing.T) {
	w := newFailures(t)
	w.serve()
	w.lend()
	w.watch()

	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"an upgrade to other values leaves no moment without the gate", w.upgrade},
		{"a certificate that somebody deletes is made anew", w.lostCertificate},
		{"a certificate that somebody spoils is made anew", w.spoiltCertificate},
		{"an authority that somebody takes out of the webhooks is put back", w.lostAuthority},
		{"a manager that starts without a certificate makes one", w.startsWithout},
		{"with the manager down nothing outside of what is governed asks for it", w.outside},
		{"with the manager down Tidegate's own objects go where nothing is governed", w.ownOutside},
		{"with the manager down what is governed stays closed, and says why", w.closed},
		{"with the manager down what runs goes on", w.goesOn},
		{"with the manager down its own namespace can be repaired", w.home},
		{"with the manager down a lost node is survived", w.nodeLoss},
		{"a manager that is back goes on where it was", w.recovers},
		{"an uninstall as documented leaves nothing behind", w.uninstall},
		{"an uninstall that forgot the gates stays closed, and is mended as documented", w.forgetful},
	} {
		if !t.Run(step.name, step.do) {
			return // What comes after stands on it.
		}
	}
}

type failures struct {
	*gateWorld
	chart *chartWorld
	// halt ends the manager as a kubelet does.
	halt  func() string
	tries *vigil
}

func newFailures(t *testing.T) *failures {
	t.Helper()
	log.SetLogger(logr.Discard())
	cluster := local.ForTest(t, local.Options{Nodes: 3})
	if err := cluster.InstallGatewayAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &failures{
		gateWorld: &gateWorld{T: t, cluster: cluster, scheme: testScheme(t), stop: func() {}},
		chart:     &chartWorld{T: t, cluster: cluster, webhookPort: freePort(t), probePort: freePort(t), metricsPort: freePort(t)},
	}
	w.chart.client, w.chart.manager = w.chart.newClient(), buildManager(t)
	w.root = w.client(cluster.RESTConfig())
	var err error
	w.raw, err = kubernetes.NewForConfig(cluster.RESTConfig())
	w.must(err)
	for _, name := range []string{"shop", "playground"} {
		w.must(w.root.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	w.must(w.root.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "alice"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "alice"}},
	}))
	path, err := cluster.UserKubeconfig("alice")
	w.must(err)
	w.alice = w.client(w.config(path))
	w.install()
	return w
}

// install installs the chart with its manager's pods, which run no code here: what answers is
// a process beside the cluster, as the ServiceAccount of the chart.
func (w *failures) install() {
	w.Helper()
	// A kubelet ends pods of the manager; here that is kwok, which is no node by its name.
	w.chart.helm("install", "tidegate", chartDir, "--namespace", chartNamespace, "--create-namespace",
		"--set", "webhook.url="+w.chart.webhookURL(), "--set", "guard.admins.users={"+local.KwokUser+"}", "--wait", "--timeout", "120s")
	w.begin()
	w.chart.helm("upgrade", "tidegate", chartDir, "--namespace", chartNamespace, "--reuse-values",
		"--set", "templates.worker.create=true",
		"--set", "gate.create=true", "--set", "gate.namespaces.names={shop}", "--set", "gate.writers={"+local.KwokUser+"}",
		"--wait", "--timeout", "60s")
	w.enforced("production")
}

// begin starts the manager and waits until it is ready.
func (w *failures) begin() {
	w.Helper()
	w.halt = w.chart.start()
	w.chart.awaitReadyz(200)
}

func (w *failures) release(image string) *v1alpha1.Release {
	return &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: mailer},
		Spec: v1alpha1.ReleaseSpec{
			Template: v1alpha1.TemplateReference{Name: "worker"},
			Values:   &runtime.RawExtension{Raw: fmt.Appendf(nil, `{"image": %q, "replicas": 3}`, image)},
		},
	}
}

// serve has a Release in service.
func (w *failures) serve() {
	w.Helper()
	w.eventually("the Release is applied", func(ctx context.Context) error {
		return client.IgnoreAlreadyExists(w.alice.Create(ctx, w.release("shop/mailer:1")))
	})
	w.available("shop", mailer, 3)
}

// vigil tries the gate, and what is beside it, again and again.
type vigil struct {
	turn   sync.Mutex // held for one round; and by who wants none
	rounds atomic.Int64
	mu     sync.Mutex
	wrong  []string
}

func (v *vigil) note(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
}

// closedError says whether an answer is one of a gate that is closed.
func closedError(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "TG-GATE-") || strings.Contains(err.Error(), "failed calling webhook"))
}

// watch begins the vigil, and ends the test badly where somebody ever got through.
func (w *failures) watch() {
	ctx, cancel := context.WithCancel(w.Context())
	v, done := &vigil{}, make(chan struct{})
	w.tries = v
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			v.turn.Lock()
			for what, o := range map[string]client.Object{"a Deployment": deployment("shop", "vigil", nil), "a pod": barePod("shop", "vigil")} {
				if err := w.alice.Create(ctx, o, client.DryRunAll); ctx.Err() == nil && !closedError(err) {
					v.note("%s in a governed namespace: wanted a refusal that says why, found: %v", what, err)
				}
			}
			if err := w.alice.Create(ctx, deployment("playground", "vigil", nil), client.DryRunAll); ctx.Err() == nil && err != nil {
				v.note("a Deployment in a namespace that is not governed: wanted it let through, found: %v", err)
			}
			v.turn.Unlock()
			v.rounds.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	w.stop = func() {
		cancel()
		<-done
		w.stop = func() {}
	}
	w.Cleanup(func() { w.stop() })
}

// kept says that the vigil has gone on, and that the gate was never open.
func (w *failures) kept(t *testing.T) {
	t.Helper()
	from := w.tries.rounds.Load()
	w.eventually("the vigil goes on", func(context.Context) error {
		if now := w.tries.rounds.Load(); now < from+2 {
			return fmt.Errorf("%d rounds since", now-from)
		}
		return nil
	})
	w.tries.mu.Lock()
	defer w.tries.mu.Unlock()
	for _, wrong := range w.tries.wrong[:min(len(w.tries.wrong), 5)] {
		t.Error(wrong)
	}
	w.tries.wrong = nil
}

func (w *failures) upgrade(t *testing.T) {
	before := w.tries.rounds.Load()
	w.chart.helm("upgrade", "tidegate", chartDir, "--namespace", chartNamespace, "--reuse-values",
		"--set", "webhook.timeoutSeconds=7", "--set", "manager.replicas=3", "--set", "guard.platform.groups={platform}",
		"--set", "gate.namespaces.patterns={team-*}", "--wait", "--timeout", "60s")
	if w.tries.rounds.Load() == before {
		t.Error("nobody tried the gate meanwhile")
	}
	w.enforced("production")
	var own admissionregistrationv1.ValidatingWebhookConfiguration
	w.must(w.root.Get(t.Context(), types.NamespacedName{Name: "tidegate"}, &own))
	if own.Webhooks[0].TimeoutSeconds == nil || *own.Webhooks[0].TimeoutSeconds != 7 {
		t.Errorf("the upgrade did nothing: %+v", own.Webhooks[0].TimeoutSeconds)
	}
	w.available(chartNamespace, "tidegate-manager", 3)
	w.trusted("")
	w.kept(t)
}

// trusted waits until every webhook carries the authority of the Secret, another one than
// before, and the manager answers by it.
func (w *failures) trusted(before string) {
	w.Helper()
	w.eventually("the webhooks trust the certificate", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := w.root.Get(ctx, types.NamespacedName{Namespace: chartNamespace, Name: certs.DefaultSecret}, &secret); err != nil {
			return err
		}
		ca := secret.Data["ca.crt"]
		if len(ca) == 0 || string(ca) == before {
			return errors.New("the Secret has no new authority")
		}
		for _, name := range []string{"tidegate", gates.WebhookName} {
			var c admissionregistrationv1.ValidatingWebhookConfiguration
			if err := w.root.Get(ctx, types.NamespacedName{Name: name}, &c); err != nil {
				return err
			}
			if len(c.Webhooks) == 0 {
				return fmt.Errorf("%s is empty", name)
			}
			for i := range c.Webhooks {
				if !bytes.Equal(bytes.TrimSpace(c.Webhooks[i].ClientConfig.CABundle), bytes.TrimSpace(ca)) {
					return fmt.Errorf("%s of %s has another authority", c.Webhooks[i].Name, name)
				}
			}
		}
		return nil
	})
	w.enforced("production")
	w.eventually("Tidegate's own kinds are judged", func(ctx context.Context) error {
		err := w.alice.Create(ctx, &v1alpha1.Gate{
			ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: []string{"kube-system"}}},
		}, client.DryRunAll)
		return wantRefusal(err, "TG-GATE-SPEC")
	})
}

func (w *failures) certificate(t *testing.T) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	w.must(w.root.Get(t.Context(), types.NamespacedName{Namespace: chartNamespace, Name: certs.DefaultSecret}, &s))
	return &s
}

func (w *failures) lostCertificate(t *testing.T) {
	s := w.certificate(t)
	if err := wantRefusal(w.alice.Delete(t.Context(), s.DeepCopy()), gates.ReasonGuard, "guard.admins"); err != nil {
		t.Errorf("somebody who is no administrator of Tidegate deletes it: %v", err)
	}
	w.must(w.root.Delete(t.Context(), s))
	w.trusted(string(s.Data["ca.crt"]))
	w.kept(t)
	// Helm goes on with the Secret that it did not make.
	w.chart.helm("upgrade", "tidegate", chartDir, "--namespace", chartNamespace, "--reuse-values", "--wait", "--timeout", "60s")
	w.trusted(string(s.Data["ca.crt"]))
	w.kept(t)
}

func (w *failures) spoiltCertificate(t *testing.T) {
	for what, spoil := range map[string]func(*corev1.Secret){
		"no key":  func(s *corev1.Secret) { s.Data["tls.key"] = []byte("none") },
		"nothing": func(s *corev1.Secret) { s.Data = nil },
		"an authority of its own": func(s *corev1.Secret) {
			s.Data["ca.crt"] = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		},
		"a key that does not fit":  func(s *corev1.Secret) { s.Data["tls.key"] = s.Data["ca.key"] },
		"no key of the authority":  func(s *corev1.Secret) { delete(s.Data, "ca.key") },
		"no authority but the key": func(s *corev1.Secret) { delete(s.Data, "ca.crt") },
	} {
		s := w.certificate(t)
		leaf := string(s.Data["tls.crt"])
		spoil(s)
		w.must(w.root.Update(t.Context(), s))
		w.eventually("a new leaf after "+what, func(context.Context) error {
			now := w.certificate(t)
			if crt := string(now.Data["tls.crt"]); crt == "" || crt == leaf {
				return errors.New("it is as it was")
			}
			return nil
		})
		w.trusted("")
	}
	w.kept(t)
}

func (w *failures) lostAuthority(t *testing.T) {
	for _, name := range []string{"tidegate", gates.WebhookName} {
		var c admissionregistrationv1.ValidatingWebhookConfiguration
		w.must(w.root.Get(t.Context(), types.NamespacedName{Name: name}, &c))
		for i := range c.Webhooks {
			c.Webhooks[i].ClientConfig.CABundle = nil
		}
		if err := wantRefusal(w.alice.Update(t.Context(), c.DeepCopy()), gates.ReasonGuard); err != nil {
			t.Errorf("%s, by somebody who is no administrator of Tidegate: %v", name, err)
		}
		err := w.root.Update(t.Context(), &c)
		if name == gates.WebhookName {
			// That is the manager's alone; nobody else can lose it.
			if err := wantRefusal(err, gates.ReasonGuard); err != nil {
				t.Errorf("%s, by an administrator: %v", name, err)
			}
			continue
		}
		w.must(err)
		w.trusted("")
	}
	w.kept(t)
}

// startsWithout stops the manager, deletes the Secret and starts it.
func (w *failures) startsWithout(t *testing.T) {
	w.halt()
	s := w.certificate(t)
	w.must(w.root.Delete(t.Context(), s))
	w.kept(t)
	w.begin()
	w.trusted(string(s.Data["ca.crt"]))
	w.kept(t)
	w.halt() // What follows is done without it.
	w.kept(t)
}

// unasked does something while a socket listens where the manager would, and fails where
// anybody came to it: who does not ask does not wait.
func (w *failures) unasked(t *testing.T, do func()) {
	t.Helper()
	w.tries.turn.Lock() // The vigil does ask.
	defer w.tries.turn.Unlock()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", w.chart.webhookPort))
	w.must(err)
	defer func() { _ = listener.Close() }()
	var asked atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			_ = conn.Close()
		}
	}()
	// It is there, and who asks is counted.
	if err := w.alice.Create(t.Context(), deployment("shop", "vigil", nil), client.DryRunAll); !closedError(err) || asked.Load() == 0 {
		t.Fatalf("a governed write: wanted the webhook asked, found %d times, %v", asked.Load(), err)
	}
	asked.Store(0)
	do()
	if n := asked.Load(); n != 0 {
		t.Errorf("wanted nobody to ask the webhook, found it asked %d times", n)
	}
}

// outside makes, changes and deletes what no Gate governs.
func (w *failures) outside(t *testing.T) {
	replicas := int32(1)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "spare", Labels: map[string]string{corev1.LabelHostname: "spare"}}}
	w.unasked(t, func() {
		for what, o := range map[string]client.Object{
			"a Deployment": deployment("playground", "mine", nil),
			"a pod":        barePod("playground", "mine"),
			"a Service":    service("playground", "mine", nil),
			"a ConfigMap":  &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "playground", Name: "mine"}},
			"a Secret":     &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "playground", Name: "mine"}},
			"a namespace":  &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "another"}},
			"a Lease": &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: "mine"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: new("me")},
			},
			"a node":         node,
			"a ClusterRole":  &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "mine"}},
			"another policy": &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "mine"}},
		} {
			if err := w.alice.Create(t.Context(), o); err != nil {
				t.Errorf("making %s: %v", what, err)
				continue
			}
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"labels": {"touched": "true"}}}`))
			if err := w.alice.Patch(t.Context(), o, patch); err != nil {
				t.Errorf("changing %s: %v", what, err)
			}
			if what == "a Deployment" {
				w.available("playground", "mine", 2)
				scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Namespace: "playground", Name: "mine"}, Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
				if err := w.alice.SubResource("scale").Update(t.Context(), o, client.WithSubResourceBody(scale)); err != nil {
					t.Errorf("scaling %s: %v", what, err)
				}
				w.available("playground", "mine", replicas)
			}
			if err := w.alice.Delete(t.Context(), o); err != nil {
				t.Errorf("deleting %s: %v", what, err)
			}
		}
		w.gone("the namespace is gone", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "another"}})
	})
	w.kept(t)
}

func (w *failures) gone(what string, o client.Object) {
	w.Helper()
	w.eventually(what, func(ctx context.Context) error {
		err := w.root.Get(ctx, client.ObjectKeyFromObject(o), o)
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
}

// closed tries what a person would, with the manager down.
func (w *failures) closed(t *testing.T) {
	pod := w.podOf2("shop")
	live := deployment("shop", mailer, nil)
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"annotations": {"x": "y"}}}`))
	gate := map[string]string{"a cluster-admin": gates.ReasonGuard, "an administrator of Tidegate": "failed calling webhook"}
	for who, c := range map[string]client.Client{"a cluster-admin": w.alice, "an administrator of Tidegate": w.root} {
		for what, a := range map[string]struct {
			do   func() error
			want string
		}{
			"making a Deployment":   {func() error { return c.Create(t.Context(), deployment("shop", "mine", nil)) }, "failed calling webhook"},
			"changing a Deployment": {func() error { return c.Patch(t.Context(), live.DeepCopy(), patch) }, "failed calling webhook"},
			"deleting a Deployment": {func() error { return c.Delete(t.Context(), live.DeepCopy()) }, "failed calling webhook"},
			"deleting all of them":  {func() error { return c.DeleteAllOf(t.Context(), &appsv1.Deployment{}, client.InNamespace("shop")) }, "failed calling webhook"},
			"applying a Release":    {func() error { return c.Patch(t.Context(), w.release(""), patch) }, "failed calling webhook"},
			"deleting the Gate": {func() error {
				return c.Delete(t.Context(), &v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "production"}})
			}, gate[who]},
			"making a pod":          {func() error { return c.Create(t.Context(), barePod("shop", "mine")) }, "TG-GATE-POD"},
			"deleting a pod":        {func() error { return c.Delete(t.Context(), pod.DeepCopy()) }, "to have a pod replaced, evict it: "},
			"changing a pod":        {func() error { return c.Patch(t.Context(), pod.DeepCopy(), patch) }, "do: kubectl edit release mailer -n shop"},
			"a label by the status": {func() error { return c.Status().Patch(t.Context(), pod.DeepCopy(), patch) }, "pods/status"},
			"making a ReplicaSet": {func() error {
				d := deployment("shop", "mine", nil)
				return c.Create(t.Context(), &appsv1.ReplicaSet{ObjectMeta: d.ObjectMeta, Spec: appsv1.ReplicaSetSpec{Selector: d.Spec.Selector, Template: d.Spec.Template}})
			}, "TG-GATE-POD"},
			"an ephemeral container": {func() error {
				return c.SubResource("ephemeralcontainers").Patch(t.Context(), pod.DeepCopy(), client.RawPatch(types.JSONPatchType, []byte(`[{"op": "add", "path": "/spec/ephemeralContainers", "value": [{"name": "d", "image": "busybox", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}]}]`)))
			}, "TG-GATE-DEBUG"},
			"loosening ring 2": {func() error {
				return c.Delete(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: gates.WebhookName}})
			}, gates.ReasonGuard},
		} {
			if err := a.do(); err == nil || !strings.Contains(err.Error(), a.want) {
				t.Errorf("%s by %s: wanted %q, found: %v", what, who, a.want, err)
			}
		}
	}
	err := w.raw.CoreV1().RESTClient().Post().Namespace("shop").Resource("pods").Name(pod.Name).SubResource("exec").
		Param("command", "sh").Do(t.Context()).Error()
	if err := wantRefusal(err, "TG-GATE-EXEC", "allow.exec"); err != nil {
		t.Error(err)
	}
	w.kept(t)
}

// podOf2 is a pod of the Release, or of the manager, that is not being deleted.
func (w *failures) podOf2(namespace string) *corev1.Pod {
	w.Helper()
	var pods corev1.PodList
	w.must(w.root.List(w.Context(), &pods, client.InNamespace(namespace)))
	at := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp == nil })
	if at < 0 {
		w.Fatalf("no pods in %s", namespace)
	}
	return &pods.Items[at]
}

// goesOn is what kubelets, controllers and drains do in a governed namespace.
func (w *failures) goesOn(t *testing.T) {
	w.unasked(t, func() {
		pod := w.podOf2("shop")
		path, err := w.cluster.UserKubeconfig("system:node:"+pod.Spec.NodeName, "system:nodes")
		w.must(err)
		node := w.client(w.config(path))
		w.eventually("the kubelet writes the status of a pod", func(ctx context.Context) error {
			return node.Status().Patch(ctx, pod.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"status": {"message": "seen"}}`)))
		})
		if err := node.Patch(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: pod.Spec.NodeName}},
			client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"annotations": {"x": "y"}}}`))); err != nil {
			t.Errorf("the kubelet renews its lease: %v", err)
		}
		w.eventually("a pod is evicted", func(ctx context.Context) error {
			return w.alice.SubResource("eviction").Create(ctx, pod.DeepCopy(), &policyv1.Eviction{})
		})
		w.gone("it goes", pod.DeepCopy())
		w.available("shop", mailer, 3)
	})
	w.kept(t)
}

// home repairs Tidegate's own namespace as an administrator, while nothing of it runs.
func (w *failures) home(t *testing.T) {
	manager := deployment(chartNamespace, "tidegate-manager", nil)
	w.unasked(t, func() {
		pod := w.podOf2(chartNamespace)
		if err := wantRefusal(w.alice.Delete(t.Context(), pod.DeepCopy()), gates.ReasonGuard); err != nil {
			t.Errorf("a pod, by somebody who is no administrator of Tidegate: %v", err)
		}
		w.must(w.root.Delete(t.Context(), pod.DeepCopy()))
		w.gone("the pod goes", pod)
		w.available(chartNamespace, "tidegate-manager", 3)
		w.must(w.root.Patch(t.Context(), manager.DeepCopy(), client.RawPatch(types.StrategicMergePatchType,
			[]byte(`{"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}`))))
		w.available(chartNamespace, "tidegate-manager", 3)
		w.must(w.root.SubResource("scale").Update(t.Context(), manager.DeepCopy(), client.WithSubResourceBody(&autoscalingv1.Scale{
			ObjectMeta: metav1.ObjectMeta{Namespace: chartNamespace, Name: "tidegate-manager"}, Spec: autoscalingv1.ScaleSpec{Replicas: 2},
		})))
		w.available(chartNamespace, "tidegate-manager", 2)
		// A drain is anybody's who has the right to.
		pod = w.podOf2(chartNamespace)
		w.eventually("a pod is evicted", func(ctx context.Context) error {
			return w.alice.SubResource("eviction").Create(ctx, pod.DeepCopy(), &policyv1.Eviction{})
		})
		w.gone("it goes", pod)
		w.available(chartNamespace, "tidegate-manager", 2)
	})
	w.kept(t)
}

// nodeLoss has a node go for good: its pods, governed ones and the manager's, come up
// elsewhere, and it comes back as another one.
func (w *failures) nodeLoss(t *testing.T) {
	w.unasked(t, func() {
		lost := w.podOf2(chartNamespace).Spec.NodeName
		w.must(w.alice.Patch(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: lost}}, client.RawPatch(types.MergePatchType,
			[]byte(`{"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]}}`))))
		w.eventually("nothing is left on the node", func(ctx context.Context) error {
			var pods corev1.PodList
			if err := w.root.List(ctx, &pods); err != nil {
				return err
			}
			for i := range pods.Items {
				if pods.Items[i].Spec.NodeName == lost {
					return fmt.Errorf("%s/%s is", pods.Items[i].Namespace, pods.Items[i].Name)
				}
			}
			return nil
		})
		w.available("shop", mailer, 3)
		w.available(chartNamespace, "tidegate-manager", 2)
		w.must(w.alice.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: lost}}))
		w.gone("the node is gone", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: lost}})
		w.must(w.alice.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: lost, Labels: map[string]string{corev1.LabelHostname: lost}}}))
		w.eventually("it is back", func(ctx context.Context) error {
			var node corev1.Node
			if err := w.root.Get(ctx, types.NamespacedName{Name: lost}, &node); err != nil {
				return err
			}
			for _, c := range node.Status.Conditions {
				if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
					return nil
				}
			}
			return errors.New("it is not ready")
		})
	})
	w.kept(t)
}

func (w *failures) recovers(t *testing.T) {
	w.begin()
	w.enforced("production")
	w.must(w.alice.Patch(t.Context(), w.release(""), client.RawPatch(types.MergePatchType, []byte(`{"spec": {"values": {"image": "shop/mailer:2"}}}`))))
	w.eventually("the new image serves", func(ctx context.Context) error {
		var d appsv1.Deployment
		if err := w.root.Get(ctx, types.NamespacedName{Namespace: "shop", Name: mailer}, &d); err != nil {
			return err
		}
		if image := d.Spec.Template.Spec.Containers[0].Image; image != "shop/mailer:2" {
			return fmt.Errorf("it is %s", image)
		}
		return nil
	})
	w.available("shop", mailer, 3)
	w.kept(t)
}

// left is what has Tidegate's name or label and could refuse or allow anything.
func (w *failures) left(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, list := range []client.ObjectList{
		&admissionregistrationv1.ValidatingWebhookConfigurationList{}, &admissionregistrationv1.MutatingWebhookConfigurationList{},
		&admissionregistrationv1.ValidatingAdmissionPolicyList{}, &admissionregistrationv1.ValidatingAdmissionPolicyBindingList{},
		&admissionregistrationv1.MutatingAdmissionPolicyList{}, &admissionregistrationv1.MutatingAdmissionPolicyBindingList{},
		&rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{},
		&appsv1.DeploymentList{}, &corev1.ServiceList{}, &corev1.SecretList{}, &corev1.ServiceAccountList{}, &corev1.ConfigMapList{},
		&policyv1.PodDisruptionBudgetList{}, &v1alpha1.GateList{}, &v1alpha1.DeployPolicyList{},
	} {
		w.must(w.root.List(t.Context(), list))
		objects, err := meta.ExtractList(list)
		w.must(err)
		for _, o := range objects {
			object, ok := o.(client.Object)
			if !ok {
				t.Fatalf("a %T", o)
			}
			if object.GetNamespace() != "shop" && (strings.HasPrefix(object.GetName(), "tidegate") && !strings.HasPrefix(object.GetName(), "tidegate-test") || object.GetLabels()["app.kubernetes.io/name"] == "tidegate") {
				out = append(out, fmt.Sprintf("%T %s/%s", o, object.GetNamespace(), object.GetName()))
			}
		}
	}
	return out
}

// free shows that people do as they like in what was governed, and that what Tidegate made
// goes on and is theirs.
func (w *failures) free(t *testing.T, image string) {
	t.Helper()
	w.eventually("people are free again", func(ctx context.Context) error {
		return errors.Join(w.alice.Create(ctx, deployment("shop", "mine", nil), client.DryRunAll), w.alice.Create(ctx, barePod("shop", "mine"), client.DryRunAll))
	})
	w.must(w.alice.Create(t.Context(), deployment("shop", "mine", nil)))
	w.available("shop", "mine", 2)
	w.must(w.alice.Delete(t.Context(), deployment("shop", "mine", nil)))
	w.available("shop", mailer, 3)
	w.must(w.alice.Patch(t.Context(), deployment("shop", mailer, nil), client.RawPatch(types.JSONPatchType,
		fmt.Appendf(nil, `[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": %q}]`, image))))
	w.available("shop", mailer, 3)
}

// uninstall does what docs/install.md says.
func (w *failures) uninstall(t *testing.T) {
	w.stop()
	if out, err := w.cluster.Kubectl(t.Context(), "delete", "gates", "--all"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.gone("the rings are gone", &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: gates.WebhookName}})
	w.chart.helm("uninstall", "tidegate", "--namespace", chartNamespace, "--wait", "--timeout", "60s")
	w.halt()
	for _, l := range w.left(t) {
		t.Errorf("%s is left behind", l)
	}
	w.free(t, "shop/mailer:by-hand")

	// What people wrote is theirs: it outlives the chart, and is as it was.
	var release v1alpha1.Release
	w.must(w.root.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: mailer}, &release))
	if string(release.Spec.Values.Raw) == "" {
		t.Error("the Release has lost its values")
	}
	// And it can be deleted, with what it was made into, when nothing of Tidegate runs.
	other := w.release("shop/mailer:3")
	other.Name = "other"
	w.must(w.alice.Create(t.Context(), other))
	w.must(w.alice.Delete(t.Context(), other))
	w.gone("a Release is deleted", other)
}

// forgetful installs the chart once more and uninstalls it with the Gates still there.
func (w *failures) forgetful(t *testing.T) {
	w.install()
	w.eventually("the Release is taken over again", func(ctx context.Context) error {
		var d appsv1.Deployment
		if err := w.root.Get(ctx, types.NamespacedName{Namespace: "shop", Name: mailer}, &d); err != nil {
			return err
		}
		if image := d.Spec.Template.Spec.Containers[0].Image; image != "shop/mailer:2" {
			return fmt.Errorf("it runs %s", image)
		}
		return nil
	})
	w.available("shop", mailer, 3)
	// The manager goes first, as a Deployment of the chart would.
	w.halt()
	w.chart.helm("uninstall", "tidegate", "--namespace", chartNamespace, "--wait", "--timeout", "60s")
	if err := w.alice.Create(t.Context(), deployment("shop", "mine", nil)); !closedError(err) {
		t.Errorf("wanted the gate to stay closed, found: %v", err)
	}
	w.must(w.alice.Create(t.Context(), deployment("playground", "mine", nil)))
	// docs/install.md has these.
	for _, args := range [][]string{
		{"delete", "gates", "--all"},
		{"delete", "validatingwebhookconfigurations", "tidegate-gates", "--ignore-not-found"},
		{"delete", "validatingadmissionpolicies,validatingadmissionpolicybindings", "--selector", gates.LabelGate, "--ignore-not-found"},
	} {
		// The guards have just gone; an API server knows that a moment later.
		w.eventually("kubectl "+strings.Join(args, " "), func(ctx context.Context) error {
			_, err := w.cluster.Kubectl(ctx, args...)
			return err
		})
	}
	for _, l := range w.left(t) {
		t.Errorf("%s is left behind", l)
	}
	w.free(t, "shop/mailer:by-hand-again")
}
