package webhook

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// deletion refuses to delete a Release and leave behind what was made for it: nobody would
// look after what serves, and its rollouts would stay as they stand, exposure and all.
func deletion(r admission.Request) answer {
	old, refusal := decode[v1alpha1.Release]("the Release as it was", r.OldObject.Raw)
	if refusal != nil {
		return *refusal
	}
	options := &metav1.DeleteOptions{}
	if len(present(r.Options.Raw)) > 0 {
		if options, refusal = decode[metav1.DeleteOptions]("options of a deletion", r.Options.Raw); refusal != nil {
			return *refusal
		}
	}
	found := orphaning(options, old)
	if found == "" {
		return answer{}
	}
	return deny(ReasonReleaseOrphan, "Release %q in namespace %q: wanted a deletion that takes along what was made for it, found %s, which leaves it to nobody; do: kubectl delete release %s -n %s --cascade=background",
		old.Name, r.Namespace, found, old.Name, r.Namespace)
}

// orphaning is what makes a deletion leave behind what the object owns, in the order in which
// the API server looks; empty where nothing does.
func orphaning(options *metav1.DeleteOptions, o metav1.Object) string {
	switch {
	case options.OrphanDependents != nil: //nolint:staticcheck // deprecated, and obeyed
		if *options.OrphanDependents { //nolint:staticcheck // deprecated, and obeyed
			return "orphanDependents: true"
		}
	case options.PropagationPolicy != nil:
		if *options.PropagationPolicy == metav1.DeletePropagationOrphan {
			return "propagationPolicy: Orphan"
		}
	case slices.Contains(o.GetFinalizers(), metav1.FinalizerOrphanDependents):
		return "the finalizer " + metav1.FinalizerOrphanDependents
	}
	return ""
}

// orphanFinalizer refuses the finalizer by which a later deletion would leave behind what was
// made for the Release. One that is there already may be carried on, and taken off.
func orphanFinalizer(r admission.Request, release, old *v1alpha1.Release) answer {
	has := func(o *v1alpha1.Release) bool {
		return o != nil && slices.Contains(o.Finalizers, metav1.FinalizerOrphanDependents)
	}
	if !has(release) || has(old) {
		return answer{}
	}
	return deny(ReasonReleaseOrphan, "Release %q in namespace %q: metadata.finalizers: wanted none that leaves behind what was made for the Release, found %q; do: leave it out",
		release.Name, r.Namespace, metav1.FinalizerOrphanDependents)
}
