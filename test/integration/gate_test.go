package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	appsv1apply "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/cluster/pki"
	"tidegate.io/tidegate/webhook"
	"tidegate.io/tidegate/webhook/gates"
)

const (
	gateSystem   = "tidegate-system"
	gateIdentity = "system:serviceaccount:" + gateSystem + ":tidegate-manager"
	gatePatience = 3 * time.Minute
)

// gateWorld is a cluster with the two rings in front of it and some people in it.
type gateWorld struct {
	*testing.T
	cluster   *local.Cluster
	authority *pki.Authority
	port      int
	// root is a member of system:masters, alice a cluster-admin by RBAC, manager is
	// Tidegate.
	root, alice, manager client.Client
	// raw can do what a controller-runtime client cannot.
	raw    *kubernetes.Clientset
	stop   func()
	scheme *runtime.Scheme
}

// TestGate goes around the managed flow in every way that is known, in front of a real
// API server with the real built-in controllers behind it.
func TestGate(t *testing.T) {
	log.SetLogger(logr.Discard())
	w := newGateWorld(t)
	w.start()
	w.enforced("production")

	w.Run("what the manager makes is rolled out by the built-in controllers", w.rollsOut)
	w.Run("I7 nobody goes around the managed flow", w.bypasses)
	w.Run("what a gate allows is let through", w.allowances)
	w.Run("a node writes about its own pods only", w.nodes)
	w.Run("what is a team's own is left alone", w.ownThings)
	w.Run("a namespace is governed from its first moment", w.newNamespaces)
	w.Run("a namespace stays governed when its labels change", w.stickiness)
	w.Run("a release is judged with its template", w.ownKinds)
	w.Run("what somebody loosens is put back", w.drift)
	w.Run("rest costs no writes", w.rest)
	w.Run("with everything stopped the gate still stands", w.stopped)
	w.Run("a gate that is deleted takes its rings along", w.deletion)
}

func newGateWorld(t *testing.T) *gateWorld {
	t.Helper()
	w := &gateWorld{T: t, cluster: local.ForTest(t, local.Options{}), scheme: runtime.NewScheme(), stop: func() {}}
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		w.must(add(w.scheme))
	}
	w.must(w.cluster.InstallCRDs(t.Context(), "../../charts/tidegate/resources/crds"))
	port, err := w.cluster.FreePort(t.Context())
	w.must(err)
	w.port = port
	w.authority, err = pki.NewAuthority("webhook", time.Now())
	w.must(err)
	w.root = w.client(w.cluster.RESTConfig())
	w.raw, err = kubernetes.NewForConfig(w.cluster.RESTConfig())
	w.must(err)

	for name, labels := range map[string]map[string]string{
		gateSystem: nil, "shop": nil, "playground": nil, "picked": {"env": "prod"},
	} {
		w.must(w.root.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}))
	}
	w.must(w.root.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: gateSystem, Name: "tidegate-manager"}}))
	w.must(w.root.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "gate-test"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{
			{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "alice"},
			{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "oncall"},
			{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "autoscaler"},
			{Kind: rbacv1.ServiceAccountKind, Namespace: gateSystem, Name: "tidegate-manager"},
		},
	}))
	path, err := w.cluster.UserKubeconfig("alice")
	w.must(err)
	w.alice = w.client(w.config(path))
	path, err = w.cluster.ServiceAccountKubeconfig(t.Context(), gateSystem, "tidegate-manager")
	w.must(err)
	w.manager = w.client(w.config(path))
	for name, user := range map[string]client.Client{"alice": w.alice, "manager": w.manager} {
		w.eventually(name+" has rights", func(ctx context.Context) error { return user.List(ctx, &v1alpha1.GateList{}) })
	}

	w.must(w.root.Create(t.Context(), &v1alpha1.Gate{
		ObjectMeta: metav1.ObjectMeta{Name: "production"},
		Spec: v1alpha1.GateSpec{
			Namespaces: v1alpha1.NamespaceScope{
				Names: []string{"shop"}, Patterns: []string{"team-*"},
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}},
			},
			Writers: []string{local.KwokUser},
			Allow:   v1alpha1.Allowances{Exec: []string{"oncall"}, Autoscalers: []string{"autoscaler"}},
		},
	}))
	return w
}

func (w *gateWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *gateWorld) config(kubeconfig string) *rest.Config {
	w.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	w.must(err)
	c.QPS = -1
	return c
}

func (w *gateWorld) client(c *rest.Config) client.Client {
	w.Helper()
	out, err := client.New(c, client.Options{Scheme: w.scheme})
	w.must(err)
	return out
}

// eventually waits for what the cluster does in its own time.
func (w *gateWorld) eventually(what string, try func(context.Context) error) {
	w.Helper()
	var last error
	err := wait.PollUntilContextTimeout(w.Context(), 50*time.Millisecond, gatePatience, true, func(ctx context.Context) (bool, error) {
		last = try(ctx)
		return last == nil, nil
	})
	if err != nil {
		w.Fatalf("%s: %v: %v", what, err, last)
	}
}

// start runs the webhook and the gate loop in this process, as the ServiceAccount.
func (w *gateWorld) start() {
	w.Helper()
	path, err := w.cluster.ServiceAccountKubeconfig(w.Context(), gateSystem, "tidegate-manager")
	w.must(err)
	pair, err := w.authority.Server("webhook", []string{"127.0.0.1"}, time.Now())
	w.must(err)
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	w.must(err)
	serving := ctrlwebhook.NewServer(ctrlwebhook.Options{Host: "127.0.0.1", Port: w.port, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }
	}}})
	mgr, err := manager.New(w.config(path), manager.Options{
		Scheme: w.scheme, Logger: logr.Discard(), WebhookServer: serving,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	w.must(err)
	handlers, err := webhook.New(webhook.Config{
		Reader: mgr.GetClient(), Policies: eval.NewStore(), Renderer: webhook.TemplateRenderer{Compiled: new(render.Cache)},
		Authorizer: webhook.ReviewAuthorizer{Client: mgr.GetClient()}, Identity: gateIdentity, ManagerNamespace: gateSystem,
		Clock: clock.RealClock{}, Metrics: webhook.NewMetrics(),
	})
	w.must(err)
	server := mgr.GetWebhookServer()
	handlers.Register(server)
	loop := &gates.Loop{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: clock.RealClock{}, Settle: time.Second,
		Options: gates.Options{
			Identity: gateIdentity, ManagerNamespace: gateSystem, URL: w.url(), CABundle: w.authority.CertPEM(),
		},
	}
	w.must(loop.SetupWithManager(mgr))
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("the manager ended with: %v", err)
		}
		w.stop = func() {}
	}
	w.Cleanup(func() { w.stop() })
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		w.Fatal("the cache did not sync")
	}
	w.eventually("the webhook serves", func(ctx context.Context) error {
		return server.StartedChecker()(new(http.Request).WithContext(ctx))
	})
}

func (w *gateWorld) url() string { return fmt.Sprintf("https://127.0.0.1:%d", w.port) }

// enforced waits until both rings stand for a Gate.
func (w *gateWorld) enforced(gate string) {
	w.Helper()
	w.eventually("gate "+gate+" is enforced", func(ctx context.Context) error {
		var g v1alpha1.Gate
		if err := w.root.Get(ctx, types.NamespacedName{Name: gate}, &g); err != nil {
			return err
		}
		c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != g.Generation {
			return fmt.Errorf("ready is %+v", c)
		}
		return nil
	})
	// What is on record at the API server is in force there a moment later.
	w.eventually("ring 1 is in force", func(ctx context.Context) error {
		return wantRefusal(w.root.Create(ctx, barePod("shop", "probe"), client.DryRunAll), "TG-GATE-POD")
	})
	w.eventually("ring 2 is in force", func(ctx context.Context) error {
		return wantRefusal(w.root.Create(ctx, deployment("shop", "probe", nil), client.DryRunAll), "TG-GATE-BYPASS")
	})
}

func wantRefusal(err error, parts ...string) error {
	if err == nil {
		return errors.New("wanted a refusal, found that it was let through")
	}
	if !apierrors.IsForbidden(err) {
		return fmt.Errorf("wanted Forbidden, found: %w", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			return fmt.Errorf("wanted %q in: %w", p, err)
		}
	}
	return nil
}

func podSpec() corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "shop/cart:v1"}}}
}

func barePod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": "cart"}}, Spec: podSpec()}
}

func deployment(namespace, name string, labels map[string]string) *appsv1.Deployment {
	selector := map[string]string{"app": name}
	all := map[string]string{"app": name}
	maps.Copy(all, labels)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: selector},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: all}, Spec: podSpec()},
		},
	}
}

func service(namespace, name string, labels map[string]string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

const gateCart = "cart-0a1b2c3d4e"

var ofCart = map[string]string{v1alpha1.LabelRelease: "cart"}

func (w *gateWorld) available(namespace, name string, replicas int32) {
	w.Helper()
	w.eventually(fmt.Sprintf("%d pods of %s are available", replicas, name), func(ctx context.Context) error {
		var d appsv1.Deployment
		if err := w.root.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &d); err != nil {
			return err
		}
		if d.Status.ObservedGeneration != d.Generation || d.Status.AvailableReplicas != replicas || d.Status.UpdatedReplicas != replicas {
			return fmt.Errorf("%+v", d.Status)
		}
		return nil
	})
}

func (w *gateWorld) rollsOut(t *testing.T) {
	w.must(w.manager.Create(t.Context(), deployment("shop", gateCart, ofCart)))
	w.must(w.manager.Create(t.Context(), service("shop", gateCart, ofCart)))
	w.available("shop", gateCart, 2)
	w.eventually("the endpoints are written", func(ctx context.Context) error {
		var list discoveryv1.EndpointSliceList
		if err := w.root.List(ctx, &list, client.InNamespace("shop"), client.MatchingLabels{"kubernetes.io/service-name": gateCart}); err != nil {
			return err
		}
		n := 0
		for _, s := range list.Items {
			n += len(s.Endpoints)
		}
		if n != 2 {
			return fmt.Errorf("%d endpoints", n)
		}
		return nil
	})
	// A rolling update: a second ReplicaSet, pods made and deleted.
	w.must(w.manager.Patch(t.Context(), deployment("shop", gateCart, nil), client.RawPatch(types.JSONPatchType,
		[]byte(`[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "shop/cart:v2"}, {"op": "replace", "path": "/spec/replicas", "value": 3}]`))))
	w.available("shop", gateCart, 3)

	// Garbage collection and a drain.
	w.must(w.manager.Create(t.Context(), deployment("shop", "short-lived", ofCart)))
	w.available("shop", "short-lived", 2)
	w.must(w.manager.Delete(t.Context(), deployment("shop", "short-lived", nil), client.PropagationPolicy(metav1.DeletePropagationForeground)))
	w.eventually("its pods are gone", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := w.root.List(ctx, &pods, client.InNamespace("shop"), client.MatchingLabels{"app": "short-lived"}); err != nil {
			return err
		}
		if len(pods.Items) > 0 {
			return fmt.Errorf("%d are left", len(pods.Items))
		}
		return nil
	})
	pod := w.podOf("shop", gateCart)
	if err := w.alice.SubResource("eviction").Create(t.Context(), pod, &policyv1.Eviction{}); err != nil {
		t.Errorf("an eviction is allowed by default, found: %v", err)
	}
	w.available("shop", gateCart, 3)
}

func (w *gateWorld) podOf(namespace, app string) *corev1.Pod {
	w.Helper()
	var pods corev1.PodList
	w.must(w.root.List(w.Context(), &pods, client.InNamespace(namespace), client.MatchingLabels{"app": app}))
	// To delete what is being deleted changes nothing, and asks nobody.
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			return &pods.Items[i]
		}
	}
	w.Fatalf("no pods of %s", app)
	return nil
}

func (w *gateWorld) replicaSetOf(namespace, app string) *appsv1.ReplicaSet {
	w.Helper()
	var list appsv1.ReplicaSetList
	w.must(w.root.List(w.Context(), &list, client.InNamespace(namespace), client.MatchingLabels{"app": app}))
	if len(list.Items) == 0 {
		w.Fatalf("no replicasets of %s", app)
	}
	return &list.Items[0]
}

// bypasses are attempts, each as a cluster-admin and as a member of system:masters.
func (w *gateWorld) bypasses(t *testing.T) {
	live := deployment("shop", gateCart, nil)
	pod, rs := w.podOf("shop", gateCart), w.replicaSetOf("shop", gateCart)
	jsonPatch := func(body string) client.Patch { return client.RawPatch(types.JSONPatchType, []byte(body)) }
	owned := func(o client.Object) client.Object {
		var d appsv1.Deployment
		w.must(w.root.Get(t.Context(), client.ObjectKeyFromObject(live), &d))
		o.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(&d, appsv1.SchemeGroupVersion.WithKind("Deployment"))})
		return o
	}
	ownedPod := func(o client.Object) client.Object {
		o.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(rs, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))})
		return o
	}
	set := func(name string) *appsv1.ReplicaSet {
		d := deployment("shop", name, ofCart)
		return &appsv1.ReplicaSet{ObjectMeta: d.ObjectMeta, Spec: appsv1.ReplicaSetSpec{Replicas: d.Spec.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template}}
	}
	job := func() *batchv1.Job {
		spec := podSpec()
		spec.RestartPolicy = corev1.RestartPolicyNever
		return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "x"}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: spec}}}
	}
	type attempt struct {
		do   func(ctx context.Context, c client.Client) error
		want []string
	}
	bypass := func(do func(ctx context.Context, c client.Client) error, want ...string) attempt {
		return attempt{do, append([]string{"TG-GATE-BYPASS"}, want...)}
	}
	inPod := func(do func(ctx context.Context, c client.Client) error, want ...string) attempt {
		return attempt{do, append([]string{"TG-GATE-POD"}, want...)}
	}
	for name, a := range map[string]attempt{
		"set image": bypass(func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, live.DeepCopy(), jsonPatch(`[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil"}]`))
		}, `deployments "cart-0a1b2c3d4e" in namespace "shop" is managed by Release "cart"; wanted: changes through the Release, found: UPDATE by`, "; do: kubectl edit release cart -n shop"),
		"scale": bypass(func(ctx context.Context, c client.Client) error {
			return c.SubResource("scale").Update(ctx, live.DeepCopy(), client.WithSubResourceBody(&autoscalingv1.Scale{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: gateCart}, Spec: autoscalingv1.ScaleSpec{Replicas: 9},
			}))
		}),
		"an annotation alone": bypass(func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, live.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"annotations": {"a": "b"}}}`)))
		}),
		"rollout restart": bypass(func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, live.DeepCopy(), client.RawPatch(types.StrategicMergePatchType,
				[]byte(`{"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}`)))
		}),
		"server-side apply with Tidegate's field manager": bypass(func(ctx context.Context, c client.Client) error {
			return c.Apply(ctx, appsv1apply.Deployment(gateCart, "shop").WithSpec(appsv1apply.DeploymentSpec().WithReplicas(9).
				WithSelector(metav1apply.LabelSelector().WithMatchLabels(map[string]string{"app": gateCart})).
				WithTemplate(corev1apply.PodTemplateSpec())), client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership)
		}),
		"a hand-written deployment": bypass(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, deployment("shop", "mine", nil))
		}, "no Release manages it", "create a Release"),
		"a deployment with generateName": bypass(func(ctx context.Context, c client.Client) error {
			d := deployment("shop", "", nil)
			d.Name, d.GenerateName = "", "mine-"
			d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = map[string]string{"app": "mine"}, map[string]string{"app": "mine"}
			return c.Create(ctx, d)
		}, `deployments "mine-`),
		"a dry run": bypass(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, deployment("shop", "mine", nil), client.DryRunAll)
		}),
		"delete deployment": bypass(func(ctx context.Context, c client.Client) error {
			return c.Delete(ctx, live.DeepCopy())
		}, "kubectl delete release cart -n shop"),
		"delete the collection": bypass(func(ctx context.Context, c client.Client) error {
			return c.DeleteAllOf(ctx, &appsv1.Deployment{}, client.InNamespace("shop"))
		}),
		"a statefulset": bypass(func(ctx context.Context, c client.Client) error {
			d := deployment("shop", "x", nil)
			return c.Create(ctx, &appsv1.StatefulSet{ObjectMeta: d.ObjectMeta, Spec: appsv1.StatefulSetSpec{Selector: d.Spec.Selector, Template: d.Spec.Template}})
		}),
		"a daemonset": bypass(func(ctx context.Context, c client.Client) error {
			d := deployment("shop", "x", nil)
			return c.Create(ctx, &appsv1.DaemonSet{ObjectMeta: d.ObjectMeta, Spec: appsv1.DaemonSetSpec{Selector: d.Spec.Selector, Template: d.Spec.Template}})
		}),
		"a job": bypass(func(ctx context.Context, c client.Client) error { return c.Create(ctx, job()) }),
		"a cronjob": bypass(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &batchv1.CronJob{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "x"},
				Spec:       batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: job().Spec}},
			})
		}),
		"the selector of a managed service": bypass(func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, service("shop", gateCart, nil), jsonPatch(`[{"op": "replace", "path": "/spec/selector/app", "value": "evil"}]`))
		}),
		"taking the label off a managed service": bypass(func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, service("shop", gateCart, nil), jsonPatch(`[{"op": "remove", "path": "/metadata/labels"}]`))
		}),
		"a service with Tidegate's label": bypass(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, service("shop", "mine", ofCart))
		}, "which is Tidegate's alone to set", "do: create a Release"),
		"a service of one's own over Tidegate's pods": bypass(func(ctx context.Context, c client.Client) error {
			s := service("shop", "sneaky", nil)
			s.Spec.Selector = map[string]string{"app": gateCart}
			return c.Create(ctx, s)
		}, `services "sneaky" in namespace "shop" is governed and no Release manages it`, "to be made by a Release only", "a namespace that no Gate governs"),
		"a service without a selector": bypass(func(ctx context.Context, c client.Client) error {
			s := service("shop", "sneaky", nil)
			s.Spec.Selector = nil
			return c.Create(ctx, s)
		}),
		"an autoscaler of one's own": bypass(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &autoscalingv2.HorizontalPodAutoscaler{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "sneaky"},
				Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
					ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: gateCart}, MaxReplicas: 9,
				},
			})
		}, `horizontalpodautoscalers "sneaky"`, "to be made by a Release only"),
		"an autoscaler of one's own in the older version": bypass(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &autoscalingv1.HorizontalPodAutoscaler{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "sneaky"},
				Spec: autoscalingv1.HorizontalPodAutoscalerSpec{
					ScaleTargetRef: autoscalingv1.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: gateCart}, MaxReplicas: 9,
				},
			})
		}),
		"a config map with Tidegate's label": bypass(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "mine", Labels: ofCart}})
		}, "which is Tidegate's alone to set", "do: remove the label tidegate.io/release, or create a Release"),

		"a bare pod": inPod(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, barePod("shop", "bare"))
		}, `pods "bare" in namespace "shop" may be written by the built-in controllers only`, "do: create a Release"),
		"a bare pod with generateName": inPod(func(ctx context.Context, c client.Client) error {
			p := barePod("shop", "")
			p.GenerateName = "bare-"
			return c.Create(ctx, p)
		}, `pods "bare-`),
		"a pod with a forged owner": inPod(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, ownedPod(barePod("shop", "forged")))
		}),
		"a replicaset": inPod(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, set("mine"))
		}, `replicasets "mine" in namespace "shop"`, "do: create a Release", "Tidegate's alone to set"),
		"a replicaset with a forged owner": inPod(func(ctx context.Context, c client.Client) error { return c.Create(ctx, owned(set("mine"))) }),
		"the template of the live replicaset": inPod(func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, rs.DeepCopy(), jsonPatch(`[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil"}]`))
		}, "do: kubectl edit release cart -n shop"),
		"scaling the replicaset": inPod(func(ctx context.Context, c client.Client) error {
			return c.SubResource("scale").Update(ctx, rs.DeepCopy(), client.WithSubResourceBody(&autoscalingv1.Scale{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: rs.Name}, Spec: autoscalingv1.ScaleSpec{Replicas: 9},
			}))
		}, "replicasets/scale"),
		"a replication controller": inPod(func(ctx context.Context, c client.Client) error {
			d := deployment("shop", "x", nil)
			return c.Create(ctx, &corev1.ReplicationController{ObjectMeta: d.ObjectMeta, Spec: corev1.ReplicationControllerSpec{Selector: map[string]string{"app": "x"}, Template: &d.Spec.Template}})
		}),
		"a pod template": inPod(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "x"}, Template: deployment("shop", "x", nil).Spec.Template})
		}),
		"deleting a pod": inPod(func(ctx context.Context, c client.Client) error { return c.Delete(ctx, pod.DeepCopy()) }, `found: DELETE by`,
			"to have a pod replaced, evict it: ", "kubectl create --raw /api/v1/namespaces/shop/pods/"+pod.Name+"/eviction -f -", "kubectl edit release cart -n shop"),
		"deleting the collection of pods": inPod(func(ctx context.Context, c client.Client) error {
			return c.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace("shop"))
		}),
		"a label of a pod": inPod(func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, pod.DeepCopy(), jsonPatch(`[{"op": "add", "path": "/metadata/labels/x", "value": "y"}]`))
		}),
		"a pod's labels by way of its status": inPod(func(ctx context.Context, c client.Client) error {
			return c.Status().Patch(ctx, pod.DeepCopy(), jsonPatch(`[{"op": "add", "path": "/metadata/labels/x", "value": "y"}]`))
		}, "pods/status"),
		"a deployment's annotations by way of its status": inPod(func(ctx context.Context, c client.Client) error {
			return c.Status().Patch(ctx, live.DeepCopy(), jsonPatch(`[{"op": "add", "path": "/metadata/annotations/x", "value": "y"}]`))
		}, "deployments/status"),
		"an endpoint slice of a managed service": inPod(func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &discoveryv1.EndpointSlice{
				ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: "evil", Labels: map[string]string{"kubernetes.io/service-name": gateCart}},
				AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.9.9.9"}}},
			})
		}),
		"binding a pod": inPod(func(ctx context.Context, c client.Client) error {
			return c.SubResource("binding").Create(ctx, pod.DeepCopy(), &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "x"}})
		}),
		"an ephemeral container": {func(ctx context.Context, c client.Client) error {
			return c.SubResource("ephemeralcontainers").Patch(ctx, pod.DeepCopy(), jsonPatch(
				`[{"op": "add", "path": "/spec/ephemeralContainers", "value": [{"name": "d", "image": "busybox", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}]}]`))
		}, []string{"TG-GATE-DEBUG", "allow.debug"}},
	} {
		for user, c := range map[string]client.Client{"a cluster-admin": w.alice, "system:masters": w.root} {
			t.Run(name+" by "+user, func(t *testing.T) {
				if err := wantRefusal(a.do(t.Context(), c), a.want...); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for _, sub := range []string{"exec", "attach", "portforward", "proxy"} {
		t.Run("connecting to pods/"+sub, func(t *testing.T) {
			err := w.raw.CoreV1().RESTClient().Post().Namespace("shop").Resource("pods").Name(pod.Name).SubResource(sub).
				Param("command", "sh").Param("container", "main").Do(t.Context()).Error()
			if err := wantRefusal(err, "TG-GATE-EXEC", `pods/`+sub+` "`+pod.Name+`" in namespace "shop"`, "allow.exec"); err != nil {
				t.Error(err)
			}
		})
	}
	w.available("shop", gateCart, 3)
}

func (w *gateWorld) allowances(t *testing.T) {
	user := func(name string, groups ...string) (client.Client, *kubernetes.Clientset) {
		path, err := w.cluster.UserKubeconfig(name, groups...)
		w.must(err)
		raw, err := kubernetes.NewForConfig(w.config(path))
		w.must(err)
		return w.client(w.config(path)), raw
	}
	autoscaler, _ := user("autoscaler")
	scale := func(replicas int32) error {
		return autoscaler.SubResource("scale").Update(t.Context(), deployment("shop", gateCart, nil), client.WithSubResourceBody(&autoscalingv1.Scale{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: gateCart}, Spec: autoscalingv1.ScaleSpec{Replicas: replicas},
		}))
	}
	w.eventually("the autoscaler scales", func(context.Context) error { return scale(4) })
	w.available("shop", gateCart, 4)
	w.must(scale(3))
	if err := wantRefusal(autoscaler.Delete(t.Context(), deployment("shop", gateCart, nil)), "TG-GATE-BYPASS"); err != nil {
		t.Errorf("the autoscaler deletes: %v", err)
	}
	_, oncall := user("oncall")
	pod := w.podOf("shop", gateCart)
	connect := func(sub string) error {
		return oncall.CoreV1().RESTClient().Post().Namespace("shop").Resource("pods").Name(pod.Name).SubResource(sub).
			Param("command", "sh").Param("container", "main").Do(t.Context()).Error()
	}
	// There is no kubelet to connect to, so it fails, but not at admission.
	if err := connect("exec"); apierrors.IsForbidden(err) {
		t.Errorf("exec is allowed to oncall, found: %v", err)
	}
	if err := wantRefusal(connect("proxy"), "TG-GATE-EXEC"); err != nil {
		t.Errorf("proxy: %v", err)
	}
	w.available("shop", gateCart, 3)
}

func (w *gateWorld) nodes(t *testing.T) {
	pod := w.podOf("shop", gateCart)
	node := func(name string) client.Client {
		path, err := w.cluster.UserKubeconfig("system:node:"+name, "system:nodes")
		w.must(err)
		return w.client(w.config(path))
	}
	patch := func(c client.Client, body string) error {
		return c.Status().Patch(t.Context(), pod.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(body)))
	}
	const status = `{"status": {"message": "seen"}}`
	own, other := node(pod.Spec.NodeName), node("elsewhere")
	w.eventually("a node writes the status of its pod", func(context.Context) error { return patch(own, status) })
	if err := wantRefusal(patch(other, status), "TG-GATE-POD"); err != nil && !apierrors.IsForbidden(err) {
		t.Errorf("another node's pod: %v", err)
	}
	if err := wantRefusal(patch(own, `{"metadata": {"labels": {"evil": "true"}}}`), "TG-GATE-POD", "pods/status"); err != nil {
		t.Errorf("a label by way of the status: %v", err)
	}
	if err := wantRefusal(own.Create(t.Context(), barePod("shop", "mirror"))); err != nil {
		t.Errorf("a node makes no pods: %v", err)
	}
}

func (w *gateWorld) ownThings(t *testing.T) {
	for name, do := range map[string]func() error{
		"a service in a namespace that is not governed": func() error { return w.alice.Create(t.Context(), service("playground", "mine", nil)) },
		"a disruption budget in a namespace that is not governed": func() error {
			return w.alice.Create(t.Context(), &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "playground", Name: "mine"}})
		},
		"a config map": func() error {
			return w.alice.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "mine"}})
		},
		"a secret": func() error {
			return w.alice.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "mine"}})
		},
		"a pod in a namespace that is not governed":        func() error { return w.alice.Create(t.Context(), barePod("playground", "mine")) },
		"a deployment in a namespace that is not governed": func() error { return w.alice.Create(t.Context(), deployment("playground", "mine", nil)) },
		"a pod beside the manager":                         func() error { return w.alice.Create(t.Context(), barePod(gateSystem, "mine")) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := do(); err != nil {
				t.Error(err)
			}
		})
	}
	for what, o := range map[string]client.Object{
		"config map":        &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "mine"}},
		"disruption budget": &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "playground", Name: "mine"}},
	} {
		if err := w.alice.Delete(t.Context(), o); err != nil {
			t.Errorf("deleting one's own %s: %v", what, err)
		}
	}
	w.available("playground", "mine", 2)
}

func (w *gateWorld) newNamespaces(t *testing.T) {
	w.must(w.root.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-new"}}))
	if err := wantRefusal(w.alice.Create(t.Context(), deployment("team-new", "mine", nil)), "TG-GATE-"); err != nil {
		t.Errorf("a deployment: %v", err)
	}
	if err := wantRefusal(w.alice.Create(t.Context(), barePod("team-new", "mine")), "TG-GATE-POD"); err != nil {
		t.Errorf("a pod: %v", err)
	}
	w.eventually("the webhook judges it", func(ctx context.Context) error {
		return wantRefusal(w.alice.Create(ctx, deployment("team-new", "mine", nil), client.DryRunAll), "TG-GATE-BYPASS")
	})
	w.enforced("production")
	w.must(w.manager.Create(t.Context(), deployment("team-new", "web", ofCart)))
	w.available("team-new", "web", 2)
}

func (w *gateWorld) stickiness(t *testing.T) {
	if err := wantRefusal(w.alice.Create(t.Context(), deployment("picked", "mine", nil)), "TG-GATE-BYPASS"); err != nil {
		t.Error(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "picked"}}
	w.must(w.alice.Patch(t.Context(), ns, client.RawPatch(types.JSONPatchType, []byte(`[{"op": "remove", "path": "/metadata/labels/env"}]`))))
	w.settled("the loop has seen it", func(s v1alpha1.GateStatus) bool { return strings.Contains(strings.Join(s.Selected, " "), "picked") })
	for range 20 {
		if err := wantRefusal(w.alice.Create(t.Context(), deployment("picked", "mine", nil)), "TG-GATE-BYPASS"); err != nil {
			t.Fatal(err)
		}
		if err := wantRefusal(w.alice.Create(t.Context(), barePod("picked", "mine")), "TG-GATE-POD"); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *gateWorld) settled(what string, ok func(v1alpha1.GateStatus) bool) {
	w.Helper()
	w.eventually(what, func(ctx context.Context) error {
		var g v1alpha1.Gate
		if err := w.root.Get(ctx, types.NamespacedName{Name: "production"}, &g); err != nil {
			return err
		}
		if !ok(g.Status) {
			return fmt.Errorf("%+v", g.Status)
		}
		return nil
	})
}

// ownKinds registers the second path and goes through it with real RBAC.
func (w *gateWorld) ownKinds(t *testing.T) {
	rule := func(resources ...string) admissionregistrationv1.RuleWithOperations {
		return admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{"CREATE", "UPDATE", "DELETE"},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{"tidegate.io"}, APIVersions: []string{"*"}, Resources: resources},
		}
	}
	w.must(w.root.Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "tidegate"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "own.tidegate.io", AdmissionReviewVersions: []string{"v1"}, SideEffects: new(admissionregistrationv1.SideEffectClassNone),
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: new(w.url() + webhook.PathTidegate), CABundle: w.authority.CertPEM()},
			Rules: []admissionregistrationv1.RuleWithOperations{
				rule("releases", "rollouts", "rollouts/status", "gates", "gates/status", "rolloutcommands", "deploypolicies"),
			},
		}},
	}))
	rollout := func(name string) *v1alpha1.Rollout {
		return &v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec: v1alpha1.RolloutSpec{
				Release: "cart", Number: 1, Revision: "0a1b2c3d4e", TemplateRevision: "web-1", Digest: "sha256:x",
				Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyCanary, Steps: []v1alpha1.Step{{SetWeight: new(int32(100))}}},
			},
		}
	}
	w.eventually("rollouts are Tidegate's alone", func(ctx context.Context) error {
		return wantRefusal(w.root.Create(ctx, rollout("forged"), client.DryRunAll), "TG-KIND-READONLY")
	})
	w.must(w.manager.Create(t.Context(), rollout("cart-1")))
	var g v1alpha1.Gate
	w.must(w.root.Get(t.Context(), types.NamespacedName{Name: "production"}, &g))
	g.Status.Selected = nil
	if err := wantRefusal(w.root.Status().Update(t.Context(), &g), "TG-KIND-READONLY", "gates/status"); err != nil {
		t.Error(err)
	}
	err := w.alice.Create(t.Context(), &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}, Spec: v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "nothing"}},
	})
	if err := wantRefusal(err, "TG-TEMPLATE-NOTFOUND"); err != nil {
		t.Error(err)
	}
	command := func(actor string) *v1alpha1.RolloutCommand {
		return &v1alpha1.RolloutCommand{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", GenerateName: "cart-"},
			Spec:       v1alpha1.RolloutCommandSpec{Rollout: "cart-1", Action: v1alpha1.CommandAbort, Actor: actor},
		}
	}
	w.eventually("a cluster-admin may abort", func(ctx context.Context) error { return w.alice.Create(ctx, command("alice")) })
	if err := wantRefusal(w.alice.Create(t.Context(), command("bob")), "TG-COMMAND-ACTOR"); err != nil {
		t.Error(err)
	}
	path, err := w.cluster.UserKubeconfig("carol")
	w.must(err)
	w.must(w.root.Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "commander"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"tidegate.io"}, Resources: []string{"rolloutcommands"}, Verbs: []string{"create"}}},
	}))
	w.must(w.root.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "carol"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "commander"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "carol"}},
	}))
	carol := w.client(w.config(path))
	w.eventually("who lacks the verb may not", func(ctx context.Context) error {
		return wantRefusal(carol.Create(ctx, command("carol")), "TG-COMMAND-FORBIDDEN", `"abort"`)
	})
	w.must(w.root.Delete(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "tidegate"}}))
}

// drift loosens what stands and waits until it is as it was.
func (w *gateWorld) drift(t *testing.T) {
	var hook admissionregistrationv1.ValidatingWebhookConfiguration
	w.must(w.root.Get(t.Context(), types.NamespacedName{Name: gates.WebhookName}, &hook))
	loose := hook.DeepCopy()
	for i := range loose.Webhooks {
		loose.Webhooks[i].FailurePolicy = new(admissionregistrationv1.Ignore)
		loose.Webhooks[i].MatchConditions = append(loose.Webhooks[i].MatchConditions, admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"})
	}
	w.must(w.root.Update(t.Context(), loose))
	w.eventually("ring 2 is put back", func(ctx context.Context) error {
		var now admissionregistrationv1.ValidatingWebhookConfiguration
		if err := w.root.Get(ctx, types.NamespacedName{Name: gates.WebhookName}, &now); err != nil {
			return err
		}
		for i, h := range now.Webhooks {
			if *h.FailurePolicy != admissionregistrationv1.Fail || len(h.MatchConditions) != len(hook.Webhooks[i].MatchConditions) {
				return fmt.Errorf("%s is loose", h.Name)
			}
		}
		return nil
	})
	w.must(w.root.Delete(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: gates.PolicyName("production")}}))
	w.eventually("ring 1 is bound again", func(ctx context.Context) error {
		return w.root.Get(ctx, types.NamespacedName{Name: gates.PolicyName("production")}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{})
	})
	w.enforced("production")
}

// rest changes what the loop watches and nothing that it depends on.
func (w *gateWorld) rest(t *testing.T) {
	versions := func() string {
		var b strings.Builder
		for _, o := range []client.Object{
			&admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: gates.WebhookName}},
			&admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: gates.PolicyName("production")}},
			&admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: gates.PolicyName("production")}},
			&v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "production"}},
		} {
			w.must(w.root.Get(t.Context(), client.ObjectKeyFromObject(o), o))
			fmt.Fprintf(&b, "%T %s\n", o, o.GetResourceVersion())
		}
		return b.String()
	}
	before := versions()
	for i := range 10 {
		w.must(w.root.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "playground"}},
			client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata": {"annotations": {"turn": "%d"}}}`, i))))
	}
	// A namespace that is governed shows that the loop has come past the changes before it.
	w.must(w.root.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}}))
	w.must(w.root.Create(t.Context(), &v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "second"}, Spec: v1alpha1.GateSpec{
		Namespaces: v1alpha1.NamespaceScope{Names: []string{"nowhere"}},
	}}))
	w.eventually("the loop has come past", func(ctx context.Context) error {
		return w.root.Get(ctx, types.NamespacedName{Name: gates.PolicyName("second")}, &admissionregistrationv1.ValidatingAdmissionPolicy{})
	})
	after := versions()
	// The webhook configuration lists the second Gate's namespace; all else is untouched.
	cut := func(s string) string { _, rest, _ := strings.Cut(s, "\n"); return rest }
	if cut(before) != cut(after) {
		t.Errorf("wanted no writes, found\n%s\n%s", before, after)
	}
	w.must(w.root.Delete(t.Context(), &v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "second"}}))
	w.eventually("the second gate's ring 1 is gone", func(ctx context.Context) error {
		err := w.root.Get(ctx, types.NamespacedName{Name: gates.PolicyName("second")}, &admissionregistrationv1.ValidatingAdmissionPolicy{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("found %w", err)
		}
		return nil
	})
}

func (w *gateWorld) stopped(t *testing.T) {
	w.stop()
	for user, c := range map[string]client.Client{"alice": w.alice, "root": w.root} {
		if err := wantRefusal(c.Create(t.Context(), barePod("shop", "bare")), "TG-GATE-POD"); err != nil {
			t.Errorf("%s, a pod: %v", user, err)
		}
		d := deployment("shop", "mine", nil)
		rs := &appsv1.ReplicaSet{ObjectMeta: d.ObjectMeta, Spec: appsv1.ReplicaSetSpec{Selector: d.Spec.Selector, Template: d.Spec.Template}}
		if err := wantRefusal(c.Create(t.Context(), rs), "TG-GATE-POD"); err != nil {
			t.Errorf("%s, a replicaset: %v", user, err)
		}
		if err := c.Create(t.Context(), d); err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
			t.Errorf("%s, a deployment: wanted it to fail closed, found: %v", user, err)
		}
	}
	if err := w.alice.Create(t.Context(), deployment("playground", "other", nil)); err != nil {
		t.Errorf("a namespace that is not governed: %v", err)
	}
	w.available("playground", "other", 2)
	if err := w.alice.Create(t.Context(), barePod(gateSystem, "again")); err != nil {
		t.Errorf("the manager's own namespace, so that it can start again: %v", err)
	}
	// The built-in controllers go on: a pod that is evicted is replaced.
	pod := w.podOf("shop", gateCart)
	w.must(w.alice.SubResource("eviction").Create(t.Context(), pod, &policyv1.Eviction{}))
	w.eventually("the pod is replaced", func(ctx context.Context) error {
		if err := w.root.Get(ctx, client.ObjectKeyFromObject(pod), &corev1.Pod{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %w", err)
		}
		return nil
	})
	w.available("shop", gateCart, 3)
	w.must(w.root.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-later"}}))
	if err := wantRefusal(w.alice.Create(t.Context(), deployment("team-later", "mine", nil)), "TG-GATE-PENDING"); err != nil {
		t.Errorf("a namespace that is made meanwhile: %v", err)
	}
}

func (w *gateWorld) deletion(t *testing.T) {
	w.start()
	w.enforced("production")
	w.must(w.root.Delete(t.Context(), &v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "production"}}))
	w.eventually("people are free again", func(ctx context.Context) error {
		if err := w.alice.Create(ctx, deployment("shop", "mine", nil)); client.IgnoreAlreadyExists(err) != nil {
			return err
		}
		return client.IgnoreAlreadyExists(w.alice.Create(ctx, barePod("shop", "mine")))
	})
	w.stop()
}
