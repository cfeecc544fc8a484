package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// loads are the worlds with autoscalers.
var loads = map[string]int32{
	"over another, autoscaled": 20, "over another, a plain Service, autoscaled": 20, "over another, blueGreen, autoscaled": 20,
	"over another, autoscaled, a stable set that shrinks": 20,
}

// changed is a spec with something different about it.
func changed(spec func() v1alpha1.RolloutSpec, change func(*v1alpha1.RolloutSpec)) func() v1alpha1.RolloutSpec {
	return func() v1alpha1.RolloutSpec {
		s := spec()
		change(&s)
		return s
	}
}

// sized is a spec of so many pods over so many.
func sized(spec func() v1alpha1.RolloutSpec, pods, over int32) func() v1alpha1.RolloutSpec {
	return changed(spec, func(s *v1alpha1.RolloutSpec) { s.Replicas, s.Stable.Replicas = pods, over })
}

func stepped(spec func() v1alpha1.RolloutSpec, steps ...v1alpha1.Step) func() v1alpha1.RolloutSpec {
	return changed(spec, func(s *v1alpha1.RolloutSpec) { s.Strategy.Steps = steps })
}

// hooked is a spec with a hook at every event, and one that only steps name.
func hooked(spec func() v1alpha1.RolloutSpec, failure v1alpha1.HookFailure) func() v1alpha1.RolloutSpec {
	return changed(spec, func(s *v1alpha1.RolloutSpec) {
		interval := metav1.Duration{Duration: 10 * time.Second}
		one := int32(1)
		s.Strategy.Hooks = []v1alpha1.Hook{
			{
				Name: "events", Interval: interval, Retries: &one, OnFailure: failure,
				On: []v1alpha1.HookEvent{v1alpha1.HookBegin, v1alpha1.HookStepEvent, v1alpha1.HookPromote, v1alpha1.HookRollback},
			},
			{Name: "ask", Interval: interval, Retries: &one, OnFailure: failure},
		}
	})
}

// everything is every kind of step, with what the steps set taken back and set again.
func everything() v1alpha1.RolloutSpec {
	return stepped(canarySpec,
		headers(), pauseForApproval(), mirror(10), pauseFor(20*time.Second), scaleTo(50), mirror(0),
		baseline(true), weigh(10), analyzeFromHere(), weigh(25), analyze(), headers(), baseline(false), tell(),
		noHeaders(), weigh(50), pauseFor(20*time.Second),
	)()
}

// worked is jobs, hooks and notices among weights.
func worked() v1alpha1.RolloutSpec {
	return stepped(hooked(canarySpec, v1alpha1.HookAborts), job(), weigh(25), call("ask"), tell(), job(), weigh(50), analyze())()
}

var worlds = map[string]func() v1alpha1.RolloutSpec{
	"over another, autoscaled":                            canarySpec,
	"over another, autoscaled, a stable set that shrinks": changed(canarySpec, func(s *v1alpha1.RolloutSpec) { s.Strategy.DynamicStableScale = true }),
	"over another, blueGreen":                             blueGreenSpec,
	"over another, blueGreen, autoscaled":                 blueGreenSpec,
	"over another, blueGreen, no preview, no drain": changed(blueGreenSpec, func(s *v1alpha1.RolloutSpec) {
		s.Strategy.Steps = s.Strategy.Steps[2:]
		s.Strategy.DrainDelay.Duration, s.Strategy.ScaleDownDelay.Duration = 0, 0
	}),
	"over another, blueGreen, looked at in two pods": changed(blueGreenSpec, func(s *v1alpha1.RolloutSpec) {
		two := int32(2)
		s.Strategy.Preview = &v1alpha1.Preview{Replicas: &two}
	}),
	"over another revision": canarySpec,
	"over another, one pod": sized(canarySpec, 1, 1),
	"over another, three pods to five, no drain": changed(sized(canarySpec, 5, 3), func(s *v1alpha1.RolloutSpec) {
		s.Strategy.DrainDelay.Duration = 0
	}),
	"over another, no pods wanted":            sized(canarySpec, 0, 0),
	"over another, three pods to none":        sized(canarySpec, 0, 3),
	"over another, none to three":             sized(canarySpec, 3, 0),
	"over another, known":                     changed(canarySpec, func(s *v1alpha1.RolloutSpec) { s.Known = true }),
	"over another, every kind of step":        everything,
	"over another, jobs and hooks":            worked,
	"over another, hooks that hold":           stepped(hooked(canarySpec, v1alpha1.HookHolds), weigh(25), call("ask"), weigh(50)),
	"over another, hooks that nobody minds":   stepped(hooked(canarySpec, v1alpha1.HookIgnored), weigh(25), call("ask"), weigh(50)),
	"over another, all, nothing and all":      stepped(canarySpec, weigh(100), pauseFor(10*time.Second), weigh(0), pauseFor(10*time.Second), weigh(100), pauseFor(10*time.Second)),
	"over another, slow proxies":              changed(everything, func(s *v1alpha1.RolloutSpec) { s.Strategy.RouteGrace.Duration = 7 * time.Second }),
	"over another, a stable set that shrinks": changed(canarySpec, func(s *v1alpha1.RolloutSpec) { s.Strategy.DynamicStableScale = true }),
	"over another, a stable set that shrinks, slow proxies": changed(sized(canarySpec, 3, 5), func(s *v1alpha1.RolloutSpec) {
		s.Strategy.DynamicStableScale, s.Strategy.RouteGrace.Duration = true, 7*time.Second
	}),
	"over another, a plain Service":                  changed(canarySpec, func(s *v1alpha1.RolloutSpec) { s.Router = v1alpha1.RouterService }),
	"over another, a plain Service, autoscaled":      changed(canarySpec, func(s *v1alpha1.RolloutSpec) { s.Router = v1alpha1.RouterService }),
	"over another, a plain Service, three over five": changed(sized(canarySpec, 3, 5), func(s *v1alpha1.RolloutSpec) { s.Router = v1alpha1.RouterService }),
	"over another, blueGreen, a plain Service":       changed(blueGreenSpec, func(s *v1alpha1.RolloutSpec) { s.Router = v1alpha1.RouterService }),
	"over nothing":         firstSpec,
	"over nothing, walked": changed(firstSpec, func(s *v1alpha1.RolloutSpec) { s.Strategy.WalkFirstInstall = true }),
	"over nothing, walked in every kind of step":      changed(everything, func(s *v1alpha1.RolloutSpec) { s.Stable, s.Strategy.WalkFirstInstall = nil, true }),
	"over nothing, no pods wanted":                    changed(firstSpec, func(s *v1alpha1.RolloutSpec) { s.Replicas = 0 }),
	"over nothing, blueGreen, walked, jobs and hooks": changed(worked, func(s *v1alpha1.RolloutSpec) { s.Stable, s.Strategy.WalkFirstInstall = nil, true }),
	"in place":                     inPlaceSpec,
	"in place, three pods to none": sized(inPlaceSpec, 0, 3),
	"in place, none to three":      sized(inPlaceSpec, 3, 0),
}
