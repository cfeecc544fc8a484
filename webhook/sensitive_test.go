package webhook_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// vault is a template with a sensitive variable, which its objects show.
const vault = `
package vault

#Variables: {
	image:  *"a" | string
	token!: =~"^[a-z0-9]{8,20}$" @sensitive() @immutable()
	size:   *1 | int
}
#Context: {name: string, revision: string, ...}
values:  #Variables
context: #Context
_set: "\(context.name)-\(context.revision)"
_pods: "tidegate.io/revision": context.revision
objects: {
	deployment: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: _set
		spec: {
			selector: matchLabels: _pods
			template: {
				metadata: labels: _pods
				spec: containers: [{name: "app", image: values.image, env: [{name: "TOKEN", value: values.token}]}]
			}
			if values.size > 5 {replicas: "\(values.token)"}
		}
	}
	service: {
		apiVersion: "v1", kind: "Service", metadata: name: _set
		spec: {selector: _pods, ports: [{port: 80}]}
	}
	route: {
		apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: name: context.name
		spec: {parentRefs: [{name: "public"}], rules: [{backendRefs: [{name: _set, port: 80}]}]}
	}
}
rollout: {type: "canary", steps: [{setWeight: 100}]}
`

// A sensitive value goes through everything that answers about it, and comes out nowhere:
// neither in the answer, nor in its warnings, the audit log or the manager's own log.
func TestWhatIsSensitiveIsInNoAnswer(t *testing.T) {
	const marker, other = "hunter2hunter2", "swordfish1"
	source := func(was, is string) map[string]string {
		return map[string]string{"vault.cue": strings.Replace(vault, was, is, 1)}
	}
	files := source("", "")
	template, err := render.Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := template.Schema()
	if err != nil {
		t.Fatal(err)
	}
	published := &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: "vault"}}
	published.Spec.Files, published.Spec.AllowBreakingAfter = files, 1
	box := &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "box"},
		Spec:       v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "vault"}, Values: &runtime.RawExtension{Raw: []byte(`{"token": "` + marker + `"}`)}},
		Status:     v1alpha1.ReleaseStatus{TemplateRevision: "vault-1"},
	}
	object := func(values string) string {
		return `{"metadata": {"name": "box", "namespace": "shop"}, "spec": {"template": {"name": "vault"}, "values": ` + values + `}, "status": {"templateRevision": "vault-1"}}`
	}
	publish := func(source map[string]string) string {
		return fmt.Sprintf(`{"kind": "ReleaseTemplate", "metadata": {"name": "vault"}, "spec": {"allowBreakingAfter": 1, "files": {"vault.cue": %q}}}`, source["vault.cue"])
	}
	const (
		good = `{"token": "` + marker + `"}`
		echo = `package p
deny contains sprintf("the token is %v, quoted %q", [t, t]) if {
	input.object.kind == "Deployment"
	t := input.object.spec.template.spec.containers[0].env[0].value
}`
	)
	for name, tc := range map[string]struct {
		resource    string
		object, old string
		// echo is what a policy does that repeats the value.
		echo v1alpha1.Enforcement
		code int32
		// says is a part of what is answered in its place.
		says string
	}{
		"good values":             {"releases", object(good), "", "", 200, ""},
		"one of a wrong form":     {"releases", object(`{"token": "` + marker + `!"}`), "", "", 403, "values.token"},
		"one of a wrong type":     {"releases", object(`{"token": ["` + marker + `"]}`), "", "", 403, "values.token"},
		"one in a wrong place":    {"releases", object(`{"token": {"` + marker + `": 1}}`), "", "", 403, "values.token"},
		"one that cannot change":  {"releases", object(good), object(`{"token": "` + other + `"}`), "", 403, "TG-VALUES-IMMUTABLE"},
		"one that breaks objects": {"releases", object(`{"token": "` + marker + `", "size": 6}`), "", "", 403, "TG-TEMPLATE-BROKEN"},
		"a policy that denies":    {"releases", object(good), "", v1alpha1.EnforcementDeny, 403, `the token is (sensitive), quoted "(sensitive)"`},
		"a policy that warns":     {"releases", object(good), "", v1alpha1.EnforcementWarn, 200, "the token is (sensitive)"},
		"a policy on trial":       {"releases", object(good), "", v1alpha1.EnforcementDryrun, 200, "the token is (sensitive)"},
		"a candidate that its value does not fit": {
			"releasetemplates", publish(source(`=~"^[a-z0-9]{8,20}$"`, `=~"^x[a-z0-9]{7,19}$"`)), publish(files), "", 200, "would break: shop/box",
		},
		"a candidate whose objects it breaks": {
			"releasetemplates", publish(source("if values.size > 5 {", "if len(values.token) == 14 {")), publish(files), "", 200, "box",
		},
		"a candidate whose objects it breaks whatever it is": {
			"releasetemplates", publish(source("*1 | int", "*6 | int")), publish(files), "", 403, "TG-TEMPLATE-BROKEN",
		},
		"a candidate that a policy would refuse": {
			"releasetemplates", publish(source(`*"a" | string`, `*"b" | string`)), publish(files), v1alpha1.EnforcementDeny, 200, "a policy would refuse: shop/box: TG-POLICY-DENY: the token is (sensitive)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			reader := fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(append(objects(), published, box, &v1alpha1.TemplateRevision{
				ObjectMeta: metav1.ObjectMeta{Name: "vault-1"},
				Spec:       v1alpha1.TemplateRevisionSpec{Template: "vault", Number: 1, Digest: render.Digest(files), Files: files, Schema: &runtime.RawExtension{Raw: schema}},
			})...).Build()
			policies := eval.NewStore()
			if tc.echo != "" {
				if err := policies.Put(eval.Source{
					Name: "echo", At: []v1alpha1.PolicyMoment{v1alpha1.AtRelease}, Enforcement: tc.echo, Rego: echo,
				}); err != nil {
					t.Fatal(err)
				}
			}
			handlers, err := webhook.New(webhook.Config{
				Reader: reader, Policies: policies, Renderer: webhook.TemplateRenderer{Compiled: &render.Cache{}}, Authorizer: rbac{}, Identity: manager, ManagerNamespace: "tidegate-system",
				Clock: testclock.NewFakePassiveClock(time.Unix(1e9, 0)), Metrics: webhook.NewMetrics(), Timeout: time.Minute,
			})
			if err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			ctx := ctrl.LoggerInto(t.Context(), funcr.New(func(_, args string) { log.WriteString(args + "\n") }, funcr.Options{Verbosity: 10}))
			r := request{op: admissionv1.Create, resource: group + tc.resource, namespace: "shop", name: "box", user: "alice", object: tc.object, old: tc.old}
			if tc.old != "" {
				r.op = admissionv1.Update
			}
			if tc.resource == "releasetemplates" {
				r.namespace, r.name = "", "vault"
			}
			got := handlers.Tidegate.Handle(ctx, r.admission())
			said := strings.Join(append(slices.Concat(got.Warnings, slices.Sorted(maps.Values(got.AuditAnnotations))), got.Result.Message, log.String()), "\n")
			if got.Result.Code != tc.code || !strings.Contains(said, tc.says) && !strings.Contains(said, strings.ReplaceAll(tc.says, `"`, `\"`)) {
				t.Errorf("wanted %d and %q, got %d:\n%s", tc.code, tc.says, got.Result.Code, said)
			}
			for _, secret := range []string{marker, other} {
				if strings.Contains(said, secret) {
					t.Errorf("the value is in what was said:\n%s", said)
				}
			}
		})
	}
}
