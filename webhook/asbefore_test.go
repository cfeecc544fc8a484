package webhook

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func update(old, now string) admission.Request {
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{OldObject: runtime.RawExtension{Raw: []byte(old)}, Object: runtime.RawExtension{Raw: []byte(now)}}}
}

func TestTheSameSpecIsSeenByItsBytes(t *testing.T) {
	const before = `{"metadata":{"name":"a"},"spec":{"replicas":1,"template":{"spec":{"containers":[{"name":"c","image":"x"}]}},"minReadySeconds":0}}`
	change := func(from, to string) string { return strings.Replace(before, from, to, 1) }
	for name, tc := range map[string]struct {
		old, now string
		want     bool
	}{
		"nothing changed":                {before, before, true},
		"another number of replicas":     {before, change(`"replicas":1`, `"replicas":20`), true},
		"replicas for the first time":    {change(`"replicas":1,`, ``), before, true},
		"another name":                   {before, change(`"name":"a"`, `"name":"b"`), true},
		"another status":                 {before, before[:len(before)-1] + `,"status":{"replicas":3}}`, true},
		"white space around fields":      {before, "\n " + change(`"replicas":1,`, ` "replicas" : 2 , `), true},
		"another image":                  {before, change(`"x"`, `"y"`), false},
		"replicas within the template":   {before, change(`"template":{`, `"template":{"replicas":1,`), false},
		"another field":                  {before, change(`"minReadySeconds"`, `"paused"`), false},
		"one field more":                 {before, change(`"minReadySeconds":0`, `"minReadySeconds":0,"paused":true`), false},
		"a key by escape":                {before, change(`"spec"`, `"sp\u0065c"`), false},
		"two specs":                      {before, before[:len(before)-1] + `,"spec":{"template":{}}}`, false},
		"no spec":                        {`{}`, `{}`, false},
		"a spec of another kind":         {`{"spec":[1]}`, `{"spec":[1]}`, false},
		"no object":                      {`null`, before, false},
		"nothing":                        {``, before, false},
		"an object that ends too soon":   {before[:40], before[:40], false},
		"a number that ends with a spec": {`{"spec":{"a":1}}`, `{"spec":{"a":1 }}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sameSpec(update(tc.old, tc.now)); got != tc.want {
				t.Errorf("wanted %v, got %v", tc.want, got)
			}
		})
	}
}

// TestTheSameBytesAreTheSameObject proves the short way by the long one, on what is left of
// two objects when letters are changed.
func TestTheSameBytesAreTheSameObject(t *testing.T) {
	const text = `{"metadata":{"labels":{"a":"b"}},"spec":{"replicas":1,"selector":{"x":[1,2,{"y":"\"}"}]},"template":{"spec":{"containers":[{"name":"c","args":["}","{"]}]}}},"status":{}}`
	r := rand.New(rand.NewPCG(3, 4))
	same := 0
	for range 50_000 {
		old, now := []byte(text), []byte(text)
		for range 1 + r.IntN(2) {
			now[r.IntN(len(now))] = text[r.IntN(len(text))]
		}
		var object map[string]any
		if json.Unmarshal(now, &object) != nil {
			continue
		}
		q := update(string(old), string(now))
		if !sameSpec(q) {
			continue
		}
		same++
		if !unchanged(q, object) {
			t.Fatalf("wanted a change to be seen in %s", now)
		}
	}
	if same < 100 {
		t.Errorf("wanted many that are the same, found %d", same)
	}
}

func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":"x\"","c":[{"d":"]"}], "e" : null }`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			members(raw, func(member) bool { return true }) // it must only end
			return
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(raw, &want) != nil || want == nil {
			return
		}
		got := map[string]string{}
		if !members(raw, func(m member) bool { got[string(m.key)] = string(m.value); return true }) {
			return // it says itself that it cannot
		}
		for k, v := range want {
			// What is not UTF-8 has another name there.
			if found, ok := got[k]; !ok && strings.ToValidUTF8(k, "") == k && !strings.ContainsRune(k, '\uFFFD') || ok && found != string(v) {
				t.Fatalf("%q: wanted %q, got %q", k, v, found)
			}
		}
	})
}

func BenchmarkSameSpec(b *testing.B) {
	spec := fmt.Sprintf(`{"spec":{"replicas":1,"template":{"a":"%s"}}}`, strings.Repeat("x,{ ", 10_000))
	q := update(spec, spec)
	b.SetBytes(int64(2 * len(spec)))
	for b.Loop() {
		if !sameSpec(q) {
			b.Fatal("wanted the same")
		}
	}
}
