package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestShippedTemplates publishes every shipped template, brings a Release of it into
// service with the values of its full example, and promotes a second version.
func TestShippedTemplates(t *testing.T) {
	cluster := controlPlane(t)
	publisher := newShipped(t, cluster.RESTConfig(), "")
	publisher.installExternalSecrets()
	publisher.provideVolumes(5)
	publisher.manage()
	for _, name := range templates.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newShipped(t, cluster.RESTConfig(), name)
			w.publish()
			w.applyExample("1.0.0")
			w.awaitServing()
			first := w.release().Status.StableRevision
			w.wantImage("1.0.0")
			w.applyExample("2.0.0")
			if name == "web-bluegreen" {
				w.approve()
			}
			w.awaitServing()
			w.wantImage("2.0.0")
			if second := w.release().Status.StableRevision; second == first || second != w.rendered.Revision {
				t.Errorf("wanted the revision %s in service after %s, found %s", w.rendered.Revision, first, second)
			}
			if r := w.rollout(2); r.Status.Phase != v1alpha1.RolloutSucceeded || r.Spec.Strategy.Type != w.rendered.Strategy.Type {
				t.Errorf("wanted the second Rollout, a %s, to have succeeded, found a %s that is %s", w.rendered.Strategy.Type, r.Spec.Strategy.Type, r.Status.Phase)
			}
			w.wantObjects()
		})
	}
}

// shipped is a world whose Release is of a shipped template.
type shipped struct {
	*world
	name string
	// rendered is what the Release renders to, as found out here.
	rendered *render.Result
}

func newShipped(t *testing.T, admin *rest.Config, name string) *shipped {
	t.Helper()
	admin = rest.CopyConfig(admin)
	admin.QPS = -1
	c, err := client.NewWithWatch(admin, client.Options{Scheme: testScheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	w := &shipped{name: name, world: &world{
		t: t, config: admin, client: c, namespace: "shipped-" + name, template: name, releaseName: "demo", measurer: &scriptedMeasurer{}, stop: func() {},
	}}
	if name == "" {
		return w
	}
	w.create(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": w.namespace},
	}})
	go w.gateway(t.Context())
	t.Cleanup(func() {
		if t.Failed() {
			w.explain()
		}
	})
	return w
}

// manage runs the loops of the manager until the test is over.
func (w *shipped) manage() {
	w.t.Helper()
	brief, yes := 10*time.Millisecond, true
	mgr, err := manager.New(w.config, manager.Options{
		Scheme: testScheme(w.t), Logger: managerLog("shipped"), Metrics: server.Options{BindAddress: "0"},
		GracefulShutdownTimeout: &brief, Controller: config.Controller{SkipNameValidation: &yes},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	opts := controller.Options{Renderer: &inProcess{}, Measurer: w.measurer, SkipNameValidation: true}
	if err := controller.Setup(w.t.Context(), mgr, opts); err != nil {
		w.t.Fatal(err)
	}
	if err := controller.SetupTemplates(w.t.Context(), mgr, controller.TemplateOptions{SkipNameValidation: true}); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := mgr.Start(ctx); err != nil && ctx.Err() == nil {
			w.t.Errorf("the manager ended by itself: %v", err)
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// inProcess renders TemplateRevisions in this process.
type inProcess struct{ cache render.Cache }

func (r *inProcess) Render(_ context.Context, revision *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	template, err := r.cache.Get(revision.Spec.Files)
	if err != nil {
		return nil, err
	}
	return template.Render(values.Raw, in)
}

// installExternalSecrets installs as much of the External Secrets Operator as its objects
// need to be stored.
func (w *shipped) installExternalSecrets() {
	w.t.Helper()
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: externalsecrets.external-secrets.io
spec:
  group: external-secrets.io
  scope: Namespaced
  names: {kind: ExternalSecret, listKind: ExternalSecretList, plural: externalsecrets, singular: externalsecret}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
`), crd); err != nil {
		w.t.Fatal(err)
	}
	w.create(crd)
	w.await("ExternalSecrets are served", func() bool {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("external-secrets.io/v1")
		list.SetKind("ExternalSecretList")
		return w.client.List(w.t.Context(), list) == nil
	})
}

// provideVolumes makes what the full example of stateful claims: no node of the test's has
// a disk, and no pod reads one.
func (w *shipped) provideVolumes(n int) {
	w.t.Helper()
	const class = "fast"
	w.create(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: "kubernetes.io/no-provisioner"})
	for i := range n {
		w.create(&corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", class, i)},
			Spec: corev1.PersistentVolumeSpec{
				StorageClassName:       class,
				Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("100Gi")},
				AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nowhere"}},
			},
		})
	}
}

// files is the template as it is shipped, and the platform's own file beside it.
func (w *shipped) files() map[string]string {
	w.t.Helper()
	files, err := templates.Files(w.name)
	if err != nil {
		w.t.Fatal(err)
	}
	files["platform.cue"] = "package " + strings.ReplaceAll(w.name, "-", "_") + `

// The pace of a test.
_platform: pace: {window: "100ms", interval: "100ms", hold: "0s", drainDelay: "100ms", warm: "200ms"}
`
	return files
}

// publish makes the ReleaseTemplate, and waits for the loop to have made a revision of it.
func (w *shipped) publish() {
	w.t.Helper()
	template := &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: w.template}, Spec: v1alpha1.ReleaseTemplateSpec{Files: w.files()}}
	w.create(template)
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the template says %+v", template.Status.Conditions)
		}
	}()
	w.await("the template is published", func() bool {
		w.get(template)
		return meta.IsStatusConditionTrue(template.Status.Conditions, v1alpha1.ConditionReady) && template.Status.LatestRevision != ""
	})
	revision := &v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: template.Status.LatestRevision}}
	w.get(revision)
	if revision.Spec.Engine != render.Engine() {
		w.t.Errorf("wanted the revision to record the engine %s, found %s", render.Engine(), revision.Spec.Engine)
	}
}

// applyExample makes the Release ask for the full example, with another tag.
func (w *shipped) applyExample(tag string) {
	w.t.Helper()
	examples, err := templates.Examples(w.name)
	if err != nil {
		w.t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(examples["full.yaml"]), &values); err != nil {
		w.t.Fatal(err)
	}
	values["image"] = "registry.example.com/shop/demo:" + tag
	raw, err := json.Marshal(values)
	if err != nil {
		w.t.Fatal(err)
	}
	template, err := render.Compile(w.files())
	if err != nil {
		w.t.Fatal(err)
	}
	if w.rendered, err = template.Render(raw, render.Context{Name: w.releaseName, Namespace: w.namespace, Template: w.template}); err != nil {
		w.t.Fatal(err)
	}
	release := &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Name: w.releaseName, Namespace: w.namespace},
		Spec: v1alpha1.ReleaseSpec{
			Template: v1alpha1.TemplateReference{Name: w.template}, Values: &runtime.RawExtension{Raw: raw},
		},
	}
	w.await("the Release is applied", func() bool {
		have := release.DeepCopy()
		if w.client.Get(w.t.Context(), client.ObjectKeyFromObject(have), have) != nil {
			return w.client.Create(w.t.Context(), release.DeepCopy()) == nil
		}
		have.Spec = release.Spec
		return w.client.Update(w.t.Context(), have) == nil
	})
}

func (w *shipped) awaitServing() {
	w.t.Helper()
	w.await("the revision "+w.rendered.Revision+" serves", func() bool {
		r := w.release()
		return w.has(r, v1alpha1.ReleaseServing) && r.Status.StableRevision == w.rendered.Revision
	})
}

// approve lets the second Rollout go on from its preview.
func (w *shipped) approve() {
	w.t.Helper()
	w.await("the second Rollout waits for an approval", func() bool {
		r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: w.releaseName + "-2", Namespace: w.namespace}}
		return w.client.Get(w.t.Context(), client.ObjectKeyFromObject(r), r) == nil && r.Status.Reason == plan.ReasonHoldApproval
	})
	w.create(&v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Name: "go", Namespace: w.namespace},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: w.rollout(2).Name, Action: v1alpha1.CommandApprove, Step: 1},
	})
}

// wantImage checks what the workload of the revision in service runs, and with it that it
// is the only one.
func (w *shipped) wantImage(tag string) {
	w.t.Helper()
	want := "registry.example.com/shop/demo:" + tag
	for _, o := range w.rendered.Set {
		path := []string{"spec", "template", "spec", "containers"}
		if o.GetKind() == "CronJob" {
			path = []string{"spec", "jobTemplate", "spec", "template", "spec", "containers"}
		}
		if _, workload, _ := unstructured.NestedSlice(o.Object, path...); !workload {
			continue
		}
		w.await(fmt.Sprintf("the only %s is %s with the image %s", o.GetKind(), o.GetName(), want), func() bool {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(o.GroupVersionKind())
			if err := w.client.List(w.t.Context(), list, client.InNamespace(w.namespace)); err != nil || len(list.Items) != 1 {
				return false
			}
			containers, _, _ := unstructured.NestedSlice(list.Items[0].Object, path...)
			return list.Items[0].GetName() == o.GetName() && len(containers) == 1 && containers[0].(map[string]any)["image"] == want
		})
	}
}

// wantObjects checks that everything that was rendered is in the cluster.
func (w *shipped) wantObjects() {
	w.t.Helper()
	all := append(append([]*unstructured.Unstructured{}, w.rendered.Set...), w.rendered.Shared...)
	if w.rendered.Route != nil {
		all = append(all, w.rendered.Route)
	}
	for _, o := range all {
		have := &unstructured.Unstructured{}
		have.SetGroupVersionKind(o.GroupVersionKind())
		if err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(o), have); err != nil {
			w.t.Errorf("wanted the %s %s in the cluster: %v", o.GetKind(), o.GetName(), err)
		}
	}
}
