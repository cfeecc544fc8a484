package webhook

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestFrontTakesOnlyWhatAnAPIServerSends(t *testing.T) {
	const head = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":`
	for name, tc := range map[string]struct {
		body string
		want int
	}{
		"a review":                                  {head + `{"uid":"1","userInfo":{"username":"a"},"object":{"metadata":{"labels":{"a":"b"}}}}}`, http.StatusOK},
		"keys of an object that differ by case":     {head + `{"object":{"data":{"a":"1","A":"2"}}}}`, http.StatusOK},
		"the same key in two objects":               {head + `{"object":{"metadata":{"name":"x"}},"oldObject":{"metadata":{"name":"x"}}}}`, http.StatusOK},
		"a brace in a text":                         {head + `{"uid":"}{\"a\":","name":"}"}}`, http.StatusOK},
		"two user infos":                            {head + `{"userInfo":{"username":"a"},"userInfo":{"username":"b"}}}`, http.StatusBadRequest},
		"two user infos by case":                    {head + `{"userInfo":{"username":"a"},"UserInfo":{"username":"b"}}}`, http.StatusBadRequest},
		"two user infos by a letter that folds":     {head + `{"userInfo":{"username":"a"},"u\u017ferInfo":{"username":"b"}}}`, http.StatusBadRequest},
		"two user infos by such a letter as it is":  {head + `{"userInfo":{"username":"a"},"uſerInfo":{"username":"b"}}}`, http.StatusBadRequest},
		"many keys in the review itself":            {head + `{` + many(40) + `"uid":""}}`, http.StatusBadRequest},
		"quotes and backslashes at the end of keys": {head + `{"object":{"data":{"a\\":"1","a\"":"2","a\\\"":"\\"}}}}`, http.StatusOK},
		"a key twice that ends in a backslash":      {head + `{"object":{"data":{"a\\":"1","a\\":"2"}}}}`, http.StatusBadRequest},
		"two user names":                            {head + `{"userInfo":{"username":"a","username":"b"}}}`, http.StatusBadRequest},
		"two user names by case":                    {head + `{"userInfo":{"username":"a","USERNAME":"b"}}}`, http.StatusBadRequest},
		"two sets of labels":                        {head + `{"object":{"metadata":{"labels":{"a":"b"},"labels":{}}}}}`, http.StatusBadRequest},
		"two sets of labels, one written by escape": {head + `{"object":{"metadata":{"labels":{"a":"b"},"l\u0061bels":{}}}}}`, http.StatusBadRequest},
		"one label twice":                           {head + `{"object":{"metadata":{"labels":{"a":"b","a":"c"}}}}}`, http.StatusBadRequest},
		"two requests":                              {head + `{"uid":"1"},"request":{"uid":"2"}}`, http.StatusBadRequest},
		"another version":                           {strings.Replace(head, "/v1", "/v1beta1", 1) + `{"uid":"1"}}`, http.StatusBadRequest},
		"no version":                                {`{"request":{"uid":"1"}}`, http.StatusBadRequest},
		"a key twice among many":                    {head + `{"object":{"data":{` + many(40) + `"k7":""}}}}`, http.StatusBadRequest},
		"many keys":                                 {head + `{"object":{"data":{` + many(40) + `"k":""}}}}`, http.StatusOK},
		"a text without an end":                     {head + `{"uid":"1`, http.StatusBadRequest},
		"too deep":                                  {head + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}", http.StatusBadRequest},
		"too large":                                 {head + `{"uid":"` + strings.Repeat("x", maxBody) + `"}}`, http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
			front{next, &clocktesting.FakePassiveClock{}}.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/gate", strings.NewReader(tc.body)))
			if w.Code != tc.want {
				t.Errorf("wanted %d, got %d: %s", tc.want, w.Code, w.Body)
			}
		})
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`"k` + string(rune('0'+i/10)) + string(rune('0'+i%10)) + `":"",`)
	}
	return strings.ReplaceAll(b.String(), `"k0`, `"k`)
}
