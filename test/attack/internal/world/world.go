// Package world is what the attack suite plays in: a fresh control plane of real programs
// with the built-in controllers, the chart, a manager and three Gates, and people in it
// with the rights of cluster-admins. It logs people in the way a cluster does, by client
// certificate, token or authenticating proxy, never by impersonation.
package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"

	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/cluster/pki"
	"tidegate.io/tidegate/test/stage"
)

// Names in the world.
const (
	// System is the manager's namespace.
	System = stage.ManagerNamespace
	// Identity is the manager's user name.
	Identity = "system:serviceaccount:" + System + ":tidegate-manager"
	// label chooses the namespaces of Gate labelled.
	label, labelValue = "attack", "governed"

	// upTimeout bounds each wait while the world is made.
	upTimeout = 3 * time.Minute
	// fieldManager is of what setup applies.
	fieldManager = "attack-setup"
)

// Options configure Up.
type Options struct {
	// Root is the root of the repository's checkout. Required.
	Root string
	// Progress takes a line for each thing that is done. Required.
	Progress io.Writer
}

// World is what Up made. Its methods may be called concurrently, but for those that stop
// and start the manager.
type World struct {
	stage    *stage.Stage
	dynamic  dynamic.Interface
	mapper   meta.RESTMapper
	people   *people
	webhook  *webhookClient
	progress io.Writer
	scratch  string
	// gates stand from the beginning.
	gates []string
}

// Up starts everything. On an error nothing is left running.
func Up(ctx context.Context, o Options) (*World, error) {
	w := &World{progress: o.Progress}
	if err := w.up(ctx, o); err != nil {
		return nil, errors.Join(err, w.Down(context.WithoutCancel(ctx)))
	}
	return w, nil
}

func (w *World) up(ctx context.Context, o Options) error {
	var err error
	if w.scratch, err = os.MkdirTemp("", "tidegate-attack-"); err != nil {
		return fmt.Errorf("making a directory for keys: %w", err)
	}
	proxies, err := pki.NewAuthority("attack-front-proxy", time.Now())
	if err != nil {
		return err
	}
	ca := filepath.Join(w.scratch, "front-proxy-ca.crt")
	if err := os.WriteFile(ca, proxies.CertPEM(), 0o600); err != nil {
		return fmt.Errorf("writing the authority of proxies: %w", err)
	}
	w.stage, err = stage.Up(ctx, stage.Options{
		Root: o.Root, Progress: o.Progress, Bare: true,
		// One administrator by name, so that the others of system:masters are not let through.
		ChartValues: map[string]any{"guard": map[string]any{
			"admins":   map[string]any{"users": []string{stage.Admin}, "groups": []string{}},
			"platform": map[string]any{"groups": []string{"platform"}},
		}},
		APIServerArgs: []string{
			"--requestheader-client-ca-file=" + ca, "--requestheader-username-headers=X-Remote-User",
			"--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		},
	})
	if err != nil {
		return err
	}
	admin := w.stage.Cluster.RESTConfig()
	if w.dynamic, err = dynamic.NewForConfig(admin); err != nil {
		return err
	}
	if w.people, err = newPeople(w.stage.Cluster, proxies); err != nil {
		return err
	}
	began := time.Now()
	for _, step := range []func(context.Context) error{w.grantRights, w.mapResources, w.makeVolumes, w.makeTemplates, w.makeGates, w.trustWebhook} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	w.say("making people, templates and Gates", began)
	return nil
}

func (w *World) say(what string, began time.Time) {
	_, _ = fmt.Fprintf(w.progress, "  %-82s %5.1f s\n", what, time.Since(began).Seconds())
}

// Down stops everything that runs.
func (w *World) Down(ctx context.Context) error {
	var errs []error
	if w.stage != nil {
		errs = append(errs, w.stage.Down(ctx))
	}
	if w.scratch != "" {
		errs = append(errs, os.RemoveAll(w.scratch))
	}
	return errors.Join(errs...)
}

// ManagerLog is the path of the manager's log.
func (w *World) ManagerLog() string { return w.stage.ManagerLog() }

// Kubeconfig is the administrator's.
func (w *World) Kubeconfig() string { return w.stage.Cluster.Kubeconfig() }

// rights are what the groups that a file may name give.
var rights = map[string][]string{
	GroupAdmins: {"cluster-admin"},
	groupTeam:   {"tidegate-catalog-view"},
	"approvers": {"tidegate-approve"},
	"bypassers": {"tidegate-bypass"},
	// Who agrees to what bypassers ask for.
	"seconds":  {"tidegate-bypass-approve"},
	"platform": {"tidegate-platform"},
}

const (
	// GroupAdmins has the rights of cluster-admin by RBAC, without being system:masters.
	GroupAdmins = "cluster-admins"
	// groupTeam has those of an editor in the attempts' namespaces, the governed ones too.
	groupTeam = "team"
)

func (w *World) grantRights(ctx context.Context) error {
	for group, roles := range rights {
		for _, role := range roles {
			if err := w.Apply(ctx, map[string]any{
				"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
				"metadata": map[string]any{"name": "attack-" + group + "-" + role},
				"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
				"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}},
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *World) mapResources(context.Context) error {
	client, err := kubernetes.NewForConfig(w.stage.Cluster.RESTConfig())
	if err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(client.Discovery())
	if err != nil {
		return fmt.Errorf("asking which resources there are: %w", err)
	}
	w.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	return nil
}

// volumes is how many claims can be bound: nobody makes volumes here.
const volumes = 40

// makeVolumes makes a default class and volumes of it, so that replicas with a volume of
// their own come into service. Their nodes run no code, so nothing is ever written.
func (w *World) makeVolumes(ctx context.Context) error {
	const class = "standard"
	objects := []map[string]any{{
		"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/no-provisioner",
		"metadata": map[string]any{"name": class, "annotations": map[string]any{"storageclass.kubernetes.io/is-default-class": "true"}},
	}}
	for i := range volumes {
		objects = append(objects, map[string]any{
			"apiVersion": "v1", "kind": "PersistentVolume", "metadata": map[string]any{"name": fmt.Sprintf("volume-%d", i)},
			"spec": map[string]any{
				"storageClassName": class, "capacity": map[string]any{"storage": "1Ti"}, "persistentVolumeReclaimPolicy": "Retain",
				"accessModes": []any{"ReadWriteOnce"}, "hostPath": map[string]any{"path": "/nowhere"},
			},
		})
	}
	for _, o := range objects {
		if err := w.Apply(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) makeTemplates(ctx context.Context) error {
	for name := range leastValues {
		files, err := templates.Files(name)
		if err != nil {
			return err
		}
		if err := w.Apply(ctx, map[string]any{
			"apiVersion": "tidegate.io/v1alpha1", "kind": "ReleaseTemplate",
			"metadata": map[string]any{"name": name}, "spec": map[string]any{"files": anything(files)},
		}); err != nil {
			return err
		}
	}
	for name := range leastValues {
		if err := w.until(ctx, "template "+name+" to be Ready", upTimeout, func(ctx context.Context) (bool, string, error) {
			o, err := w.get(ctx, "tidegate.io/v1alpha1", "releasetemplates", "", name)
			if err != nil {
				return false, "", err
			}
			return ready(o), conditions(o), nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// leastValues are the least that each template asks for.
var leastValues = map[string]map[string]any{
	"web":      {"image": "registry.example.com/shop/cart:1.4.2", "replicas": 2},
	"worker":   {"image": "registry.example.com/shop/mailer:0.9.0"},
	"stateful": {"image": "registry.example.com/shop/ledger:3.1.0"},
	"job":      {"image": "registry.example.com/shop/report:1.0.3", "schedule": "15 3 * * *"},
}

// autoscaler is the built-in one, which the Gates let set the number of replicas.
const autoscaler = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"

func (w *World) makeGates(ctx context.Context) error {
	allow := map[string]any{"gateways": []any{local.GatewayUser}, "exec": []any{"oncall"}, "debug": []any{"debugger"}, "autoscalers": []any{autoscaler}}
	for name, spec := range map[string]map[string]any{
		"production": {"namespaces": map[string]any{"patterns": []any{"gated-*"}}, "allow": allow},
		"labelled":   {"namespaces": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{label: labelValue}}}, "allow": allow},
		"strict":     {"namespaces": map[string]any{"patterns": []any{"strict-*"}}, "allow": map[string]any{"eviction": false, "gateways": []any{local.GatewayUser}}},
		"glass": {"namespaces": map[string]any{"patterns": []any{"glass-*"}}, "allow": allow, "breakGlass": map[string]any{
			"maxDuration": "1h", "approval": "SecondPerson", "afterwards": "Keep", "users": []any{"dora", "mallory"}, "groups": []any{"sre"},
		}},
	} {
		spec["writers"] = []any{local.KwokUser}
		if err := w.Apply(ctx, map[string]any{
			"apiVersion": "tidegate.io/v1alpha1", "kind": "Gate", "metadata": map[string]any{"name": name}, "spec": spec,
		}); err != nil {
			return err
		}
		w.gates = append(w.gates, name)
	}
	return nil
}

// NamespaceName is what ${namespace} is for an attempt.
func NamespaceName(p attempt.Place, id string) string {
	switch p {
	case attempt.Labelled:
		return "labelled-" + id
	case attempt.Strict:
		return "strict-" + id
	case attempt.Glass:
		return "glass-" + id
	case attempt.Ungoverned:
		return "open-" + id
	case attempt.Nowhere:
		return ""
	case attempt.Governed:
		return "gated-" + id
	default:
		return "gated-" + id
	}
}

// OpenName is what ${open} is for an attempt.
func OpenName(id string) string { return "open-" + id }

// MakeNamespaces makes the namespaces of all attempts, those that Gates do not govern too,
// and returns when both rings stand for them: made one by one, each would be waited for.
func (w *World) MakeNamespaces(ctx context.Context, attempts []*attempt.Attempt) error {
	began := time.Now()
	labels, governed := map[string]map[string]any{}, map[string]bool{}
	for _, a := range attempts {
		if name := NamespaceName(a.Namespace, a.ID); name != "" {
			labels[name] = anything(a.NamespaceLabels)
			if a.Namespace == attempt.Labelled {
				labels[name][label] = labelValue
			}
			governed[name] = a.Namespace != attempt.Ungoverned
		}
		if open := OpenName(a.ID); a.Open && labels[open] == nil {
			labels[open] = map[string]any{}
		}
	}
	made, making := errgroup.WithContext(ctx)
	made.SetLimit(8)
	for name, labels := range labels {
		made.Go(func() error { return w.makeNamespace(making, name, labels) })
	}
	if err := made.Wait(); err != nil {
		return err
	}
	err := w.until(ctx, "the Gates to be in force for every namespace", upTimeout, func(ctx context.Context) (bool, string, error) {
		return w.govern(ctx, governed)
	})
	if err != nil {
		return err
	}
	err = w.judged(ctx, governed)
	w.say(fmt.Sprintf("making the namespaces of %d files and waiting for the Gates", len(attempts)), began)
	return err
}

// judged waits until the API server leaves every governed namespace to the webhook, by asking
// it: what a Gate's status says, and what an API server has taken up, are a second apart.
func (w *World) judged(ctx context.Context, governed map[string]bool) error {
	somebody, err := w.Person(ctx, nil)
	if err != nil {
		return err
	}
	body := []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"probe"},"spec":{"selector":{"matchLabels":{"a":"b"}},` +
		`"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"main","image":"a/b:1"}]}}}}`)
	asking, bounded := errgroup.WithContext(ctx)
	asking.SetLimit(8)
	for name, is := range governed {
		if !is {
			continue
		}
		asking.Go(func() error {
			return w.until(bounded, "the webhook to judge namespace "+name, upTimeout, func(ctx context.Context) (bool, string, error) {
				req, err := somebody.Request(ctx, http.MethodPost, ResourcePath("apps/v1", "deployments", "", name, ""), url.Values{"dryRun": {"All"}}, bytes.NewReader(body))
				if err != nil {
					return false, "", err
				}
				req.Header.Set("Content-Type", "application/json")
				_, answer, err := somebody.Do(req)
				if err != nil {
					return false, "", err
				}
				last := Message(answer)
				return strings.Contains(last, ".gates.tidegate.io"), last, nil
			})
		})
	}
	return asking.Wait()
}

// govern says whether the Gates are in force and govern all namespaces that they should.
func (w *World) govern(ctx context.Context, governed map[string]bool) (ok bool, last string, err error) {
	have := map[string]bool{}
	for _, name := range w.gates {
		gate, err := w.get(ctx, "tidegate.io/v1alpha1", "gates", "", name)
		if err != nil {
			return false, "", err
		}
		if !ready(gate) {
			return false, name + ": " + conditions(gate), nil
		}
		list, _, err := unstructured.NestedStringSlice(gate.Object, "status", "namespaces")
		if err != nil {
			return false, "", err
		}
		for _, ns := range list {
			have[ns] = true
		}
	}
	for ns, is := range governed {
		if is && !have[ns] {
			return false, ns + " is not governed yet", nil
		}
	}
	return true, "", nil
}

func (w *World) makeNamespace(ctx context.Context, name string, labels map[string]any) error {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "labels": labels},
	}}
	if _, err := w.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(ctx, o, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making namespace %s: %w", name, err)
	}
	// A team has the rights of an editor where its services are, and nowhere else: the role
	// edit lets people act as any service account of the namespace.
	return w.Apply(ctx, map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
		"metadata": map[string]any{"name": "team", "namespace": name},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": groupTeam}},
	})
}

// StopManager has the manager end, as a kubelet does.
func (w *World) StopManager(ctx context.Context) error { return w.stage.StopManager(ctx) }

// ManagerReady says whether the manager runs and is ready.
func (w *World) ManagerReady(ctx context.Context) bool {
	m := w.stage.Manager()
	if m == nil {
		return false
	}
	ok, err := m.Ready(ctx)
	return ok && err == nil
}

// ManagerMemory is its resident memory in bytes.
func (w *World) ManagerMemory() (int64, error) {
	m := w.stage.Manager()
	if m == nil {
		return 0, errors.New("wanted the memory of the manager, found that it does not run")
	}
	return m.Memory()
}

// until asks again four times a second until it holds, and says what was seen last.
func (w *World) until(ctx context.Context, what string, within time.Duration, holds func(context.Context) (ok bool, last string, err error)) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, last, err := holds(ctx)
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s; last seen: %s: %w", time.Since(began).Round(time.Second), what, last, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

func anything(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func ready(o *unstructured.Unstructured) bool {
	for _, c := range conditionsOf(o) {
		if c["type"] == v1alpha1.ConditionReady {
			generation, _ := c["observedGeneration"].(int64)
			return c["status"] == "True" && generation == o.GetGeneration()
		}
	}
	return false
}

func conditionsOf(o *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	var out []map[string]any
	for _, c := range list {
		if m, ok := c.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func conditions(o *unstructured.Unstructured) string {
	var b strings.Builder
	for _, c := range conditionsOf(o) {
		fmt.Fprintf(&b, "%v=%v (%v) ", c["type"], c["status"], c["message"])
	}
	return b.String()
}
