package webhook

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// owned refuses owners of a record: the garbage collector deletes what belongs to something
// that is not there, so that whoever names one would have the record erased, and it asks
// nobody. A record may belong to what it is about.
func owned(r admission.Request, code string, owners []metav1.OwnerReference, about ...metav1.OwnerReference) answer {
	for _, o := range owners {
		known := false
		for _, a := range about {
			known = known || o.APIVersion == a.APIVersion && o.Kind == a.Kind && o.Name == a.Name && o.UID == a.UID
		}
		if !known {
			return deny(code, "metadata.ownerReferences of %s %q%s: wanted none, since a record is not deleted with something else, found %s %q; do: leave them out",
				r.Resource.Resource, r.Name, inNamespace(r), o.Kind, o.Name)
		}
	}
	return answer{}
}
