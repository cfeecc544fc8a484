package prom_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidegate.io/tidegate/rollout/prom"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// at is some evaluation time with a fraction of a second.
var at = time.Unix(1760000000, 250_000_000)

func vector(samples ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(samples, ",") + `]}}`
}

func series(labels, value string) string {
	return fmt.Sprintf(`{"metric":{%s},"value":[1760000000.250,%q]}`, labels, value)
}

func newClient(t *testing.T, cfg prom.Config) *prom.Client {
	t.Helper()
	c, err := prom.NewClient(cfg)
	if err != nil {
		t.Fatalf("NewClient: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAnAnswerBecomesOneSampleOrACause(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		code  int
		body  string
		value float64
		cause v1alpha1.UnknownCause
		// detail must be part of the sample's detail.
		detail string
	}{
		"one series is its value":                             {body: vector(series(`"job":"web"`, "0.0512")), value: 0.0512},
		"zero is a value":                                     {body: vector(series(``, "0")), value: 0},
		"a scalar is its value":                               {body: `{"status":"success","data":{"resultType":"scalar","result":[1760000000,"2"]}}`, value: 2},
		"an info does not spoil the value":                    {body: `{"status":"success","data":{"resultType":"vector","result":[` + series(``, "3") + `]},"infos":["PromQL info: metric might not be a counter"]}`, value: 3},
		"a warning is a partial answer and no evidence":       {body: `{"status":"success","data":{"resultType":"vector","result":[` + series(``, "3") + `]},"warnings":["store b is down"]}`, cause: v1alpha1.CauseQueryError, detail: "store b is down"},
		"an empty vector is no data":                          {body: vector(), cause: v1alpha1.CauseNoData},
		"NaN is not a number":                                 {body: vector(series(``, "NaN")), cause: v1alpha1.CauseNotANumber},
		"+Inf is infinite":                                    {body: vector(series(``, "+Inf")), cause: v1alpha1.CauseInfinite},
		"-Inf is infinite":                                    {body: vector(series(``, "-Inf")), cause: v1alpha1.CauseInfinite},
		"a NaN scalar is not a number":                        {body: `{"status":"success","data":{"resultType":"scalar","result":[1760000000,"NaN"]}}`, cause: v1alpha1.CauseNotANumber},
		"two series are many":                                 {body: vector(series(`"pod":"a"`, "1"), series(`"pod":"b"`, "1")), cause: v1alpha1.CauseManySeries, detail: `{pod="a"}`},
		"a histogram is a wrong query":                        {body: vector(`{"metric":{},"histogram":[1760000000,{"count":"1","sum":"1","buckets":[]}]}`), cause: v1alpha1.CauseQueryError, detail: "histogram"},
		"a range is a wrong query":                            {body: `{"status":"success","data":{"resultType":"matrix","result":[]}}`, cause: v1alpha1.CauseQueryError, detail: "matrix"},
		"a parse error is a wrong query":                      {code: 400, body: `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: unexpected end of input"}`, cause: v1alpha1.CauseQueryError, detail: "1:5: parse error"},
		"an execution error is a wrong query":                 {code: 422, body: `{"status":"error","errorType":"execution","error":"found duplicate series for the match group"}`, cause: v1alpha1.CauseQueryError, detail: "duplicate series"},
		"a query that the source gives up on is the source":   {code: 503, body: `{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}`, cause: v1alpha1.CauseSourceDown, detail: "503"},
		"an internal error is the source":                     {code: 500, body: `{"status":"error","errorType":"internal","error":"tsdb closed"}`, cause: v1alpha1.CauseSourceDown, detail: "500"},
		"a proxy's error page is the source":                  {code: 502, body: `<html>bad gateway</html>`, cause: v1alpha1.CauseSourceDown, detail: "502"},
		"a page that is no Prometheus is the source":          {body: `<html>welcome</html>`, cause: v1alpha1.CauseSourceDown, detail: "bad_response"},
		"a wrong path is the source":                          {code: 404, body: `404 page not found`, cause: v1alpha1.CauseSourceDown, detail: "404"},
		"refused credentials are the source":                  {code: 401, body: `Unauthorized`, cause: v1alpha1.CauseSourceDown, detail: "401"},
		"refused rights are the source":                       {code: 403, body: `Forbidden`, cause: v1alpha1.CauseSourceDown, detail: "403"},
		"a redirect is not followed":                          {code: 302, body: ``, cause: v1alpha1.CauseSourceDown, detail: "302"},
		"an empty body is the source":                         {body: ``, cause: v1alpha1.CauseSourceDown},
		"null data is the source, not zero":                   {body: `{"status":"success","data":null}`, cause: v1alpha1.CauseSourceDown},
		"a success with status error is the source":           {body: `{"status":"error","errorType":"internal","error":"odd"}`, cause: v1alpha1.CauseSourceDown},
		"a bad request from a proxy, without JSON, is not us": {code: 400, body: `plain HTTP request sent to HTTPS port`, cause: v1alpha1.CauseSourceDown, detail: "400"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tc.code == 302 {
					w.Header().Set("Location", "http://192.0.2.1/")
				}
				if tc.code != 0 {
					w.WriteHeader(tc.code)
				}
				_, _ = w.Write([]byte(tc.body))
			}))
			defer srv.Close()
			got := newClient(t, prom.Config{Address: srv.URL}).Query(t.Context(), "up", at)
			if got.Cause != tc.cause {
				t.Fatalf("cause %q, wanted %q (%+v)", got.Cause, tc.cause, got)
			}
			if got.Value != tc.value {
				t.Errorf("value %v, wanted %v", got.Value, tc.value)
			}
			if !strings.Contains(got.Detail, tc.detail) {
				t.Errorf("detail %q does not contain %q", got.Detail, tc.detail)
			}
			if (got.Cause == "") != (got.Detail == "") {
				t.Errorf("a sample has a detail exactly when it has a cause: %+v", got)
			}
		})
	}
}

func TestAQueryCarriesItsTimeTimeoutAndCredentials(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[http.Request]
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got.Store(r)
		_, _ = w.Write([]byte(vector(series(``, "1"))))
	}))
	defer srv.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})

	t.Run("a bearer token over checked TLS", func(t *testing.T) {
		c := newClient(t, prom.Config{Address: srv.URL + "/prom/", CABundle: ca, Token: "s3cret", Timeout: 3 * time.Second})
		if s := c.Query(t.Context(), `sum(up)`, at); s.Cause != "" {
			t.Fatalf("%+v", s)
		}
		r := got.Load()
		if r.URL.Path != "/prom/api/v1/query" || r.Form.Get("query") != "sum(up)" || r.Form.Get("time") != "1760000000.25" || r.Form.Get("timeout") != "3s" {
			t.Errorf("asked %s %v", r.URL.Path, r.Form)
		}
		if h := r.Header.Get("Authorization"); h != "Bearer s3cret" {
			t.Errorf("Authorization %q", h)
		}
	})
	t.Run("basic authentication", func(t *testing.T) {
		c := newClient(t, prom.Config{Address: srv.URL, CABundle: ca, Username: "u", Password: "p"})
		if s := c.Query(t.Context(), `up`, at); s.Cause != "" {
			t.Fatalf("%+v", s)
		}
		if u, p, ok := got.Load().BasicAuth(); !ok || u != "u" || p != "p" {
			t.Errorf("basic auth %q %q %v", u, p, ok)
		}
	})
	t.Run("a certificate of an unknown authority is refused", func(t *testing.T) {
		s := newClient(t, prom.Config{Address: srv.URL}).Query(t.Context(), `up`, at)
		if s.Cause != v1alpha1.CauseSourceDown || !strings.Contains(s.Detail, "certificate") {
			t.Errorf("%+v", s)
		}
	})
}

func TestASourceThatDoesNotAnswerIsDownAfterTheTimeout(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(release)
	s := newClient(t, prom.Config{Address: srv.URL, Timeout: 50 * time.Millisecond}).Query(t.Context(), "up", at)
	if s.Cause != v1alpha1.CauseSourceDown || !strings.Contains(s.Detail, "no answer within 50ms") {
		t.Errorf("%+v", s)
	}
}

func TestASourceThatIsNotThereIsDown(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	addr := srv.URL
	srv.Close()
	c := newClient(t, prom.Config{Address: addr})
	s := c.Query(t.Context(), "up", at)
	if s.Cause != v1alpha1.CauseSourceDown || !strings.Contains(s.Detail, "connect") {
		t.Errorf("%+v", s)
	}
	if err := c.Probe(t.Context(), at); err == nil || !strings.Contains(err.Error(), "SourceDown") {
		t.Errorf("Probe: %v", err)
	}
}

func TestAnAnswerIsReadUpToABound(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[`))
		row := []byte(series(`"pod":"`+strings.Repeat("x", 4000)+`"`, "1") + ",")
		for range 20_000 {
			n, err := w.Write(row)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	s := newClient(t, prom.Config{Address: srv.URL}).Query(t.Context(), "up", at)
	if s.Cause != v1alpha1.CauseManySeries || !strings.Contains(s.Detail, "bytes") {
		t.Errorf("%+v", s)
	}
	if sent.Load() > 40<<20 {
		t.Errorf("read %d bytes", sent.Load())
	}
}

func TestForeignWordsAreClipped(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"status":"error","errorType":"bad_data","error":"` + strings.Repeat(`line\n\u00e9`, 500) + `"}`))
	}))
	defer srv.Close()
	s := newClient(t, prom.Config{Address: srv.URL}).Query(t.Context(), "up", at)
	if len(s.Detail) > 310 || strings.Contains(s.Detail, "\n") || s.Cause != v1alpha1.CauseQueryError {
		t.Errorf("%d bytes: %+v", len(s.Detail), s)
	}
}

func TestProbeTellsAPrometheusFromAnotherServer(t *testing.T) {
	t.Parallel()
	answer := func(body string) *prom.Client {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		t.Cleanup(srv.Close)
		return newClient(t, prom.Config{Address: srv.URL})
	}
	if err := answer(vector(series(``, "1"))).Probe(t.Context(), at); err != nil {
		t.Errorf("a Prometheus: %v", err)
	}
	if err := answer(vector(series(``, "7"))).Probe(t.Context(), at); err == nil {
		t.Error("vector(1) = 7 passed")
	}
	if err := answer(`ok`).Probe(t.Context(), at); err == nil {
		t.Error("another server passed")
	}
}

func TestAConfigThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		cfg  prom.Config
		want string
	}{
		"another scheme":            {prom.Config{Address: "ftp://x"}, "wanted http://HOST"},
		"no host":                   {prom.Config{Address: "http://"}, "wanted http://HOST"},
		"no URL":                    {prom.Config{Address: "http://[::1"}, "reading the address"},
		"credentials in the URL":    {prom.Config{Address: "http://u:p@x"}, "Secret"},
		"two kinds of credentials":  {prom.Config{Address: "http://x", Token: "t", Username: "u"}, "found both"},
		"a bundle without any cert": {prom.Config{Address: "https://x", CABundle: []byte("nonsense")}, "CA cert"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := prom.NewClient(tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, wanted one with %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "u:p@") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}
