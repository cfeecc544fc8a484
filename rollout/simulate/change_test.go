package simulate

import (
	"strings"
	"testing"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestScenariosOfAChangeBetweenSetsAndAWorkloadInPlace(t *testing.T) {
	t.Parallel()
	const (
		toSets  = "stable: {replicas: 4, strategy: rolling}\n" + goodStrategy
		toPlace = "stable: {replicas: 4, strategy: canary}\nstrategy: {type: rolling}\n"
	)
	for name, c := range map[string]struct {
		text   string
		change bool
		want   string
	}{
		"from a workload in place to sets, the router need not be said": {toSets, true, ""},
		"and back":                           {toPlace, true, ""},
		"the plain Service may be said":      {toSets + "router: Service\n", true, ""},
		"a stable one that is kept likewise": {"stable: {replicas: 4, strategy: blueGreen}\n" + goodStrategy, false, ""},
		"another router":                     {toSets + "router: HTTPRoute\n", true, `s.yaml:3: router: wanted Service where a Release changes between sets and a workload in place, found "HTTPRoute"`},
		"a StatefulSet":                      {toPlace + "workload: StatefulSet\n", true, `s.yaml:3: workload: wanted Deployment where a Release changes between sets`},
		"shares of a Deployment in place":    {"stable: {replicas: 4, strategy: canary}\nstrategy: {type: rolling, steps: [{setWeight: 20}]}\n", true, `only a StatefulSet has shares`},
		"a Release after the last of sets":   {toPlace + "timeline:\n- {at: 1s, release: {revision: v3}}\n", true, `s.yaml:4: timeline: wanted no release where sets become a workload in place`},
		"a strategy that is none":            {"stable: {replicas: 4, strategy: red}\n" + goodStrategy, false, `stable.strategy: wanted one of canary, blueGreen, rolling, found "red"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc, err := Parse("s.yaml", []byte(c.text), nil)
			if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("wanted %q, found %v", c.want, err)
			}
			if err == nil && (sc.changes() != c.change || c.change && sc.Router != v1alpha1.RouterService) {
				t.Errorf("a change: %t, router %q", sc.changes(), sc.Router)
			}
		})
	}
}
