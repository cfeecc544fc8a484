package integration

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/cluster/traffic/gateway"
	"tidegate.io/tidegate/test/cluster/traffic/mesh"
	"tidegate.io/tidegate/test/cluster/traffic/pods"
)

// roads are what requests go by: a cluster with pods that answer, a real gateway, and the proxies
// of a mesh.
type roads struct {
	t       *testing.T
	cluster *local.Cluster
	client  client.Client
	proxy   *gateway.Gateway
	mesh    *mesh.Mesh
}

// sharedGate is the Gateway of the shipped templates, in the namespace of this name.
const sharedGate, sharedGateNamespace = "public", "gateway-system"

func newRoads(t *testing.T) *roads {
	t.Helper()
	log.SetLogger(managerLog("all"))
	r := &roads{t: t, cluster: local.ForTest(t, local.Options{ManualReadiness: true})}
	for _, install := range []error{
		r.cluster.InstallGatewayAPI(t.Context()),
		r.cluster.InstallIstio(t.Context()),
		r.cluster.InstallCRDs(t.Context(), "../../charts/tidegate/resources/crds"),
	} {
		if install != nil {
			t.Fatal(install)
		}
	}
	var err error
	if r.client, err = client.New(r.cluster.RESTConfig(), client.Options{Scheme: testScheme(t)}); err != nil {
		t.Fatal(err)
	}
	r.openPods()
	r.openGateway()
	config, err := clientcmd.BuildConfigFromFlags("", r.user(mesh.UserName, mesh.PolicyRules()))
	if err != nil {
		t.Fatal(err)
	}
	if r.mesh, err = mesh.Start(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.mesh.Close)
	return r
}

func (r *roads) openPods() {
	r.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", r.user(pods.UserName, pods.PolicyRules()))
	if err != nil {
		r.t.Fatal(err)
	}
	server, err := pods.Serve(r.t.Context(), pods.Options{RESTConfig: config, PodCIDR: r.cluster.PodCIDR()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(server.Close)
}

func (r *roads) openGateway() {
	r.t.Helper()
	binary, err := r.cluster.BinaryPath(r.t.Context(), "gateway")
	if err != nil {
		r.t.Fatal(err)
	}
	words, err := os.Create(filepath.Join(r.t.TempDir(), "gateway.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	if r.proxy, err = gateway.Start(r.t.Context(), binary, r.user(gateway.UserName, gateway.PolicyRules()), words); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if r.t.Failed() {
			out, _ := os.ReadFile(words.Name())
			r.t.Logf("log of the gateway:\n%s", out[max(0, len(out)-4000):])
		}
	})
	r.create(&gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: "test"}, Spec: gatewayv1.GatewayClassSpec{ControllerName: gateway.ControllerName},
	})
	r.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: sharedGateNamespace}})
	shared := gate(sharedGate, sharedGateNamespace)
	shared.Spec.Listeners[0].AllowedRoutes = &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromAll)}}
	r.create(shared)
}

func (r *roads) create(obj client.Object) {
	r.t.Helper()
	if err := r.client.Create(r.t.Context(), obj); err != nil {
		r.t.Fatal(err)
	}
}

// user returns a kubeconfig of a user with the given rights.
func (r *roads) user(name string, rules []rbacv1.PolicyRule) string {
	r.t.Helper()
	r.create(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules})
	r.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	})
	path, err := r.cluster.UserKubeconfig(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return path
}

// gate is a Gateway that the test gateway serves.
func gate(name, namespace string) *gatewayv1.Gateway {
	return &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: "test",
			Listeners:        []gatewayv1.Listener{{Name: "http", Port: gateway.ListenerPort, Protocol: gatewayv1.HTTPProtocolType}},
		},
	}
}
