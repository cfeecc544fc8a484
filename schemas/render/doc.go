// Package render makes Kubernetes objects and a rollout strategy of a template and the
// values of one Release. It is pure: the same template, values and context give the same
// bytes, whoever asks and whatever the order of the keys.
//
// A template is one package of CUE files with these top-level fields:
//
//	#Variables: what a team may set; closed, so that a typo is an error
//	#Context:   the facts that Tidegate fills in: name, namespace, template, revision
//	values:     #Variables
//	context:    #Context
//	objects:    [id]: a Kubernetes object
//	rollout:    a v1alpha1.Strategy
//	tests:      [name]: {values: {...}, error?: a regular expression}   (optional)
//
// Everything else at the top level is a definition or a hidden field. A template may
// import the packages of CUE's standard library that compute; it has no files, no network
// and no clock.
//
// Objects whose name ends in -<revision> make up the revision: one Deployment, Services
// and PodDisruptionBudgets. The revision is the digest of just these, so rendering takes
// two passes, the first with a stand-in of the same shape.
//
// In #Variables, @wanted("...") after a field says in a person's words what is wanted
// there, and @sensitive() keeps what was found out of messages.
//
// CUE can be neither cancelled nor bounded from inside. This package bounds what goes in;
// where a template is not trusted, run it in a process that can be killed.
package render
