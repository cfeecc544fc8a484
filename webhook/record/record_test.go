package record

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/library"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

const (
	create  = admissionv1.Create
	update  = admissionv1.Update
	del     = admissionv1.Delete
	connect = admissionv1.Connect
)

const managed = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"cart-0a1b2c3d4e","namespace":"shop","labels":{"tidegate.io/release":"cart"}}}`

func deployment(r review) review {
	r.group, r.resource, r.kind = "apps", "deployments", "Deployment"
	if r.name == "" {
		r.name = "cart-0a1b2c3d4e"
	}
	return r
}

func tidegates(resource, kind string, r review) review {
	r.group, r.resource, r.kind = v1alpha1.GroupVersion.Group, resource, kind
	return r
}

func release(name, template, values string) string {
	return `{"apiVersion":"tidegate.io/v1alpha1","kind":"Release","metadata":{"name":"` + name + `","namespace":"shop"},"spec":{"template":{"name":"` + template + `"},"values":` + values + `}}`
}

// rendered is the Deployment of Rollout cart-1, as its template renders it and then changed.
func rendered(t testing.TB, change func(container map[string]any)) string {
	t.Helper()
	rollout := template(t)[3].(*v1alpha1.Rollout)
	compiled, err := render.Compile(template(t)[0].(*v1alpha1.ReleaseTemplate).Spec.Files)
	if err != nil {
		t.Fatal(err)
	}
	result, err := compiled.Render(rollout.Spec.Values.Raw, render.Context{Name: "cart", Namespace: "shop", Template: "web"})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range result.Set {
		if o.GetKind() != "Deployment" {
			continue
		}
		labels := o.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[v1alpha1.LabelRelease] = "cart"
		o.SetLabels(labels)
		containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		if err != nil {
			t.Fatal(err)
		}
		change(containers[0].(map[string]any))
		if err := unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers"); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	t.Fatal("wanted a Deployment, found none")
	return ""
}

func TestWhatIsRefusedIsRecordedAndReplaysTheSame(t *testing.T) {
	injected := rendered(t, func(c map[string]any) { c["image"] = "evil" })
	noNamespaces := func() interceptor.Funcs {
		return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*corev1.Namespace); ok {
				return errors.New("the cache is on fire")
			}
			return c.Get(ctx, key, o, opts...)
		}}
	}
	for name, tc := range map[string]struct {
		path string
		review
		funcs    interceptor.Funcs
		policies []eval.Source
		code     string
	}{
		"a change of what is managed":       {path: webhook.PathGate, review: deployment(review{op: update, user: "alice", object: managed, old: managed}), code: "TG-GATE-BYPASS"},
		"a dry run of it":                   {path: webhook.PathGate, review: deployment(review{op: update, user: "alice", object: managed, old: managed, dryRun: true}), code: "TG-GATE-BYPASS"},
		"a deletion, decided by what was":   {path: webhook.PathGate, review: deployment(review{op: del, user: "alice", old: managed}), code: "TG-GATE-BYPASS"},
		"a new one of nobody's":             {path: webhook.PathGate, review: deployment(review{op: create, name: "mine", user: "alice", object: `{"kind":"Deployment","metadata":{"name":"mine"}}`}), code: "TG-GATE-BYPASS"},
		"a scale, which has no labels":      {path: webhook.PathGate, review: review{op: update, group: "apps", resource: "deployments", sub: "scale", kind: "Scale", name: "cart-0a1b2c3d4e", user: "alice", object: `{"kind":"Scale","metadata":{"name":"cart-0a1b2c3d4e"},"spec":{"replicas":7}}`}, code: "TG-GATE-BYPASS"},
		"exec without an exemption":         {path: webhook.PathGate, review: review{op: connect, resource: "pods", sub: "exec", kind: "PodExecOptions", name: "cart-1", user: "oncall", object: `{"kind":"PodExecOptions","command":["sh"]}`}, code: "TG-BREAKGLASS-OVER"},
		"a namespace that nothing governs":  {path: webhook.PathGate, review: deployment(review{op: create, namespace: "playground", user: "alice", object: managed}), code: "TG-GATE-UNKNOWN"},
		"a namespace that is not there":     {path: webhook.PathGate, review: deployment(review{op: create, namespace: "gone", user: "alice", object: managed}), code: "TG-GATE-UNKNOWN"},
		"a cache that fails":                {path: webhook.PathGate, review: deployment(review{op: create, user: "alice", object: managed}), funcs: noNamespaces(), code: "TG-WEBHOOK-ERROR"},
		"an object that is not as rendered": {path: webhook.PathGate, review: deployment(review{op: create, name: nameOf(t, injected), user: managerName, object: injected}), code: "TG-GATE-MUTATED"},
		"a policy, within an exemption": {
			path: webhook.PathGate, review: deployment(review{op: update, user: "oncall", object: managed, old: managed}),
			policies: []eval.Source{{Name: "never", Rego: "package p\ndeny contains {\"msg\": \"never\", \"code\": \"TG-POLICY-DENY\", \"fix\": \"wait\"}"}}, code: "TG-POLICY-DENY",
		},
		"a policy that runs into an error": {
			path: webhook.PathGate, review: deployment(review{op: create, user: writer, object: managed}),
			policies: []eval.Source{{Name: "broken", Rego: "package p\ndeny contains 1 if"}}, code: "TG-POLICY-ERROR",
		},
		"a policy by parameters and the namespace's labels": {
			path: webhook.PathGate, review: deployment(review{op: create, user: writer, object: managed}),
			policies: []eval.Source{{
				Name: "stage", Parameters: []byte(`{"stage":"production"}`),
				Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: "apps", Kinds: []string{"Deployment"}}}},
				Rego:  "package p\ndeny contains sprintf(\"not in %s\", [input.parameters.stage]) if input.namespace.labels.stage == input.parameters.stage",
			}}, code: "TG-POLICY-DENY",
		},
		"a warning alone": {
			path: webhook.PathGate, review: deployment(review{op: create, user: writer, object: managed}),
			policies: []eval.Source{{Name: "hint", Rego: "package p\nwarn contains \"mind this\""}},
		},
		"values that do not fit":           {path: webhook.PathTidegate, review: tidegates("releases", "Release", review{op: create, name: "new", user: "alice", object: release("new", "web", `{"name":1}`)}), code: "TG-VALUES-INVALID"},
		"a template that is not there":     {path: webhook.PathTidegate, review: tidegates("releases", "Release", review{op: create, name: "new", user: "alice", object: release("new", "wep", `{}`)}), code: "TG-TEMPLATE-NOTFOUND"},
		"a policy about what is rendered":  {path: webhook.PathTidegate, review: tidegates("releases", "Release", review{op: create, name: "new", user: "alice", object: release("new", "web", `{"token":"hunterxx"}`)}), policies: []eval.Source{{Name: "values", At: []v1alpha1.PolicyMoment{v1alpha1.AtRelease}, Rego: "package p\ndeny contains sprintf(\"found %v\", [input.release]) if input.object.kind == \"Deployment\""}}, code: "TG-POLICY-DENY"},
		"a Rollout, written by hand":       {path: webhook.PathTidegate, review: tidegates("rollouts", "Rollout", review{op: update, name: "cart-1", user: "alice", object: `{"kind":"Rollout"}`}), code: "TG-KIND-READONLY"},
		"a command that RBAC forbids":      {path: webhook.PathTidegate, review: tidegates("rolloutcommands", "RolloutCommand", review{op: create, name: "c", user: "mallory", object: `{"kind":"RolloutCommand","metadata":{"name":"c"},"spec":{"rollout":"cart-1","action":"abort","actor":"mallory"}}`}), code: "TG-COMMAND-FORBIDDEN"},
		"a command that RBAC cannot judge": {path: webhook.PathTidegate, review: tidegates("rolloutcommands", "RolloutCommand", review{op: create, name: "c", user: "eve", object: `{"kind":"RolloutCommand","metadata":{"name":"c"},"spec":{"rollout":"cart-1","action":"abort","actor":"eve"}}`}), code: "TG-WEBHOOK-ERROR"},
		"a BreakGlass of somebody else":    {path: webhook.PathTidegate, review: tidegates("breakglasses", "BreakGlass", review{op: create, name: "b", user: "bob", object: `{"kind":"BreakGlass","metadata":{"name":"b"},"spec":{"actor":"bob","reason":"r","expiresAt":"2026-11-23T03:30:00Z","objects":[{"resource":"pods","name":"cart-1"}]}}`}), code: "TG-BREAKGLASS-FORBIDDEN"},
		"a policy that does not compile":   {path: webhook.PathTidegate, review: tidegates("deploypolicies", "DeployPolicy", review{op: create, name: "p", user: "alice", object: `{"kind":"DeployPolicy","metadata":{"name":"p"},"spec":{"rego":"package p\ndeny contains"}}`}), code: "TG-POLICY-INVALID"},
		"a template that does not compile": {path: webhook.PathTidegate, review: tidegates("releasetemplates", "ReleaseTemplate", review{op: update, name: "web", user: "alice", object: `{"kind":"ReleaseTemplate","metadata":{"name":"web"},"spec":{"files":{"a.cue":"package a\nx: {"}}}`, old: `{"kind":"ReleaseTemplate","metadata":{"name":"web"},"spec":{"files":{"a.cue":"package a"}}}`}), code: "TG-TEMPLATE-BROKEN"},
		"no object at all":                 {path: webhook.PathTidegate, review: tidegates("releases", "Release", review{op: create, name: "new", user: "alice"}), code: "TG-REQUEST-MALFORMED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, tc.funcs)
			for _, p := range tc.policies {
				_ = c.policies.Put(p) // one is broken, and stands in for itself
			}
			v := c.ask(t, tc.path, tc.json(t))
			if v.Code != tc.code {
				t.Fatalf("wanted %q, found %q: %s", tc.code, v.Code, v.Message)
			}
			r, _ := c.recorded(t)
			if r == nil {
				t.Fatal("wanted a record, found none")
			}
			if r.RedactedVerdictDiffers {
				t.Errorf("wanted the same verdict without secrets, found %+v %s, before %+v", r.RedactedVerdict, r.RedactedError, r.Verdict)
			}
			if r.Verdict.Code != tc.code || r.Version != "test" || r.Time.IsZero() {
				t.Errorf("found %+v of %s at %s", r.Verdict, r.Version, r.Time)
			}
			c.same(t, r)
		})
	}
}

func nameOf(t testing.TB, object string) string {
	t.Helper()
	var u unstructured.Unstructured
	if err := json.Unmarshal([]byte(object), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u.GetName()
}

func TestWhatIsAllowedIsForgotten(t *testing.T) {
	c := newCluster(t, interceptor.Funcs{})
	if v := c.ask(t, webhook.PathGate, deployment(review{op: create, user: writer, object: managed}).json(t)); !v.Allowed {
		t.Fatalf("found %+v", v)
	}
	if r, _ := c.recorded(t); r != nil {
		t.Errorf("wanted no record, found %+v", r)
	}
}

// TestSamplesOfTheLibraryReplayTheSame asks each shipped policy about what it denies.
func TestSamplesOfTheLibraryReplayTheSame(t *testing.T) {
	const shipped = "../../policies/library"
	refusals := 0
	for _, name := range library.Names() {
		p, err := library.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		source := eval.FromDeployPolicy(p)
		source.At, source.Tests, source.Enforcement = []v1alpha1.PolicyMoment{v1alpha1.AtAdmission}, v1alpha1.PolicyTests{}, v1alpha1.EnforcementDeny
		if raw, err := os.ReadFile(filepath.Join(shipped, name, "samples", "parameters.yaml")); err == nil {
			if source.Parameters, err = yaml.YAMLToJSON(raw); err != nil {
				t.Fatal(err)
			}
		}
		files, err := filepath.Glob(filepath.Join(shipped, name, "samples", "denied", "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		c := newCluster(t, interceptor.Funcs{})
		if err := c.policies.Put(source); err != nil {
			t.Fatal(err)
		}
		for i, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			object, err := yaml.YAMLToJSON(raw)
			if err != nil {
				t.Fatal(err)
			}
			var u unstructured.Unstructured
			if err := json.Unmarshal(object, &u.Object); err != nil {
				t.Fatal(err)
			}
			gvk := u.GroupVersionKind()
			if gvk.Kind == "" || gvk.Kind == "Pod" || gvk.Kind == "List" {
				continue // Input of a promotion, or what the webhook is not asked about.
			}
			v := c.ask(t, webhook.PathGate, review{op: create, group: gvk.Group, resource: strings.ToLower(gvk.Kind) + "s", kind: gvk.Kind, name: u.GetName(), user: writer, object: string(object)}.json(t))
			if v.Allowed && len(v.Warnings) == 0 {
				continue // A sample for another moment.
			}
			refusals++
			r, text := c.recorded(t)
			if r == nil {
				t.Fatalf("%s: wanted a record, found none", file)
			}
			if r.RedactedVerdictDiffers {
				t.Errorf("%s: without secrets: %s", file, strings.Join(r.Verdict.Diff(r.Want()), "\n"))
			}
			if i == 0 {
				c.same(t, r) // by the policy as the record has it, which is compiled anew
			}
			if name == "plain-secrets" {
				free(t, file, text, "hunter2", "12345678", "AKIAIOSFODNN7EXAMPLE", "q7Zt1LxV9bKd3RfYw0Hc5NsPj8Ug2Ema")
			}
		}
	}
	if refusals < 150 {
		t.Errorf("wanted most samples to be refused, found %d", refusals)
	}
}

func TestHostileRecordsAreRefused(t *testing.T) {
	good := func(more string) string {
		return `{"format":"` + Format + `","version":"v","time":"2026-11-23T03:00:00Z","path":"/gate","identity":"m","managerNamespace":"n","redactedVerdictDiffers":false,"verdict":{"allowed":false},"review":{}` + more + `}`
	}
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":                   {"", "wanted JSON"},
		"no JSON":                   {"{", "wanted JSON"},
		"another version":           {strings.Replace(good(""), "/v1", "/v2", 1), "replay it with the version of tidegate that wrote it"},
		"no version":                {`{"path":"/gate"}`, "wanted format"},
		"a field that nobody knows": {good(`,"more":1`), "unknown field"},
		"two records":               {good("") + good(""), "wanted JSON"},
		"no review":                 {strings.Replace(good(""), `,"review":{}`, "", 1), "wanted a review"},
		"a policy without a name":   {good(`,"policies":[{}]`), "policies[0]"},
		"too many policies":         {good(`,"policies":[` + strings.Repeat(`{},`, maxPolicies) + `{}]`), "at most 500 policies"},
		"too many objects":          {good(`,"objects":[` + strings.Repeat(`{},`, maxObjects) + `{}]`), "at most 20000 objects"},
		"too many levels":           {good(`,"objects":[` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `]`), "exceeded max depth"},
		"too large":                 {good("") + strings.Repeat(" ", MaxRecord), "at most 32 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(strings.NewReader(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("wanted %q, found %v", tc.want, err)
			}
		})
	}
	for name, tc := range map[string]struct{ text, want string }{
		"a path that there is not":      {strings.Replace(good(""), "/gate", "/etc", 1), "wanted a path that the webhook has"},
		"a review that is none":         {good(""), "takes no such review"},
		"a review with a key twice":     {strings.Replace(good(""), `"review":{}`, `"review":{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","UID":"2"}}`, 1), "twice"},
		"an object that is none":        {good(`,"objects":[1]`), "objects[0]"},
		"an inventory that is left out": {strings.Replace(good(`,"constraints":{"inventoryLeftOut":true}`), "/gate", "/gatekeeper", 1), "too large to be recorded"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Decode(strings.NewReader(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Replay(t.Context(), Options{Renderer: webhook.TemplateRenderer{Compiled: &render.Cache{}}, Timeout: time.Minute})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("wanted %q, found %v", tc.want, err)
			}
		})
	}
}
