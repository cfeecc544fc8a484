package manifest

import "testing"

func TestSettled(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: cart, namespace: shop, generation: 4}\n"
	const accepted = "conditions: [{type: Accepted, status: 'True', observedGeneration: 4}, {type: ResolvedRefs, status: 'True', observedGeneration: 4}]"
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"every parent has taken the generation": {
			"spec: {parentRefs: [{name: edge}]}\nstatus: {parents: [{parentRef: {group: gateway.networking.k8s.io, kind: Gateway, namespace: shop, name: edge}, " + accepted + "}]}", true,
		},
		"a route without parents serves nobody": {"spec: {}\nstatus: {parents: []}", false},
		"no gateway has answered":               {"spec: {parentRefs: [{name: edge}]}", false},
		"one of two gateways has answered": {
			"spec: {parentRefs: [{name: edge}, {name: inner}]}\nstatus: {parents: [{parentRef: {name: edge}, " + accepted + "}]}", false,
		},
		"a gateway has answered for an older generation": {
			"spec: {parentRefs: [{name: edge}]}\nstatus: {parents: [{parentRef: {name: edge}, conditions: [{type: Accepted, status: 'True', observedGeneration: 3}, {type: ResolvedRefs, status: 'True', observedGeneration: 3}]}]}", false,
		},
		"a gateway does not find a backend": {
			"spec: {parentRefs: [{name: edge}]}\nstatus: {parents: [{parentRef: {name: edge}, conditions: [{type: Accepted, status: 'True', observedGeneration: 4}, {type: ResolvedRefs, status: 'False', observedGeneration: 4}]}]}", false,
		},
		"another listener of the same gateway is another parent": {
			"spec: {parentRefs: [{name: edge, sectionName: https}]}\nstatus: {parents: [{parentRef: {name: edge, sectionName: http}, " + accepted + "}]}", false,
		},
		"in a mesh a Service is the parent, and answers the same way": {
			"spec: {parentRefs: [{group: '', kind: Service, name: cart, port: 80}]}\nstatus: {parents: [{parentRef: {group: '', kind: Service, name: cart, port: 80}, " + accepted + "}]}", true,
		},
		"a Gateway of the same name is not the Service that is the parent": {
			"spec: {parentRefs: [{group: '', kind: Service, name: cart}]}\nstatus: {parents: [{parentRef: {name: cart}, " + accepted + "}]}", false,
		},
		"a mesh and a gateway must both have taken it": {
			"spec: {parentRefs: [{name: edge}, {group: '', kind: Service, name: cart}]}\nstatus: {parents: [{parentRef: {group: '', kind: Service, name: cart}, " + accepted + "}]}", false,
		},
		"one of two controllers of the same parent refuses": {
			"spec: {parentRefs: [{name: edge}]}\nstatus: {parents: [{parentRef: {name: edge}, " + accepted + "}, {parentRef: {name: edge}, conditions: []}]}", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Settled(object(t, head+c.text)); got != c.want {
				t.Errorf("settled is %t, want %t", got, c.want)
			}
		})
	}
}

func TestAVirtualServiceIsSettled(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: cart, namespace: shop, generation: 4}\n"
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"when it was written, where Istio tells nothing":  {"", true},
		"when the newest generation was distributed":      {"status: {observedGeneration: '4', conditions: [{type: Reconciled, status: 'True'}]}", true},
		"not while an older generation is told about":     {"status: {observedGeneration: '3', conditions: [{type: Reconciled, status: 'True'}]}", false},
		"not while the proxies do not have it":            {"status: {observedGeneration: 4, conditions: [{type: Reconciled, status: 'False'}]}", false},
		"not while the condition is of an older one":      {"status: {conditions: [{type: Reconciled, status: 'True', observedGeneration: '3'}]}", false},
		"not where Istio has found a mistake in it":       {"status: {validationMessages: [{level: ERROR, type: {code: IST0101}}]}", false},
		"where Istio only warns":                          {"status: {validationMessages: [{level: WARNING}]}", true},
		"whatever a condition of somebody else's says":    {"status: {conditions: [{type: Pretty, status: 'False'}]}", true},
		"by a number of a generation that is none, never": {"status: {observedGeneration: 'x', conditions: [{type: Reconciled, status: 'False'}]}", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Settled(object(t, head+c.text)); got != c.want {
				t.Errorf("settled is %t, want %t", got, c.want)
			}
		})
	}
}
