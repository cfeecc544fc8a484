package manifest_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"tidegate.io/tidegate/schemas/render/internal/manifest"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	plain = `
plain: {apiVersion: v1, kind: Service, metadata: {name: cart}, spec: {selector: {tidegate.io/release: cart, tidegate.io/revision: ab12cd34ef}, ports: [{port: 80}]}}`
	parent = `
parent: {apiVersion: v1, kind: Service, metadata: {name: cart}, spec: {ports: [{port: 80}]}}`
	meshed = `
route: {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: cart}, spec: {parentRefs: [{group: "", kind: Service, name: cart, port: 80}], rules: [{backendRefs: [{name: cart-ab12cd34ef, port: 80}]}]}}`
	grpc = `
route: {apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: cart}, spec: {parentRefs: [{name: edge}], rules: [{matches: [{method: {service: shop.Cart}}], backendRefs: [{name: cart-ab12cd34ef, port: 80}]}]}}`
	virtual = `
route: {apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: cart}, spec: {hosts: [cart.example], gateways: [edge], http: [{match: [{uri: {prefix: /}}], timeout: 5s, route: [{destination: {host: cart-ab12cd34ef, port: {number: 80}}}]}, {redirect: {uri: /}}]}}`
	keda = `
keda: {apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: cart-ab12cd34ef}, spec: {scaleTargetRef: {name: cart-ab12cd34ef}, minReplicaCount: 4, maxReplicaCount: 9, triggers: [{type: cron, metadata: {timezone: UTC}}]}}`
	smoke = `
smoke: {apiVersion: batch/v1, kind: Job, metadata: {name: cart-smoke-ab12cd34ef}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: "app:1"}]}}}}`

	smoked = `{type: canary, steps: [{job: {object: smoke}}, {setWeight: 100}]}`
)

// unsized is a set whose size is an autoscaler's, and unsizedPods is its Deployment.
var (
	unsized     = strings.Replace(set, "replicas: 3, ", "", 1)
	unsizedPods = strings.Replace(setDeployment, "replicas: 3, ", "", 1)
)

// with replaces texts, in pairs.
func with(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }

// virtualOf is a VirtualService with the given blocks.
func virtualOf(blocks string) string {
	return "\nroute: {apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: cart}, spec: {hosts: [cart.example], " + blocks + "}}"
}

func TestWhatSpreadsTheRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		objects, rollout string
		router           v1alpha1.Router
		object           string
		shared           []string
	}{
		"an HTTPRoute":                                {set, canary, v1alpha1.RouterHTTPRoute, "HTTPRoute cart", nil},
		"a GRPCRoute":                                 {setDeployment + setService + grpc, canary, v1alpha1.RouterGRPCRoute, "GRPCRoute cart", nil},
		"a VirtualService":                            {setDeployment + setService + virtual, canary, v1alpha1.RouterVirtualService, "VirtualService cart", nil},
		"a VirtualService of the version before":      {with(setDeployment+setService+virtual, "istio.io/v1,", "istio.io/v1beta1,"), canary, v1alpha1.RouterVirtualService, "VirtualService cart", nil},
		"a VirtualService by the name of the domain":  {with(setDeployment+setService+virtual, "host: cart-ab12cd34ef", "host: cart-ab12cd34ef.shop.svc.cluster.local"), canary, v1alpha1.RouterVirtualService, "VirtualService cart", nil},
		"a route of a mesh, from a Service":           {setDeployment + setService + parent + meshed, canary, v1alpha1.RouterHTTPRoute, "HTTPRoute cart", []string{"Service cart"}},
		"a plain Service":                             {setDeployment + plain, blueGreen, v1alpha1.RouterService, "Service cart", nil},
		"a plain Service beside one of the revision":  {setDeployment + setService + plain, canary, v1alpha1.RouterService, "Service cart", nil},
		"a plain Service at half":                     {setDeployment + plain, walked("canary", "{setWeight: 25}, {setWeight: 50}, {setWeight: 100}"), v1alpha1.RouterService, "Service cart", nil},
		"a plain Service and an autoscaler, at once":  {unsizedPods + setAutoscaler + plain, walked("canary", "{pause: {duration: 5m}}, {setWeight: 100}"), v1alpha1.RouterService, "Service cart", nil},
		"a plain Service and an autoscaler, switched": {unsizedPods + setAutoscaler + plain, blueGreen, v1alpha1.RouterService, "Service cart", nil},
		"nothing where the workload is in place":      {deployment + with(plain, ", tidegate.io/revision: ab12cd34ef", ""), rolling, "", "", []string{"Service cart"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _, lines := made(t, c.objects, c.rollout)
			if len(lines) > 0 {
				t.Fatal(strings.Join(lines, "\n"))
			}
			var routes, shared []string
			for _, o := range r.Routes {
				routes = append(routes, o.Kind+" "+o.Name)
			}
			for _, o := range r.Shared {
				shared = append(shared, o.Kind+" "+o.Name)
			}
			if r.Router() != c.router || strings.Join(routes, "") != c.object || !slices.Equal(shared, c.shared) {
				t.Errorf("wanted %q, %s and beside it %v, found %q, %v and %v", c.router, c.object, c.shared, r.Router(), routes, shared)
			}
		})
	}
}

func TestWhatCannotSpreadRequestsIsRefused(t *testing.T) {
	t.Parallel()
	const scaled, dynamic = "{type: canary, steps: [{setWeight: 5}, {setScale: {percent: 10}}]}", "{type: canary, dynamicStableScale: true, steps: [{setWeight: 5}]}"
	routed, virtually := setDeployment+setService+grpc, setDeployment+setService+virtual
	for name, c := range map[string]struct{ objects, rollout, want string }{
		"nothing":                                  {setDeployment + setService, canary, "objects: wanted exactly one of HTTPRoute, GRPCRoute and VirtualService, named \\(context.name), or no such and a Service of that name, found none"},
		"two":                                      {set + with(virtual, "\nroute:", "\nother:"), canary, "found HTTPRoute cart, VirtualService cart"},
		"a route beside a workload in place":       {deployment + virtual, rolling, "destination.host to be a Service of all revisions, since the workload is changed in place"},
		"a plain Service of every revision":        {setDeployment + with(plain, ", tidegate.io/revision: ab12cd34ef", ""), canary, `objects.plain (Service cart): wanted spec.selector.matchLabels to have "tidegate.io/revision": context.revision`},
		"a plain Service of other pods":            {setDeployment + with(plain, "ab12cd34ef}", "ab12cd34ef, app: x}"), canary, "objects.plain (Service cart): wanted spec.selector to match the labels of the workload's pods"},
		"a plain Service of the revision alone":    {setDeployment + with(plain, "tidegate.io/release: cart, ", ""), canary, `objects.plain (Service cart): wanted spec.selector to have "tidegate.io/release": context.name beside the revision`},
		"a plain Service without ports":            {setDeployment + with(plain, "ports: [{port: 80}]", "ports: []"), canary, "objects.plain (Service cart): wanted at least one port in spec.ports"},
		"more than half over pods":                 {setDeployment + plain, "{type: canary, steps: [{setWeight: 51}]}", "rollout.steps[0].setWeight: wanted at most 50, or 100, where a plain Service spreads the requests over pods and the stable set stays whole, found 51; render an HTTPRoute"},
		"an autoscaler over pods":                  {unsizedPods + plain + setAutoscaler, "{type: canary, steps: [{setWeight: 20}]}", "rollout.steps[0].setWeight: wanted 100 beside objects.hpa (HorizontalPodAutoscaler) where a plain Service spreads the requests over pods, since each pod that it adds or takes away would change the weight, found 20; render an HTTPRoute"},
		"one of KEDA over pods":                    {unsizedPods + plain + keda, "{type: canary, steps: [{setWeight: 20}]}", "wanted 100 beside objects.keda (ScaledObject)"},
		"a scale over pods":                        {setDeployment + plain, scaled, "rollout.steps[1].setScale: wanted none where a plain Service"},
		"testers over pods":                        {setDeployment + plain, "{type: canary, steps: [{setHeaderRoute: {matches: [{headers: [{name: x, exact: v}]}]}}]}", "rollout.steps[0].setHeaderRoute: wanted none where a plain Service"},
		"copies over pods":                         {setDeployment + plain, "{type: canary, steps: [{setMirrorRoute: {percent: 5}}]}", "rollout.steps[0].setMirrorRoute: wanted none where a plain Service"},
		"a baseline over pods":                     {setDeployment + plain, "{type: canary, steps: [{setBaseline: true}]}", "rollout.steps[0].setBaseline: wanted none where a plain Service"},
		"a moving stable set over pods":            {setDeployment + plain, dynamic, "rollout.dynamicStableScale: wanted none where a plain Service"},
		"a parent that is not rendered":            {setDeployment + setService + meshed, canary, "wanted spec.parentRefs[0] to name a Service of the template without the revision in its name, found cart; render it without a selector"},
		"a parent that selects every revision":     {setDeployment + setService + meshed + with(parent, "spec: {", "spec: {selector: {tidegate.io/release: cart}, "), canary, "wanted no Service that takes in the pods of every revision, since it would bring requests to a revision past the weights of the route, found one; leave its selector out where it is the parent of a route"},
		"a parent of another namespace":            {setDeployment + setService + parent + with(meshed, "name: cart, port: 80}]", "name: cart, namespace: x, port: 80}]"), canary, "wanted spec.parentRefs[0] without a namespace, since the Service is the Release's, found x"},
		"a parent of a gateway's group":            {setDeployment + setService + parent + with(meshed, `group: "", `, ""), canary, `wanted spec.parentRefs[0].group to be "" beside kind Service`},
		"a GRPCRoute without a gateway":            {with(routed, "parentRefs: [{name: edge}], ", ""), canary, "wanted a gateway in spec.parentRefs"},
		"a GRPCRoute to nothing":                   {with(routed, ", backendRefs: [{name: cart-ab12cd34ef, port: 80}]", ""), canary, "wanted one backend in spec.rules[0].backendRefs"},
		"a GRPCRoute with weights":                 {with(routed, "port: 80}]}]", "port: 80, weight: 5}]}]"), canary, "wanted no weight in spec.rules[0].backendRefs[0]"},
		"a GRPCRoute that mirrors":                 {with(routed, "backendRefs:", "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: x, port: 80}}}], backendRefs:"), canary, "wanted no RequestMirror filter in spec.rules[0]"},
		"a GRPCRoute with a misspelt field":        {with(routed, "rules:", "rule:"), canary, "wanted the fields of a GRPCRoute, found"},
		"a VirtualService without hosts":           {with(virtually, "hosts: [cart.example], ", ""), canary, "wanted at least one host in spec.hosts"},
		"a VirtualService for TCP":                 {with(virtually, "http:", "tcp: [{}], http:"), canary, "wanted spec.http alone"},
		"a VirtualService for TCP alone":           {setDeployment + setService + virtualOf("tcp: [{match: [{port: 80}], route: [{destination: {host: cart-ab12cd34ef, port: {number: 80}}}]}]"), canary, "wanted spec.http alone, since the rollout moves the weights of its routes"},
		"a VirtualService for TLS alone":           {setDeployment + setService + virtualOf("tls: [{match: [{port: 443, sniHosts: [cart.example]}], route: [{destination: {host: cart-ab12cd34ef}}]}]"), canary, "wanted spec.http alone, since the rollout moves the weights of its routes"},
		"a VirtualService for nothing":             {setDeployment + setService + virtualOf("http: []"), canary, "wanted at least one rule with a destination in spec.http, found none"},
		"a VirtualService with a rule to others":   {with(virtually, "{redirect: {uri: /}}", "{route: [{destination: {host: other.elsewhere.svc.cluster.local}}]}"), canary, `wanted spec.http[1].route[0].destination.host to be a Service of this revision (cart-ab12cd34ef), found "other.elsewhere.svc.cluster.local"`},
		"a VirtualService without rules":           {with(virtually, "http:", "http: [], x:"), canary, "found: unknown field"},
		"a VirtualService that leads to two":       {with(virtually, "route: [{dest", "route: [{destination: {host: x}}, {dest"), canary, "wanted one destination in spec.http[0].route, since the controller adds the other revision's, found 2"},
		"a VirtualService that redirects alone":    {with(virtually, "match: [{uri: {prefix: /}}], timeout: 5s, route: [{destination: {host: cart-ab12cd34ef, port: {number: 80}}}]", "redirect: {uri: /}"), canary, "wanted at least one rule with a destination in spec.http"},
		"a VirtualService to something else":       {with(virtually, "host: cart-ab12cd34ef", "host: other"), canary, `wanted spec.http[0].route[0].destination.host to be a Service of this revision (cart-ab12cd34ef), found "other"`},
		"a VirtualService to another namespace":    {with(virtually, "host: cart-ab12cd34ef", "host: cart-ab12cd34ef.other.svc"), canary, `destination.host to be a Service of this revision`},
		"a VirtualService with subsets":            {with(virtually, "host: cart-ab12cd34ef", "subset: v1, host: cart-ab12cd34ef"), canary, "wanted no subset in spec.http[0].route[0].destination"},
		"a VirtualService with weights":            {with(virtually, "route: [{dest", "route: [{weight: 5, dest"), canary, "wanted no weight in spec.http[0].route[0]"},
		"a VirtualService to a port that is not":   {with(virtually, "number: 80", "number: 81"), canary, "destination.port.number to be a port of the Service cart-ab12cd34ef, found 81"},
		"a VirtualService to one of several ports": {with(virtually, ", port: {number: 80}", "", "ports: [{port: 80}]", "ports: [{port: 80, name: a}, {port: 81, name: b}]"), canary, "wanted spec.http[0].route[0].destination.port.number, since the Service cart-ab12cd34ef has several ports"},
		"a VirtualService that mirrors":            {with(virtually, "timeout: 5s", "mirror: {host: x}"), canary, "wanted no mirror in spec.http[0]"},
		"a VirtualService that delegates":          {with(virtually, "timeout: 5s", "delegate: {name: x}"), canary, "wanted no delegate in spec.http[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, lines := made(t, c.objects, c.rollout); !strings.Contains(strings.Join(lines, "\n"), c.want) {
				t.Errorf("got:\n%s\nwant: %s", strings.Join(lines, "\n"), c.want)
			}
		})
	}
}

func TestJobsAreRunByStepsAlone(t *testing.T) {
	t.Parallel()
	r, _, lines := made(t, set+smoke, smoked)
	if len(lines) > 0 || len(r.Jobs) != 1 || len(r.Set) != 2 || len(r.Shared) != 0 {
		t.Fatalf("wanted one Job apart from the rest, found %v, %v, %v and %v", r.Jobs, r.Set, r.Shared, lines)
	}
	job := r.Jobs[0].Content
	metadata, _ := job["metadata"].(map[string]any)
	if labels, _ := metadata["labels"].(map[string]any); labels[v1alpha1.LabelRelease] != "cart" || labels[v1alpha1.LabelRevision] != "ab12cd34ef" || metadata["namespace"] != "shop" {
		t.Errorf("wanted the labels of the revision and the namespace, found %v", metadata)
	}
	spec, _ := job["spec"].(map[string]any)
	if template, _ := spec["template"].(map[string]any); slices.Contains(slices.Collect(maps.Keys(template)), "metadata") {
		t.Errorf("wanted pods without the labels that the Services select, found %v", template)
	}
	if _, _, lines := made(t, deployment+smoke, "{type: rolling, steps: [{setWeight: 100}, {job: {object: smoke}}]}"); len(lines) > 0 {
		t.Errorf("wanted a Job beside a workload in place, found %v", lines)
	}
	for name, c := range map[string]struct{ objects, rollout, want string }{
		"a Job that no step runs":           {set + smoke, canary, `objects.smoke (Job cart-smoke-ab12cd34ef): wanted a step of the rollout that runs the Job, found none; add {job: object: "smoke"} to rollout.steps`},
		"a step without its Job":            {set, smoked, `rollout.steps[0].job.object: wanted the name of a batch/v1 Job among objects, found "smoke", and Jobs named none`},
		"a step that names another object":  {set + smoke, walked("canary", "{job: {object: smoke}}, {job: {object: route}}"), `rollout.steps[1].job.object: wanted the name of a batch/v1 Job among objects, found "route", and Jobs named smoke`},
		"a Job without the revision":        {set + with(smoke, "cart-smoke-ab12cd34ef", "cart-smoke"), smoked, "objects.smoke (Job cart-smoke): wanted a name that ends in the revision"},
		"a Job that restarts for ever":      {set + with(smoke, "Never", "Always"), smoked, `wanted spec.template.spec.restartPolicy Never or OnFailure, since a Job ends, found "Always"`},
		"a Job that leaves it to be chosen": {set + with(smoke, "restartPolicy: Never, ", ""), smoked, `wanted spec.template.spec.restartPolicy Never or OnFailure, since a Job ends, found ""`},
		"a Job that never begins":           {set + with(smoke, "spec: {template", "spec: {suspend: true, template"), smoked, "wanted no spec.suspend"},
		"a Job that chooses its pods":       {set + with(smoke, "spec: {template", "spec: {manualSelector: true, template"), smoked, "wanted no spec.selector or spec.manualSelector"},
		"a Job without containers":          {set + with(smoke, `{name: app, image: "app:1"}`, ""), smoked, "wanted at least one container in spec.template.spec.containers"},
		"a Job that would get requests":     {set + with(smoke, "template: {spec", "template: {metadata: {labels: {tidegate.io/revision: ab12cd34ef}}, spec"), smoked, `wanted spec.template.metadata.labels without "tidegate.io/revision"`},
		"a Job of the Release's pods":       {set + with(smoke, "template: {spec", "template: {metadata: {labels: {tidegate.io/release: cart}}, spec"), smoked, `wanted spec.template.metadata.labels without "tidegate.io/release", since selectors of the Release take pods in by it, found "cart"`},
		"a Job that a Service selects":      {set + with(smoke, "template: {spec", "template: {metadata: {labels: {app: x}}, spec") + "\nother: {apiVersion: v1, kind: Service, metadata: {name: cart-other}, spec: {selector: {app: x}, ports: [{port: 80}]}}", smoked, "wanted labels in spec.template.metadata that objects.other (Service cart-other) does not select"},
		"a Job with a misspelt field":       {set + with(smoke, "spec: {template", "spec: {backofLimit: 1, template"), smoked, "wanted the fields of a Job, found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, lines := made(t, c.objects, c.rollout); !strings.Contains(strings.Join(lines, "\n"), c.want) {
				t.Errorf("got:\n%s\nwant: %s", strings.Join(lines, "\n"), c.want)
			}
		})
	}
}

func TestAScaledObjectIsAnAutoscaler(t *testing.T) {
	t.Parallel()
	r, _, lines := made(t, unsized+keda, canary)
	if len(lines) > 0 || r.Replicas != 4 || len(r.Set) != 3 {
		t.Fatalf("wanted 4 pods and three objects, found %d, %v and %v", r.Replicas, r.Set, lines)
	}
	for name, c := range map[string]struct{ objects, want string }{
		"beside a number of pods":        {set + keda, "wanted no spec.replicas beside objects.keda, since the autoscaler sets them, found 3; its minReplicaCount are the least"},
		"beside another autoscaler":      {unsized + setAutoscaler + keda, "wanted one HorizontalPodAutoscaler or ScaledObject, found objects.hpa too"},
		"of nothing at least":            {unsized + with(keda, "minReplicaCount: 4, ", ""), "wanted spec.minReplicaCount of at least 1 and spec.maxReplicaCount of at least that, found 0 and 9"},
		"of less at most than at least":  {unsized + with(keda, "maxReplicaCount: 9", "maxReplicaCount: 3"), "wanted spec.minReplicaCount of at least 1 and spec.maxReplicaCount of at least that, found 4 and 3"},
		"that goes to nothing when idle": {unsized + with(keda, "minReplicaCount: 4", "minReplicaCount: 4, idleReplicaCount: 0"), "wanted no spec.idleReplicaCount"},
		"of something else":              {unsized + with(keda, "scaleTargetRef: {name: cart-ab12cd34ef}", "scaleTargetRef: {name: other}"), `wanted spec.scaleTargetRef to be the Deployment cart-ab12cd34ef of apps/v1, found Deployment other of "apps/v1"`},
		"without the revision":           {unsized + with(keda, "name: cart-ab12cd34ef}, spec", "name: cart}, spec"), "wanted a name that ends in the revision"},
		"with a misspelt field":          {unsized + with(keda, "triggers", "trigger"), "wanted the fields of a ScaledObject, found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, lines := made(t, c.objects, canary); !strings.Contains(strings.Join(lines, "\n"), c.want) {
				t.Errorf("got:\n%s\nwant: %s", strings.Join(lines, "\n"), c.want)
			}
		})
	}
	least, sized := unsized+keda, unsized+with(keda, "minReplicaCount: 4", "minReplicaCount: 5")
	if a, b := identity(t, least), identity(t, sized); a != b {
		t.Errorf("wanted a change of the bounds to be no new revision, found %s and %s", a, b)
	}
}

// identity is what the revision of objects is the digest of.
func identity(t *testing.T, objects string) string {
	t.Helper()
	r, _, lines := made(t, objects, canary)
	if len(lines) > 0 {
		t.Fatal(lines)
	}
	text, err := json.Marshal(manifest.Identity(r.Set))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
