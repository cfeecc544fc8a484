package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/retry"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	follows "tidegate.io/tidegate/schemas/follow"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// promises are what users of other template systems complain of, said as what is so here.
// docs/spinnaker.md names each of them beside the complaint.
var promises = map[string]func(*testing.T){
	"a variable added with a default refuses nobody and rolls nobody":             aDefaultHarmsNobody,
	"an edit is tried on every Release before it is stored":                       editsAreTriedFirst,
	"an edit that breaks values is refused unless it is declared":                 breaksAreDeclared,
	"a Release that was broken before stands in nobody's way":                     theBrokenStandAside,
	"a template with a mistake is never stored":                                   mistakesAreNotStored,
	"values are judged when they are applied":                                     valuesAreJudgedAtOnce,
	"a name that the template does not have is refused with the nearest one":      unknownNamesAreRefused,
	"types, ranges, patterns, names and rules across fields are told all at once": everyRuleIsChecked,
	"a number in quotes is no number":                                             typesAreKept,
	"nothing is ever null":                                                        nothingIsNull,
	"text that looks like an expression stays text":                               textStaysText,
	"many variables may stand in one text and in any part of the output":          variablesReachEverything,
	"loops and conditions are the language's own":                                 loopsAndConditions,
	"a Release is a template and values, with nothing to inherit or to exclude":   nothingToInherit,
	"a template is named, never computed":                                         namesAreNotComputed,
	"a space within a text makes another digest":                                  spacesCount,
	"who follows a channel has what the channel names, whatever is newer":         channelsAreApart,
	"a channel that names nothing is refused":                                     channelsNameSomething,
	"an edit of the template reaches a Release only by its sync":                  nothingIsLate,
	"a template is held by its own users alone":                                   prefixesHoldNothing,
	"a published revision is changed by nobody":                                   revisionsAreReadOnly,
	"every variable has its form":                                                 formsComeWithIt,
}

func TestPromises(t *testing.T) {
	for sentence, keep := range promises {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			keep(t)
		})
	}
}

// webFiles are those of the shipped template web with pairs of texts replaced.
func webFiles(t *testing.T, pairs ...string) map[string]string {
	t.Helper()
	files, err := templates.Files("web")
	if err != nil {
		t.Fatal(err)
	}
	return replaced(t, files, pairs...)
}

// replaced replaces pairs of texts; each has to be in one of the files.
func replaced(t *testing.T, files map[string]string, pairs ...string) map[string]string {
	t.Helper()
	files = maps.Clone(files)
	for i := 0; i < len(pairs); i += 2 {
		done := false
		for name, source := range files {
			if !done && strings.Contains(source, pairs[i]) {
				files[name], done = strings.Replace(source, pairs[i], pairs[i+1], 1), true
			}
		}
		if !done {
			t.Fatalf("the template web does not have %q", pairs[i])
		}
	}
	return files
}

// Edits of the template web, as pairs for webFiles.
var (
	// withMotto adds a variable that changes nothing until it is set.
	withMotto = []string{
		"\t// How many pods serve", "\t// What the service lives by.\n\tmotto: *\"\" | =~\"^[a-z ]*$\"\n\n\t// How many pods serve",
		"env:       values.env", "env: {values.env, if values.motto != \"\" {MOTTO: values.motto}}",
	}
	// withNarrowPort refuses ports that were accepted before.
	withNarrowPort = []string{"*8080 | kit.#Port ", "*8080 | kit.#Port & >=1024 ", "wanted an integer from 1 to 65535", "wanted an integer from 1024 to 65535"}
	// withOtherPods gives every Release other pods.
	withOtherPods = []string{"drain:     5", "drain:     6"}
)

// office is the webhook before an API server that has a template web, its first revision
// and some Releases.
type office struct {
	*testing.T
	handlers *webhook.Handlers
	stored   map[string]client.Object
}

// everybody may do everything.
type everybody struct{}

func (everybody) Allowed(context.Context, authenticationv1.UserInfo, authorizationv1.ResourceAttributes) (bool, error) {
	return true, nil
}

func newOffice(t *testing.T, more ...client.Object) *office {
	t.Helper()
	files := webFiles(t)
	objects := append([]client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		webTemplate("web", files),
		&v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: "web-1"},
			Spec:       v1alpha1.TemplateRevisionSpec{Template: "web", Number: 1, Digest: render.Digest(files), Files: files},
		},
	}, more...)
	handlers, err := webhook.New(webhook.Config{
		Reader:   fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(objects...).Build(),
		Policies: eval.NewStore(), Renderer: webhook.TemplateRenderer{Compiled: &render.Cache{}}, Authorizer: everybody{},
		Identity: "system:serviceaccount:tidegate-system:tidegate-manager", ManagerNamespace: "tidegate-system",
		Clock: testclock.NewFakePassiveClock(time.Unix(1e9, 0)), Metrics: webhook.NewMetrics(),
		Timeout: within, // the machine may be slow, and nothing here is about time
	})
	if err != nil {
		t.Fatal(err)
	}
	o := &office{T: t, handlers: handlers, stored: map[string]client.Object{}}
	for _, object := range objects {
		o.stored[fmt.Sprintf("%T %s", object, object.GetName())] = object
	}
	return o
}

func webTemplate(name string, files map[string]string) *v1alpha1.ReleaseTemplate {
	return &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ReleaseTemplateSpec{Files: files}}
}

func shopRelease(name, values string, template v1alpha1.TemplateReference) *v1alpha1.Release {
	return &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       v1alpha1.ReleaseSpec{Template: template, Values: &runtime.RawExtension{Raw: []byte(values)}},
	}
}

// ofWeb leaves it to the template which revision a Release has.
var ofWeb = v1alpha1.TemplateReference{Name: "web"}

// serving are a Release and the Rollout that brought it into service with the shipped
// template.
func serving(t *testing.T, name, values string) []client.Object {
	t.Helper()
	result := rendered(t, webFiles(t), values, name)
	release := shopRelease(name, values, ofWeb)
	release.Generation = 1
	release.Status = v1alpha1.ReleaseStatus{Rollout: name + "-1", Revision: result.Revision, TemplateRevision: "web-1", ObservedGeneration: 1}
	rollout := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name + "-1"},
		Spec:       v1alpha1.RolloutSpec{Release: name, Number: 1, Revision: result.Revision, Digest: result.Digest, ReleaseGeneration: 1},
		Status:     v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutSucceeded},
	}
	return []client.Object{release, rollout}
}

// rendered is what values become in Release cart, or another one, of namespace shop.
func rendered(t *testing.T, files map[string]string, values string, name ...string) *render.Result {
	t.Helper()
	result, err := tried(t, files, values, name...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func tried(t *testing.T, files map[string]string, values string, name ...string) (*render.Result, error) {
	t.Helper()
	template, err := render.Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	return template.Render([]byte(values), render.Context{Name: append(name, "cart")[0], Namespace: "shop", Template: "web"})
}

// ask is what the API server does with a request of an administrator.
func (o *office) ask(op admissionv1.Operation, resource string, object, old client.Object) admission.Response {
	o.Helper()
	raw := func(object client.Object) runtime.RawExtension {
		if object == nil {
			return runtime.RawExtension{}
		}
		text, err := json.Marshal(object)
		if err != nil {
			o.Fatal(err)
		}
		return runtime.RawExtension{Raw: text}
	}
	subject := object
	if subject == nil {
		subject = old
	}
	return o.handlers.Tidegate.Handle(o.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "1", Operation: op, Name: subject.GetName(), Namespace: subject.GetNamespace(),
		Resource: metav1.GroupVersionResource{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: resource},
		UserInfo: authenticationv1.UserInfo{Username: "alice", Groups: []string{"system:masters"}},
		Object:   raw(object), OldObject: raw(old),
	}})
}

// publish applies the template web with other files.
func (o *office) publish(files map[string]string, edits ...func(*v1alpha1.ReleaseTemplate)) admission.Response {
	o.Helper()
	old := o.stored["*v1alpha1.ReleaseTemplate web"].(*v1alpha1.ReleaseTemplate)
	template := old.DeepCopy()
	template.Spec.Files = files
	for _, edit := range edits {
		edit(template)
	}
	return o.ask(admissionv1.Update, "releasetemplates", template, old)
}

// apply makes a Release.
func (o *office) apply(values string, template v1alpha1.TemplateReference) admission.Response {
	o.Helper()
	return o.ask(admissionv1.Create, "releases", shopRelease("new", values, template), nil)
}

// wantStored checks that a request is allowed, with these warnings and no others.
func (o *office) wantStored(r admission.Response, warnings ...string) {
	o.Helper()
	if !r.Allowed {
		o.Fatalf("wanted it to be allowed, found: %s", r.Result.Message)
	}
	if !slices.Equal(r.Warnings, warnings) {
		o.Errorf("warnings:\n%s\nwanted:\n%s", strings.Join(r.Warnings, "\n"), strings.Join(warnings, "\n"))
	}
}

// wantRefused checks that a request is denied by a verdict that has these parts.
func (o *office) wantRefused(r admission.Response, parts ...string) {
	o.Helper()
	if r.Allowed || r.Result.Code != 403 {
		o.Fatalf("wanted a denial with %q, found allowed=%v, code %d: %s", parts, r.Allowed, r.Result.Code, r.Result.Message)
	}
	for _, part := range parts {
		if !strings.Contains(r.Result.Message, part) {
			o.Errorf("wanted %q in:\n%s", part, r.Result.Message)
		}
	}
}

// three Releases that say little, something and much.
func three(t *testing.T) []client.Object {
	t.Helper()
	return slices.Concat(
		serving(t, "cart", `{"image": "shop/cart:1"}`),
		serving(t, "low", `{"image": "shop/low:1", "containerPort": 80}`),
		serving(t, "wide", `{"image": "shop/wide:1", "replicas": 60, "env": {"A": "1", "B": "2"}}`),
	)
}

func aDefaultHarmsNobody(t *testing.T) {
	o := newOffice(t, three(t)...)
	o.wantStored(o.publish(webFiles(t, withMotto...)),
		"of 3 releases of template web: 3 unchanged, 0 change in place, 0 roll, 0 would break and keep what they have")
	// The variable is not there for nothing.
	if a, b := rendered(t, webFiles(t, withMotto...), `{"image": "a:1"}`), rendered(t, webFiles(t, withMotto...), `{"image": "a:1", "motto": "ship it"}`); a.Revision == b.Revision {
		t.Error("the variable changes nothing even when it is set")
	}
}

func editsAreTriedFirst(t *testing.T) {
	o := newOffice(t, three(t)...)
	// No variable changes, so only rendering tells whom it hurts, if anybody.
	files := webFiles(t, append([]string{"replicas: values.replicas}", "replicas: values.replicas & <=50}"}, withOtherPods...)...)
	r := o.publish(files)
	if len(r.Warnings) != 3 {
		t.Fatalf("allowed=%v %s, warnings:\n%s", r.Allowed, r.Result.Message, strings.Join(r.Warnings, "\n"))
	}
	if !strings.HasPrefix(r.Warnings[0], "unknown: values: a check of the values beside #Variables is new or other: values.replicas & <=50") ||
		r.Warnings[1] != "of 3 releases of template web: 0 unchanged, 0 change in place, 2 roll, 1 would break and keep what they have" ||
		!strings.HasPrefix(r.Warnings[2], "would break: shop/wide: ") || !strings.Contains(r.Warnings[2], "60") {
		t.Errorf("warnings:\n%s", strings.Join(r.Warnings, "\n"))
	}
}

func breaksAreDeclared(t *testing.T) {
	o := newOffice(t, three(t)...)
	files := webFiles(t, withNarrowPort...)
	o.wantRefused(o.publish(files), "TG-TEMPLATE-BREAKING", "values.containerPort: ", "spec.allowBreakingAfter: 1")
	r := o.publish(files, func(t *v1alpha1.ReleaseTemplate) { t.Spec.AllowBreakingAfter = 1 })
	if !r.Allowed || !slices.ContainsFunc(r.Warnings, func(w string) bool {
		return strings.HasPrefix(w, "would break: shop/low: values.containerPort: ")
	}) {
		t.Errorf("declared, it is allowed=%v %s, warnings:\n%s", r.Allowed, r.Result.Message, strings.Join(r.Warnings, "\n"))
	}
}

func theBrokenStandAside(t *testing.T) {
	broken := shopRelease("broken", `{"imgae": "shop/broken:1"}`, ofWeb)
	broken.Status = v1alpha1.ReleaseStatus{TemplateRevision: "web-1", ObservedGeneration: broken.Generation}
	o := newOffice(t, append(three(t), broken)...)
	o.wantStored(o.publish(webFiles(t, withMotto...)),
		"of 4 releases of template web: 3 unchanged, 0 change in place, 0 roll, 0 would break and keep what they have, 1 do not render as it is, nor would they")
	o.wantStored(o.apply(`{"image": "shop/new:1"}`, ofWeb), `the template's analysis asks MetricSource "prometheus", which does not exist: the rollout will wait for it; do: kubectl get metricsources`)
}

func mistakesAreNotStored(t *testing.T) {
	o := newOffice(t)
	for what, c := range map[string]struct{ was, is, want string }{
		"a default outside of its bounds":       {"*2 | int & >=0 & <=100", "*200 | int & >=0 & <=100", "values.replicas: wanted a default that is"},
		"a reference to nothing":                {"path: values.healthPath", "path: values.helthPath", "helthPath"},
		"what only fails with values":           {"path: values.healthPath", "path: values.healthPath & =~\"^/api\"", "objects.deployment"},
		"a port that no container has":          {"to: \"http\"}}", "to: \"htpp\"}}", "htpp"},
		"a field that Kubernetes does not have": {"spec: template: _pod", "spec: {template: _pod, replica: 3}", "replica"},
		"a step that changes nothing":           {"weights: [5, 25, 50]", "weights: [5, 5, 50]", "rollout.steps[2].setWeight: wanted a change of the weight"},
		"a test of its own that does not pass":  {"#Context: kit.#Context", "#Context: kit.#Context\ntests: \"mine\": {values: image: \"a:1\", expect: objects: deployment: spec: replicas: 3}", "mine"},
		"a variable whose name is misspelt":     {"containerPort: *8080", "containerprot: *8080", "containerPort"},
	} {
		r := o.publish(webFiles(t, c.was, c.is))
		if r.Allowed {
			t.Errorf("%s was stored; warnings: %q", what, r.Warnings)
			continue
		}
		o.wantRefused(r, "TG-TEMPLATE-BROKEN", c.want)
	}
}

func valuesAreJudgedAtOnce(t *testing.T) {
	o := newOffice(t)
	o.wantRefused(o.apply(`{"replicas": -1, "image": "shop/cart"}`, ofWeb), "TG-VALUES-INVALID",
		"\n  values.image: wanted an image with a tag", "\n  values.replicas: wanted an integer from 0 to 100, found -1")
}

func unknownNamesAreRefused(t *testing.T) {
	o := newOffice(t)
	o.wantRefused(o.apply(`{"image": "a:1", "replcias": 5}`, ofWeb), "TG-VALUES-INVALID", "values.replcias: ", `did you mean "replicas"?`)
	o.wantRefused(o.apply(`{"image": "a:1", "resources": {"cpus": "1"}}`, ofWeb), "TG-VALUES-INVALID", "values.resources.cpus: ", `did you mean "cpu"?`)
}

// shop is a template of every kind of rule. Three variables stand in one text, and one of
// them in a file and in a query.
const shop = `package shop

import "tidegate.io/kit"

#Variables: {
	// The image.
	image!: kit.#Image
	// The team.
	team!: =~"^[a-z]+$"
	// The region.
	region!: "eu" | "us"
	// The stage.
	stage: *"prod" | "test"
	// The fewest pods.
	least: *2 | int & >=1
	// The most pods.
	most: (*4 | int) & >=least & <=100
	// The limit of errors.
	limit: *"0.01" | =~"^0[.][0-9]+$"
	// Where it writes to.
	store?: {
		type!: "disk" | "bucket"
		if type == "disk" {
			path!: string
		}
		if type == "bucket" {
			bucket!: string
		}
	}
}

#Context: kit.#Context
values:   #Variables
context:  #Context

_platform: kit.#Platform
_app: kit.#Set & {#with: facts: context}
_place: "\(values.team)-\(values.region)-\(values.stage)"

objects: {
	deployment: kit.#Deployment & {
		#with: {app: _app, replicas: values.least}
		spec: template: kit.#Pod & {#with: {
			app:   _app
			image: values.image
			ports: http: 8080
			env: PLACE: _place
			grace: 30
		}}
	}
	service: kit.#Service & {#with: {app: _app, port: 80, to: "http"}}
	config: {
		apiVersion: "v1"
		kind:       "ConfigMap"
		metadata: name: "\(context.name)-\(context.revision)"
		data: "shop.conf": "place = \(_place)\nleast = \(values.least)\n"
	}
	route: kit.#Route & {#with: {app: _app, port: 80, gateway: {name: "public", namespace: "mesh"}, hostnames: ["\(_place).example"], domain: _platform.domain}}
}

rollout: {
	type: "canary"
	steps: [{setWeight: 10}, {analyze: {}}, {setWeight: 100}]
	analysis: {
		source: "prometheus"
		metrics: [{
			name:    "errors"
			query:   "errors{place=\"\(_place)\"}"
			samples: "requests{place=\"\(_place)\"}"
			threshold: max: values.limit
		}]
	}
}
`

func everyRuleIsChecked(t *testing.T) {
	for what, c := range map[string]struct {
		values string
		want   []string
	}{
		"a mistake of every sort": {
			`{"team": "Shop", "region": "asia", "least": 0, "most": 101, "limit": 1}`,
			[]string{"values.image: ", "values.least: ", "values.limit: ", "values.most: ", "values.region: ", "values.team: "},
		},
		"two fields that do not fit each other": {
			`{"image": "a:1", "team": "shop", "region": "eu", "least": 5, "most": 3}`, []string{"values.most: "},
		},
		"a default that does not fit what is set": {
			`{"image": "a:1", "team": "shop", "region": "eu", "least": 5}`, []string{"values.most: "},
		},
		"what another value asks for": {
			`{"image": "a:1", "team": "shop", "region": "eu", "store": {"type": "bucket"}}`, []string{"values.store.bucket: "},
		},
		"what another value has no place for": {
			`{"image": "a:1", "team": "shop", "region": "eu", "store": {"type": "disk", "path": "/x", "bucket": "b"}}`, []string{"values.store.bucket: "},
		},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := tried(t, map[string]string{"shop.cue": shop}, c.values)
			if err == nil {
				t.Fatal("wanted mistakes, found none")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("wanted a line for each of %q, found:\n%s", c.want, err)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(lines[i], want+"wanted ") {
					t.Errorf("wanted %q first in %q", want, lines[i])
				}
			}
		})
	}
	if _, err := tried(t, map[string]string{"shop.cue": shop}, `{"image": "a:1", "team": "shop", "region": "eu", "least": 3, "most": 3, "store": {"type": "disk", "path": "/x"}}`); err != nil {
		t.Errorf("values that are right: %v", err)
	}
}

func typesAreKept(t *testing.T) {
	o := newOffice(t)
	for values, want := range map[string]string{
		`{"image": "a:1", "replicas": "3"}`:               `values.replicas: wanted an integer from 0 to 100, found "3"`,
		`{"image": "a:1", "replicas": 2.5}`:               `values.replicas: wanted an integer from 0 to 100, found 2.5`,
		`{"image": "a:1", "env": {"DEBUG": true}}`:        `values.env.DEBUG: wanted a string, found true`,
		`{"image": "a:1", "hostnames": "shop.example"}`:   `values.hostnames: wanted a list`,
		`{"image": "a:1", "gateway": "[object Object]"}`:  `values.gateway: wanted`,
		`{"image": "a:1", "resources": {"memory": 1024}}`: `values.resources.memory: wanted`,
	} {
		o.wantRefused(o.apply(values, ofWeb), want)
	}
}

func nothingIsNull(t *testing.T) {
	o := newOffice(t)
	o.wantRefused(o.apply(`{"image": null}`, ofWeb), "values.image: wanted an image with a tag")
	o.wantRefused(o.apply(`{"image": "a:1", "gateway": null}`, ofWeb), "values.gateway: wanted")
	text := objectsOf(t, rendered(t, webFiles(t), `{"image": "a:1"}`))
	if !strings.Contains(text, `"Deployment"`) || strings.Contains(text, ":null") || strings.Contains(text, `""`) {
		t.Errorf("wanted objects without null and without empty text, found:\n%s", text)
	}
}

func textStaysText(t *testing.T) {
	env := map[string]string{
		"SPEL":  "${templateVariables.image} ${#toInt('1')}",
		"CUE":   `\(values.image)`,
		"GO":    "{{ .Values.image }}",
		"YAML":  "on: [yes, 0x10, ~]",
		"QUOTE": `", replicas: 100, x: "`,
	}
	values, err := json.Marshal(map[string]any{"image": "a:1", "env": env})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, o := range rendered(t, webFiles(t), string(values)).Set {
		if o.GetKind() != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
			t.Fatal(err)
		}
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			found[e.Name] = e.Value
		}
		if *d.Spec.Replicas != 2 {
			t.Errorf("a text has set the replicas to %d", *d.Spec.Replicas)
		}
	}
	if !maps.Equal(found, env) {
		t.Errorf("wanted %q, found %q", env, found)
	}
}

func variablesReachEverything(t *testing.T) {
	result := rendered(t, map[string]string{"shop.cue": shop}, `{"image": "a:1", "team": "cart", "region": "eu", "least": 3}`)
	const place = "cart-eu-prod"
	for kind, part := range map[string]string{
		"Deployment": `"name":"PLACE","value":"` + place + `"`,
		"ConfigMap":  `place = ` + place + `\nleast = 3\n`,
		"HTTPRoute":  `"hostnames":["` + place + `.example"]`,
	} {
		i := slices.IndexFunc(append(slices.Clone(result.Set), result.Route), func(o *unstructured.Unstructured) bool { return o.GetKind() == kind })
		if i < 0 {
			t.Errorf("there is no %s", kind)
			continue
		}
		if text := linesOf(t, []any{append(slices.Clone(result.Set), result.Route)[i].Object}); !strings.Contains(text, part) {
			t.Errorf("wanted %s in the %s:\n%s", part, kind, text)
		}
	}
	metric := result.Strategy.Analysis.Metrics[0]
	if metric.Query != `errors{place="`+place+`"}` || metric.Samples != `requests{place="`+place+`"}` {
		t.Errorf("the analysis asks %q and %q", metric.Query, metric.Samples)
	}
	// What the file says is part of the revision, so pods and file never are of two minds.
	if other := rendered(t, map[string]string{"shop.cue": shop}, `{"image": "a:1", "team": "cart", "region": "us", "least": 3}`); other.Revision == result.Revision {
		t.Error("another file has the same revision")
	}
}

func loopsAndConditions(t *testing.T) {
	count := func(values, part string) int {
		return strings.Count(objectsOf(t, rendered(t, webFiles(t), values)), part)
	}
	for what, c := range map[string]struct {
		values, part string
		want         int
	}{
		"no name, no entry":               {`{"image": "a:1"}`, `"value":"x"`, 0},
		"an entry for each name":          {`{"image": "a:1", "env": {"A": "x", "B": "x", "C": "x"}}`, `"value":"x"`, 3},
		"no Vault role, no account":       {`{"image": "a:1"}`, `"kind":"ServiceAccount"`, 0},
		"an account where there is Vault": {`{"image": "a:1", "secrets": {"vault": {"role": "cart", "files": {"a": "b"}}}}`, `"kind":"ServiceAccount"`, 1},
	} {
		if n := count(c.values, c.part); n != c.want {
			t.Errorf("%s: wanted %d times %s, found %d", what, c.want, c.part, n)
		}
	}
}

func nothingToInherit(t *testing.T) {
	fields := func(v any) (names []string) {
		for f := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
		}
		return names
	}
	if got := fields(v1alpha1.ReleaseSpec{}); !slices.Equal(got, []string{"template", "values"}) {
		t.Errorf("a Release has %q", got)
	}
	if got := fields(v1alpha1.TemplateReference{}); !slices.Equal(got, []string{"name", "revision", "digest", "channel"}) {
		t.Errorf("a Release refers to a template by %q", got)
	}
	// Nor is there a way around through the values.
	o := newOffice(t)
	for _, name := range []string{"exclude", "stages", "triggers", "notifications", "parameters", "objects", "rollout", "context", "tests"} {
		o.wantRefused(o.apply(fmt.Sprintf(`{"image": "a:1", %q: []}`, name), ofWeb), "values."+name+": wanted a variable of the template")
	}
	// Whatever the values, all of the template comes along.
	least, full := rendered(t, webFiles(t), `{"image": "a:1"}`), rendered(t, webFiles(t), `{"image": "b:2", "replicas": 9, "containerPort": 99, "hostnames": ["x.example"]}`)
	if a, b := kindsOf(least), kindsOf(full); !slices.Equal(a, b) || len(a) < 4 {
		t.Errorf("one Release gets %q and another one %q", a, b)
	}
	if !reflect.DeepEqual(least.Strategy.Steps, full.Strategy.Steps) || len(least.Strategy.Steps) == 0 {
		t.Errorf("one Release takes the steps %+v and another one %+v", least.Strategy.Steps, full.Strategy.Steps)
	}
}

func kindsOf(r *render.Result) []string {
	kinds := []string{r.Route.GetKind()}
	for _, o := range slices.Concat(r.Set, r.Shared) {
		kinds = append(kinds, o.GetKind())
	}
	slices.Sort(kinds)
	return kinds
}

func namesAreNotComputed(t *testing.T) {
	o := newOffice(t)
	for _, name := range []string{"${trigger.template}", "web:latest", "web-1", "spinnaker://web", "we*"} {
		o.wantRefused(o.apply(`{"image": "a:1"}`, v1alpha1.TemplateReference{Name: name}), "TG-TEMPLATE-NOTFOUND", fmt.Sprintf("found %q", name))
	}
}

func spacesCount(t *testing.T) {
	one := webFiles(t)
	two := webFiles(t, `"0.01"`, `"0.01 "`)
	if render.Digest(one) == render.Digest(two) {
		t.Error("a space within a text of the source makes no other digest")
	}
	a, b := rendered(t, one, `{"image": "a:1", "env": {"A": "x y"}}`), rendered(t, one, `{"image": "a:1", "env": {"A": "xy"}}`)
	if a.Digest == b.Digest || a.Revision == b.Revision {
		t.Error("a space within a value makes no other digest")
	}
	// Space between values is none within.
	if c := rendered(t, one, "{ \"env\" : {\"A\":\"xy\"},\n\t\"image\":\"a:1\" }"); c.Digest != b.Digest {
		t.Error("space between values makes another digest")
	}
}

// published are the first n revisions of the template web.
func published(n int64) []v1alpha1.TemplateRevision {
	var out []v1alpha1.TemplateRevision
	for i := range n {
		out = append(out, v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i+1)},
			Spec:       v1alpha1.TemplateRevisionSpec{Template: "web", Number: i + 1, Digest: fmt.Sprintf("sha256:%064d", i+1)},
		})
	}
	return out
}

// chosen is the revision that a Release of the template has.
func chosen(t *testing.T, template *v1alpha1.ReleaseTemplate, release *v1alpha1.Release, n int64) string {
	t.Helper()
	choice, err := follows.Choose(release, template, published(n))
	if err != nil {
		t.Fatal(err)
	}
	return choice.Revision.Name
}

func channelsAreApart(t *testing.T) {
	template := webTemplate("web", nil)
	followers := map[string]v1alpha1.TemplateReference{
		"stable": {Name: "web", Channel: "stable"}, "test": {Name: "web", Channel: "test"},
		"number": {Name: "web", Revision: 2}, "digest": {Name: "web", Digest: published(2)[1].Spec.Digest},
	}
	for _, step := range []struct {
		what         string
		revisions    int64
		stable, test int64
		want         map[string]string
	}{
		{"at first", 2, 1, 2, map[string]string{"stable": "web-1", "test": "web-2", "number": "web-2", "digest": "web-2"}},
		{"a newer one is published", 3, 1, 2, map[string]string{"stable": "web-1", "test": "web-2", "number": "web-2", "digest": "web-2"}},
		{"test is moved", 3, 1, 3, map[string]string{"stable": "web-1", "test": "web-3", "number": "web-2", "digest": "web-2"}},
		{"stable is moved", 4, 3, 3, map[string]string{"stable": "web-3", "test": "web-3", "number": "web-2", "digest": "web-2"}},
		{"stable is moved back", 4, 1, 3, map[string]string{"stable": "web-1", "test": "web-3", "number": "web-2", "digest": "web-2"}},
	} {
		template.Spec.Channels = []v1alpha1.TemplateChannel{{Name: "stable", Revision: step.stable}, {Name: "test", Revision: step.test}}
		template.Status.Sync = &v1alpha1.TemplateSyncStatus{Phase: v1alpha1.SyncSynced, Target: fmt.Sprintf("web-%d", step.revisions)}
		for name, reference := range followers {
			release := shopRelease(name, `{}`, reference)
			// What it had last, and what a sync once gave it, say nothing.
			release.Status.TemplateRevision = "web-2"
			release.Status.Assigned = &v1alpha1.AssignedRevision{Name: "web-2"}
			if got := chosen(t, template, release, step.revisions); got != step.want[name] {
				t.Errorf("%s: %s has %s, wanted %s", step.what, name, got, step.want[name])
			}
		}
	}
}

func channelsNameSomething(t *testing.T) {
	o := newOffice(t)
	r := o.publish(webFiles(t), func(t *v1alpha1.ReleaseTemplate) {
		t.Spec.Channels = []v1alpha1.TemplateChannel{{Name: "stable", Revision: 1}, {Name: "test", Revision: 7}}
	})
	o.wantRefused(r, "TG-TEMPLATE-CHANNEL", "spec.channels[1] test: wanted the number of a revision, one of 1, found 7")
	o.wantStored(o.publish(webFiles(t), func(t *v1alpha1.ReleaseTemplate) {
		t.Spec.Channels = []v1alpha1.TemplateChannel{{Name: "stable", Revision: 1}}
	}))
	o.wantRefused(o.apply(`{"image": "a:1"}`, v1alpha1.TemplateReference{Name: "web", Channel: "stabel"}), "TG-TEMPLATE-NOTFOUND", "spec.template.channel", "stabel")
	o.wantRefused(o.apply(`{"image": "a:1"}`, v1alpha1.TemplateReference{Name: "web", Revision: 2}), "TG-TEMPLATE-NOTFOUND", "spec.template.revision: wanted revision 2")
}

func nothingIsLate(t *testing.T) {
	for what, c := range map[string]struct {
		sync   v1alpha1.TemplateSync
		status *v1alpha1.TemplateSyncStatus
		edited bool
		want   string
	}{
		"a revision that the sync does not know of yet": {v1alpha1.TemplateSync{Type: v1alpha1.SyncImmediate}, &v1alpha1.TemplateSyncStatus{Phase: v1alpha1.SyncSynced, Target: "web-1"}, false, "web-1"},
		"a wave whose turn has not come":                {v1alpha1.TemplateSync{Type: v1alpha1.SyncStaged}, &v1alpha1.TemplateSyncStatus{Phase: v1alpha1.SyncSyncing, Target: "web-2", From: "web-1"}, false, "web-1"},
		"its team's own edit before its wave":           {v1alpha1.TemplateSync{Type: v1alpha1.SyncStaged}, &v1alpha1.TemplateSyncStatus{Phase: v1alpha1.SyncSyncing, Target: "web-2", From: "web-1"}, true, "web-1"},
		"a sync that has halted":                        {v1alpha1.TemplateSync{Type: v1alpha1.SyncStaged}, &v1alpha1.TemplateSyncStatus{Phase: v1alpha1.SyncHalted, Target: "web-2", From: "web-1"}, true, "web-1"},
		"a manual sync":                                 {v1alpha1.TemplateSync{Type: v1alpha1.SyncManual}, &v1alpha1.TemplateSyncStatus{Phase: v1alpha1.SyncSynced, Target: "web-2"}, false, "web-1"},
		"a manual sync and its team's own edit":         {v1alpha1.TemplateSync{Type: v1alpha1.SyncManual}, &v1alpha1.TemplateSyncStatus{Phase: v1alpha1.SyncSynced, Target: "web-2"}, true, "web-2"},
	} {
		template := webTemplate("web", nil)
		template.Spec.Sync, template.Status.Sync = c.sync, c.status
		release := shopRelease("cart", `{}`, ofWeb)
		release.Generation = 5
		release.Status = v1alpha1.ReleaseStatus{TemplateRevision: "web-1", ObservedGeneration: 5, Assigned: &v1alpha1.AssignedRevision{Name: "web-1", Generation: 5}}
		if c.edited {
			release.Generation++
		}
		if got := chosen(t, template, release, 2); got != c.want {
			t.Errorf("%s: it has %s, wanted %s", what, got, c.want)
		}
	}
}

func prefixesHoldNothing(t *testing.T) {
	files := webFiles(t)
	web2 := webTemplate("web2", files)
	o := newOffice(t, web2, shopRelease("cart", `{}`, v1alpha1.TemplateReference{Name: "web2"}), shopRelease("pinned", `{}`, v1alpha1.TemplateReference{Name: "web2", Revision: 1}))
	o.wantStored(o.ask(admissionv1.Delete, "releasetemplates", nil, webTemplate("web", files)))
	o.wantRefused(o.ask(admissionv1.Delete, "releasetemplates", nil, web2), "TG-TEMPLATE-INUSE", "found 2: shop/cart, shop/pinned; do: ")
}

func revisionsAreReadOnly(t *testing.T) {
	o := newOffice(t)
	old := o.stored["*v1alpha1.TemplateRevision web-1"].(*v1alpha1.TemplateRevision)
	changed := old.DeepCopy()
	changed.Spec.Files = webFiles(t, withOtherPods...)
	o.wantRefused(o.ask(admissionv1.Update, "templaterevisions", changed, old), "TG-KIND-READONLY")
	o.wantRefused(o.ask(admissionv1.Delete, "templaterevisions", nil, old), "TG-KIND-READONLY")
	again := old.DeepCopy()
	again.Name = "web-2"
	o.wantRefused(o.ask(admissionv1.Create, "templaterevisions", again, nil), "TG-KIND-READONLY")
}

func formsComeWithIt(t *testing.T) {
	template, err := render.Compile(webFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := template.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Required   []string
		Properties map[string]struct {
			Title, Description string
			Default            any
			Minimum, Maximum   *int
		}
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(schema.Required, []string{"image"}) {
		t.Errorf("a form would ask for %q", schema.Required)
	}
	replicas := schema.Properties["replicas"]
	if replicas.Title != "Replicas" || replicas.Default != 2.0 || replicas.Minimum == nil || *replicas.Minimum != 0 || replicas.Maximum == nil || *replicas.Maximum != 100 {
		t.Errorf("a form would show %+v", replicas)
	}
	variables, err := template.Variables()
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range schema.Properties {
		if p.Description == "" || p.Title == "" {
			t.Errorf("a form would show %s without a word", name)
		}
	}
	if len(schema.Properties) < 10 || len(variables) < len(schema.Properties) {
		t.Errorf("a form would show %d of %d variables", len(schema.Properties), len(variables))
	}
}

// clusterPromises are kept by the manager's loops before a real API server, one after the
// other.
var clusterPromises = []struct {
	sentence string
	keep     func(*estate, *testing.T)
}{
	{"a new variable with a default starts no rollout and touches no pod", (*estate).defaultHarmsNobody},
	{"one edit makes one record", (*estate).oneRecord},
	{"a Release that the new revision breaks keeps what it has and blocks nobody", (*estate).brokenBlocksNobody},
	{"a newer revision reaches nobody who follows a channel or pins", (*estate).channelsStay},
	{"moving a channel moves those who follow it alone", (*estate).channelsAreApart},
	{"with manual sync an edit of the template waits for each team", (*estate).manualWaits},
	{"the API server itself keeps a revision as it is", (*estate).revisionsStay},
	{"what the API server does not store it does not call a success", (*estate).nothingIsSwallowed},
	{"nothing is left of a template but the number it got to", (*estate).nothingIsLeft},
}

// TestPromisesOnACluster brings seven Releases of the shipped template web into service and
// then does what breaks pipelines elsewhere. What comes later builds on what was before.
func TestPromisesOnACluster(t *testing.T) {
	cluster := controlPlane(t)
	e := &estate{shipped: newShipped(t, cluster.RESTConfig(), "web")}
	e.source = e.files()
	e.manage()
	e.publish()
	e.begin()
	for _, promise := range clusterPromises {
		if !t.Run(promise.sentence, func(t *testing.T) {
			e.t = t
			defer func() {
				if t.Failed() {
					e.tell()
				}
			}()
			promise.keep(e, t)
		}) {
			return
		}
	}
}

// estate is a template and Releases of all kinds of followers.
type estate struct {
	*shipped
	// source is what was published last.
	source map[string]string
}

var (
	// free are the Releases that follow the sync.
	free = []string{"cart", "low", "wide"}
	// held are those that do not.
	held = []string{"digest", "pinned", "stable", "test"}
)

func (e *estate) begin() {
	e.t.Helper()
	e.change(func(t *v1alpha1.ReleaseTemplate) {
		t.Spec.Channels = []v1alpha1.TemplateChannel{{Name: "stable", Revision: 1}, {Name: "test", Revision: 1}}
	})
	for name, template := range map[string]v1alpha1.TemplateReference{
		"cart": ofWeb, "low": ofWeb, "wide": ofWeb,
		"stable": {Name: "web", Channel: "stable"}, "test": {Name: "web", Channel: "test"},
		"pinned": {Name: "web", Revision: 1}, "digest": {Name: "web", Digest: render.Digest(e.source)},
	} {
		values := `{"image": "shop/a:1", "replicas": 1}`
		switch name {
		case "low":
			values = `{"image": "shop/a:1", "replicas": 1, "containerPort": 80}`
		case "wide":
			values = `{"image": "shop/a:1", "replicas": 1, "env": {"A": "1"}, "hostnames": ["wide.example"]}`
		}
		release := shopRelease(name, values, template)
		release.Namespace = e.namespace
		e.create(release)
	}
	e.awaitOn("web-1", slices.Concat(free, held)...)
}

func (e *estate) named(name string) *v1alpha1.Release {
	e.t.Helper()
	r := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name}}
	e.get(r)
	return r
}

// awaitOn waits until the Releases serve what the revision renders.
func (e *estate) awaitOn(revision string, names ...string) {
	e.t.Helper()
	for _, name := range names {
		e.await(fmt.Sprintf("%s serves with %s", name, revision), func() bool {
			r := e.named(name)
			return e.has(r, v1alpha1.ReleaseServing) && brief(r.Status.TemplateRevision) == revision && r.Status.StableRevision == r.Status.Revision
		})
	}
}

// stands says what of the Releases is in the cluster: Rollouts, sets, and how often each
// was written.
func (e *estate) stands(names ...string) map[string]string {
	e.t.Helper()
	var deployments appsv1.DeploymentList
	if err := e.client.List(e.t.Context(), &deployments, client.InNamespace(e.namespace)); err != nil {
		e.t.Fatal(err)
	}
	rollouts := e.rollouts()
	out := map[string]string{}
	for _, name := range names {
		r := e.named(name)
		var parts []string
		for _, d := range deployments.Items {
			if d.Labels[v1alpha1.LabelRelease] == name {
				parts = append(parts, fmt.Sprintf("%s %s %d", d.Name, d.UID, d.Generation))
			}
		}
		for _, ro := range rollouts {
			if ro.Spec.Release == name {
				parts = append(parts, ro.Name)
			}
		}
		slices.Sort(parts)
		if len(parts) < 2 {
			e.t.Fatalf("of %s there is %q", name, parts)
		}
		out[name] = fmt.Sprintf("%s: %s", r.Status.StableRevision, strings.Join(parts, ", "))
	}
	return out
}

func (e *estate) wantSame(before map[string]string) {
	e.t.Helper()
	for name, now := range e.stands(slices.Collect(maps.Keys(before))...) {
		if now != before[name] {
			e.t.Errorf("%s was\n%s\nand is\n%s", name, before[name], now)
		}
	}
}

func (e *estate) change(edit func(*v1alpha1.ReleaseTemplate)) {
	e.t.Helper()
	e.await("the template is edited", func() bool {
		template := webTemplate("web", nil)
		e.get(template)
		edit(template)
		return e.client.Update(e.t.Context(), template) == nil
	})
}

// edit publishes the source with pairs of texts replaced, and waits until the sync is to the
// revision: its name alone is in the status before it is made.
func (e *estate) edit(revision string, pairs []string, more ...func(*v1alpha1.ReleaseTemplate)) {
	e.t.Helper()
	e.source = replaced(e.t, e.source, pairs...)
	e.change(func(t *v1alpha1.ReleaseTemplate) {
		t.Spec.Files = e.source
		for _, edit := range more {
			edit(t)
		}
	})
	e.await(revision+" is published", func() bool {
		template := webTemplate("web", nil)
		e.get(template)
		s := template.Status.Sync
		return s != nil && brief(s.Target) == revision
	})
}

func (e *estate) awaitSynced(revision string) *v1alpha1.TemplateSyncStatus {
	e.t.Helper()
	template := webTemplate("web", nil)
	e.await("the sync to "+revision+" is through", func() bool {
		e.get(template)
		s := template.Status.Sync
		return s != nil && brief(s.Target) == revision && s.Phase == v1alpha1.SyncSynced
	})
	return template.Status.Sync
}

// team changes the image of a Release, as its team does.
func (e *estate) team(name, image string) {
	e.t.Helper()
	e.await(name+" is applied", func() bool {
		r := e.named(name)
		r.Spec.Values = &runtime.RawExtension{Raw: []byte(strings.Replace(string(r.Spec.Values.Raw), `"shop/a:1"`, strconv.Quote(image), 1))}
		return e.client.Update(e.t.Context(), r) == nil
	})
}

func (e *estate) defaultHarmsNobody(t *testing.T) {
	before := e.stands(slices.Concat(free, held)...)
	e.edit("web-2", withMotto)
	if s := e.awaitSynced("web-2"); len(s.Waiting) > 0 {
		t.Errorf("those wait: %q", waits(s))
	}
	e.awaitOn("web-2", free...)
	e.wantSame(before)
}

func (e *estate) oneRecord(t *testing.T) {
	var list v1alpha1.ReleaseTemplateList
	if err := e.client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	if names := e.revisions(); len(list.Items) != 1 || !slices.Equal(names, []string{"web-1", "web-2"}) {
		t.Errorf("of one template and one edit there are %d templates and the revisions %q", len(list.Items), names)
	}
	// An edit of something else, and the same source once more, are no revision.
	e.change(func(t *v1alpha1.ReleaseTemplate) { t.Labels = map[string]string{"team": "platform"} })
	e.change(func(t *v1alpha1.ReleaseTemplate) { t.Spec.Sync.MaxConcurrent = 7 })
	e.await("the template is looked at", func() bool {
		template := webTemplate("web", nil)
		e.get(template)
		return template.Status.ObservedGeneration == template.Generation
	})
	if names := e.revisions(); !slices.Equal(names, []string{"web-1", "web-2"}) {
		t.Errorf("an edit of something else has made the revisions %q", names)
	}
}

func (e *estate) revisions() (names []string) {
	e.t.Helper()
	var list v1alpha1.TemplateRevisionList
	if err := e.client.List(e.t.Context(), &list); err != nil {
		e.t.Fatal(err)
	}
	for _, r := range list.Items {
		names = append(names, brief(r.Name))
	}
	return names
}

func (e *estate) brokenBlocksNobody(t *testing.T) {
	before := e.stands("low")
	e.edit("web-3", append(slices.Clone(withNarrowPort), withOtherPods...))
	s := e.awaitSynced("web-3")
	if got := waits(s); !slices.Equal(got, []string{"low Broken"}) {
		t.Errorf("those wait: %q", got)
	}
	e.awaitOn("web-3", "cart", "wide")
	e.await("its team is told", func() bool { return e.has(e.named("low"), v1alpha1.ReleaseInvalid) })
	if m := e.named("low").Status.Message; !strings.Contains(m, "values.containerPort: wanted") {
		t.Errorf("its team is told %q", m)
	}
	e.wantSame(before)
	// Others go on with their work meanwhile.
	e.team("cart", "shop/a:2")
	e.awaitOn("web-3", "cart")
	e.wantSame(before)
}

func (e *estate) channelsStay(*testing.T) {
	e.awaitOn("web-1", held...)
	for name, now := range e.stands(held...) {
		if !strings.Contains(now, name+"-1") || strings.Contains(now, name+"-2") {
			e.t.Errorf("%s was rolled: %s", name, now)
		}
	}
}

func (e *estate) channelsAreApart(*testing.T) {
	before := e.stands("stable", "pinned", "digest", "cart")
	e.change(func(t *v1alpha1.ReleaseTemplate) { t.Spec.Channels[1].Revision = 3 })
	e.awaitOn("web-3", "test")
	e.awaitOn("web-1", "stable", "pinned", "digest")
	e.wantSame(before)
}

func (e *estate) manualWaits(*testing.T) {
	before := e.stands("wide", "stable", "test", "pinned", "digest")
	e.edit("web-4", []string{"drain:     6", "drain:     7"}, func(t *v1alpha1.ReleaseTemplate) { t.Spec.Sync.Type = v1alpha1.SyncManual })
	e.await("cart is applied", func() bool {
		r := e.named("cart")
		r.Spec.Values = &runtime.RawExtension{Raw: []byte(`{"image": "shop/a:3", "replicas": 1}`)}
		return e.client.Update(e.t.Context(), r) == nil
	})
	// All the time that a rollout takes, nobody else moves.
	e.awaitOn("web-4", "cart")
	e.awaitOn("web-3", "wide", "test")
	e.wantSame(before)
}

func (e *estate) revisionsStay(t *testing.T) {
	revision := &v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: e.named("pinned").Status.TemplateRevision}}
	e.get(revision)
	if revision.Spec.Schema == nil || !strings.Contains(string(revision.Spec.Schema.Raw), `"replicas"`) {
		t.Error("a revision has no form")
	}
	revision.Spec.Files = e.source
	if err := e.client.Update(t.Context(), revision); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "never changes") {
		t.Errorf("an administrator's edit of a revision, without any webhook: %v", err)
	}
}

func (e *estate) nothingIsSwallowed(t *testing.T) {
	template := webTemplate("web", nil)
	// Its status may be written in between.
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		e.get(template)
		template.Spec.Channels = append(template.Spec.Channels, v1alpha1.TemplateChannel{Name: "1.2.0", Revision: 1})
		return e.client.Update(t.Context(), template)
	})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.channels[2].name") {
		t.Errorf("a channel whose name cannot be: %v", err)
	}
	// As kubectl asks.
	strict := client.WithFieldValidation(e.client, metav1.FieldValidationStrict)
	for _, field := range []string{"exclude", "variables", "vlaues"} {
		release := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "tidegate.io/v1alpha1", "kind": "Release",
			"metadata": map[string]any{"name": "typo", "namespace": e.namespace},
			"spec":     map[string]any{"template": map[string]any{"name": "web"}, field: map[string]any{"image": "a:1"}},
		}}
		if err := strict.Create(t.Context(), release); err == nil || !strings.Contains(err.Error(), `unknown field "spec.`+field+`"`) {
			t.Errorf("a Release with %s: %v", field, err)
		}
	}
}

func (e *estate) nothingIsLeft(t *testing.T) {
	if err := e.client.DeleteAllOf(t.Context(), &v1alpha1.Release{}, client.InNamespace(e.namespace)); err != nil {
		t.Fatal(err)
	}
	e.await("the Releases are gone", func() bool {
		var list v1alpha1.ReleaseList
		return e.client.List(t.Context(), &list) == nil && len(list.Items) == 0
	})
	if err := e.client.Delete(t.Context(), webTemplate("web", nil)); err != nil {
		t.Fatal(err)
	}
	e.await("the newest revision is all that is left", func() bool { return slices.Equal(e.revisions(), []string{"web-4"}) })
	// A name never means something else: who makes the template anew gets the next number.
	e.source = webFiles(t)
	e.create(webTemplate("web", e.source))
	e.await("the template is published anew", func() bool { return slices.Contains(e.revisions(), "web-5") })
}

// tell logs where an estate stands whose test has failed.
func (e *estate) tell() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.t.Context()), 5*time.Second)
	defer cancel()
	template := webTemplate("web", nil)
	if err := e.client.Get(ctx, client.ObjectKeyFromObject(template), template); err == nil {
		e.t.Logf("the template says %+v, %+v", template.Status, template.Status.Sync)
	}
	var releases v1alpha1.ReleaseList
	if err := e.client.List(ctx, &releases); err == nil {
		for _, r := range releases.Items {
			e.t.Logf("%s: %s on %s (tried %s, assigned %+v): %s", r.Name, r.Status.Phase, r.Status.TemplateRevision, r.Status.Tried, r.Status.Assigned, r.Status.Message)
		}
	}
	var revisions v1alpha1.TemplateRevisionList
	if err := e.client.List(ctx, &revisions); err == nil {
		for _, r := range revisions.Items {
			e.t.Logf("there is %s", r.Name)
		}
	}
}

// complaints are the threads in which users of other systems complain of templates; each
// has an answer in docs/spinnaker.md.
var complaints = []string{
	"spinnaker#4912", "spinnaker#5842", "spinnaker#6269", "spinnaker#6583", "spinnaker#5569", "spin#189", "deck#7145", "spinnaker#4670",
	"spinnaker#5059", "spinnaker#6177", "spinnaker#4485", "spinnaker#4856", "spinnaker#2654", "spinnaker#4453", "spinnaker#4637",
	"spinnaker#3930", "spinnaker#4056", "orca#2472",
	"kubevela#6435", "kubevela#6574", "kubevela#6796", "kubevela#7014", "kubevela#1595", "kubevela#6505", "kubevela#7384", "kubevela#6515",
	"kubevela#6249", "kubevela#2563", "kubevela#5050",
	"kro#883", "kro#935", "kro#482", "kro#577", "kro#1283", "kro#924", "kro#1397", "kro#304", "kro#659", "kro#1201", "kro#1408",
	"timoni#498", "timoni#556", "timoni#403", "timoni#277",
	"cue#1902", "cue#3881", "cue#3981", "cue#1424", "cue#2121", "cue#661", "cue#2489", "cue#3752", "cue#158", "cue#1373", "cue#4251",
}

// reference is how docs/spinnaker.md names a test, and one of its cases.
var reference = regexp.MustCompile("`([a-z/_-]+_test\\.go):(Test[A-Za-z0-9]+)`(?: \"([^\"]+)\")?")

func TestEveryComplaintHasATestThatExists(t *testing.T) {
	root := filepath.Join("..", "..")
	raw, err := os.ReadFile(filepath.Join(root, "docs", "spinnaker.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, thread := range complaints {
		if !regexp.MustCompile(regexp.QuoteMeta(thread) + `\b`).MatchString(text) {
			t.Errorf("wanted an answer to %s, found none", thread)
		}
	}
	files := map[string]*testFile{}
	for line := range strings.SplitSeq(text, "\n") {
		found := reference.FindAllStringSubmatch(line, -1)
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if strings.HasPrefix(line, "|") && len(cells) == 3 && !strings.HasPrefix(line, "|---") && strings.TrimSpace(cells[2]) != "test" && len(found) == 0 {
			t.Errorf("wanted a test in this row:\n%s", line)
		}
		for _, r := range found {
			f := files[r[1]]
			if f == nil {
				f = readTests(t, filepath.Join(root, r[1]))
				files[r[1]] = f
			}
			if !f.tests[r[2]] || r[3] != "" && !f.texts[r[3]] {
				t.Errorf("wanted the test %s, found none of that name", r[0])
			}
		}
	}
	if len(files) < 10 {
		t.Errorf("found tests of %d files only: the rows are not read", len(files))
	}
	sentences := slices.Collect(maps.Keys(promises))
	for _, p := range clusterPromises {
		sentences = append(sentences, p.sentence)
	}
	for _, s := range sentences {
		if !strings.Contains(text, strconv.Quote(s)) {
			t.Errorf("wanted %q in docs/spinnaker.md, found it not", s)
		}
	}
}

// testFile is what a file with tests declares: functions, and the texts in it, the names
// of cases among them.
type testFile struct{ tests, texts map[string]bool }

func readTests(t *testing.T, path string) *testFile {
	t.Helper()
	out := &testFile{tests: map[string]bool{}, texts: map[string]bool{}}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Errorf("reading the tests: %v", err)
		return out
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			out.tests[n.Name.Name] = n.Recv == nil
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
				out.texts[text] = true
			}
		}
		return true
	})
	return out
}
