package webhook

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestDeletionsThatLeaveBehind has what the API server takes for an order to orphan, as its
// registry reads it: the deprecated field, the policy, and where neither is given the finalizer.
func TestDeletionsThatLeaveBehind(t *testing.T) {
	t.Parallel()
	const plain, kept = `{"metadata": {"name": "cart"}}`, `{"metadata": {"name": "cart", "finalizers": ["orphan"]}}`
	for sentence, tc := range map[string]struct {
		options, old string
		denied       string
	}{
		"without options":                        {"", plain, ""},
		"without a policy":                       {`{"kind": "DeleteOptions"}`, plain, ""},
		"in the background":                      {`{"propagationPolicy": "Background"}`, plain, ""},
		"in the foreground":                      {`{"propagationPolicy": "Foreground"}`, plain, ""},
		"without its dependents":                 {`{"propagationPolicy": "Orphan"}`, plain, "found propagationPolicy: Orphan"},
		"without its dependents, as of old":      {`{"orphanDependents": true}`, plain, "found orphanDependents: true"},
		"with its dependents, as of old":         {`{"orphanDependents": false}`, kept, ""},
		"by its finalizer":                       {`{}`, kept, "found the finalizer orphan"},
		"by its finalizer, without options":      {"null", kept, "found the finalizer orphan"},
		"its finalizer being overruled":          {`{"propagationPolicy": "Background"}`, kept, ""},
		"an old object that is not there":        {`{}`, "", "TG-REQUEST-MALFORMED"},
		"options that are none":                  {`[]`, plain, "TG-REQUEST-MALFORMED"},
		"the message says what to do in its row": {`{"propagationPolicy": "Orphan"}`, plain, "do: kubectl delete release cart -n shop --cascade=background"},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			a := deletion(admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				Operation: admissionv1.Delete, Namespace: "shop",
				Options: runtime.RawExtension{Raw: []byte(tc.options)}, OldObject: runtime.RawExtension{Raw: []byte(tc.old)},
			}})
			if a.refuses() != (tc.denied != "") || !strings.Contains(a.code+" "+a.denial, tc.denied) {
				t.Errorf("wanted %q, found %s %q", tc.denied, a.code, a.denial)
			}
		})
	}
}

func TestTheFinalizerThatLeavesBehind(t *testing.T) {
	t.Parallel()
	release := func(finalizers ...string) *v1alpha1.Release {
		return &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Finalizers: finalizers}}
	}
	for sentence, tc := range map[string]struct {
		old, release *v1alpha1.Release
		denied       bool
	}{
		"is not created":                  {nil, release("orphan"), true},
		"is not added":                    {release("mine"), release("mine", "orphan"), true},
		"is carried on where it was":      {release("orphan"), release("orphan", "mine"), false},
		"is taken off":                    {release("orphan"), release(), false},
		"is not that of somebody else":    {nil, release("example.com/orphan"), false},
		"is not that of a foreground one": {release(), release("foregroundDeletion"), false},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			if a := orphanFinalizer(admission.Request{}, tc.release, tc.old); a.refuses() != tc.denied || tc.denied && a.code != ReasonReleaseOrphan {
				t.Errorf("wanted denied %t, found %s %q", tc.denied, a.code, a.denial)
			}
		})
	}
}
