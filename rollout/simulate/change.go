package simulate

import (
	"time"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// changes says whether the scenario is about a change from a workload in place to sets, or back. Either
// is then a set of the model, behind a plain Service.
func (s *Scenario) changes() bool {
	return s.Stable != nil && s.Stable.Strategy != "" && s.Stable.Strategy.InSets() != s.Strategy.Type.InSets()
}

// change checks what such a scenario needs.
func (p *parser) change(seen map[string]*yaml.Node) {
	s := p.s
	if seen["router"] != nil && s.Router != v1alpha1.RouterService {
		p.failf(seen["router"], "router", "wanted Service where a Release changes between sets and a workload in place, found %q; leave it out", s.Router)
	}
	s.Router = v1alpha1.RouterService
	if s.Workload != WorkloadDeployment {
		p.failf(seen["workload"], "workload", "wanted Deployment where a Release changes between sets and a workload in place, found %q; leave it out", s.Workload)
	}
	if s.Strategy.Type.InSets() {
		return
	}
	p.partitions(s.Strategy, seen["strategy"])
	for _, e := range s.Timeline {
		if _, newer := e.Event.(releaseEvent); newer {
			p.failf(seen["timeline"], "timeline", "wanted no release where sets become a workload in place, found one; the next rollout is in place: write a scenario of its own for it")
		}
	}
}

// before is the strategy by which what serves came.
func (s *Scenario) before() v1alpha1.Strategy {
	if !s.changes() {
		return s.Strategy
	}
	out := v1alpha1.Strategy{Type: s.Stable.Strategy}
	if out.Type.InSets() {
		out.DrainDelay.Duration = 30 * time.Second
	}
	if out.Type == v1alpha1.StrategyBlueGreen {
		out.ScaleDownDelay = &metav1.Duration{Duration: 10 * time.Minute}
	}
	return out
}
