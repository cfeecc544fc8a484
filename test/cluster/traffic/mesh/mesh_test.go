package mesh

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, kind, spec string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte("kind: "+kind+"\nmetadata: {name: cart, namespace: shop, generation: 3}\nspec: "+spec), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func ask(host, path string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://"+host+path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// asked is where n requests go by a route, by the name of the Service; otherwise why none does.
func asked(of route, r *http.Request, n int) (map[string]int, string) {
	t, s := &table{routes: []route{of}}, &schedules{}
	found, key, err := t.find(r)
	if err != nil {
		return nil, err.Error()
	}
	got := map[string]int{}
	for range n {
		to, err := s.next(key, found.shares)
		if err != nil {
			return nil, err.Error()
		}
		got[to.service]++
	}
	return got, ""
}

const virtual = `{hosts: [cart], http: [
  {match: [{uri: {prefix: /}, headers: {x-tester: {exact: "yes"}, cookie: {regex: 'a=[0-9]+'}}}, {headers: {x-team: {prefix: shop.}}}], route: [{destination: {host: b}}]},
  {match: [{uri: {exact: /old}}], redirect: {uri: /new}},
  {route: [{destination: {host: a, port: {number: 80}}, weight: 70}, {destination: {host: b.shop.svc.cluster.local}, weight: 30}, {destination: {host: c}, weight: 0}]}]}`

func TestRequestsGoByAVirtualService(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request *http.Request
		want    map[string]int
	}{
		"by weight where nothing else fits":            {ask("cart.shop", "/"), map[string]int{"a": 7, "b": 3}},
		"to any name of the Service":                   {ask("cart.shop.svc.cluster.local:80", "/"), map[string]int{"a": 7, "b": 3}},
		"by all headers of a match":                    {ask("cart", "/", "X-Tester", "yes", "Cookie", "a=17"), map[string]int{"b": 10}},
		"not by one of them":                           {ask("cart", "/", "X-Tester", "yes"), map[string]int{"a": 7, "b": 3}},
		"not by an expression that fits a part":        {ask("cart", "/", "X-Tester", "yes", "Cookie", "xa=17"), map[string]int{"a": 7, "b": 3}},
		"by another match":                             {ask("cart", "/", "X-Team", "shop.cart"), map[string]int{"b": 10}},
		"not by what begins otherwise":                 {ask("cart", "/", "X-Team", "my-shop."), map[string]int{"a": 7, "b": 3}},
		"elsewhere for a rule that leads nowhere else": {ask("cart", "/older"), map[string]int{"a": 7, "b": 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, why := asked(ofVirtualService(object(t, "VirtualService", virtual)), c.request, 10); !maps.Equal(got, c.want) {
				t.Errorf("ten requests went to %v, want %v: %s", got, c.want, why)
			}
		})
	}
}

func TestWhatIstioWouldRefuseServesNobody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ spec, want string }{
		"a field that there is not":           {"{hosts: [cart], http: [{rout: []}]}", `unknown field "rout"`},
		"a rule without anything to do":       {"{hosts: [cart], http: [{timeout: 5s}]}", "neither route, nor redirect"},
		"both ways to mirror":                 {"{hosts: [cart], http: [{route: [{destination: {host: a}}], mirror: {host: b}, mirrors: [{destination: {host: b}}]}]}", "mirror beside mirrors"},
		"the name of a header with a capital": {"{hosts: [cart], http: [{match: [{headers: {X-A: {exact: b}}}], route: [{destination: {host: a}}]}]}", "lower case"},
		"a subset, of which nothing is known": {"{hosts: [cart], http: [{route: [{destination: {host: a, subset: v1}}]}]}", "DestinationRule"},
		"something that is not played here":   {"{hosts: [cart], http: [{match: [{method: {exact: GET}}], route: [{destination: {host: a}}]}]}", "are not served here"},
		"TCP":                                 {"{hosts: [cart], tcp: [{route: [{destination: {host: a}}]}]}", "TLS and TCP"},
		"no weight at all":                    {"{hosts: [cart], http: [{route: [{destination: {host: a}}, {destination: {host: b}}]}]}", "no destination has a weight above 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, why := asked(ofVirtualService(object(t, "VirtualService", c.spec)), ask("cart", "/"), 1); !strings.Contains(why, c.want) {
				t.Errorf("the request went to %v, %q, want %q", got, why, c.want)
			}
		})
	}
}

func TestCopiesAreExact(t *testing.T) {
	t.Parallel()
	r := ofVirtualService(object(t, "VirtualService", "{hosts: [cart], http: [{route: [{destination: {host: a}}], timeout: 5s, retries: {attempts: 2}, mirrors: [{destination: {host: b}, percentage: {value: 25}}]}]}"))
	s, n := &schedules{}, 0
	for range 100 {
		if s.due("k", r.rules[0].copies[0].percent) {
			n++
		}
	}
	if n != 25 || r.rules[0].timeout.Seconds() != 5 || r.rules[0].retries != 2 {
		t.Errorf("%d of 100 were copied, of %+v", n, r.rules[0])
	}
}

func TestARouteOfAServiceIsServedAndAnswered(t *testing.T) {
	t.Parallel()
	u := object(t, "HTTPRoute", `{parentRefs: [{name: edge}, {group: "", kind: Service, name: cart}], rules: [
  {matches: [{path: {type: PathPrefix, value: /}, headers: [{type: RegularExpression, name: X-Tester, value: ^yes$}]}], backendRefs: [{name: b, port: 80}]},
  {backendRefs: [{name: a, port: 80, weight: 4}, {name: b, port: 80}]}]}`)
	r := &gatewayv1.HTTPRoute{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, r); err != nil {
		t.Fatal(err)
	}
	read := ofHTTPRoute(r)
	for name, c := range map[string]struct {
		request *http.Request
		want    map[string]int
	}{
		"others by weight":                   {ask("cart.shop", "/"), map[string]int{"a": 8, "b": 2}},
		"testers by an expression":           {ask("cart.shop", "/", "X-Tester", "yes"), map[string]int{"b": 10}},
		"nobody who asks for the gateway is": {ask("edge", "/"), nil},
	} {
		if got, why := asked(read, c.request, 10); !maps.Equal(got, c.want) {
			t.Errorf("%s: ten requests went to %v, want %v: %s", name, got, c.want, why)
		}
	}
	there := map[string]bool{"a": true}
	has := func(b backend) bool { return there[b.service] }
	if !answer(r, read, has) || len(r.Status.Parents) != 1 || r.Status.Parents[0].Conditions[1].Status != "False" {
		t.Errorf("with a backend that is not there the status is %+v", r.Status.Parents)
	}
	there["b"] = true
	if !answer(r, read, has) || r.Status.Parents[0].Conditions[1].Status != "True" || r.Status.Parents[0].Conditions[0].ObservedGeneration != 3 {
		t.Errorf("with all backends the status is %+v", r.Status.Parents)
	}
	if answer(r, read, has) {
		t.Error("an answer that is no news was given twice")
	}
}
