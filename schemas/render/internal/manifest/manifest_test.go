package manifest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	kyaml "sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/render/internal/manifest"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var release = manifest.Release{Name: "cart", Namespace: "shop", Template: "web", Revision: "ab12cd34ef"}

const (
	setPod = `{metadata: {labels: {tidegate.io/release: cart, tidegate.io/revision: ab12cd34ef}}, spec: {containers: [{name: app, image: "app:1"}]}}`
	// A pod without labels gets those of Tidegate.
	pod = `{spec: {containers: [{name: app, image: "app:1"}]}}`

	setDeployment = `
deployment: {apiVersion: apps/v1, kind: Deployment, metadata: {name: cart-ab12cd34ef}, spec: {replicas: 3, selector: {matchLabels: {tidegate.io/revision: ab12cd34ef}}, template: ` + setPod + `}}`
	setService = `
service: {apiVersion: v1, kind: Service, metadata: {name: cart-ab12cd34ef}, spec: {selector: {tidegate.io/revision: ab12cd34ef}, ports: [{port: 80}]}}`
	placeService = `
service: {apiVersion: v1, kind: Service, metadata: {name: cart}, spec: {selector: {tidegate.io/release: cart}, ports: [{port: 80}]}}
`
	route = `
route: {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: cart}, spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: cart-ab12cd34ef, port: 80}]}]}}`
	preview = `
preview: {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: cart-ab12cd34ef}, spec: {parentRefs: [{name: edge}], hostnames: [preview.example], rules: [{backendRefs: [{name: cart-ab12cd34ef, port: 80}]}]}}`
	set = setDeployment + setService + route

	setAutoscaler = `
hpa: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: cart-ab12cd34ef}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: cart-ab12cd34ef}, minReplicas: 4, maxReplicas: 9}}`
	ownConfig = `
config: {apiVersion: v1, kind: ConfigMap, metadata: {name: cart-ab12cd34ef}, data: {a: b}}`

	selector   = `selector: {matchLabels: {tidegate.io/release: cart}}`
	deployment = `
deployment: {apiVersion: apps/v1, kind: Deployment, metadata: {name: cart}, spec: {replicas: 3, ` + selector + `, template: ` + pod + `}}`
	statefulSet = `
stateful: {apiVersion: apps/v1, kind: StatefulSet, metadata: {name: cart}, spec: {replicas: 3, podManagementPolicy: Parallel, serviceName: cart, ` + selector + `, template: ` + pod + `}}
headless: {apiVersion: v1, kind: Service, metadata: {name: cart}, spec: {clusterIP: None, selector: {tidegate.io/release: cart}, ports: [{port: 80}]}}`
	daemonSet = `
daemon: {apiVersion: apps/v1, kind: DaemonSet, metadata: {name: cart}, spec: {` + selector + `, template: ` + pod + `}}`
	cronJob = `
job: {apiVersion: batch/v1, kind: CronJob, metadata: {name: cart}, spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: ` + pod + `}}}}`
	budget = `
budget: {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: cart}, spec: {maxUnavailable: 1, ` + selector + `}}`
	externalSecret = `
secret: {apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: cart}, spec: {refreshInterval: 1h, secretStoreRef: {name: vault, kind: ClusterSecretStore}, target: {name: cart-db}, data: [{secretKey: password, remoteRef: {key: shop/cart, property: password}}]}}`

	canary    = `{type: canary, steps: [{setWeight: 10}, {setWeight: 100}]}`
	blueGreen = `{type: blueGreen}`
	rolling   = `{type: rolling}`
	partition = `{type: rolling, steps: [{setWeight: 20}, {setWeight: 100}]}`
)

func toJSON(t *testing.T, text string) []byte {
	t.Helper()
	data, err := kyaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return data
}

// made is what comes of objects and a strategy, and what is wrong with them.
func made(t *testing.T, objects, rollout string) (*manifest.Rendered, v1alpha1.Strategy, []string) {
	t.Helper()
	strategy, _, lines := manifest.Strategy(toJSON(t, rollout))
	r, wrong := manifest.Read(toJSON(t, objects), release)
	if lines = append(lines, wrong...); len(lines) > 0 {
		return r, strategy, lines
	}
	if _, err := r.Write(); err != nil {
		t.Fatal(err)
	}
	return r, strategy, r.Finish(strategy)
}

func TestObjectsThatCanBeRolledOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		objects, rollout string
		set              []string
		replicas         int32
	}{
		"a set with a route":                                 {set, canary, []string{"Deployment cart-ab12cd34ef", "Service cart-ab12cd34ef"}, 3},
		"a set that can be looked at before the switch":      {set + preview, blueGreen, []string{"Deployment cart-ab12cd34ef", "HTTPRoute cart-ab12cd34ef", "Service cart-ab12cd34ef"}, 3},
		"configuration of the revision's own":                {set + ownConfig, canary, []string{"Deployment cart-ab12cd34ef", "ConfigMap cart-ab12cd34ef", "Service cart-ab12cd34ef"}, 3},
		"an autoscaled set begins with the least size":       {strings.Replace(set, "replicas: 3, ", "", 1) + setAutoscaler, canary, []string{"Deployment cart-ab12cd34ef", "HorizontalPodAutoscaler cart-ab12cd34ef", "Service cart-ab12cd34ef"}, 4},
		"secrets by reference":                               {set + externalSecret, canary, []string{"Deployment cart-ab12cd34ef", "Service cart-ab12cd34ef"}, 3},
		"a worker without Service or route":                  {deployment, rolling, []string{"Deployment cart"}, 3},
		"a workload in place behind a route":                 {deployment + placeService + strings.Replace(strings.TrimSpace(route), "name: cart-ab12cd34ef", "name: cart", 1), rolling, []string{"Deployment cart"}, 3},
		"a worker with configuration and a budget":           {deployment + ownConfig + budget, rolling, []string{"Deployment cart", "ConfigMap cart-ab12cd34ef"}, 3},
		"a StatefulSet that is held at a share of its pods":  {statefulSet, partition, []string{"StatefulSet cart"}, 3},
		"a DaemonSet, which has no size of its own":          {daemonSet, rolling, []string{"DaemonSet cart"}, 0},
		"a CronJob, which has no pods to wait for":           {cronJob, rolling, []string{"CronJob cart"}, 0},
		"a worker that asks for no pods":                     {strings.Replace(deployment, "replicas: 3", "replicas: 0", 1), rolling, []string{"Deployment cart"}, 0},
		"a worker whose size is left out has one pod":        {strings.Replace(deployment, "replicas: 3, ", "", 1), rolling, []string{"Deployment cart"}, 1},
		"an account, shared configuration and network rules": {set + "\naccount: {apiVersion: v1, kind: ServiceAccount, metadata: {name: cart}}\nshared: {apiVersion: v1, kind: ConfigMap, metadata: {name: cart-common}}\nnet: {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: cart}, spec: {podSelector: {}}}", canary, []string{"Deployment cart-ab12cd34ef", "Service cart-ab12cd34ef"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _, lines := made(t, c.objects, c.rollout)
			if len(lines) > 0 {
				t.Fatalf("found:\n%s", strings.Join(lines, "\n"))
			}
			var got []string
			for _, o := range r.Set {
				got = append(got, o.Kind+" "+o.Name)
			}
			if !slices.Equal(got, c.set) || r.Replicas != c.replicas {
				t.Errorf("got %v and %d pods, want %v and %d", got, r.Replicas, c.set, c.replicas)
			}
		})
	}
}

func TestObjectsThatCannotBeRolledOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ objects, rollout, want string }{
		"a Secret is never rendered": {
			set + "\nsecret: {apiVersion: v1, kind: Secret, metadata: {name: cart}, stringData: {a: b}}", canary,
			"objects.secret (Secret cart): wanted no Secret, since whoever may read the Release would read it, found one; refer to a secret that is made elsewhere",
		},
		"a Job that no revision owns": {set + "\njob: {apiVersion: batch/v1, kind: Job, metadata: {name: cart}}", canary, `wanted a name that ends in the revision, as in \(context.name)-\(context.revision), found cart`},
		"a set's Deployment with rolling": {
			setDeployment, rolling,
			"objects: wanted exactly one Deployment, StatefulSet, DaemonSet or CronJob, named \\(context.name), since rollout.type is rolling, found Deployment cart-ab12cd34ef",
		},
		"a Deployment in place with canary": {
			deployment, canary,
			"objects: wanted exactly one Deployment, named \\(context.name)-\\(context.revision), since rollout.type is canary, found Deployment cart",
		},
		"no workload at all":         {"{}", rolling, "found none"},
		"two workloads":              {deployment + cronJob, rolling, "found Deployment cart, CronJob cart"},
		"a CronJob for each version": {strings.Replace(cronJob, "name: cart}", "name: cart-ab12cd34ef}", 1), rolling, "wanted the CronJob to be named like the Release, cart, since it is changed in place, found cart-ab12cd34ef"},
		"a route beside a workload in place": {
			deployment + placeService + strings.TrimSpace(route), rolling, "wanted spec.rules[0].backendRefs[0] to name a Service of all revisions, since the workload is changed in place (cart), found cart-ab12cd34ef",
		},
		"a route beside a workload in place that is named otherwise": {
			deployment + placeService + strings.Replace(strings.Replace(strings.TrimSpace(route), "name: cart}", "name: cart-front}", 1), "name: cart-ab12cd34ef", "name: cart", 1), rolling,
			"wanted the HTTPRoute beside a workload that is changed in place to be named like the Release, cart, since revisions share it, found cart-front",
		},
		"a Service of the revision beside a workload in place": {deployment + setService, rolling, "wanted a name without the revision, since the workload is changed in place"},
		"a selector in place that names the revision, which can never change": {
			strings.Replace(deployment, "{tidegate.io/release: cart}", "{tidegate.io/release: cart, tidegate.io/revision: ab12cd34ef}", 1), rolling,
			`wanted spec.selector without "tidegate.io/revision", since the revisions share it and the workload's own can never change, found it; select on "tidegate.io/release": context.name`,
		},
		"a selector in place that takes in the pods of others": {
			strings.Replace(deployment, "{tidegate.io/release: cart}", "{app: web}", 1), rolling,
			`wanted spec.selector.matchLabels to have "tidegate.io/release": context.name`,
		},
		"a set's selector without the revision": {
			strings.Replace(set, "{matchLabels: {tidegate.io/revision: ab12cd34ef}}", "{matchLabels: {tidegate.io/release: cart}}", 1), canary,
			`wanted spec.selector.matchLabels to have "tidegate.io/revision": context.revision`,
		},
		"a budget in place that misses the pods": {deployment + strings.Replace(budget, "tidegate.io/release: cart", "tidegate.io/release: cart, app: x", 1), rolling, "wanted spec.selector to match the labels of the workload's pods"},
		"steps for a Deployment in place":        {deployment, partition, "rollout.steps[0].setWeight: wanted 100, since a Deployment cannot be held at a share of its pods, found 20; only a StatefulSet can"},
		"a StatefulSet that sets the partition itself": {
			strings.Replace(statefulSet, "serviceName", "updateStrategy: {rollingUpdate: {partition: 2}}, serviceName", 1), rolling,
			"wanted no spec.updateStrategy.rollingUpdate.partition, since the steps of the rollout set it, found 2",
		},
		"a StatefulSet in which a broken pod blocks the return": {strings.Replace(statefulSet, "Parallel", "OrderedReady", 1), rolling, "wanted spec.podManagementPolicy Parallel"},
		"a StatefulSet that nothing replaces":                   {strings.Replace(statefulSet, "serviceName", "updateStrategy: {type: OnDelete}, serviceName", 1), rolling, "wanted spec.updateStrategy.type RollingUpdate"},
		"a StatefulSet whose Service is not there":              {strings.Replace(statefulSet, "serviceName: cart", "serviceName: other", 1), rolling, "wanted spec.serviceName to name one of the objects"},
		"a DaemonSet that nothing replaces":                     {strings.Replace(daemonSet, "spec: {", "spec: {updateStrategy: {type: OnDelete}, ", 1), rolling, "wanted spec.updateStrategy.type RollingUpdate"},
		"a CronJob with a misspelt field":                       {strings.Replace(cronJob, "schedule:", "shedule:", 1), rolling, `unknown field "spec.shedule"`},
		"an ExternalSecret with a misspelt field":               {set + strings.Replace(externalSecret, "secretKey", "secretkey", 1), canary, "wanted the fields of a ExternalSecret, found: unknown field"},
		"an ExternalSecret without a store":                     {set + strings.Replace(externalSecret, "name: vault, ", "", 1), canary, "wanted the name of a store in spec.secretStoreRef"},
		"an ExternalSecret that writes another's Secret":        {set + strings.Replace(externalSecret, "cart-db", "checkout-db", 1), canary, "wanted spec.target.name to be cart, or to begin with it and a dash"},
		"an ExternalSecret that refers to nothing":              {set + strings.Replace(externalSecret, "data: [{secretKey: password, remoteRef: {key: shop/cart, property: password}}]", "data: []", 1), canary, "wanted at least one reference in spec.data or spec.dataFrom"},
		"an autoscaler beside a number of pods":                 {set + setAutoscaler, canary, "objects.deployment (Deployment cart-ab12cd34ef): wanted no spec.replicas beside objects.hpa"},
		"an autoscaler of something else":                       {strings.Replace(set, "replicas: 3, ", "", 1) + strings.Replace(setAutoscaler, "Deployment, name: cart-ab12cd34ef", "Deployment, name: cart", 1), canary, "wanted spec.scaleTargetRef to be the Deployment cart-ab12cd34ef of apps/v1, found Deployment cart"},
		"an autoscaler of a StatefulSet that is held at a share": {
			strings.Replace(statefulSet, "replicas: 3, ", "", 1) + strings.ReplaceAll(strings.Replace(setAutoscaler, "Deployment", "StatefulSet", 1), "cart-ab12cd34ef", "cart"), partition,
			"rollout.steps[0].setWeight: wanted 100 beside an autoscaler",
		},
		"an autoscaler of a CronJob": {
			cronJob + strings.ReplaceAll(setAutoscaler, "cart-ab12cd34ef", "cart"), rolling,
			"wanted no autoscaler, since a CronJob has no number of pods",
		},
		"an autoscaler that is shared between sets": {
			strings.Replace(set, "replicas: 3, ", "", 1) + strings.Replace(setAutoscaler, "metadata: {name: cart-ab12cd34ef}", "metadata: {name: cart}", 1), canary,
			"wanted a name that ends in the revision",
		},
		"a preview that shows the Service of no set": {set + strings.Replace(preview, "backendRefs: [{name: cart-ab12cd34ef", "backendRefs: [{name: cart", 1), blueGreen, "wanted spec.rules[0].backendRefs[0] to name a Service of this revision"},
		"a second route beside the traffic":          {set + strings.Replace(preview, "metadata: {name: cart-ab12cd34ef}", "metadata: {name: cart-preview}", 1), blueGreen, "or a preview of the revision named \\(context.name)-\\(context.revision), found cart-preview"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, lines := made(t, c.objects, c.rollout)
			if got := strings.Join(lines, "\n"); !strings.Contains(got, c.want) {
				t.Errorf("got:\n%s\nwant: %s", got, c.want)
			}
		})
	}
}

func TestStrategiesAreCompiled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ rollout, want string }{
		"blueGreen alone is one switch and ten minutes of warmth": {
			blueGreen, `{"type":"blueGreen","steps":[{"setWeight":100}],"routeGrace":"0s","drainDelay":"30s","scaleDownDelay":"10m0s","progressDeadline":"10m0s"}`,
		},
		"the switch comes after the steps where none of them says when": {
			`{type: blueGreen, preview: {replicas: 1}, steps: [{pause: {duration: 1m}}, {pause: {approval: true}}], scaleDownDelay: 1h}`,
			`{"type":"blueGreen","steps":[{"pause":{"duration":"1m0s"}},{"pause":{"approval":true}},{"setWeight":100}],"preview":{"replicas":1},"routeGrace":"0s","drainDelay":"30s","scaleDownDelay":"1h0m0s","progressDeadline":"10m0s"}`,
		},
		"rolling alone is one step and nothing drains": {
			rolling, `{"type":"rolling","steps":[{"setWeight":100}],"routeGrace":"0s","drainDelay":"0s","progressDeadline":"10m0s"}`,
		},
		"rolling with gates": {
			`{type: rolling, steps: [{setWeight: 20}, {pause: {approval: true}}, {setWeight: 100}, {pause: {duration: 30s}}]}`,
			`{"type":"rolling","steps":[{"setWeight":20},{"pause":{"approval":true}},{"setWeight":100},{"pause":{"duration":"30s"}}],"routeGrace":"0s","drainDelay":"0s","progressDeadline":"10m0s"}`,
		},
		"the last of the traffic comes after a fall to nothing": {
			`{type: canary, steps: [{setWeight: 10}, {setWeight: 0}]}`,
			`{"type":"canary","steps":[{"setWeight":10},{"setWeight":0},{"setWeight":100}],"routeGrace":"0s","drainDelay":"30s","progressDeadline":"10m0s"}`,
		},
		"a hook is tried four times and aborts": {
			`{type: blueGreen, hooks: [{name: gate, url: "https://ci.example.com/gate", "on": [promote]}]}`,
			`{"type":"blueGreen","steps":[{"setWeight":100}],"hooks":[{"name":"gate","url":"https://ci.example.com/gate","on":["promote"],"timeout":"10s","retries":3,"interval":"10s","onFailure":"abort"}],"routeGrace":"0s","drainDelay":"30s","scaleDownDelay":"10m0s","progressDeadline":"10m0s"}`,
		},
		"what a hook says is kept": {
			`{type: blueGreen, hooks: [{name: gate, url: "http://ci/gate", "on": [promote], timeout: 1s, retries: 0, interval: 2s, onFailure: hold}]}`,
			`{"type":"blueGreen","steps":[{"setWeight":100}],"hooks":[{"name":"gate","url":"http://ci/gate","on":["promote"],"timeout":"1s","retries":0,"interval":"2s","onFailure":"hold"}],"routeGrace":"0s","drainDelay":"30s","scaleDownDelay":"10m0s","progressDeadline":"10m0s"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, lines := manifest.Strategy(toJSON(t, c.rollout))
			if len(lines) > 0 {
				t.Fatal(lines)
			}
			if got, _ := json.Marshal(s); string(got) != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestThePodsOfEveryKindNameTheirRevision(t *testing.T) {
	t.Parallel()
	for kind, objects := range map[string]string{"Deployment": deployment, "StatefulSet": statefulSet, "DaemonSet": daemonSet, "CronJob": cronJob} {
		r, _, lines := made(t, objects, rolling)
		if len(lines) > 0 {
			t.Fatal(lines)
		}
		text, err := json.Marshal(r.Set[0].Content)
		if err != nil {
			t.Fatal(err)
		}
		const want = `"template":{"metadata":{"labels":{"tidegate.io/release":"cart","tidegate.io/revision":"ab12cd34ef"}}`
		if r.Set[0].Kind != kind || !strings.Contains(string(text), want) {
			t.Errorf("%s: no %s in %s", kind, want, text)
		}
	}
}

func TestASizeIsNoPartOfTheRevision(t *testing.T) {
	t.Parallel()
	identity := func(objects string) string {
		r, lines := manifest.Read(toJSON(t, objects), release)
		if len(lines) > 0 {
			t.Fatal(lines)
		}
		text, err := json.Marshal(manifest.Identity(r.Set))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"replicas of a Deployment":       {set, strings.Replace(set, "replicas: 3", "replicas: 4", 1), true},
		"replicas of a StatefulSet":      {statefulSet, strings.Replace(statefulSet, "replicas: 3", "replicas: 4", 1), true},
		"bounds of an autoscaler":        {set + setAutoscaler, set + strings.Replace(setAutoscaler, "maxReplicas: 9", "maxReplicas: 20", 1), true},
		"an image":                       {set, strings.Replace(set, "app:1", "app:2", 1), false},
		"an image in place":              {deployment, strings.Replace(deployment, "app:1", "app:2", 1), false},
		"configuration that travels":     {deployment + ownConfig, deployment + strings.Replace(ownConfig, "a: b", "a: c", 1), false},
		"a schedule":                     {cronJob, strings.Replace(cronJob, "0 3", "0 4", 1), false},
		"a Service that revisions share": {statefulSet, strings.Replace(statefulSet, "port: 80", "port: 81", 1), true},
	} {
		if got := identity(c.a) == identity(c.b); got != c.same {
			t.Errorf("%s: the same revision: %t, want %t", name, got, c.same)
		}
	}
}
