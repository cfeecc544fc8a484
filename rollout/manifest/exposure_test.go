package manifest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// The heads of the three kinds of routes; rules follow with two blanks before them.
const (
	httpHead  = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: cart, namespace: shop}\nspec:\n  parentRefs: [{name: edge}]\n  rules:\n"
	grpcHead  = "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: cart, namespace: shop}\nspec:\n  parentRefs: [{name: edge}]\n  rules:\n"
	istioHead = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: cart, namespace: shop}\nspec:\n  hosts: [cart.example]\n  http:\n"
)

// routed returns both sides with the rules, in which REV stands for the revision.
func routed(t *testing.T, head string, rules ...string) Sides {
	t.Helper()
	one := func(revision string) *render.Result {
		text := head
		for _, r := range rules {
			text += "  - " + strings.ReplaceAll(r, "REV", revision) + "\n"
		}
		return &render.Result{Revision: revision, Route: object(t, text)}
	}
	return Sides{Stable: one(oldRevision), Canary: one(newRevision)}
}

// walk is a Rollout over the old revision whose steps are: 1 the header x-tester: yes or the
// cookie tester=yes, 2 a mirror of 20 %, 3 a baseline, 4 a weight, 5 the header alone, 6 a
// mirror of all, 7 the same header once more.
func walk() v1alpha1.RolloutSpec {
	yes, weight := true, int32(30)
	header := v1alpha1.RequestMatch{Headers: []v1alpha1.ValueMatch{exact("x-tester", "yes")}}
	cookie := v1alpha1.RequestMatch{Cookies: []v1alpha1.ValueMatch{exact("tester", "yes")}}
	return v1alpha1.RolloutSpec{
		Release: "cart", Revision: newRevision, Replicas: 4,
		Stable: &v1alpha1.StableReference{Rollout: "cart-1", Revision: oldRevision, Replicas: 4},
		Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyCanary, Steps: []v1alpha1.Step{
			{SetHeaderRoute: &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{header, cookie}}},
			{SetMirrorRoute: &v1alpha1.MirrorRoute{Percent: 20}},
			{SetBaseline: &yes},
			{SetWeight: &weight},
			{SetHeaderRoute: &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{header}}},
			{SetMirrorRoute: &v1alpha1.MirrorRoute{Percent: 100}},
			{SetHeaderRoute: &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{header}}},
		}},
	}
}

// lines prints a route, a rule a line: the conditions on headers, the references, the mirrors.
func lines(route *unstructured.Unstructured) []string {
	d := dialectOf(route)
	out := []string{}
	for _, rule := range rulesOf(d, route) {
		var matches, refs []string
		for _, match := range matchesOf(d, rule) {
			var all []string
			for _, c := range d.conditions(match) {
				all = append(all, c.name+[]string{"=", "^=", "~", "?"}[c.form]+c.value)
			}
			matches = append(matches, strings.Join(all, " and "))
		}
		list := maps(rule[d.refsKey()])
		for _, ref := range list {
			refs = append(refs, fmt.Sprintf("%s=%d", d.service(ref), d.weight(ref, len(list))))
		}
		for _, m := range d.mirrors(rule) {
			refs = append(refs, fmt.Sprintf("copy %d to %s", m.percent, m.service))
		}
		out = append(out, strings.TrimSpace("["+strings.Join(matches, "|")+"] "+strings.Join(refs, " ")))
	}
	return out
}

const (
	cookieText = `^(?:.*;\s*)?tester=yes\s*(?:;.*)?$`
	httpRule   = "backendRefs: [{name: cart-REV, port: 80}]"
	istioRule  = "route: [{destination: {host: cart-REV.shop.svc.cluster.local, port: {number: 80}}}]"
)

func TestRouteWithTestersMirrorsAndBaseline(t *testing.T) {
	t.Parallel()
	testers := "[x-tester=yes|Cookie~" + cookieText + "] cart-bbbbbbbbbb=100"
	for name, c := range map[string]struct {
		head     string
		rules    []string
		exposure plan.Exposure
		want     []string
	}{
		"testers reach the new revision at a weight of 0, and nobody else does": {
			httpHead,
			[]string{httpRule},
			plan.Exposure{Header: 1},
			[]string{testers, "[] cart-aaaaaaaaaa=100"},
		},
		"testers go to the new revision at any weight": {
			httpHead,
			[]string{httpRule},
			plan.Exposure{Header: 1, Weight: 30},
			[]string{testers, "[] cart-aaaaaaaaaa=70 cart-bbbbbbbbbb=30"},
		},
		"the baseline has a share of its own, which the stable set gives": {
			httpHead,
			[]string{httpRule},
			plan.Exposure{Weight: 30, Baseline: 30},
			[]string{"[] cart-aaaaaaaaaa=40 cart-bbbbbbbbbb=30 cart-aaaaaaaaaa-baseline=30"},
		},
		"halves leave the stable set nothing": {
			httpHead,
			[]string{httpRule},
			plan.Exposure{Weight: 50, Baseline: 50},
			[]string{"[] cart-bbbbbbbbbb=50 cart-aaaaaaaaaa-baseline=50"},
		},
		"a mirror copies from the rule, and not from that of testers": {
			httpHead,
			[]string{httpRule},
			plan.Exposure{Header: 5, Mirror: 2},
			[]string{"[x-tester=yes] cart-bbbbbbbbbb=100", "[] cart-aaaaaaaaaa=100 copy 20 to cart-bbbbbbbbbb"},
		},
		"a mirror of all of the requests needs no percentage": {
			httpHead,
			[]string{httpRule},
			plan.Exposure{Mirror: 6},
			[]string{"[] cart-aaaaaaaaaa=100 copy 100 to cart-bbbbbbbbbb"},
		},
		"each rule has its own testers, with the matches of both": {
			httpHead,
			[]string{
				"{matches: [{path: {value: /a}, headers: [{name: x-lang, value: en}]}, {path: {value: /b}}], backendRefs: [{name: cart-REV, port: 80}]}",
				"{matches: [{path: {value: /admin}}], backendRefs: [{name: cart-admin-REV, port: 80}]}",
			},
			plan.Exposure{Header: 5},
			[]string{
				"[x-lang=en and x-tester=yes|x-tester=yes] cart-bbbbbbbbbb=100", "[x-lang=en|] cart-aaaaaaaaaa=100",
				"[x-tester=yes] cart-admin-bbbbbbbbbb=100", "[] cart-admin-aaaaaaaaaa=100",
			},
		},
		"a rule with a fixed backend alone, or a redirect, is left as it is": {
			httpHead,
			[]string{"backendRefs: [{name: docs, port: 80}]", "filters: [{type: RequestRedirect, requestRedirect: {hostname: other}}]", httpRule},
			plan.Exposure{Header: 5, Mirror: 2},
			[]string{"[] docs=1", "[]", "[x-tester=yes] cart-bbbbbbbbbb=100", "[] cart-aaaaaaaaaa=100 copy 20 to cart-bbbbbbbbbb"},
		},
		"testers leave a fixed backend beside the set out": {
			httpHead,
			[]string{"backendRefs: [{name: cart-REV, port: 80, weight: 3}, {name: docs, port: 80, weight: 100}]"},
			plan.Exposure{Header: 5, Weight: 30, Baseline: 30},
			[]string{
				"[x-tester=yes] cart-bbbbbbbbbb=300",
				"[] cart-aaaaaaaaaa=120 cart-bbbbbbbbbb=90 cart-aaaaaaaaaa-baseline=90 docs=100",
			},
		},
		"a match that excludes testers has none": {
			httpHead,
			[]string{"{matches: [{headers: [{name: X-Tester, value: 'no'}]}], backendRefs: [{name: cart-REV, port: 80}]}"},
			plan.Exposure{Header: 5},
			[]string{"[X-Tester=no] cart-aaaaaaaaaa=100"},
		},
		"a match that is of testers already stays one condition": {
			httpHead,
			[]string{"{matches: [{headers: [{name: X-Tester, value: 'yes'}]}], backendRefs: [{name: cart-REV, port: 80}]}"},
			plan.Exposure{Header: 5},
			[]string{"[X-Tester=yes] cart-bbbbbbbbbb=100", "[X-Tester=yes] cart-aaaaaaaaaa=100"},
		},
		"a GRPCRoute is split the same way": {
			grpcHead,
			[]string{"{matches: [{method: {service: shop.Cart}}], backendRefs: [{name: cart-REV, port: 80}]}"},
			plan.Exposure{Header: 5, Mirror: 2, Weight: 10, Baseline: 10},
			[]string{
				"[x-tester=yes] cart-bbbbbbbbbb=100",
				"[] cart-aaaaaaaaaa=80 cart-bbbbbbbbbb=10 cart-aaaaaaaaaa-baseline=10 copy 20 to cart-bbbbbbbbbb",
			},
		},
		"a VirtualService has hosts, and headers in lower case": {
			istioHead,
			[]string{istioRule},
			plan.Exposure{Header: 1, Mirror: 2, Weight: 10, Baseline: 10},
			[]string{
				"[x-tester=yes|cookie~" + cookieText + "] cart-bbbbbbbbbb=100",
				"[] cart-aaaaaaaaaa=80 cart-bbbbbbbbbb=10 cart-aaaaaaaaaa-baseline=10 copy 20 to cart-bbbbbbbbbb",
			},
		},
		"a mirror of the user's in the older field is kept beside": {
			istioHead,
			[]string{"{mirror: {host: audit}, mirrorPercentage: {value: 1.5}, route: [{destination: {host: cart-REV}}]}"},
			plan.Exposure{Mirror: 2},
			[]string{"[] cart-aaaaaaaaaa=100 copy 2 to audit copy 20 to cart-bbbbbbbbbb"},
		},
		"headers that are asked to be there are met by a value": {
			istioHead,
			[]string{"{match: [{headers: {x-tester: {}}}, {uri: {prefix: /b}}], route: [{destination: {host: cart-REV}}]}"},
			plan.Exposure{Header: 5},
			[]string{"[x-tester=yes|x-tester=yes] cart-bbbbbbbbbb=100", "[x-tester?|] cart-aaaaaaaaaa=100"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sides := routed(t, c.head, c.rules...)
			got, err := Route(sides, walk(), v1alpha1.RolloutProgressing, testRelease(), c.exposure)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, lines(got)); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADomainStaysBehindAHost(t *testing.T) {
	t.Parallel()
	got, err := Route(routed(t, istioHead, istioRule), walk(), v1alpha1.RolloutProgressing, testRelease(), plan.Exposure{Weight: 10, Baseline: 10, Mirror: 2})
	if err != nil {
		t.Fatal(err)
	}
	rule := rulesOf(istio{}, got)[0]
	text, err := json.Marshal(map[string]any{"route": rule["route"], "mirrors": rule["mirrors"]})
	if err != nil {
		t.Fatal(err)
	}
	host := func(name string) string {
		return `{"destination":{"host":"` + name + `.shop.svc.cluster.local","port":{"number":80}},`
	}
	want := `{"mirrors":[` + host("cart-bbbbbbbbbb") + `"percentage":{"value":20}}],"route":[` +
		host("cart-aaaaaaaaaa") + `"weight":80},` + host("cart-bbbbbbbbbb") + `"weight":10},` + host("cart-aaaaaaaaaa-baseline") + `"weight":10}]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

// TestWhatIsAppliedIsReadBack walks all exposures: each is read back as it was applied,
// whatever else was expected, as far as steps differ; and nothing but what an exposure gives
// carries to a revision.
func TestWhatIsAppliedIsReadBack(t *testing.T) {
	t.Parallel()
	fixed := "{name: docs, port: 80, weight: 7}"
	for name, sides := range map[string]Sides{
		"one rule":       routed(t, httpHead, httpRule),
		"several rules":  routed(t, httpHead, "backendRefs: [{name: docs, port: 80}]", httpRule, "{matches: [{path: {value: /x}}], backendRefs: [{name: cart-admin-REV, port: 81}]}"),
		"beside a fixed": routed(t, httpHead, "backendRefs: [{name: cart-REV, port: 80, weight: 3}, "+fixed+"]"),
		"gRPC":           routed(t, grpcHead, httpRule),
		"Istio":          routed(t, istioHead, istioRule),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for weight := int32(0); weight <= 100; weight += 10 {
				for _, e := range []plan.Exposure{
					{}, {Header: 1}, {Header: 5}, {Mirror: 2}, {Mirror: 6}, {Header: 1, Mirror: 2}, {Header: 5, Mirror: 6},
				} {
					e.Weight = weight
					if 2*weight <= 100 {
						e.Baseline = weight
					}
					roundTrip(t, sides, e)
				}
			}
		})
	}
}

func roundTrip(t *testing.T, sides Sides, e plan.Exposure) {
	t.Helper()
	spec := walk()
	live, err := Route(sides, spec, v1alpha1.RolloutProgressing, testRelease(), e)
	if err != nil {
		t.Fatal(err)
	}
	for _, expected := range []plan.Exposure{{}, e, {Header: 1, Mirror: 6, Weight: 50}} {
		if got, split := Exposure(live, spec, expected); got != e || split {
			t.Fatalf("applied %+v, read back %+v where %+v was expected:\n%s", e, got, expected, strings.Join(lines(live), "\n"))
		}
	}
	if !SameRoute(live, live.DeepCopy()) {
		t.Errorf("a route is not the same as itself: %v", lines(live))
	}
	if got, want := Carries(live, newRevision), e.Weight > 0 || e.Header != 0 || e.Mirror != 0; got != want {
		t.Errorf("%+v carries to the new revision: %t, want %t", e, got, want)
	}
	if got, want := Carries(live, BaselineRevision(oldRevision)), e.Baseline > 0; got != want {
		t.Errorf("%+v carries to the baseline: %t, want %t", e, got, want)
	}
	without, err := WithoutCanary(live, spec)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := Exposure(without, spec, plan.Exposure{}); got != (plan.Exposure{}) {
		t.Errorf("of %+v there is left %+v:\n%s", e, got, strings.Join(lines(without), "\n"))
	}
	if Carries(without, newRevision) || Carries(without, BaselineRevision(oldRevision)) || !Carries(without, oldRevision) {
		t.Errorf("of %+v there is left:\n%s", e, strings.Join(lines(without), "\n"))
	}
}

func TestWhatNobodyAskedForCounts(t *testing.T) {
	t.Parallel()
	rule := func(text string) string {
		return strings.NewReplacer("OLD", oldRevision, "NEW", newRevision).Replace(text)
	}
	for name, c := range map[string]struct {
		rules    []string
		expected plan.Exposure
		want     plan.Exposure
	}{
		"a rule of requests that no step describes is a weight": {
			[]string{
				"{matches: [{headers: [{name: x-other, value: '1'}]}], backendRefs: [{name: cart-NEW, port: 80}]}",
				"backendRefs: [{name: cart-OLD, port: 80}]",
			},
			plan.Exposure{},
			plan.Exposure{Weight: 100},
		},
		"a rule of testers that takes others too is a weight": {
			[]string{
				"{matches: [{headers: [{name: x-tester, value: 'yes'}]}, {path: {value: /}}], backendRefs: [{name: cart-NEW, port: 80}]}",
				"backendRefs: [{name: cart-OLD, port: 80}]",
			},
			plan.Exposure{Header: 5},
			plan.Exposure{Weight: 100},
		},
		"a rule of testers with a share of the old revision is a weight": {
			[]string{"{matches: [{headers: [{name: x-tester, value: 'yes'}]}], backendRefs: [{name: cart-NEW, weight: 1}, {name: cart-OLD, weight: 3}]}"},
			plan.Exposure{Header: 5},
			plan.Exposure{Weight: 25},
		},
		"the testers of an earlier step are of that step": {
			[]string{
				"{matches: [{headers: [{name: x-tester, value: 'yes'}]}], backendRefs: [{name: cart-NEW, port: 80}]}",
				"backendRefs: [{name: cart-OLD, port: 80}]",
			},
			plan.Exposure{},
			plan.Exposure{Header: 5},
		},
		"of two steps that say the same the expected one is in force": {
			[]string{"{matches: [{headers: [{name: x-tester, value: 'yes'}]}], backendRefs: [{name: cart-NEW, port: 80}]}"},
			plan.Exposure{Header: 7},
			plan.Exposure{Header: 7},
		},
		"rules of different steps are not as expected": {
			[]string{
				"{matches: [{headers: [{name: x-tester, value: 'yes'}]}], backendRefs: [{name: cart-NEW, port: 80}]}",
				"{matches: [{headers: [{name: x-tester, value: 'yes'}]}, {headers: [{name: Cookie, type: RegularExpression, value: '" + cookieText + "'}]}], backendRefs: [{name: cart-NEW, port: 80}]}",
			},
			plan.Exposure{Header: 5},
			plan.Exposure{Header: 1},
		},
		"a mirror that no step has is none of them": {
			[]string{"{backendRefs: [{name: cart-OLD}], filters: [{type: RequestMirror, requestMirror: {percent: 33, backendRef: {name: cart-NEW}}}]}"},
			plan.Exposure{Mirror: 2},
			plan.Exposure{Mirror: unasked},
		},
		"a mirror by a fraction is one": {
			[]string{"{backendRefs: [{name: cart-OLD}], filters: [{type: RequestMirror, requestMirror: {fraction: {numerator: 1, denominator: 5}, backendRef: {name: cart-NEW}}}]}"},
			plan.Exposure{},
			plan.Exposure{Mirror: 2},
		},
		"a mirror of the user's to somewhere else is none": {
			[]string{"{backendRefs: [{name: cart-OLD}], filters: [{type: RequestMirror, requestMirror: {backendRef: {name: audit}}}]}"},
			plan.Exposure{},
			plan.Exposure{},
		},
		"a share of the baseline that nobody asked for counts": {
			[]string{"backendRefs: [{name: cart-OLD, weight: 9}, {name: cart-OLD-baseline, weight: 1}]"},
			plan.Exposure{},
			plan.Exposure{Baseline: 10},
		},
		"a backend that is no Service is none of ours": {
			[]string{"backendRefs: [{name: cart-NEW, kind: Bucket, group: example.com}, {name: cart-OLD}]"},
			plan.Exposure{},
			plan.Exposure{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := httpHead
			for _, r := range c.rules {
				text += "  - " + rule(r) + "\n"
			}
			if got, _ := Exposure(object(t, text), walk(), c.expected); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestRoutesThatTheAPIWouldRefuse(t *testing.T) {
	t.Parallel()
	var many, wide []string
	for i := range 9 {
		many = append(many, fmt.Sprintf("{matches: [{path: {value: /%d}}], backendRefs: [{name: cart-REV, port: 80}]}", i))
	}
	paths := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("{path: {value: /%d}}", i))
		}
		return "{matches: [" + strings.Join(all, ", ") + "], backendRefs: [{name: cart-REV, port: 80}]}"
	}
	wide = append(wide, paths(31), paths(31))
	for name, c := range map[string]struct {
		rules  []string
		header int32
		want   string
	}{
		"more than 16 rules":                  {many, 5, "at most 16 rules"},
		"more than 64 matches in a rule":      {[]string{paths(33)}, 1, "at most 64 matches"},
		"more than 128 matches in all":        {wide, 1, "at most 128 matches"},
		"an expression beside an expression":  {[]string{"{matches: [{headers: [{name: Cookie, type: RegularExpression, value: 'a.*'}]}], backendRefs: [{name: cart-REV, port: 80}]}"}, 1, "one condition"},
		"a step that has no header route":     {[]string{httpRule}, 4, "step 4"},
		"a step that there is not":            {[]string{httpRule}, 40, "step 40"},
		"no more than 16 rules can be routed": {append(many, many...), 0, "at most 16 rules"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Route(routed(t, httpHead, c.rules...), walk(), v1alpha1.RolloutProgressing, testRelease(), plan.Exposure{Header: c.header})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestSameRoute(t *testing.T) {
	t.Parallel()
	sides := routed(t, httpHead, httpRule)
	at := func(e plan.Exposure) *unstructured.Unstructured {
		out, err := Route(sides, walk(), v1alpha1.RolloutProgressing, testRelease(), e)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	base := plan.Exposure{Weight: 30, Baseline: 30, Header: 1, Mirror: 2}
	for name, other := range map[string]plan.Exposure{
		"another weight":   {Weight: 20, Baseline: 30, Header: 1, Mirror: 2},
		"another baseline": {Weight: 30, Header: 1, Mirror: 2},
		"other testers":    {Weight: 30, Baseline: 30, Header: 5, Mirror: 2},
		"no testers":       {Weight: 30, Baseline: 30, Mirror: 2},
		"another mirror":   {Weight: 30, Baseline: 30, Header: 1, Mirror: 6},
		"no mirror":        {Weight: 30, Baseline: 30, Header: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if SameRoute(at(base), at(other)) {
				t.Error("it is the same")
			}
		})
	}
	t.Run("what the API server fills in makes no difference", func(t *testing.T) {
		t.Parallel()
		live := at(plan.Exposure{Weight: 30, Header: 5})
		for i, rule := range rulesOf(gateway{}, live) {
			for _, ref := range maps(rule["backendRefs"]) {
				ref["group"], ref["kind"] = "", "Service"
			}
			if i == 1 {
				rule["matches"] = []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": "/"}}}
			}
		}
		if !SameRoute(live, at(plan.Exposure{Weight: 30, Header: 5})) {
			t.Error("it is another")
		}
	})
}
