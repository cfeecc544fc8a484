package webhook_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// jobRenderer renders one Job.
type jobRenderer struct {
	renderer
	job *unstructured.Unstructured
}

func (j jobRenderer) Render(context.Context, webhook.Source, []byte, render.Context) (*render.Result, error) {
	return &render.Result{Digest: "sha256:a", Jobs: map[string]*unstructured.Unstructured{"smoke": j.job}}, nil
}

// TestJobsOfStepsAreWhatWasRendered has somebody change a Job on its way in, whose result
// lets a rollout go on, or make one of his own.
func TestJobsOfStepsAreWhatWasRendered(t *testing.T) {
	rendered := parsed(t, `{apiVersion: batch/v1, kind: Job, metadata: {name: smoke}, spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never,
  containers: [{name: smoke, image: smoke:1, args: [all]}]}}}}`)
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", UID: "r"}}
	rollout := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-2", UID: "u"},
		Spec:       v1alpha1.RolloutSpec{Release: "cart", Number: 2, Revision: "aaaaaaaaaa", TemplateRevision: "web-1", Digest: "sha256:a"},
	}
	made, err := manifest.Job(rendered, "smoke", "cart-2-s1-1", release, rollout)
	if err != nil {
		t.Fatal(err)
	}
	// What the API server has put in when it asks.
	raw, err := json.Marshal(made.Object)
	if err != nil {
		t.Fatal(err)
	}
	const uid = "batch.kubernetes.io/controller-uid"
	object := strings.Replace(string(raw), `"template":{`, `"selector":{"matchLabels":{"`+uid+`":"j"}},"completionMode":"NonIndexed","suspend":false,"parallelism":1,"completions":1,`+
		`"podReplacementPolicy":"TerminatingOrFailed","manualSelector":false,`+
		`"template":{"metadata":{"creationTimestamp":null,"labels":{"`+uid+`":"j","controller-uid":"j","job-name":"n","batch.kubernetes.io/job-name":"n"}},`, 1)
	handlers, err := webhook.New(webhook.Config{
		Reader: fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, release, rollout,
			&v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Spec: v1alpha1.TemplateRevisionSpec{Template: "web", Number: 1}},
			&v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}}}},
		).Build(),
		Policies: eval.NewStore(), Renderer: jobRenderer{job: rendered}, Authorizer: rbac{}, Identity: manager, ManagerNamespace: "tidegate-system",
		Clock: testclock.NewFakePassiveClock(time.Unix(1e9, 0)), Metrics: webhook.NewMetrics(),
	})
	if err != nil {
		t.Fatal(err)
	}
	const own, jobs = "system:serviceaccount:kube-system:", "batch/jobs"
	for name, tc := range map[string]struct {
		op       admissionv1.Operation
		user     string
		from, to string
		code     int32
		want     []string
	}{
		"the manager makes it":                    {admissionv1.Create, manager, "", "", 200, nil},
		"with another image":                      {admissionv1.Create, manager, "smoke:1", "evil:1", 403, []string{"TG-GATE-MUTATED", "spec.template.spec.containers[0].image"}},
		"with other arguments":                    {admissionv1.Create, manager, `"all"`, `"none"`, 403, []string{"spec.template.spec.containers[0].args[0]"}},
		"with pods that a Service chooses":        {admissionv1.Create, manager, `"controller-uid":"j"`, `"controller-uid":"j","tidegate.io/release":"cart"`, 403, []string{"spec.template.metadata"}},
		"with annotations for a sidecar":          {admissionv1.Create, manager, `"creationTimestamp":null`, `"annotations":{"a":"b"}`, 403, []string{"spec.template.metadata"}},
		"with a longer deadline":                  {admissionv1.Create, manager, `"activeDeadlineSeconds":3600`, `"activeDeadlineSeconds":36000`, 403, []string{"spec.activeDeadlineSeconds"}},
		"with a policy that lets failures pass":   {admissionv1.Create, manager, `"backoffLimit":0`, `"backoffLimit":0,"successPolicy":{"rules":[{"succeededCount":0}]}`, 403, []string{"spec.successPolicy"}},
		"from another object":                     {admissionv1.Create, manager, `job-object":"smoke"`, `job-object":"other"`, 500, []string{"renders no such Job"}},
		"for another Rollout":                     {admissionv1.Create, manager, `rollout":"cart-2"`, `rollout":"cart-3"`, 500, []string{"no Rollout is known"}},
		"the manager stops it":                    {admissionv1.Delete, manager, "", "", 200, nil},
		"Kubernetes clears it away":               {admissionv1.Delete, own + "ttl-after-finished-controller", "", "", 200, nil},
		"Kubernetes looks after it":               {admissionv1.Update, own + "job-controller", "", "", 200, nil},
		"somebody makes one":                      {admissionv1.Create, "alice", "", "", 403, []string{"TG-GATE-BYPASS"}},
		"somebody changes it":                     {admissionv1.Update, "alice", "", "", 403, []string{"TG-GATE-BYPASS"}},
		"somebody deletes it":                     {admissionv1.Delete, "alice", "", "", 403, []string{"TG-GATE-BYPASS"}},
		"the deployment controller has no reason": {admissionv1.Create, own + "deployment-controller", "", "", 403, []string{"TG-GATE-BYPASS"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := object
			if tc.from != "" {
				if text = strings.Replace(object, tc.from, tc.to, 1); text == object {
					t.Fatalf("%q is not in %s", tc.from, object)
				}
			}
			q := request{op: tc.op, resource: jobs, namespace: "shop", name: made.GetName(), user: tc.user, object: text}
			if tc.op != admissionv1.Create {
				q.old = text
			}
			if tc.op == admissionv1.Delete {
				q.object = ""
			}
			r := q.admission()
			r.Kind.Kind = "Job"
			check(t, handlers.Gate.Handle(t.Context(), r), tc.code, tc.want...)
		})
	}
}
