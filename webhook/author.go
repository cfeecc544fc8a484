package webhook

import (
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// formerRelease is the Release as it was before an update, or nil.
func formerRelease(r admission.Request) (*v1alpha1.Release, *answer) {
	if string(r.Operation) != govern.Update {
		return nil, nil
	}
	return decode[v1alpha1.Release]("the Release as it was", r.OldObject.Raw)
}

// author refuses a Release that says somebody else changed it. The API server stamps who did;
// what differs here was written over it on the way, by a mutating webhook or policy. A stamp
// that is missing is left to the policies that ask for one.
func author(r admission.Request, release, old *v1alpha1.Release) answer {
	claimed := release.Annotations[v1alpha1.AnnotationAuthor]
	unchanged := old != nil && sameReleaseSpec(old.Spec, release.Spec)
	if claimed == "" || claimed == r.UserInfo.Username || (unchanged && claimed == old.Annotations[v1alpha1.AnnotationAuthor]) {
		return answer{}
	}
	return deny(ReasonCommandActor, "metadata.annotations[%s]: wanted %q, who changes Release %q, found %q; do: leave it out, the API server fills it in; "+
		"if it is not you who set it: kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies", v1alpha1.AnnotationAuthor, r.UserInfo.Username, release.Name, claimed)
}
