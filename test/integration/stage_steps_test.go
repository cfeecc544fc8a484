package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/stage"
)

// steppedTemplate is a service in package NAME, spread by ROUTER in STEPS.
const steppedTemplate = `package NAME

import "tidegate.io/kit"

#Variables: image!: kit.#Image

#Context: kit.#Context
values:   #Variables
context:  #Context

_app: kit.#Set & {#with: facts: context}
_pod: kit.#Pod & {#with: {app: _app, image: values.image, ports: http: 8080, grace: 30}}

objects: {
	deployment: kit.#Deployment & {
		#with: {app: _app, replicas: 2}
		spec: template: _pod
	}
	ROUTER
}

rollout: {type: "canary", drainDelay: "1s", steps: [STEPS]}
`

// steps walks what a step may make of a route, under a Gate: its webhook compares each write of
// Tidegate's with what was rendered, and must take those for it.
func (p *play) steps(t *testing.T) {
	route := p.stepped(t, "walked", "httproute", `service: kit.#Service & {#with: {app: _app, port: 80, to: "http"}}
	route: kit.#Route & {#with: {app: _app, port: 80, gateway: {name: "public", namespace: "gateway-system"}, hostnames: [], domain: "shop.example"}}`,
		`{setHeaderRoute: matches: [{headers: [{name: "x-tester", exact: "yes"}]}]}, {setMirrorRoute: percent: 25}, {setBaseline: true}, {setWeight: 20}, {pause: approval: true}, {setWeight: 100}`)
	for _, want := range []string{`"x-tester"`, `"RequestMirror"`, `-baseline"`} {
		if !strings.Contains(route, want) {
			t.Errorf("wanted %s in the route, found %s", want, route)
		}
	}
	service := p.stepped(t, "level", "service", `service: kit.#PlainService & {#with: {app: _app, port: 80, to: "http"}}`,
		`{setWeight: 50}, {pause: approval: true}, {setWeight: 100}`)
	if strings.Contains(service, v1alpha1.LabelRevision+`":"`) {
		t.Errorf("wanted a selector of both revisions, found %s", service)
	}
}

// stepped publishes a template, rolls a Release of its name out, and returns the spec of what spreads
// its requests while the last step waits for an approval.
func (p *play) stepped(t *testing.T, name, kind, router, steps string) string {
	t.Helper()
	source := strings.NewReplacer("NAME", name, "ROUTER", router, "STEPS", steps).Replace(steppedTemplate)
	template, err := json.Marshal(map[string]any{
		"apiVersion": "tidegate.io/v1alpha1", "kind": "ReleaseTemplate", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"files": map[string]string{name + ".cue": source}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.kubectl(stage.Admin, string(template), "apply", "--server-side", "-f", "-")
	p.await("TemplateRevision "+name+"-1", func() (bool, string) {
		out := p.kubectl(stage.Admin, "", "get", "templaterevisions", "-o", "name")
		return strings.Contains(out, name+"-1-"), out
	})
	release := func(image string) *v1alpha1.Release {
		p.kubectl(stage.Team, fmt.Sprintf(`{"apiVersion": "tidegate.io/v1alpha1", "kind": "Release", "metadata": {"name": %q, "namespace": %q},
"spec": {"template": {"name": %q}, "values": {"image": %q}}}`, name, stage.Namespace, name, image), "apply", "-f", "-")
		rel := &v1alpha1.Release{}
		p.await(fmt.Sprintf("Release %s serves %s, or waits", name, image), func() (bool, string) {
			rel = &v1alpha1.Release{}
			p.decode(rel, "release", name)
			if rel.Status.ObservedGeneration != rel.Generation || rel.Status.Rollout == "" {
				return false, rel.Status.Message
			}
			ro := p.rollout(rel.Status.Rollout)
			return rel.Status.Phase == v1alpha1.ReleaseServing || ro.Status.Reason == plan.ReasonHoldApproval, ro.Status.Reason + ": " + ro.Status.Message
		})
		return rel
	}
	release("shop/" + name + ":1")
	waits := release("shop/" + name + ":2")
	if waits.Status.Phase == v1alpha1.ReleaseServing {
		t.Fatalf("the second revision of %s waited for no approval", name)
	}
	spec := p.kubectl(stage.Admin, "", "get", kind, name, "-n", stage.Namespace, "-o", "jsonpath={.spec}")
	if out, err := p.Tidegate(t.Context(), stage.Admin, "promote", name, "-n", stage.Namespace, "--reason", "seen"); err != nil {
		t.Fatalf("promote: %v\n%s", err, out)
	}
	p.await("Release "+name+" serves the second revision", func() (bool, string) {
		rel := &v1alpha1.Release{}
		p.decode(rel, "release", name)
		return rel.Status.Phase == v1alpha1.ReleaseServing && rel.Status.StableRevision == rel.Status.Revision, rel.Status.Message
	})
	return spec
}
