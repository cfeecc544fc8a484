package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/cluster/traffic/gateway"
	"tidegate.io/tidegate/test/cluster/traffic/load"
	"tidegate.io/tidegate/test/cluster/traffic/pods"
)

const (
	namespace = "shop"
	host      = "cart.test"
	port      = 8080
)

// world is a cluster with pod servers, a gateway, and a route from host to two revisions.
type world struct {
	kube    kubernetes.Interface
	api     gatewayclient.Interface
	gateway *gateway.Gateway
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	cluster := local.ForTest(t, local.Options{ManualReadiness: true})
	must(t, cluster.InstallGatewayAPI(t.Context()))

	w := &world{}
	var err error
	w.kube, err = kubernetes.NewForConfig(cluster.RESTConfig())
	must(t, err)
	w.api, err = gatewayclient.NewForConfig(cluster.RESTConfig())
	must(t, err)

	// Each runs with the rights that it says it needs, and no others.
	config, err := clientcmd.BuildConfigFromFlags("", w.user(t, cluster, pods.UserName, pods.PolicyRules()))
	must(t, err)
	server, err := pods.Serve(t.Context(), pods.Options{RESTConfig: config, PodCIDR: cluster.PodCIDR()})
	must(t, err)
	t.Cleanup(server.Close)

	binary, err := cluster.BinaryPath(t.Context(), "gateway")
	must(t, err)
	log, err := os.Create(filepath.Join(t.TempDir(), "gateway.log"))
	must(t, err)
	w.gateway, err = gateway.Start(t.Context(), binary, w.user(t, cluster, gateway.UserName, gateway.PolicyRules()), log)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := os.ReadFile(log.Name())
			t.Logf("log of the gateway:\n%s", out[max(0, len(out)-4000):])
		}
	})

	_, err = w.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	must(t, err)
	_, err = w.api.GatewayV1().GatewayClasses().Create(t.Context(), &gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: "test"},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: gateway.ControllerName},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = w.api.GatewayV1().Gateways(namespace).Create(t.Context(), &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: "test",
			Listeners:        []gatewayv1.Listener{{Name: "http", Port: gateway.ListenerPort, Protocol: gatewayv1.HTTPProtocolType}},
		},
	}, metav1.CreateOptions{})
	must(t, err)
	return w
}

// user returns a kubeconfig of a user with the given rights.
func (w *world) user(t *testing.T, cluster *local.Cluster, name string, rules []rbacv1.PolicyRule) string {
	t.Helper()
	_, err := w.kube.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules,
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = w.kube.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}, metav1.CreateOptions{})
	must(t, err)
	path, err := cluster.UserKubeconfig(name)
	must(t, err)
	return path
}

// revision creates a Deployment and its Service and waits until its pods serve.
func (w *world) revision(t *testing.T, name, image string, replicas int32) {
	t.Helper()
	labels := map[string]string{"app": name, "tidegate.io/release": "cart", "tidegate.io/revision": name}
	zero, one := intstr.FromInt32(0), intstr.FromInt32(1)
	_, err := w.kube.AppsV1().Deployments(namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &zero, MaxSurge: &one}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "app", Image: image, Ports: []corev1.ContainerPort{{ContainerPort: port}},
				}}},
			},
		},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = w.kube.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(port)}},
		},
	}, metav1.CreateOptions{})
	must(t, err)
	w.settled(t, name)
}

// settled waits until the Deployment is rolled out whole and no other pod of it is left.
func (w *world) settled(t *testing.T, name string) {
	t.Helper()
	eventually(t, "deployment "+name+" to settle", func(ctx context.Context) (bool, error) {
		d, err := w.kube.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil || d.Status.ObservedGeneration != d.Generation || d.Status.UpdatedReplicas != *d.Spec.Replicas ||
			d.Status.AvailableReplicas != *d.Spec.Replicas || d.Status.Replicas != *d.Spec.Replicas {
			return false, err
		}
		return len(w.podNames(ctx, t, name)) == int(*d.Spec.Replicas), nil
	})
}

func (w *world) podNames(ctx context.Context, t *testing.T, app string) []string {
	t.Helper()
	list, err := w.kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	must(t, err)
	var names []string
	for _, p := range list.Items {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

// split sets the route's weights and waits until status and data plane say that they are served.
func (w *world) split(t *testing.T, stable, canary int32) {
	t.Helper()
	backend := func(name string, weight int32) gatewayv1.HTTPBackendRef {
		p := gatewayv1.PortNumber(80)
		return gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(name), Port: &p},
			Weight:                 &weight,
		}}
	}
	rules := []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{backend("stable", stable), backend("canary", canary)}}}
	routes := w.api.GatewayV1().HTTPRoutes(namespace)
	route, err := routes.Get(t.Context(), "cart", metav1.GetOptions{})
	if err == nil {
		route.Spec.Rules = rules
		route, err = routes.Update(t.Context(), route, metav1.UpdateOptions{})
	} else {
		route, err = routes.Create(t.Context(), &gatewayv1.HTTPRoute{
			ObjectMeta: metav1.ObjectMeta{Name: "cart"},
			Spec: gatewayv1.HTTPRouteSpec{
				CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{Name: "web"}}},
				Hostnames:       []gatewayv1.Hostname{host},
				Rules:           rules,
			},
		}, metav1.CreateOptions{})
	}
	must(t, err)

	eventually(t, fmt.Sprintf("weights %d/%d to be served", stable, canary), func(ctx context.Context) (bool, error) {
		now, err := routes.Get(ctx, "cart", metav1.GetOptions{})
		if err != nil || !holds(now, "Accepted", route.Generation) || !holds(now, "ResolvedRefs", route.Generation) {
			return false, err
		}
		stats, err := w.gateway.Stats(ctx)
		if err != nil || len(stats.Routes) != 1 || len(stats.Routes[0].Backends) != 2 {
			return false, err
		}
		b := stats.Routes[0].Backends
		return b[0].Weight == int(stable) && b[1].Weight == int(canary) && len(b[0].Endpoints) > 0 && len(b[1].Endpoints) > 0, nil
	})
}

func holds(route *gatewayv1.HTTPRoute, condition string, generation int64) bool {
	if len(route.Status.Parents) != 1 {
		return false
	}
	c := apimeta.FindStatusCondition(route.Status.Parents[0].Conditions, condition)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == generation
}

// load sends n requests at rps to the route; n 0 means until ctx ends.
func (w *world) load(ctx context.Context, t *testing.T, rps float64, n int) *load.Recorder {
	t.Helper()
	r, err := load.Run(ctx, load.Options{URL: w.gateway.URL + "/", Host: host, RPS: rps, MaxRequests: n})
	must(t, err)
	return r
}

func TestRealRequestsFollowTheRoute(t *testing.T) {
	w := newWorld(t)
	w.revision(t, "stable", "shop/cart:1.0.0", 3)
	w.revision(t, "canary", "shop/cart:1.1.0-errors5", 2)

	for _, weight := range []int32{0, 10, 50, 100} {
		t.Run(fmt.Sprintf("a weight of %d is %d of 1000 requests", weight, 10*weight), func(t *testing.T) {
			w.split(t, 100-weight, weight)
			r := w.load(t.Context(), t, 500, 1000)
			must(t, r.Wait(t.Context()))
			s := r.Snapshot()
			t.Log(s)
			if got := s.Revisions["canary"].Requests; got != int(10*weight) {
				t.Errorf("canary answered %d of %d, want %d", got, s.Sent, 10*weight)
			}
			if s.Lost != 0 || s.Sent != 1000 {
				t.Errorf("lost %d of %d: %v", s.Lost, s.Sent, s.Reasons)
			}
			if s.Revisions["stable"].Errors != 0 {
				t.Errorf("the good version gave %d errors", s.Revisions["stable"].Errors)
			}
			// Each pod fails its every 20th request: 5 %, up to one per pod off.
			if got, want := s.Revisions["canary"].Errors, int(weight)/2; got < want-2 || got > want+2 {
				t.Errorf("the bad version gave %d errors of its own, want %d", got, want)
			}
		})
	}

	t.Run("the gateway is programmed", func(t *testing.T) {
		gw, err := w.api.GatewayV1().Gateways(namespace).Get(t.Context(), "web", metav1.GetOptions{})
		must(t, err)
		for _, c := range []string{"Accepted", "Programmed"} {
			if !apimeta.IsStatusConditionTrue(gw.Status.Conditions, c) {
				t.Errorf("%s is not True: %+v", c, gw.Status.Conditions)
			}
		}
	})

	t.Run("moving weight under load loses nothing", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		r := w.load(ctx, t, 300, 0)
		for i := range int32(20) {
			w.split(t, 100-5*i, 5*i)
		}
		stop()
		must(t, r.Wait(t.Context()))
		if s := r.Snapshot(); s.Lost != 0 || s.Sent < 100 || s.Skipped != 0 {
			t.Errorf("got %s", s)
		}
	})

	t.Run("replacing every pod of a backend under load loses nothing", func(t *testing.T) {
		w.split(t, 100, 0)
		before := w.podNames(t.Context(), t, "stable")
		old, err := w.gateway.Stats(t.Context())
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		r := w.load(ctx, t, 300, 0)
		_, err = w.kube.AppsV1().Deployments(namespace).Patch(t.Context(), "stable", types.MergePatchType,
			[]byte(`{"spec":{"template":{"metadata":{"annotations":{"restarted":"yes"}}}}}`), metav1.PatchOptions{})
		must(t, err)
		w.settled(t, "stable")
		stop()
		must(t, r.Wait(t.Context()))

		after := w.podNames(t.Context(), t, "stable")
		for _, name := range after {
			if slices.Contains(before, name) {
				t.Errorf("pod %s was not replaced", name)
			}
		}
		seen := map[string]int{}
		for _, rec := range r.Records() {
			seen[rec.Pod]++
		}
		for _, name := range slices.Concat(before, after) {
			if seen[name] == 0 {
				t.Errorf("pod %s never answered: %v", name, seen)
			}
		}
		s := r.Snapshot()
		t.Log(s)
		if s.Lost != 0 || s.Skipped != 0 {
			t.Errorf("got %s", s)
		}
		// A retry hides a request to an endpoint that had left.
		if now, err := w.gateway.Stats(t.Context()); err != nil || now.Retried != old.Retried {
			t.Errorf("%d requests went to a pod that was gone (%v)", now.Retried-old.Retried, err)
		}
	})

	t.Run("a weight on no ready pod loses requests and says so", func(t *testing.T) {
		w.split(t, 50, 50)
		_, err := w.kube.AppsV1().Deployments(namespace).Patch(t.Context(), "canary", types.MergePatchType,
			[]byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{})
		must(t, err)
		w.settled(t, "canary")
		eventually(t, "the gateway to see it", func(ctx context.Context) (bool, error) {
			stats, err := w.gateway.Stats(ctx)
			return err == nil && len(stats.Routes) == 1 && len(stats.Routes[0].Backends[1].Endpoints) == 0, err
		})
		r := w.load(t.Context(), t, 500, 100)
		must(t, r.Wait(t.Context()))
		if s := r.Snapshot(); s.Lost != 50 || s.Codes[http.StatusServiceUnavailable]+s.Codes[http.StatusInternalServerError] != 50 {
			t.Errorf("got %s, codes %v; want 50 lost", s, s.Codes)
		}
	})

	t.Run("it stops in good order", func(t *testing.T) {
		if err := w.gateway.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func eventually(t *testing.T, what string, ok wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 60*time.Second, true, ok); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
