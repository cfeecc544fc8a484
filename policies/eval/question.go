package eval

import (
	"slices"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// AdmissionQuestion is what is asked about a request that is admitted. The webhook and the
// checks that need no cluster ask the same, so that they have the same answer.
//
// Namespace is that of the request; nil where it is not known, which every selector matches.
// Template says which template's Release the object belongs to. Load converts the request;
// where it is nil, RequestInput does.
func AdmissionQuestion(r Request, namespace *Namespace, template func() (string, bool), load func() (Input, error)) Question {
	if load == nil {
		load = func() (Input, error) { return RequestInput(v1alpha1.AtAdmission, r) }
	}
	q := Question{
		Moment: v1alpha1.AtAdmission, Group: r.Kind.Group, Kind: r.Kind.Kind, Namespace: r.Namespace, Operation: r.Operation,
		Template: template, Load: load,
	}
	if namespace != nil {
		// Labels that are known to be none are not labels that are not known.
		q.NamespaceLabels = map[string]string{}
		if namespace.Labels != nil {
			q.NamespaceLabels = namespace.Labels
		}
		q.Load = func() (Input, error) {
			in, err := load()
			if err != nil {
				return in, err
			}
			return in.With("namespace", *namespace)
		}
	}
	return q
}

// Matches says whether the policy is asked the question at all.
func (p *Policy) Matches(q Question) (bool, error) {
	if !slices.Contains(p.source.At, q.Moment) || !p.match.outer(&q) {
		return false, nil
	}
	in := q.Input
	if in.object == nil && q.Load != nil {
		var err error
		if in, err = q.Load(); err != nil {
			return false, err
		}
	}
	return p.match.simple() || p.match.inner(&q, &facts{document: in.object}), nil
}
