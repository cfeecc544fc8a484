package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// mailerName is what the Deployment of Release mailer is called.
const mailerName = "mailer-0a1b2c3d4e"

// workload is a Deployment as its template renders it; edits are what somebody does to it.
func workload(edits ...func(map[string]any)) map[string]any {
	labels := func() map[string]any {
		return map[string]any{v1alpha1.LabelRelease: "mailer", v1alpha1.LabelRevision: "0a1b2c3d4e"}
	}
	o := map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": mailerName, "namespace": "shop", "labels": labels()},
		"spec": map[string]any{
			"replicas": int64(2),
			"selector": map[string]any{"matchLabels": labels()},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels()},
				"spec": map[string]any{"containers": []any{map[string]any{
					"name": "main", "image": "shop/mailer:1", "env": []any{map[string]any{"name": "A", "value": "1"}},
				}}},
			},
		},
	}
	for _, edit := range edits {
		edit(o)
	}
	return o
}

func podOf(o map[string]any) map[string]any {
	return o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
}

func labelsOf(o map[string]any) map[string]any {
	return o["metadata"].(map[string]any)["labels"].(map[string]any)
}

func main(o map[string]any) map[string]any {
	return podOf(o)["containers"].([]any)[0].(map[string]any)
}

// injected is what a service mesh does.
func injected(o map[string]any) {
	podOf(o)["containers"] = append(podOf(o)["containers"].([]any), map[string]any{"name": "proxy", "image": "mesh/proxy:1"})
}

// pinnedRenderer renders the workload, with what it is told to digest.
type pinnedRenderer struct {
	renderer
	digest string
	err    error
}

func (p pinnedRenderer) Render(context.Context, webhook.Source, []byte, render.Context) (*render.Result, error) {
	return &render.Result{Revision: "0a1b2c3d4e", Digest: p.digest, Set: []*unstructured.Unstructured{{Object: workload()}}}, p.err
}

// hashWorld is a webhook in front of a Release in service.
func hashWorld(t *testing.T, r pinnedRenderer, mutators ...[]v1alpha1.Mutator) *webhook.Handlers {
	t.Helper()
	if mutators == nil {
		mutators = [][]v1alpha1.Mutator{nil}
	}
	release := func(name string) *v1alpha1.Release {
		return &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		release("mailer"), release("cart"),
		&v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: "worker-1"},
			Spec:       v1alpha1.TemplateRevisionSpec{Template: "worker", Number: 1, Files: map[string]string{"a.cue": "package a"}},
		},
		&v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "mailer-1"},
			Spec: v1alpha1.RolloutSpec{
				Release: "mailer", Number: 1, Revision: "0a1b2c3d4e", TemplateRevision: "worker-1", Digest: "sha256:judged",
				Values: &runtime.RawExtension{Raw: []byte(`{}`)},
			},
		},
	}
	for i, m := range mutators {
		objects = append(objects, &v1alpha1.Gate{
			ObjectMeta: metav1.ObjectMeta{Name: string(rune('a' + i))},
			Spec:       v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}}, Mutators: m},
		})
	}
	handlers, err := webhook.New(webhook.Config{
		Reader:   fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(objects...).Build(),
		Policies: eval.NewStore(), Renderer: r, Authorizer: rbac{}, Identity: manager, ManagerNamespace: "tidegate-system",
		Clock: testclock.NewFakePassiveClock(time.Unix(1e9, 0)), Metrics: webhook.NewMetrics(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return handlers
}

func written(t *testing.T, op admissionv1.Operation, object, old map[string]any) request {
	t.Helper()
	encode := func(o map[string]any) string {
		if o == nil {
			return ""
		}
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	return request{op: op, resource: "apps/deployments", namespace: "shop", name: mailerName, user: manager, object: encode(object), old: encode(old)}
}

// TestWhatIsAdmittedIsWhatWasRendered has a mutating webhook change what Tidegate writes,
// on its way to the validating one.
func TestWhatIsAdmittedIsWhatWasRendered(t *testing.T) {
	const create, update = admissionv1.Create, admissionv1.Update
	sidecar := []v1alpha1.Mutator{{Kind: "Deployment", Paths: []string{"spec.template.spec.containers[1]"}}}
	anywhere := []v1alpha1.Mutator{{Kind: "*", Paths: []string{"spec.template.spec.containers"}}}
	elsewhere := []v1alpha1.Mutator{{Kind: "StatefulSet", Paths: []string{"spec.template.spec.containers"}}}
	relabelled := func(to string) func(map[string]any) {
		return func(o map[string]any) {
			injected(o)
			if labelsOf(o)[v1alpha1.LabelRelease] = to; to == "" {
				delete(labelsOf(o), v1alpha1.LabelRelease)
			}
		}
	}
	for name, tc := range map[string]struct {
		op       admissionv1.Operation
		edit     func(map[string]any)
		old      map[string]any
		mutators [][]v1alpha1.Mutator
		code     int32
		want     []string
	}{
		"as it was rendered": {op: create, code: 200},
		"with what the API server fills in": {op: create, edit: func(o map[string]any) {
			maps.Copy(podOf(o), map[string]any{"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30})
			maps.Copy(main(o), map[string]any{"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"})
		}, code: 200},
		"with another number of replicas, which the rollout sets": {op: create, edit: func(o map[string]any) { o["spec"].(map[string]any)["replicas"] = 7 }, code: 200},
		"a container was put in": {op: create, edit: injected, code: 403, want: []string{
			`TG-GATE-MUTATED: deployments "mailer-0a1b2c3d4e" of Release "mailer"`, `spec.template.spec.containers[1]: not rendered, found "proxy" with image "mesh/proxy:1"`,
			"do: kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies", `spec.mutators of Gate "a"`,
		}},
		"an init container was put in": {op: create, edit: func(o map[string]any) {
			podOf(o)["initContainers"] = []any{map[string]any{"name": "init", "image": "evil"}}
		}, code: 403, want: []string{"TG-GATE-MUTATED", "spec.template.spec.initContainers"}},
		"the image was changed":     {op: create, edit: func(o map[string]any) { main(o)["image"] = "evil" }, code: 403, want: []string{"TG-GATE-MUTATED", "containers[0].image"}},
		"a variable was added":      {op: create, edit: func(o map[string]any) { main(o)["env"] = append(main(o)["env"].([]any), map[string]any{"name": "B"}) }, code: 403, want: []string{"env[1]"}},
		"the account was changed":   {op: create, edit: func(o map[string]any) { podOf(o)["serviceAccountName"] = "root" }, code: 403, want: []string{"serviceAccountName"}},
		"the selector was widened":  {op: create, edit: func(o map[string]any) { o["spec"].(map[string]any)["selector"] = map[string]any{} }, code: 403, want: []string{"spec.selector"}},
		"a container in an update":  {op: update, old: workload(), edit: injected, code: 403, want: []string{"TG-GATE-MUTATED"}},
		"an update that is a scale": {op: update, old: workload(injected), edit: injected, code: 200}, // It was judged when it came in.

		"a container, and the label that it would be compared by is gone": {op: create, edit: relabelled(""), code: 403, want: []string{"TG-GATE-MUTATED", `rendered "mailer", found ""`}},
		"a container, and the label names a Release that is not there":    {op: create, edit: relabelled("nobody"), code: 500, want: []string{`Release "nobody" is not known yet`}},
		"a container, and the label names another Release":                {op: create, edit: relabelled("cart"), code: 500, want: []string{"no Rollout is known"}},
		"a container in an update, and the label is gone":                 {op: update, old: workload(), edit: relabelled(""), code: 403, want: []string{"TG-GATE-MUTATED"}},
		"a revision that no Rollout pins": {op: create, edit: func(o map[string]any) {
			o["spec"].(map[string]any)["template"].(map[string]any)["metadata"].(map[string]any)["labels"].(map[string]any)[v1alpha1.LabelRevision] = "ffffffffff"
		}, code: 500, want: []string{"no Rollout is known"}},

		"a container that the Gate lists":                        {op: create, edit: injected, mutators: [][]v1alpha1.Mutator{sidecar}, code: 200},
		"a container where the Gate lists all":                   {op: create, edit: injected, mutators: [][]v1alpha1.Mutator{anywhere}, code: 200},
		"a container where the Gate lists another kind's":        {op: create, edit: injected, mutators: [][]v1alpha1.Mutator{elsewhere}, code: 403, want: []string{"TG-GATE-MUTATED"}},
		"an image where the Gate lists a second container":       {op: create, edit: func(o map[string]any) { main(o)["image"] = "evil" }, mutators: [][]v1alpha1.Mutator{sidecar}, code: 403, want: []string{"containers[0].image"}},
		"a container that one of two Gates lists":                {op: create, edit: injected, mutators: [][]v1alpha1.Mutator{sidecar, nil}, code: 403, want: []string{`spec.mutators of Gate "b"`}},
		"a container that both of two Gates list":                {op: create, edit: injected, mutators: [][]v1alpha1.Mutator{sidecar, anywhere}, code: 200},
		"an update that takes out what a Gate no longer lists":   {op: update, old: workload(injected), code: 200},
		"an update of an image beside what was let in and stays": {op: update, old: workload(injected), edit: func(o map[string]any) { injected(o); main(o)["image"] = "evil" }, code: 403, want: []string{"containers[0].image"}},
	} {
		t.Run(name, func(t *testing.T) {
			object := workload()
			if tc.edit != nil {
				tc.edit(object)
			}
			h := hashWorld(t, pinnedRenderer{digest: "sha256:judged"}, tc.mutators...)
			check(t, h.Gate.Handle(t.Context(), written(t, tc.op, object, tc.old).admission()), tc.code, tc.want...)
		})
	}
}

func TestWhatCannotBeRenderedAgainIsNotLetIn(t *testing.T) {
	for name, tc := range map[string]struct {
		renderer pinnedRenderer
		want     string
	}{
		"the engine is out of order":              {pinnedRenderer{err: errors.New("out of order")}, "out of order"},
		"it renders to other than was judged":     {pinnedRenderer{digest: "sha256:other"}, "wanted sha256:judged, which was judged, found sha256:other"},
		"it renders to nothing that was digested": {pinnedRenderer{}, "wanted sha256:judged"},
	} {
		t.Run(name, func(t *testing.T) {
			h := hashWorld(t, tc.renderer)
			check(t, h.Gate.Handle(t.Context(), written(t, admissionv1.Create, workload(), nil).admission()), 500, tc.want)
		})
	}
}
