package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestMirrorsGetTheirShareAndNobodySeesTheirAnswers(t *testing.T) {
	for name, percent := range map[string]int{"all": 100, "a fifth": 20, "one of a hundred": 1} {
		t.Run(name, func(t *testing.T) {
			stable := newPod(t, 1, "stable", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
			canary := newPod(t, 2, "canary", func(w http.ResponseWriter, r *http.Request) {
				if body, _ := io.ReadAll(r.Body); string(body) != "order" {
					t.Errorf("the copy has the body %q", body)
				}
				w.WriteHeader(http.StatusInternalServerError)
			})
			p := testPlane(t)
			p.mustApply(t, route().backend("stable", 100, stable).backend("canary", mirrorWeight+percent, canary))
			for range 100 {
				res := p.do(t.Context(), http.MethodPost, "cart.test", strings.NewReader("order"))
				body, _ := io.ReadAll(res.Body)
				if res.StatusCode != http.StatusOK || string(body) != "order" || res.Header.Get("X-Pod") != "stable" {
					t.Fatalf("%s answered %d %q", res.Header.Get("X-Pod"), res.StatusCode, body)
				}
			}
			waitFor(t, "the copies", func() bool { return canary.count.Load() == int64(percent) })
			if n := stable.count.Load(); n != 100 {
				t.Errorf("stable got %d of 100", n)
			}
			backends := p.stats.routes[0].Backends
			if last := backends[len(backends)-1]; last.Weight != 0 || last.Mirror != percent {
				t.Errorf("the statistics say %+v", last)
			}
		})
	}
}

func TestMirrorFiltersBecomeReferences(t *testing.T) {
	text := strings.NewReplacer("\n", "", "\t", "").Replace(`{"spec":{"rules":[
		{"filters":[{"type":"RequestHeaderModifier"},{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"canary","port":80},"percent":20}}],
		 "backendRefs":[{"name":"stable","weight":100}]},
		{"filters":[{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"canary"}}}]},
		{"filters":[{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"canary"},"fraction":{"numerator":1,"denominator":4}}}]},
		{"filters":[{"type":"RequestHeaderModifier"}]}]}}`)
	const want = `{"spec":{"rules":[` +
		`{"backendRefs":[{"name":"stable","weight":100},{"name":"canary","port":80,"weight":999020}],"filters":[{"type":"RequestHeaderModifier"}]},` +
		`{"backendRefs":[{"name":"canary","weight":999100}],"filters":[]},` +
		`{"backendRefs":[{"name":"canary","weight":999025}],"filters":[]},` +
		`{"filters":[{"type":"RequestHeaderModifier"}]}]}}`
	for name, c := range map[string]struct{ answer, want string }{
		"in a list":            {`{"kind":"HTTPRouteList","items":[` + text + `]}`, `{"items":[` + want + `],"kind":"HTTPRouteList"}`},
		"in a watch, by event": {`{"type":"ADDED","object":` + text + "}\n" + `{"type":"BOOKMARK","object":{}}`, `{"object":` + want + `,"type":"ADDED"}{"object":{},"type":"BOOKMARK"}`},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, c.answer)
			}))
			defer server.Close()
			target, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			between := proxy(target, http.DefaultTransport, "/secret")
			ask := func(path string) (int, string) {
				req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
				rec := httptest.NewRecorder()
				between.ServeHTTP(rec, req)
				return rec.Code, strings.ReplaceAll(rec.Body.String(), "\n", "")
			}
			if _, got := ask("/secret/apis/gateway.networking.k8s.io/v1/httproutes"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if _, got := ask("/secret/api/v1/services"); got != strings.ReplaceAll(c.answer, "\n", "") {
				t.Errorf("what is no route was changed: %s", got)
			}
			if code, _ := ask("/guess/api/v1/services"); code != http.StatusNotFound {
				t.Errorf("a wrong path is answered with %d", code)
			}
		})
	}
}
