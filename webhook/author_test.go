package webhook

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestAuthor has who changed a Release, as far as the Release says, against who did.
func TestAuthor(t *testing.T) {
	release := func(template, by string) *v1alpha1.Release {
		r := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart"}}
		r.Spec.Template.Name = template
		if by != "" {
			r.Annotations = map[string]string{v1alpha1.AnnotationAuthor: by}
		}
		return r
	}
	for sentence, tc := range map[string]struct {
		old, release *v1alpha1.Release
		denied       bool
	}{
		"made by who makes it":                          {nil, release("web", "dana"), false},
		"made by somebody else":                         {nil, release("web", "boss"), true},
		"made where nothing stamps":                     {nil, release("web", ""), false},
		"changed by who changes it":                     {release("web", "boss"), release("worker", "dana"), false},
		"changed, and still by who changed it before":   {release("web", "boss"), release("worker", "boss"), true},
		"left as it is, and by who changed it before":   {release("web", "boss"), release("web", "boss"), false},
		"left as it is, and by who did not change it":   {release("web", "boss"), release("web", "eve"), true},
		"left as it is, and by who looked at it lately": {release("web", "boss"), release("web", "dana"), false},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{UserInfo: authenticationv1.UserInfo{Username: "dana"}}}
			if a := author(r, tc.release, tc.old); a.refuses() != tc.denied || (tc.denied && a.code != ReasonCommandActor) {
				t.Errorf("wanted denied %v, found %q %q", tc.denied, a.code, a.denial)
			}
		})
	}
}
