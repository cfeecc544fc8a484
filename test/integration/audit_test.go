package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/webhook"
	"tidegate.io/tidegate/webhook/auditing"
)

// manyConfigs is more than the first page of a list.
const manyConfigs = 130

// TestAudit looks at what was there before there was a Gate, on a real API server, and writes
// both formats of reports.
func TestAudit(t *testing.T) {
	w := &auditWorld{T: t, cluster: controlPlane(t), store: eval.NewStore()}
	w.client = w.newClient()
	w.furnish()

	if _, ok, err := auditing.Format(w.client.RESTMapper()); ok || err != nil {
		t.Fatalf("a cluster without reports has a format: %v, %v", ok, err)
	}
	if err := w.cluster.InstallOpenReports(t.Context()); err != nil {
		t.Fatal(err)
	}
	open := w.audited("openreports.io")
	w.wantFindings(open)

	w.installPolicyReports()
	if got := w.format(); got.Group != "openreports.io" {
		t.Errorf("where both are served, wanted OpenReports, got %s", got.Group)
	}
	for _, name := range []string{"reports", "clusterreports"} {
		if _, err := w.cluster.Kubectl(t.Context(), "delete", "crd", name+".openreports.io", "--wait=true"); err != nil {
			t.Fatal(err)
		}
	}
	old := w.audited("wgpolicyk8s.io")
	if !slices.Equal(old, open) {
		t.Errorf("the formats differ:\n%s\nand\n%s", strings.Join(open, "\n"), strings.Join(old, "\n"))
	}
	w.clean()
}

type auditWorld struct {
	*testing.T
	cluster *local.Cluster
	client  client.Client
	store   *eval.Store
}

func (w *auditWorld) newClient() client.Client {
	w.Helper()
	config := w.cluster.RESTConfig()
	config.QPS = -1
	made, err := client.New(config, client.Options{Scheme: testScheme(w.T)})
	w.must(err)
	return made
}

func (w *auditWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *auditWorld) create(objects ...client.Object) {
	w.Helper()
	for _, o := range objects {
		w.must(w.client.Create(w.Context(), o))
	}
}

func (w *auditWorld) eventually(what string, try func(context.Context) (bool, error)) {
	w.Helper()
	if err := wait.PollUntilContextTimeout(w.Context(), 100*time.Millisecond, gatePatience, true, try); err != nil {
		w.Fatalf("%s: %v", what, err)
	}
}

// furnish makes what is older than the Gate, the Gate, and what is younger.
func (w *auditWorld) furnish() {
	w.Helper()
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "lab"}})
	w.create(deployment("shop", "before", nil), deployment("lab", "free", nil))
	var pods corev1.PodList
	w.eventually("the deployment has its pods", func(ctx context.Context) (bool, error) {
		err := w.client.List(ctx, &pods, client.InNamespace("shop"))
		return len(pods.Items) > 0, err
	})
	// Times are whole seconds.
	made := pods.Items[len(pods.Items)-1].CreationTimestamp
	w.eventually("the next second", func(ctx context.Context) (bool, error) {
		probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "probe"}}
		err := w.client.Create(ctx, probe, client.DryRunAll)
		return made.Before(&probe.CreationTimestamp), err
	})
	w.create(&v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "production"}, Spec: v1alpha1.GateSpec{
		Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}},
		Kinds:      []v1alpha1.GovernedKind{{Group: "", Resources: []string{"configmaps"}}},
	}})
	var nodes corev1.NodeList
	w.must(w.client.List(w.Context(), &nodes))
	node := nodes.Items[0] // what a node or an owner that is not there leaves behind is collected
	mirror := barePod("shop", "static-node-1")
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "0123"}
	mirror.Spec.NodeName = node.Name
	mirror.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: new(true)}}
	w.create(mirror, barePod("shop", "bare"))
	for n := range manyConfigs {
		w.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("config-%03d", n)}})
	}
	w.policy("no-replicas", "apps", "Deployment", "deny contains \"no Deployment at all\"")
	w.policy("named", "", "ConfigMap", "warn contains sprintf(\"%s is a name\", [input.object.metadata.name]) if startswith(input.object.metadata.name, \"config\")")
}

func (w *auditWorld) policy(name, group, kind, rule string) {
	w.Helper()
	p := &v1alpha1.DeployPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.DeployPolicySpec{
		Rego: "package p\n\n" + rule + "\n", Enforcement: v1alpha1.EnforcementDeny,
		Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: group, Kinds: []string{kind}}}},
	}}
	w.must(w.store.Put(eval.FromDeployPolicy(p)))
	w.create(p)
}

// format is the one that a process that begins now finds.
func (w *auditWorld) format() audit.API {
	w.Helper()
	var api audit.API
	w.eventually("a format of reports is served", func(context.Context) (bool, error) {
		var ok bool
		var err error
		api, ok, err = auditing.Format(w.newClient().RESTMapper())
		return ok, err
	})
	return api
}

// audited audits twice and returns the findings in the reports, which the second time has not
// written.
func (w *auditWorld) audited(group string) []string {
	w.Helper()
	var api audit.API
	w.eventually(group+" is the format", func(context.Context) (bool, error) {
		api = w.format()
		return api.Group == group, nil
	})
	w.client = w.newClient()
	w.run(api)
	before := w.versions(api)
	w.run(api)
	if after := w.versions(api); !slices.Equal(before, after) {
		w.Errorf("a settled cluster was written to: %v became %v", before, after)
	}
	var out []string
	w.must(auditing.Read(w.Context(), w.client, api, "", func(list []audit.Finding) {
		for _, f := range list {
			out = append(out, fmt.Sprintf("%s %s %s %s/%s", f.Result, f.Code, f.Object.Kind, f.Object.Namespace, f.Object.Name))
		}
	}))
	slices.Sort(out)
	return out
}

func (w *auditWorld) run(api audit.API) {
	w.Helper()
	a := &auditing.Auditor{
		Client: w.client, Policies: w.store.Set, Renderer: webhook.TemplateRenderer{Compiled: new(render.Cache)},
		ManagerNamespace: gateSystem, Clock: clock.RealClock{},
	}
	_, err := a.Run(w.Context(), auditing.Scope{}, &auditing.Reports{Client: w.client, API: api})
	w.must(err)
}

// versions are the reports with their resource versions.
func (w *auditWorld) versions(api audit.API) []string {
	w.Helper()
	var out []string
	for _, kind := range []string{api.Kind, api.ClusterKind} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(api.GroupVersion().WithKind(kind + "List"))
		w.must(w.client.List(w.Context(), list))
		for i := range list.Items {
			out = append(out, list.Items[i].GetName()+" "+list.Items[i].GetResourceVersion())
		}
	}
	slices.Sort(out)
	return out
}

func (w *auditWorld) wantFindings(got []string) {
	w.Helper()
	for _, want := range []string{
		"fail TG-AUDIT-OLDER Deployment shop/before",
		"fail TG-POLICY-DENY Deployment shop/before",
		"fail TG-AUDIT-OLDER Pod shop/before-",
		"fail TG-AUDIT-STATIC-POD Pod shop/static-node-1",
		"fail TG-AUDIT-POD-OWNER Pod shop/bare",
		"fail TG-AUDIT-UNMANAGED ConfigMap shop/config-129",
		"warn TG-POLICY-DENY ConfigMap shop/config-000",
	} {
		if !slices.ContainsFunc(got, func(f string) bool { return strings.HasPrefix(f, want) }) {
			w.Errorf("%q is not found", want)
		}
	}
	configs := 0
	for _, f := range got {
		if strings.Contains(f, " lab/") || strings.Contains(f, "kube-root-ca.crt") {
			w.Errorf("%q is in a namespace that is not governed, or every cluster's own", f)
		}
		if strings.Contains(f, "ConfigMap shop/config-") {
			configs++
		}
	}
	if configs != 2*manyConfigs {
		w.Errorf("wanted two findings for each of %d ConfigMaps on several pages, got %d", manyConfigs, configs)
	}
	if w.Failed() {
		got = slices.DeleteFunc(slices.Clone(got), func(f string) bool { return strings.Contains(f, "config-") })
		w.Log(strings.Join(got, "\n"))
	}
}

// installPolicyReports installs the older format, which has the fields of the newer one but
// for the source beside the results.
func (w *auditWorld) installPolicyReports() {
	w.Helper()
	dir := w.TempDir()
	for plural, was := range map[string]string{"policyreports": "reports", "clusterpolicyreports": "clusterreports"} {
		text, err := w.cluster.Kubectl(w.Context(), "get", "crd", was+".openreports.io", "-o", "json")
		w.must(err)
		crd := &unstructured.Unstructured{}
		w.must(crd.UnmarshalJSON([]byte(text)))
		kind := map[string]string{"policyreports": "PolicyReport", "clusterpolicyreports": "ClusterPolicyReport"}[plural]
		spec := crd.Object["spec"].(map[string]any)
		spec["group"] = "wgpolicyk8s.io"
		spec["names"] = map[string]any{"kind": kind, "listKind": kind + "List", "plural": plural, "singular": strings.ToLower(kind)}
		version := spec["versions"].([]any)[0].(map[string]any)
		version["name"] = "v1alpha2"
		unstructured.RemoveNestedField(version, "schema", "openAPIV3Schema", "properties", "source")
		crd.Object = map[string]any{
			"apiVersion": crd.GetAPIVersion(), "kind": crd.GetKind(), "spec": spec, "metadata": map[string]any{
				"name":        plural + ".wgpolicyk8s.io",
				"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for a test"},
			},
		}
		raw, err := crd.MarshalJSON()
		w.must(err)
		w.must(os.WriteFile(filepath.Join(dir, plural+".yaml"), raw, 0o600))
	}
	w.must(w.cluster.InstallCRDs(w.Context(), dir))
}

// clean takes the Gate away: nothing is governed any more, and nothing is reported.
func (w *auditWorld) clean() {
	w.Helper()
	api := w.format()
	w.must(w.client.Delete(w.Context(), &v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "production"}}))
	w.run(api)
	w.eventually("only the sum is left", func(context.Context) (bool, error) {
		left := w.versions(api)
		return len(left) == 1 && strings.HasPrefix(left[0], audit.Summary().Name(1)+" "), nil
	})
	var d appsv1.Deployment
	w.must(w.client.Get(w.Context(), client.ObjectKey{Namespace: "shop", Name: "before"}, &d))
}
