package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"tidegate.io/tidegate/test/cluster/home"
	"tidegate.io/tidegate/test/cluster/proc"
)

// ownerName, in the environment, makes this test binary the owner of a cluster of that name.
const ownerName = "TIDEGATE_TEST_CLUSTER_OWNER"

func TestMain(m *testing.M) {
	if name := os.Getenv(ownerName); name != "" {
		stopOnInterrupt()
		if _, err := Start(context.Background(), Options{Name: name, Nodes: 1}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		select {} // until killed or interrupted
	}
	os.Exit(m.Run())
}

// One test after the other on few clusters: each start costs seconds of two cores.
func TestCluster(t *testing.T) {
	// Two clusters side by side, one of them owned by another process.
	abandoned := fmt.Sprintf("abandoned-%d", os.Getpid())
	owner := ownCluster(t, abandoned)
	c := ForTest(t, Options{Prometheus: true, ManualReadiness: true})
	other := owner(t)

	t.Run("two clusters share neither addresses nor ports", func(t *testing.T) {
		if other.PodCIDR == c.PodCIDR() || other.ServiceCIDR == c.State().ServiceCIDR {
			t.Errorf("both have pods %s, services %s", other.PodCIDR, other.ServiceCIDR)
		}
		ports := map[int]bool{}
		for _, k := range append(other.Components, c.State().Components...) {
			if k.Port != 0 && ports[k.Port] {
				t.Errorf("port %d is used twice", k.Port)
			}
			ports[k.Port] = true
		}
		for _, s := range []home.State{*other, c.State()} {
			if err := answers(t, s.Kubeconfig); err != nil {
				t.Errorf("cluster %s: %v", s.Name, err)
			}
		}
	})

	t.Run("after its owner is killed nothing of a cluster runs", func(t *testing.T) {
		for _, k := range other.Components {
			if !k.Process.Alive() {
				t.Fatalf("%s should run still", k.Name)
			}
		}
		if err := other.Owner.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, k := range other.Components {
			if err := eventually(t, 5*time.Second, func() error {
				if k.Process.Alive() {
					return fmt.Errorf("%s still runs as process %d", k.Name, k.Process.PID)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
		if _, err := home.Read(abandoned); !errors.Is(err, home.ErrNotRunning) {
			t.Errorf("its state can still be read: %v", err)
		}
		if err := answers(t, c.Kubeconfig()); err != nil {
			t.Errorf("the other cluster suffered: %v", err)
		}
	})

	t.Run("the next start removes its directory, and stop leaves nothing", func(t *testing.T) {
		if _, err := os.Stat(other.Dir); err != nil {
			t.Fatalf("the killed owner cannot have removed it: %v", err)
		}
		// This one is told to fail late, and must clean up after itself too.
		failed, err := Start(t.Context(), Options{Name: abandoned + "-x", APIServerArgs: []string{"--no-such-flag"}})
		if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
			t.Fatalf("started %v with a wrong flag: %v", failed, err)
		}
		for _, dir := range []string{other.Dir, other.Dir + "-x"} {
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is still there: %v", dir, err)
			}
		}
	})

	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a deployment becomes as available as its pods say", func(t *testing.T) { testDeployment(t, c, client) })
	t.Run("a job completes", func(t *testing.T) { testJob(t, c) })
	t.Run("a user may do what RBAC grants and no more", func(t *testing.T) { testUsers(t, c) })
	t.Run("prometheus scrapes pods at their loopback address", func(t *testing.T) { testPrometheus(t, c, client) })
	t.Run("a stopped component is gone until it is started again", func(t *testing.T) { testRestart(t, c) })
	t.Run("the Gateway API is served", func(t *testing.T) {
		if err := c.InstallGatewayAPI(t.Context()); err != nil {
			t.Fatal(err)
		}
		out, err := c.Kubectl(t.Context(), "get", "httproutes", "-A")
		if err != nil {
			t.Errorf("%s %v", out, err)
		}
	})
	t.Run("stop leaves nothing behind", func(t *testing.T) { testStop(t, c) })
}

func TestPodsAreReadyByThemselvesByDefault(t *testing.T) {
	owner := ownCluster(t, fmt.Sprintf("interrupted-%d", os.Getpid()))
	c := ForTest(t, Options{})
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	deploy(t, client, "web", 3)
	if err := eventually(t, 30*time.Second, func() error { return availability(t, client, "web", 3) }); err != nil {
		t.Error(err)
	}

	interrupted := owner(t)
	if err := interrupted.Owner.Terminate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, k := range interrupted.Components {
		if k.Process.Alive() {
			t.Errorf("after an interrupt %s still runs as process %d", k.Name, k.Process.PID)
		}
	}
	if _, err := os.Stat(interrupted.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after an interrupt its directory is left: %v", err)
	}
}

func testDeployment(t *testing.T, c *Cluster, client kubernetes.Interface) {
	ctx := t.Context()
	deploy(t, client, "web", 2)
	var pods *corev1.PodList
	err := eventually(t, 30*time.Second, func() error {
		var err error
		pods, err = client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil || len(pods.Items) != 2 {
			return fmt.Errorf("pods %v, %w", names(pods), err)
		}
		for _, p := range pods.Items {
			if p.Status.Phase != corev1.PodRunning || !strings.HasPrefix(p.Status.PodIP, strings.TrimSuffix(c.PodCIDR(), "0.0/16")) {
				return fmt.Errorf("pod %s is %s at %s", p.Name, p.Status.Phase, p.Status.PodIP)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := availability(t, client, "web", 0); err != nil {
		t.Errorf("without the annotation no pod is ready: %v", err)
	}
	for _, p := range pods.Items {
		annotate(t, client, p.Name, "true")
	}
	if err := eventually(t, 20*time.Second, func() error { return availability(t, client, "web", 2) }); err != nil {
		t.Error(err)
	}
	annotate(t, client, pods.Items[0].Name, "false")
	if err := eventually(t, 20*time.Second, func() error { return availability(t, client, "web", 1) }); err != nil {
		t.Error(err)
	}
	// A terminating pod stays a moment, so that endpoints drain before it is gone.
	gone := pods.Items[1]
	if err := client.CoreV1().Pods("default").Delete(ctx, gone.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	deleted := time.Now()
	p, err := client.CoreV1().Pods("default").Get(ctx, gone.Name, metav1.GetOptions{})
	if err != nil || p.DeletionTimestamp == nil {
		t.Errorf("right after its deletion the pod should terminate: %v", err)
	}
	if err := eventually(t, 20*time.Second, func() error {
		p, err := client.CoreV1().Pods("default").Get(ctx, gone.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("pod %s, deleted %v: %w", gone.Name, p.DeletionTimestamp, err)
	}); err != nil {
		t.Error(err)
	}
	if d := time.Since(deleted); d < 1500*time.Millisecond {
		t.Errorf("the pod was gone after %s", d)
	}
}

func testJob(t *testing.T, c *Cluster) {
	out, err := c.Kubectl(t.Context(), "create", "job", "once", "--image=example.test/once:1")
	if err != nil {
		t.Fatal(out, err)
	}
	if out, err := c.Kubectl(t.Context(), "wait", "job/once", "--for=condition=Complete", "--timeout=30s"); err != nil {
		t.Error(out, err)
	}
}

func testUsers(t *testing.T, c *Cluster) {
	ctx := t.Context()
	alice, err := c.UserKubeconfig("alice", "team-shop")
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Kubectl(ctx, "--kubeconfig="+alice, "auth", "whoami", "-o", "json")
	if err != nil || !strings.Contains(out, `"alice"`) || !strings.Contains(out, `"team-shop"`) {
		t.Errorf("alice is %s, %v", out, err)
	}
	if out, err := c.Kubectl(ctx, "--kubeconfig="+alice, "get", "pods"); err == nil || !strings.Contains(err.Error(), `User "alice" cannot list`) {
		t.Errorf("alice was granted nothing, yet: %s %v", out, err)
	}
	sa, err := c.ServiceAccountKubeconfig(ctx, "default", "default")
	if err != nil {
		t.Fatal(err)
	}
	out, err = c.Kubectl(ctx, "--kubeconfig="+sa, "auth", "whoami", "-o", "json")
	if err != nil || !strings.Contains(out, `"system:serviceaccount:default:default"`) {
		t.Errorf("the service account is %s, %v", out, err)
	}
}

func testPrometheus(t *testing.T, c *Cluster, client kubernetes.Interface) {
	ctx := t.Context()
	// The pod that was never deleted, served by this test.
	pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil || len(pods.Items) == 0 {
		t.Fatal(names(pods), err)
	}
	pod := pods.Items[0]
	annotate(t, client, pod.Name, "true")
	ip := "127" + strings.TrimPrefix(pod.Status.PodIP, "10")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "answer 42")
	}))
	s.Listener.Close()
	if s.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", ip+":8080"); err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Close()
	want := map[string]string{
		"__name__": "answer", "pod": pod.Name, "namespace": "default", "release": "shop", "revision": "abc",
		"app": "web", "instance": ip + ":8080",
	}
	if err := eventually(t, 30*time.Second, func() error { return query(t, c, `answer == 42`, want) }); err != nil {
		t.Error(err)
	}
}

func testRestart(t *testing.T, c *Cluster) {
	ctx := t.Context()
	before := c.PrometheusURL()
	if err := c.StopComponent(ctx, Prometheus); err != nil {
		t.Fatal(err)
	}
	if err := query(t, c, "answer", nil); err == nil {
		t.Error("a stopped Prometheus answers")
	}
	if err := c.Err(); err != nil {
		t.Errorf("a stop on purpose is no failure: %v", err)
	}
	if err := c.StartComponent(ctx, Prometheus); err != nil {
		t.Fatal(err)
	}
	if c.PrometheusURL() != before {
		t.Errorf("moved from %s to %s", before, c.PrometheusURL())
	}
	if err := query(t, c, "max_over_time(answer[5m]) == 42", map[string]string{"release": "shop"}); err != nil {
		t.Errorf("it forgot what it knew: %v", err)
	}
	err := c.StopComponent(ctx, "docker")
	if err == nil || !strings.Contains(err.Error(), "it has [etcd kube-apiserver") {
		t.Errorf("an unknown component: %v", err)
	}
	for _, name := range []string{APIServer, Etcd} {
		if err := c.StopComponent(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if answers(t, c.Kubeconfig()) == nil {
		t.Error("a stopped API server answers")
	}
	for _, name := range []string{Etcd, APIServer} {
		if err := c.StartComponent(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	out, err := c.Kubectl(ctx, "get", "deployment", "web")
	if err != nil || !strings.Contains(out, "web") {
		t.Errorf("the store forgot: %s %v", out, err)
	}
}

func testStop(t *testing.T, c *Cluster) {
	s := c.State()
	if len(s.Components) != 6 {
		t.Errorf("components %v", s.Components)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, k := range s.Components {
		if k.Process.PID == 0 || k.Process.Alive() {
			t.Errorf("%s is left as process %d", k.Name, k.Process.PID)
		}
		if k.Port != 0 && !home.Free(t.Context(), k.Port) {
			t.Errorf("%s still listens on %d", k.Name, k.Port)
		}
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is left: %v", err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Errorf("stopping twice: %v", err)
	}
}

// ownCluster starts another process that owns a cluster; the returned function waits for that cluster.
func ownCluster(t *testing.T, name string) func(*testing.T) *home.State {
	t.Helper()
	p, err := proc.Start(proc.Spec{
		Path: os.Args[0], Env: append(os.Environ(), ownerName+"="+name), LogPath: filepath.Join(t.TempDir(), "owner.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.WithoutCancel(t.Context()), 0) })
	return func(t *testing.T) *home.State {
		t.Helper()
		var s *home.State
		err := eventually(t, time.Minute, func() error {
			select {
			case <-p.Done():
				t.Fatalf("the owner ended: %v: %s", p.Err(), lastWords(p.LogPath()))
			default:
			}
			var err error
			if s, err = home.Read(name); err == nil && !s.Ready {
				err = errors.New("not ready")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if s.Owner != p.Identity() {
			t.Fatalf("owner %v, want %v", s.Owner, p.Identity())
		}
		return s
	}
}

func deploy(t *testing.T, client kubernetes.Interface, name string, replicas int32) {
	t.Helper()
	labels := map[string]string{"app": name, "tidegate.io/release": "shop", "tidegate.io/revision": "abc"}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{
					"prometheus.io/scrape": "true", "prometheus.io/port": "8080",
				}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: name, Image: "example.test/web:1", Ports: []corev1.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 9090}},
				}}},
			},
		},
	}
	if _, err := client.AppsV1().Deployments("default").Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func availability(t *testing.T, client kubernetes.Interface, name string, want int32) error {
	t.Helper()
	d, err := client.AppsV1().Deployments("default").Get(t.Context(), name, metav1.GetOptions{})
	if err == nil && d.Status.AvailableReplicas != want {
		err = fmt.Errorf("deployment %s has %d available replicas, want %d", name, d.Status.AvailableReplicas, want)
	}
	return err
}

func annotate(t *testing.T, client kubernetes.Interface, pod, ready string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, ReadyAnnotation, ready)
	_, err := client.CoreV1().Pods("default").Patch(t.Context(), pod, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// query asks Prometheus for exactly one series that has the given labels.
func query(t *testing.T, c *Cluster, promQL string, labels map[string]string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.PrometheusURL()+"/api/v1/query?query="+url.QueryEscape(promQL), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if n := len(answer.Data.Result); answer.Status != "success" || n != 1 {
		return fmt.Errorf("%s gave %s, %d series %s", promQL, answer.Status, n, answer.Error)
	}
	for k, v := range labels {
		if got := answer.Data.Result[0].Metric[k]; got != v {
			return fmt.Errorf("label %s is %q, want %q in %v", k, got, v, answer.Data.Result[0].Metric)
		}
	}
	return nil
}

// answers asks an API server for its version.
func answers(t *testing.T, kubeconfig string) error {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	v, err := client.Discovery().ServerVersion()
	if err == nil && v.GitVersion != "v1.37.2" {
		err = errors.New("version " + strconv.Quote(v.GitVersion))
	}
	return err
}

// eventually waits until check has nothing to complain about any more.
func eventually(t *testing.T, limit time.Duration, check func() error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var last error
	err := await(ctx, poll, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	return errors.Join(last, err)
}

func names(pods *corev1.PodList) []string {
	var names []string
	if pods != nil {
		for _, p := range pods.Items {
			names = append(names, p.Name)
		}
	}
	return names
}
