package render

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func render(t testing.TB, tpl *Template, values string, c Context) *Result {
	t.Helper()
	r, err := tpl.Render([]byte(values), c)
	if err != nil {
		t.Fatalf("rendering %s: %v", values, err)
	}
	return r
}

func text(t testing.TB, r *Result) string {
	t.Helper()
	out, err := canonical(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestRenderRefusesWhatATemplateMakes(t *testing.T) {
	const deploymentName = "kind:       \"Deployment\"\n\tmetadata: name: _set"
	object := func(extra string) []string { return []string{"rollout: {", extra + "\nrollout: {"} }
	for name, c := range map[string]struct {
		edits []string
		want  string
	}{
		"another namespace":                  {[]string{deploymentName, deploymentName + "\n\tmetadata: namespace: \"kube-system\""}, `objects.deployment (Deployment cart-`},
		"another namespace, by name":         {[]string{deploymentName, deploymentName + "\n\tmetadata: namespace: \"kube-system\""}, "wanted the Release's namespace shop, found metadata.namespace kube-system"},
		"a cluster-scoped kind":              {object(`objects: x: {apiVersion: "v1", kind: "Namespace", metadata: name: "cart"}`), `objects.x (Namespace cart): wanted one of apps/v1 DaemonSet, apps/v1 Deployment`},
		"a kind that is not allowed":         {object(`objects: x: {apiVersion: "v1", kind: "Pod", metadata: name: _set}`), `found "Pod" of "v1"`},
		"an old version of a kind":           {[]string{`apiVersion: "apps/v1"`, `apiVersion: "apps/v1beta1"`}, `found "Deployment" of "apps/v1beta1"`},
		"an object without metadata":         {object(`objects: x: {apiVersion: "v1", kind: "ServiceAccount"}`), `found ""`},
		"a name of another Release":          {object(`objects: x: {apiVersion: "v1", kind: "ServiceAccount", metadata: name: "other"}`), "wanted the name cart, or one that begins with it and a dash"},
		"a name with capital letters":        {object(`objects: x: {apiVersion: "v1", kind: "ServiceAccount", metadata: name: "cart-A"}`), "wanted a metadata.name"},
		"an owner of its own":                {[]string{deploymentName, deploymentName + "\n\tmetadata: ownerReferences: []"}, "wanted only name, namespace, labels and annotations in metadata, found ownerReferences"},
		"a status":                           {[]string{deploymentName, deploymentName + "\n\tstatus: {}"}, "wanted no status"},
		"the same object twice":              {object("objects: x: {apiVersion: \"v1\", kind: \"Service\", metadata: name: _set, spec: {selector: _pods, ports: [{port: 80}]}}"), "found the same one as objects.service"},
		"a reserved annotation":              {[]string{deploymentName, deploymentName + "\n\tmetadata: annotations: \"tidegate.io/applied-digest\": \"x\""}, "wanted no names of tidegate.io in metadata.annotations, found tidegate.io/applied-digest"},
		"a reserved label":                   {[]string{deploymentName, deploymentName + "\n\tmetadata: labels: \"tidegate.io/x\": \"x\""}, "wanted no names of tidegate.io in metadata.labels, found tidegate.io/x"},
		"another revision's label":           {[]string{"metadata: labels: _pods", "metadata: labels: {_pods, \"tidegate.io/release\": \"other\"}"}, `wanted spec.template.metadata.labels["tidegate.io/release"] to be "cart" or left out`},
		"a typo in a field":                  {[]string{"replicas: values.replicas", "replica: values.replicas"}, `found: unknown field "spec.replica"`},
		"a field in the wrong case":          {[]string{"replicas: values.replicas", "Replicas: values.replicas"}, `unknown field "spec.Replicas"`},
		"a value of the wrong type":          {[]string{"replicas: values.replicas", "replicas: \"\\(values.replicas)\""}, "spec.replicas: wanted an integer, found \"2\""},
		"a quantity that is none":            {[]string{"image: values.image", "image: values.image, resources: requests: cpu: \"much\""}, `: spec.template.spec.containers[0].resources.requests: wanted a quantity such as "250m" or "1Gi" in each entry, found "much" in cpu`},
		"an object for a quantity":           {[]string{"image: values.image", "image: values.image, resources: limits: memory: {max: 1}"}, `spec.template.spec.containers[0].resources.limits: wanted a quantity such as "250m" or "1Gi" in each entry, found an object in memory`},
		"an object for a text":               {[]string{"image: values.image", "image: {name: values.image}"}, "spec.template.spec.containers[0].image: wanted a string, found an object"},
		"two values of the wrong type":       {[]string{"image: values.image", "image: values.image, tty: \"no\", resources: requests: cpu: \"much\""}, `spec.template.spec.containers[0].tty: wanted true or false, found "no"`},
		"a size of too many bits":            {[]string{"replicas: values.replicas", "replicas: 3000000000"}, "spec.replicas: wanted an integer of 32 bits, found 3000000000"},
		"a list for an object":               {[]string{"metadata: labels: _pods", "metadata: labels: [_pods]"}, "wanted an object, found a list"},
		"no list":                            {[]string{"backendRefs: [{name: _set, port: 80}]", "backendRefs: {name: _set, port: 80}"}, "spec.rules[0].backendRefs: wanted a list, found an object"},
		"a typo in the route":                {[]string{"backendRefs: [{name: _set, port: 80}]", "backendRefs: [{name: _set, prot: 80}]"}, `unknown field "spec.rules[0].backendRefs[0].prot"`},
		"no Deployment":                      {[]string{"objects: deployment:", "_a: deployment:"}, "wanted exactly one Deployment, named \\(context.name)-\\(context.revision), since rollout.type is canary, found none"},
		"two Deployments":                    {object("objects: y: {apiVersion: \"apps/v1\", kind: \"Deployment\", metadata: name: \"\\(context.name)-b-\\(context.revision)\", spec: objects.deployment.spec}"), "wanted exactly one Deployment"},
		"a Deployment that is not the set's": {[]string{deploymentName, "kind: \"Deployment\"\n\tmetadata: name: \"\\(context.name)-x-\\(context.revision)\""}, "wanted the Deployment to be named cart-"},
		"a Deployment without revision":      {[]string{deploymentName, "kind: \"Deployment\"\n\tmetadata: name: context.name"}, "wanted a name without the revision, since the workload is changed in place"},
		"a ServiceAccount with the revision": {object(`objects: x: {apiVersion: "v1", kind: "ServiceAccount", metadata: name: _set}`), "wanted a name without the revision"},
		"less than no pods":                  {[]string{"replicas: values.replicas", "replicas: -1"}, "wanted spec.replicas of at least 0, found -1"},
		"no containers":                      {[]string{"spec: containers: [{", "spec: containers: []\n_old: [{"}, "wanted at least one container"},
		"a container without an image":       {[]string{"image: values.image", "image: \"\""}, "wanted a name and an image in spec.template.spec.containers[0]"},
		"a selector without the revision":    {[]string{"selector: matchLabels: _pods", "selector: matchLabels: app: \"x\""}, `wanted spec.selector.matchLabels to have "tidegate.io/revision": context.revision`},
		"a selector that pods do not match":  {[]string{"selector: matchLabels: _pods", "selector: matchLabels: {_pods, app: \"x\"}"}, "wanted spec.selector to match the labels of the workload's pods"},
		"no selector":                        {[]string{"selector: matchLabels: _pods", ""}, "wanted spec.selector.matchLabels to have"},
		"a Service of all revisions":         {[]string{"selector: _pods", "selector: app: \"x\""}, "objects.service (Service cart-"},
		"a shared Service of all revisions":  {object(`objects: x: {apiVersion: "v1", kind: "Service", metadata: name: "cart", spec: {selector: "tidegate.io/release": context.name, ports: [{port: 80}]}}`), "wanted no Service that takes in the pods of every revision"},
		"a budget of all revisions":          {object(`objects: x: {apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata: name: _set, spec: {maxUnavailable: 1, selector: matchLabels: app: "x"}}`), "objects.x (PodDisruptionBudget"},
		"no route":                           {[]string{"objects: route:", "_a: route:"}, "objects: wanted exactly one of HTTPRoute, GRPCRoute and VirtualService, named \\(context.name), or no such and a Service of that name, found none"},
		"a route of another name":            {[]string{"metadata: name: context.name", "metadata: name: \"cart-x\""}, "wanted the route to be named like the Release, cart, or a preview of the revision"},
		"a route without a gateway":          {[]string{`parentRefs: [{name: "public"}]`, ""}, "wanted a gateway in spec.parentRefs"},
		"a route without rules":              {[]string{"rules: [{backendRefs: [{name: _set, port: 80}]}]", ""}, "wanted at least one rule with a backend"},
		"a route to two backends":            {[]string{"{name: _set, port: 80}]", "{name: _set, port: 80}, {name: \"x\", port: 80}]"}, "wanted one backend in spec.rules[0].backendRefs, since the controller adds the other revision's, found 2"},
		"a route to something else":          {[]string{"backendRefs: [{name: _set,", "backendRefs: [{name: \"other\","}, "wanted spec.rules[0].backendRefs[0] to name a Service of this revision (cart-"},
		"a route to another namespace":       {[]string{"backendRefs: [{name: _set,", "backendRefs: [{name: _set, namespace: \"x\","}, "to name a Service of this revision"},
		"a route with weights":               {[]string{"backendRefs: [{name: _set,", "backendRefs: [{name: _set, weight: 5,"}, "wanted no weight in spec.rules[0].backendRefs[0]"},
		"a route to a port that is not":      {[]string{"backendRefs: [{name: _set, port: 80}]", "backendRefs: [{name: _set, port: 81}]"}, "to be a port of the Service"},
		"a route that mirrors":               {[]string{"rules: [{backendRefs:", "rules: [{filters: [{type: \"RequestMirror\", requestMirror: backendRef: {name: _set, port: 80}}], backendRefs:"}, "wanted no RequestMirror filter"},
		"a value that is left open":          {[]string{"replicas: values.replicas", "replicas: int"}, "objects.deployment.spec.replicas: incomplete value int"},
		"another type of strategy":           {[]string{`type: "canary"`, `type: "bluegreen"`}, `rollout.type: wanted "canary", "blueGreen" or "rolling", found "bluegreen"`},
		"a typo in the strategy":             {[]string{"{analyze: {}}", "{analyse: {}}"}, `rollout: wanted the fields of a strategy, found: unknown field "steps[1].analyse"`},
		"no steps":                           {[]string{"[{setWeight: 10}, {analyze: {}}, {setWeight: 100}]", "[]"}, "rollout.steps: wanted 1 to 50 steps, found none"},
		"a weight that changes nothing":      {[]string{"{setWeight: 100}]", "{setWeight: 10}, {setWeight: 100}]"}, "rollout.steps[2].setWeight: wanted a change of the weight, found 10, which it is already"},
		"a weight of nothing":                {[]string{"setWeight: 10}", "setWeight: 0}"}, "rollout.steps[0].setWeight: wanted a change of the weight, found 0"},
		"the form of steps before":           {[]string{"{setWeight: 100}]", "{weight: 100}]"}, "rollout.steps[2].weight: wanted"},
		"a weight in quotes":                 {[]string{"setWeight: 10}", "setWeight: \"10\"}"}, `rollout.steps[0].setWeight: wanted an integer, found "10"`},
		"analysis of nothing":                {[]string{"analysis: {\n", "_unused: {\n"}, "rollout.steps[1].analyze: wanted rollout.analysis to say what to measure, found none"},
		"a duration in words":                {[]string{`type: "canary"`, "type: \"canary\"\n\tdrainDelay: \"a while\""}, `rollout.drainDelay: wanted a duration such as "30s" or "5m", found a while`},
		"a duration as a number":             {[]string{"setWeight: 10}", "pause: duration: 5}"}, "rollout.steps[0].pause.duration: wanted a duration"},
		"a drain delay below nothing":        {[]string{`type: "canary"`, "type: \"canary\"\n\tdrainDelay: \"-1s\""}, "rollout.drainDelay: wanted a duration of at least 0s, found -1s"},
		"a deadline of nothing":              {[]string{`type: "canary"`, "type: \"canary\"\n\tprogressDeadline: \"0s\""}, "rollout.progressDeadline: wanted a duration above 0s"},
		"a pause below nothing":              {[]string{"setWeight: 10}", "pause: duration: \"-1s\"}"}, "rollout.steps[0].pause.duration: wanted a duration of at least 0s"},
		"a window of nothing":                {[]string{`source: "prometheus"`, "source: \"prometheus\"\n\t\twindow: \"0s\""}, "rollout.analysis.window: wanted a duration of at least 100ms, found 0s"},
		"an interval of nothing":             {[]string{`source: "prometheus"`, "source: \"prometheus\"\n\t\tinterval: \"0s\""}, "rollout.analysis.interval: wanted a duration of at least 100ms"},
		"no source":                          {[]string{`source: "prometheus"`, `source: ""`}, "rollout.analysis.source: wanted the name of a MetricSource"},
		"no metrics":                         {[]string{`metrics: [{name: "errors", query: "q", samples: "s", threshold: max: "0.01"}]`, "metrics: []"}, "rollout.analysis.metrics: wanted 1 to 20 metrics, found 0"},
		"a metric twice":                     {[]string{`threshold: max: "0.01"}]`, `threshold: max: "0.01"}, metrics[0]]`}, `rollout.analysis.metrics[1].name: wanted each name once, found "errors" again`},
		"a metric without a judge":           {[]string{`, threshold: max: "0.01"`, ""}, "rollout.analysis.metrics[0]: wanted a judge"},
		"a metric with an empty query":       {[]string{`query: "q"`, `query: " "`}, "rollout.analysis.metrics[0].query: wanted a PromQL expression"},
		"a metric without samples":           {[]string{`samples: "s", `, ""}, "rollout.analysis.metrics[0].samples: wanted a PromQL expression"},
		"a metric of an unknown unit":        {[]string{`query: "q"`, `query: "q", unit: "m"`}, `rollout.analysis.metrics[0].unit: wanted "", "%", "ms" or "s", found "m"`},
		"a metric with a bad name":           {[]string{`name: "errors"`, `name: "Errors"`}, `rollout.analysis.metrics[0].name: wanted at most 40 lower case letters`},
		"a metric that asks for no samples":  {[]string{`query: "q"`, `query: "q", minSamples: 0`}, "rollout.analysis.metrics[0].minSamples: wanted at least 1, found 0"},
		"a threshold that is no number":      {[]string{`max: "0.01"`, `max: "1 %"`}, `rollout.analysis.metrics[0].threshold.max: wanted a quantity such as "0.01", found 1 %`},
		"a threshold of nothing":             {[]string{`threshold: max: "0.01"`, `threshold: {}`}, "threshold: wanted max, min or both"},
		"a threshold upside down":            {[]string{`max: "0.01"`, `{max: "1", min: "2"}`}, "wanted min to be at most max"},
		"a ratio below one":                  {[]string{`threshold: max: "0.01"`, `ratio: max: "0.5"`}, "ratio.max: wanted a ratio of at least 1, found 500m"},
		"a difference below nothing":         {[]string{`threshold: max: "0.01"`, `ratio: {max: "2", minDifference: "-1"}`}, "ratio.minDifference: wanted at least 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compile(t, edit(t, c.edits...)).Render([]byte(`{"image": "a"}`), cart)
			wantSourceError(t, err, c.want)
		})
	}
}

func TestRenderTellsAllMistakesOfATemplate(t *testing.T) {
	tpl := compile(t, edit(t, "setWeight: 10}", "setWeight: 0}", "replicas: values.replicas", "replica: 1", "port: 80}]}]", "prot: 80}]}]"))
	_, err := tpl.Render([]byte(`{"image": "a"}`), cart)
	wantSourceError(t, err, "rollout.steps[0].setWeight")
	tpl = compile(t, edit(t, "replicas: values.replicas", "replica: 1", "port: 80}]}]", "prot: 80}]}]"))
	_, err = tpl.Render([]byte(`{"image": "a"}`), cart)
	wantSourceError(t, err, "spec.replica")
	wantSourceError(t, err, "backendRefs[0].prot")
}

func TestSharedObjectsAreAllowed(t *testing.T) {
	tpl := compile(t, testdata(t, "plain.cue")+`
objects: account: {apiVersion: "v1", kind: "ServiceAccount", metadata: name: context.name}
objects: alias: {apiVersion: "v1", kind: "Service", metadata: name: "\(context.name)-db", spec: {type: "ExternalName", externalName: "db.example.com"}}
`)
	r := render(t, tpl, `{"image": "a"}`, cart)
	if len(r.Shared) != 2 || r.Shared[0].GetName() != "cart-db" || r.Shared[1].GetName() != "cart" {
		t.Fatalf("wanted the Service and the ServiceAccount, in this order, found %v", r.Shared)
	}
	for _, o := range r.Shared {
		if _, set := o.GetLabels()[v1alpha1.LabelRevision]; set || o.GetLabels()[v1alpha1.LabelRelease] != "cart" {
			t.Errorf("%s: wanted the label of the Release and not of a revision, found %v", o.GetName(), o.GetLabels())
		}
	}
}

func TestARouteMayRedirect(t *testing.T) {
	tpl := compile(t, edit(t, "rules: [{backendRefs:", `rules: [{filters: [{type: "RequestRedirect", requestRedirect: scheme: "https"}]}, {backendRefs:`))
	render(t, tpl, `{"image": "a"}`, cart)
}

func TestRevisionFollowsWhatRunsAndNothingElse(t *testing.T) {
	tpl := compile(t, testdata(t, "plain.cue"))
	base := render(t, tpl, `{"image": "a", "env": {"A": "1", "B": "2"}}`, cart)
	if len(base.Revision) != revisionDigits || base.Revision == placeholder {
		t.Fatalf("wanted %d hex digits, found %q", revisionDigits, base.Revision)
	}
	same := func(what, source, values string, c Context) {
		t.Helper()
		if r := render(t, compile(t, source), values, c); r.Revision != base.Revision {
			t.Errorf("wanted the same revision for %s, found %s and %s", what, base.Revision, r.Revision)
		}
	}
	other := func(what, source, values string, c Context) {
		t.Helper()
		if r := render(t, compile(t, source), values, c); r.Revision == base.Revision {
			t.Errorf("wanted another revision for %s", what)
		}
	}
	plain, values := testdata(t, "plain.cue"), `{"image": "a", "env": {"A": "1", "B": "2"}}`
	same("other order of keys", plain, `{"env": {"B": "2", "A": "1"}, "image": "a"}`, cart)
	same("other replicas", plain, `{"image": "a", "replicas": 7, "env": {"A": "1", "B": "2"}}`, cart)
	same("another strategy", edit(t, "setWeight: 10", "setWeight: 20"), values, cart)
	same("another route", edit(t, `"public"`, `"private"`), values, cart)
	same("another comment", edit(t, "package plain", "// x\npackage plain"), values, cart)
	same("another template's name", plain, values, Context{Name: "cart", Namespace: "shop", Template: "other"})
	same("a variable that nothing uses", edit(t, "image!:   string", "image!: string\n\tnew: int | *1"), values, cart)
	other("another image", plain, `{"image": "b", "env": {"A": "1", "B": "2"}}`, cart)
	other("another variable of the environment", plain, `{"image": "a", "env": {"A": "1", "B": "3"}}`, cart)
	other("another port of the Service", edit(t, "ports: [{port: 80}]", "ports: [{port: 81}]", "port: 80}]}]", "port: 81}]}]"), values, cart)
	other("another Release", plain, values, Context{Name: "basket", Namespace: "shop", Template: "kinds"})
}

func TestDigestFollowsAllThatIsRendered(t *testing.T) {
	plain, values := testdata(t, "plain.cue"), `{"image": "a"}`
	base := render(t, compile(t, plain), values, cart).Digest
	if !strings.HasPrefix(base, "sha256:") || len(base) != len("sha256:")+64 {
		t.Fatalf("wanted sha256: and 64 hex digits, found %s", base)
	}
	if again := render(t, compile(t, plain), values, cart).Digest; again != base {
		t.Errorf("wanted the same digest again, found %s and %s", base, again)
	}
	for name, c := range map[string]struct{ source, values string }{
		"replicas":    {plain, `{"image": "a", "replicas": 3}`},
		"the step":    {edit(t, "setWeight: 10", "setWeight: 20"), values},
		"the gateway": {edit(t, `"public"`, `"private"`), values},
	} {
		if other := render(t, compile(t, c.source), c.values, cart).Digest; other == base {
			t.Errorf("wanted another digest when %s changes", name)
		}
	}
}

func TestRenderIsTheSameForEveryOrderOfKeys(t *testing.T) {
	tpl := compile(t, testdata(t, "kinds.cue"))
	a := text(t, render(t, tpl, `{`+least+`, "env": {"A": "1", "B": "2", "C": "3"}, "port": 81}`, cart))
	for range 20 {
		b := text(t, render(t, tpl, `{"port": 81, "env": {"C": "3", "A": "1", "B": "2"}, "need": {"kind": "x", "this": 1}, "image": "a/b:1"}`, cart))
		if a != b {
			t.Fatalf("wanted the same bytes, found\n%s\nand\n%s", a, b)
		}
	}
}

func TestATemplateIsSafeForConcurrentUse(t *testing.T) {
	tpl := compile(t, testdata(t, "kinds.cue"))
	want := text(t, render(t, tpl, `{`+least+`}`, cart))
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for range 20 {
				switch i % 4 {
				case 0, 1:
					r, err := tpl.Render([]byte(`{`+least+`}`), cart)
					if err != nil {
						t.Errorf("rendering: %v", err)
						return
					}
					if got := text(t, r); got != want {
						t.Errorf("wanted the same bytes, found %s", got)
					}
				case 2:
					if _, err := tpl.Render([]byte(`{"port": 0, "prot": 1, "hosts": [{}]}`), cart); err == nil {
						t.Error("wanted an error")
					}
				case 3:
					if _, err := tpl.Schema(); err != nil {
						t.Errorf("schema: %v", err)
					}
				}
			}
		})
	}
	wait.Wait()
}

func TestObjectsCarryNamespaceAndLabels(t *testing.T) {
	r := render(t, compile(t, testdata(t, "plain.cue")), `{"image": "a", "replicas": 5}`, cart)
	if r.Replicas != 5 {
		t.Errorf("wanted 5 replicas, found %d", r.Replicas)
	}
	for _, o := range append([]*unstructured.Unstructured{r.Route}, r.Set...) {
		l := o.GetLabels()
		if o.GetNamespace() != "shop" || l[v1alpha1.LabelRelease] != "cart" || l[v1alpha1.LabelTemplate] != "kinds" || l[v1alpha1.LabelManagedBy] != v1alpha1.ManagedBy {
			t.Errorf("%s %s: wanted namespace and labels, found %q and %v", o.GetKind(), o.GetName(), o.GetNamespace(), l)
		}
		if want := o.GetKind() != "HTTPRoute"; (l[v1alpha1.LabelRevision] == r.Revision) != want {
			t.Errorf("%s %s: wanted the revision on the set alone, found %v", o.GetKind(), o.GetName(), l)
		}
	}
	pods, _, err := unstructured.NestedStringMap(r.Set[0].Object, "spec", "template", "metadata", "labels")
	if err != nil || len(pods) != 2 || pods[v1alpha1.LabelRelease] != "cart" || pods[v1alpha1.LabelRevision] != r.Revision {
		t.Errorf("wanted release and revision on the pods and nothing that may differ within a revision, found %v, %v", pods, err)
	}
}

func TestValuesArriveAsWritten(t *testing.T) {
	tpl := compile(t, edit(t,
		"package plain", "package plain\n\nimport \"encoding/json\"",
		"image!:   string", "image!: string\n\tany: _",
		"kind:       \"Deployment\"", "kind: \"Deployment\"\n\tmetadata: annotations: any: json.Marshal(values.any)"))
	const want = `{"a":[true,false,null,0,-7,1.25,-0.5,"",{"b":[]},{}],"k v":"\\(x) \"q\" é","z":1234567890123456789}`
	r := render(t, tpl, `{"image": "a", "any": `+want+`}`, cart)
	if got := r.Set[0].GetAnnotations()["any"]; got != want {
		t.Errorf("wanted %s, found %s", want, got)
	}
}

func TestAbsentReplicasAreOne(t *testing.T) {
	r := render(t, compile(t, edit(t, "replicas: values.replicas", "")), `{"image": "a"}`, cart)
	if r.Replicas != 1 {
		t.Errorf("wanted 1, found %d", r.Replicas)
	}
}

func TestStrategyDefaultsAreFilledIn(t *testing.T) {
	r := render(t, compile(t, testdata(t, "plain.cue")), `{"image": "a"}`, cart)
	got, err := json.Marshal(r.Strategy)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"canary","steps":[{"setWeight":10},{"analyze":{}},{"setWeight":100}],` +
		`"analysis":{"source":"prometheus","interval":"10s","window":"1m0s","metrics":[{"name":"errors","query":"q","samples":"s","minSamples":100,"threshold":{"max":"10m"}}]},` +
		`"routeGrace":"0s","drainDelay":"30s","progressDeadline":"10m0s"}`
	if string(got) != want {
		t.Errorf("wanted %s, found %s", want, got)
	}
	r = render(t, compile(t, edit(t, `type: "canary"`, "type: \"canary\"\n\tdrainDelay: \"0s\"")), `{"image": "a"}`, cart)
	if r.Strategy.DrainDelay.Duration != 0 {
		t.Errorf("wanted a zero that was written to stand, found %v", r.Strategy.DrainDelay.Duration)
	}
}

func TestRenderRefusesAContextThatCannotBe(t *testing.T) {
	tpl := compile(t, testdata(t, "plain.cue"))
	for _, c := range []Context{
		{},
		{Name: "Cart", Namespace: "shop", Template: "t"},
		{Name: "1cart", Namespace: "shop", Template: "t"},
		{Name: strings.Repeat("a", 41), Namespace: "shop", Template: "t"},
		{Name: "cart", Template: "t"},
		{Name: "cart", Namespace: "shop"},
		{Name: "cart", Namespace: "Shop", Template: "t"},
		{Name: "cart", Namespace: "a.b", Template: "t"},
		{Name: "cart", Namespace: strings.Repeat("a", 64), Template: "t"},
		{Name: "cart", Namespace: placeholder, Template: "t"},
	} {
		if _, err := tpl.Render([]byte(`{"image": "a"}`), c); err == nil {
			t.Errorf("wanted %+v to be refused", c)
		}
	}
}

func TestSchemaOfEveryKindOfVariable(t *testing.T) {
	schema, err := compile(t, testdata(t, "kinds.cue")).Schema()
	if err != nil {
		t.Fatal(err)
	}
	var indented any
	if err := json.Unmarshal(schema, &indented); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(indented, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "kinds.schema.json", string(out)+"\n")
}

func BenchmarkCompile(b *testing.B) {
	files := map[string]string{"t.cue": testdata(b, "kinds.cue")}
	for b.Loop() {
		if _, err := Compile(files); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	tpl := compile(b, testdata(b, "kinds.cue"))
	for b.Loop() {
		if _, err := tpl.Render([]byte(`{`+least+`}`), cart); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRenderMistakes(b *testing.B) {
	tpl := compile(b, testdata(b, "kinds.cue"))
	for b.Loop() {
		if _, err := tpl.Render([]byte(`{`+least+`, "prot": 1, "level": "x"}`), cart); err == nil {
			b.Fatal("wanted an error")
		}
	}
}
