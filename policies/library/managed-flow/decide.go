package managedflow

import (
	"bytes"
	"encoding/json"
	"slices"

	kjson "sigs.k8s.io/json"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Allows is the rule allow of the policy, in Go: most requests in a governed namespace are
// those of Tidegate and of the built-in controllers, and converting one for the policy
// takes longer than all else that is done about it. A test puts every kind of request to
// both and finds no difference; where the policy could not answer, Allows is false.
func (f Facts) Allows(r eval.Request) bool {
	user := r.UserInfo.Username
	return slices.Contains(f.Gate.Writers, user) ||
		slices.Contains(f.Controllers, user) ||
		(r.SubResource == "scale" && r.Operation == "UPDATE" && slices.Contains(f.Gate.Allow.Autoscalers, user)) ||
		(f.Scope == ScopeLabelled && foreign(r))
}

// foreign says whether a request brings all the objects that its operation has, and none
// carries Tidegate's label.
func foreign(r eval.Request) bool {
	object, old := look(r.Object), look(r.OldObject)
	switch r.Operation {
	case "CREATE":
		return object == unlabelled && old.clean()
	case "UPDATE":
		return object == unlabelled && old == unlabelled
	case "DELETE":
		return old == unlabelled && object.clean()
	}
	return false
}

// looked is what is to be seen of an object.
type looked int

const (
	// absent is: there is no object.
	absent looked = iota
	// bare is: it has no metadata, and so no labels.
	bare
	unlabelled
	// labelled is: it carries the label, or has labels that cannot be read.
	labelled
)

// clean is true of what does not carry the label.
func (l looked) clean() bool { return l != labelled }

// look reads no more of an object than its labels, which have to be written exactly so:
// the names of fields are case-sensitive, and of two of a name the last counts.
func look(raw json.RawMessage) looked {
	if len(raw) == 0 {
		return absent
	}
	var object struct {
		Metadata json.RawMessage `json:"metadata"`
	}
	var metadata struct {
		Labels json.RawMessage `json:"labels"`
	}
	var labels map[string]json.RawMessage
	switch {
	case !isObject(raw):
		return bare
	case kjson.UnmarshalCaseSensitivePreserveInts(raw, &object) != nil:
		return labelled
	case !isObject(object.Metadata):
		return bare
	case kjson.UnmarshalCaseSensitivePreserveInts(object.Metadata, &metadata) != nil:
		return labelled
	case len(metadata.Labels) == 0:
		return unlabelled
	case !isObject(metadata.Labels),
		kjson.UnmarshalCaseSensitivePreserveInts(metadata.Labels, &labels) != nil:
		return labelled
	}
	if _, ok := labels[v1alpha1.LabelRelease]; ok {
		return labelled
	}
	return unlabelled
}

func isObject(raw json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{"))
}
