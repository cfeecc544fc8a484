package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"tidegate.io/tidegate/test/cluster/home"
	"tidegate.io/tidegate/test/cluster/proc"
)

// errPortTaken says that a program found a stranger at its port.
var errPortTaken = errors.New("its port is taken")

// poll is how often readiness is asked for. A check on loopback costs next to nothing.
const poll = 50 * time.Millisecond

// awaitReady waits until a component says that it is ready, or has ended.
func (c *Cluster) awaitReady(ctx context.Context, k *component, p *proc.Process) error {
	if k.port == 0 {
		return nil
	}
	last := errors.New("it was not asked yet")
	err := await(ctx, poll, func(ctx context.Context) (bool, error) {
		select {
		case <-p.Done():
			return false, exitError{component: k.name, process: p}
		default:
		}
		last = c.probe(ctx, k)
		return last == nil, nil
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("waiting until it is ready: %w; last answer: %w; see %s", err, last, p.LogPath())
	}
	return err
}

func (c *Cluster) probe(ctx context.Context, k *component) error {
	if k.ready == "" {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", home.Address(k.port))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url()+k.ready, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(body))
	}
	return err
}

// prepare makes what the other components need: the rights of those that Kubernetes has no role
// for, and the nodes.
func (c *Cluster) prepare(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	for user, rules := range grants() {
		name := "tidegate-test:" + strings.NewReplacer("system:", "", "tidegate-test:", "").Replace(user)
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		}
		if _, err := client.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("granting rights to %s: %w", user, err)
		}
		if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("granting rights to %s: %w", user, err)
		}
	}
	for i := range c.opts.Nodes {
		name := nodeName(i)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}}}
		if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating node %s: %w", name, err)
		}
	}
	return nil
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i+1) }

// grants returns the rights of the users that are not known to Kubernetes itself.
func grants() map[string][]rbacv1.PolicyRule {
	rule := func(group, resources, verbs string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{
			APIGroups: []string{group}, Resources: strings.Fields(resources), Verbs: strings.Fields(verbs),
		}
	}
	return map[string][]rbacv1.PolicyRule{
		KwokUser: {
			rule("", "nodes", "get list watch"),
			rule("", "pods", "get list watch delete patch update"),
			rule("", "nodes/status pods/status", "patch update"),
			rule("", "events", "create patch update"),
			rule("coordination.k8s.io", "leases", "get list watch create patch update"),
		},
		PrometheusUser: {rule("", "pods namespaces nodes", "get list watch")},
		GatewayUser: {
			rule("", "services endpoints namespaces nodes secrets configmaps", "get list watch"),
			rule("discovery.k8s.io", "endpointslices", "get list watch"),
			rule("gateway.networking.k8s.io", "*", "get list watch"),
			rule("gateway.networking.k8s.io", "gatewayclasses/status gateways/status httproutes/status grpcroutes/status "+
				"tlsroutes/status tcproutes/status udproutes/status backendtlspolicies/status listenersets/status", "patch update"),
			rule("apiextensions.k8s.io", "customresourcedefinitions", "get list watch"),
		},
	}
}

// awaitUsable waits for what the controllers make of a fresh cluster.
func (c *Cluster) awaitUsable(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	missing := ""
	err = await(ctx, poll, func(ctx context.Context) (bool, error) {
		if err := c.Err(); err != nil {
			return false, err
		}
		var err error
		missing, err = unusable(ctx, client, c.opts.Nodes)
		return missing == "" && err == nil, err
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("waiting for a usable cluster: %w; missing: %s", err, missing)
	}
	return err
}

// unusable returns what is still missing, in words.
func unusable(ctx context.Context, client kubernetes.Interface, nodes int) (string, error) {
	_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "the default service account", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking for the default service account: %w", err)
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("looking for the nodes: %w", err)
	}
	ready := 0
	for _, n := range list.Items {
		for _, cond := range n.Status.Conditions {
			// The scheduler looks at taints, which follow the condition.
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue && len(n.Spec.Taints) == 0 {
				ready++
			}
		}
	}
	if ready < nodes {
		return fmt.Sprintf("%d of %d nodes", nodes-ready, nodes), nil
	}
	return "", nil
}

func logSize(path string) (int64, error) {
	fi, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking at a log: %w", err)
	}
	return fi.Size(), nil
}

// taken reports whether a log says, from offset on, that the port was in use. Programs have no
// other way to tell.
func taken(path string, offset int64) bool {
	b, err := os.ReadFile(path)
	return err == nil && int64(len(b)) > offset && bytes.Contains(b[offset:], []byte("address already in use"))
}

// await polls until done says so, its error ends the waiting, or ctx does.
func await(ctx context.Context, every time.Duration, done func(context.Context) (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ok, err := done(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
