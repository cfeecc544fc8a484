package webhook

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// TestTheShortWayAnswersAsTheLongOne posts the same bytes to the handler with its own decoder
// and by the short way.
func TestTheShortWayAnswersAsTheLongOne(t *testing.T) {
	said := admission.HandlerFunc(func(_ context.Context, r admission.Request) admission.Response {
		if r.Name == "panic" {
			panic("as told")
		}
		raw, err := json.Marshal(r.AdmissionRequest)
		if err != nil {
			return admission.Errored(http.StatusBadRequest, err)
		}
		return admission.Denied(string(raw)).WithWarnings("w")
	})
	const head = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview",`
	for name, tc := range map[string]struct {
		body, contentType string
		short             bool
	}{
		"a review": {head + `"request":{"uid":"u","operation":"CREATE","dryRun":true,"kind":{"group":"apps","kind":"Deployment"},"userInfo":{"username":"a","extra":{"k":["v"]}},` +
			`"object":{"a":1,"n":9007199254740993},"oldObject":null,"options":{"x":[]}}}`, "", true},
		"unknown fields":             {head + `"request":{"uid":"u","more":{"a":1}},"x":1}`, "", true},
		"a name in another case":     {head + `"request":{"uid":"u","UserInfo":{"username":"a"}}}`, "", true},
		"an answer in the question":  {head + `"request":{"uid":"u"},"response":{"uid":"u","allowed":true}}`, "", true},
		"a handler that panics":      {head + `"request":{"uid":"u","name":"panic"}}`, "", true},
		"no request":                 {head + `"x":1}`, "", true},
		"a request that is null":     {head + `"request":null}`, "", false},
		"a request that is a text":   {head + `"request":"x"}`, "", false},
		"a wrong type in it":         {head + `"request":{"uid":1}}`, "", false},
		"another kind":               {strings.Replace(head, "AdmissionReview", "Pod", 1) + `"request":{"uid":"u"}}`, "", false},
		"an older version":           {strings.Replace(head, "/v1", "/v1beta1", 1) + `"request":{"uid":"u"}}`, "", false},
		"no kind":                    {`{"apiVersion":"admission.k8s.io/v1","request":{"uid":"u"}}`, "", false},
		"no JSON":                    {`{"apiVersion"`, "", false},
		"more behind":                {head + `"request":{"uid":"u"}} {}`, "", false},
		"another content type":       {head + `"request":{"uid":"u"}}`, "application/yaml", false},
		"no JSON but YAML":           {"apiVersion: admission.k8s.io/v1\nkind: AdmissionReview\nrequest: {uid: u}\n", "", false},
		"an object of a wrong shape": {head + `"request":{"uid":"u","object":7}}`, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			handler := &admission.Webhook{Handler: said, RecoverPanic: new(true)}
			post := func(do func(w http.ResponseWriter, r *http.Request)) string {
				w := httptest.NewRecorder()
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/gate", strings.NewReader(tc.body))
				r.Header.Set("Content-Type", "application/json")
				if tc.contentType != "" {
					r.Header.Set("Content-Type", tc.contentType)
				}
				do(w, r)
				return w.Body.String()
			}
			short := false
			got := post(func(w http.ResponseWriter, r *http.Request) {
				short = front{handler, clock.RealClock{}}.answered(w, r, []byte(tc.body))
			})
			if short != tc.short {
				t.Errorf("wanted the short way taken=%v, got %v", tc.short, short)
			}
			if want := post(handler.ServeHTTP); short && got != want {
				t.Errorf("wanted\n%s\ngot\n%s", want, got)
			}
			if !short && got != "" {
				t.Errorf("wanted nothing written, got %s", got)
			}
		})
	}
}
