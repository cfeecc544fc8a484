package fault

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// scenario is one way of a Release, from something that serves to its end.
type scenario struct {
	// name is that of its template too.
	name     string
	template string
	// before is the image that serves when it begins; empty for none.
	before string
	pods   int32
	// begin is what is disturbed.
	begin func(*world)
	// react is what a person does meanwhile, each once.
	react []reaction
	// judge gives the verdicts; all pass if nil.
	judge func(*v1alpha1.Rollout) v1alpha1.Verdict
	// shown is the highest share that each image is to have had at the end.
	shown map[string]int32
	// rise is in the line of the first write that gives the second image a share; empty where that is not held up
	// until the Rollout is aborted.
	rise string
}

// unseen is the scenario in which the second image never gets a share.
func (s *scenario) unseen() *scenario {
	out := *s
	out.shown = map[string]int32{"v1": 100, "v2": 0}
	return &out
}

type reaction struct {
	when func(client.Object) bool
	do   func(*world)
	done bool
}

// scenarios are those that are disturbed at each request.
func scenarios() []*scenario {
	return []*scenario{
		{
			name: "canary", template: canary, before: "v1", pods: 4,
			begin: func(w *world) { w.apply("v2", 4) },
			shown: map[string]int32{"v1": 100, "v2": 100},
			rise:  "/httproutes/",
		},
		{
			name: "checked", template: checked, before: "v1", pods: 4,
			begin: func(w *world) { w.apply("v2", 4) },
			shown: map[string]int32{"v1": 100, "v2": 100},
		},
		{
			name: "failing", template: canary, before: "v1", pods: 4,
			begin: func(w *world) { w.apply("v2", 4) },
			judge: func(r *v1alpha1.Rollout) v1alpha1.Verdict {
				if r.Status.Step > 2 {
					return v1alpha1.VerdictFail
				}
				return v1alpha1.VerdictPass
			},
			shown: map[string]int32{"v1": 100, "v2": 50},
		},
		{
			name: "stopped", template: canary, before: "v1", pods: 4,
			begin: func(w *world) { w.apply("v2", 4) },
			judge: func(*v1alpha1.Rollout) v1alpha1.Verdict { return v1alpha1.VerdictInconclusive },
			react: []reaction{{when: judged("v2"), do: func(w *world) { w.command("stop", "cart-2", v1alpha1.CommandAbort, 0) }}},
			shown: map[string]int32{"v1": 100, "v2": 20},
		},
		{
			name: "first", template: canary, pods: 2,
			begin: func(w *world) { w.apply("v1", 2) },
			shown: map[string]int32{"v1": 100},
		},
		{
			name: "bluegreen", template: blueGreen, before: "v1", pods: 4,
			begin: func(w *world) { w.apply("v2", 4) },
			react: []reaction{{when: waits(plan.ReasonHoldApproval), do: func(w *world) { w.command("yes", "cart-2", v1alpha1.CommandApprove, 1) }}},
			shown: map[string]int32{"v1": 100, "v2": 100},
		},
		{
			name: "overtaken", template: canary, before: "v1", pods: 4,
			begin: func(w *world) { w.apply("v2", 4) },
			judge: func(r *v1alpha1.Rollout) v1alpha1.Verdict {
				if imageOf(r.Spec.Values) == "v2" {
					return v1alpha1.VerdictInconclusive
				}
				return v1alpha1.VerdictPass
			},
			react: []reaction{{when: judged("v2"), do: func(w *world) { w.apply("v3", 4) }}},
			shown: map[string]int32{"v1": 100, "v2": 20, "v3": 100},
		},
		{
			name: "resize", template: canary, before: "v1", pods: 2,
			begin: func(w *world) { w.apply("v1", 4) },
			shown: map[string]int32{"v1": 100},
		},
		{
			// More pods while the second image has 20 %, fewer while it has 50 %: each goes on where it is.
			name: "resized", template: canary, before: "v1", pods: 4,
			begin: func(w *world) { w.apply("v2", 4) },
			judge: func(r *v1alpha1.Rollout) v1alpha1.Verdict {
				if want := map[int32]int32{2: 8, 4: 6}[r.Status.Step]; want != 0 && r.Spec.Replicas != want {
					return v1alpha1.VerdictInconclusive
				}
				return v1alpha1.VerdictPass
			},
			react: []reaction{
				{when: judgedIn("v2", 2), do: func(w *world) { w.apply("v2", 8) }},
				{when: judgedIn("v2", 4), do: func(w *world) { w.apply("v2", 6) }},
			},
			shown: map[string]int32{"v1": 100, "v2": 100},
		},
		{
			name: "stateful", template: stateful, before: "v1", pods: 5,
			begin: func(w *world) { w.apply("v2", 5) },
			shown: map[string]int32{"v1": 100, "v2": 100},
			rise:  "/statefulsets/",
		},
	}
}

// judged says of a Rollout that it is about an image and has a verdict.
func judged(image string) func(client.Object) bool {
	return func(o client.Object) bool {
		r, ok := o.(*v1alpha1.Rollout)
		return ok && imageOf(r.Spec.Values) == image && r.Status.Analysis != nil
	}
}

// judgedIn says of a Rollout that it is about an image and has a verdict in a step.
func judgedIn(image string, step int32) func(client.Object) bool {
	return func(o client.Object) bool {
		r, ok := o.(*v1alpha1.Rollout)
		return judged(image)(o) && ok && r.Status.Step == step && r.Status.Analysis.Step == step
	}
}

// waits says of a Rollout that it waits for something.
func waits(reason string) func(client.Object) bool {
	return func(o client.Object) bool {
		r, ok := o.(*v1alpha1.Rollout)
		return ok && r.Status.Reason == reason
	}
}

// The templates: each as small as it can be.
const (
	head = `package t

#Variables: {
	image: string
	replicas: int & >=0 | *1
}
#Context: {name: string, namespace: string, template: string, revision: string}
values:  #Variables
context: #Context

_id: "\(context.name)-\(context.revision)"
_all: {"tidegate.io/release": context.name}
_own: {"tidegate.io/release": context.name, "tidegate.io/revision": context.revision}
_pod: {containers: [{name: "app", image: values.image}]}
_analysis: {
	source: "none", interval: "100ms", window: "100ms"
	metrics: [{name: "errors", query: "1", samples: "1", threshold: max: "0.05"}]
}
_config: {apiVersion: "v1", kind: "ConfigMap", metadata: name: _id, data: image: values.image}
`
	sets = `
objects: {
	config: _config
	deployment: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: _id
		spec: {
			replicas: values.replicas
			selector: matchLabels: _own
			template: {metadata: labels: _own, spec: _pod}
		}
	}
	service: {apiVersion: "v1", kind: "Service", metadata: name: _id, spec: {selector: _own, ports: [{port: 80}]}}
	route: {
		apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: name: context.name
		spec: {parentRefs: [{name: "edge"}], rules: [{backendRefs: [{name: _id, port: 80}]}]}
	}
}
`
	canary = head + `
rollout: {
	type: "canary", progressDeadline: "24h", drainDelay: "100ms", analysis: _analysis
	steps: [{setWeight: 20}, {analyze: {}}, {setWeight: 50}, {analyze: {}}, {setWeight: 100}]
}
` + sets
	checked = head + `
rollout: {
	type: "canary", progressDeadline: "24h", drainDelay: "100ms", analysis: _analysis
	hooks: [{name: "ask", url: "https://hook.example", on: ["begin", "promote"]}]
	steps: [{setWeight: 20}, {hook: name: "ask"}, {analyze: {}}, {setWeight: 50}, {job: object: "smoke"}, {setWeight: 100}]
}
objects: smoke: {
	apiVersion: "batch/v1", kind: "Job", metadata: name: "\(context.name)-smoke-\(context.revision)"
	spec: template: spec: {restartPolicy: "Never", containers: [{name: "smoke", image: values.image}]}
}
` + sets
	blueGreen = head + `
rollout: {
	type: "blueGreen", progressDeadline: "24h", drainDelay: "100ms", scaleDownDelay: "200ms", analysis: _analysis
	steps: [{pause: approval: true}, {setWeight: 100}, {analyze: {}}]
}
` + sets
	stateful = head + `
rollout: {
	type: "rolling", progressDeadline: "24h", analysis: _analysis
	steps: [{setWeight: 20}, {analyze: {}}, {setWeight: 100}, {analyze: {}}]
}
objects: {
	config: _config
	headless: {apiVersion: "v1", kind: "Service", metadata: name: context.name, spec: {clusterIP: "None", selector: _all, ports: [{port: 80}]}}
	stateful: {
		apiVersion: "apps/v1", kind: "StatefulSet", metadata: name: context.name
		spec: {
			replicas: values.replicas, serviceName: context.name, podManagementPolicy: "Parallel"
			selector: matchLabels: _all
			template: {metadata: labels: _all, spec: _pod}
		}
	}
}
`
)
