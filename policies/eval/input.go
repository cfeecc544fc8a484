package eval

import (
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"tidegate.io/tidegate/policies/eval/internal/document"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Input is a document in the engine's own form, so that it is converted once for all
// policies that read it. It never changes.
type Input struct {
	object ast.Object
}

// Request is the part of an admission request that policies see, as input.request. The
// names are those of the AdmissionRequest of admission.k8s.io/v1. Where a Release is
// judged there is one Request for each rendered object, with the user who applied it.
type Request struct {
	UID         string          `json:"uid,omitempty"`
	Kind        GroupKind       `json:"kind"`
	Resource    GroupResource   `json:"resource"`
	SubResource string          `json:"subResource,omitempty"`
	Name        string          `json:"name,omitempty"`
	Namespace   string          `json:"namespace,omitempty"`
	Operation   string          `json:"operation"`
	UserInfo    UserInfo        `json:"userInfo"`
	Object      json.RawMessage `json:"object,omitempty"`
	OldObject   json.RawMessage `json:"oldObject,omitempty"`
	DryRun      bool            `json:"dryRun,omitempty"`
}

// GroupKind is a kind with its group and version.
type GroupKind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// GroupResource is a resource with its group and version.
type GroupResource struct {
	Group    string `json:"group"`
	Version  string `json:"version"`
	Resource string `json:"resource"`
}

// UserInfo is who asks.
type UserInfo struct {
	Username string   `json:"username"`
	UID      string   `json:"uid,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// NewInput converts a document. Every policy sees:
//
//	input.moment      "admission", "release" or "promotion"
//	input.request     see Request; not at promotion
//	input.object      what is judged: request.object, or request.oldObject on DELETE
//	input.release     see Release: the Release, where it is known; input.release.template
//	                  is the template's name
//	input.template    see Template; not at admission
//	input.namespace   see Namespace; where it is known
//	input.time        see Promotion; so are the next two. At promotion only
//	input.rollout     see Rollout
//	input.wave        see Wave
//	input.parameters  the policy's own parameters
//
// A value may be a json.RawMessage, which is decoded, or anything that encoding/json
// can write; an empty RawMessage is left out, so that the path is undefined.
func NewInput(document map[string]any) (Input, error) {
	object := ast.NewObject()
	for key, v := range document {
		value, err := convert(v)
		if err != nil {
			return Input{}, fmt.Errorf("converting input.%s: %w", key, err)
		}
		if value != nil {
			object.Insert(ast.StringTerm(key), ast.NewTerm(value))
		}
	}
	return Input{object: object}, nil
}

// RequestInput is NewInput for a request: it sets input.moment, input.request and
// input.object, the last of which is converted only once with the request.
func RequestInput(moment v1alpha1.PolicyMoment, r Request) (Input, error) {
	value, err := r.value()
	if err != nil {
		return Input{}, fmt.Errorf("converting input.request: %w", err)
	}
	out := ast.NewObject(
		[2]*ast.Term{ast.StringTerm("moment"), ast.StringTerm(string(moment))},
		[2]*ast.Term{ast.StringTerm("request"), ast.NewTerm(value)},
	)
	key := "object"
	if r.Operation == "DELETE" {
		key = "oldObject"
	}
	if object := value.Get(ast.StringTerm(key)); object != nil {
		out.Insert(ast.StringTerm("object"), object)
	}
	return Input{object: out}, nil
}

func convert(v any) (ast.Value, error) {
	switch v := v.(type) {
	case json.RawMessage:
		if len(v) == 0 {
			return nil, nil
		}
		return document.Decode(v)
	case Request:
		return v.value()
	default:
		return ast.InterfaceToValue(v)
	}
}

// value converts the request, its two objects by the short way.
func (r Request) value() (ast.Object, error) {
	object, old := r.Object, r.OldObject
	r.Object, r.OldObject = nil, nil
	value, err := ast.InterfaceToValue(r)
	if err != nil {
		return nil, err
	}
	request, ok := value.(ast.Object)
	if !ok {
		return nil, fmt.Errorf("a request became %s", ast.ValueName(value))
	}
	for _, part := range []struct {
		key string
		raw json.RawMessage
	}{{"object", object}, {"oldObject", old}} {
		if len(part.raw) == 0 {
			continue
		}
		v, err := document.Decode(part.raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.key, err)
		}
		request.Insert(ast.StringTerm(part.key), ast.NewTerm(v))
	}
	return request, nil
}

// With returns the document with one more key; see NewInput for its value. The rest is
// shared with in, which stays as it is.
func (in Input) With(key string, v any) (Input, error) {
	value, err := convert(v)
	if err != nil {
		return Input{}, fmt.Errorf("converting input.%s: %w", key, err)
	}
	if value == nil {
		return in, nil
	}
	return Input{object: in.with(key, ast.NewTerm(value))}, nil
}

// with returns the document with one more key, sharing all the rest.
func (in Input) with(key string, value *ast.Term) ast.Object {
	if in.object == nil {
		return ast.NewObject([2]*ast.Term{ast.StringTerm(key), value})
	}
	pairs := make([][2]*ast.Term, 0, in.object.Len()+1)
	in.object.Foreach(func(k, v *ast.Term) { pairs = append(pairs, [2]*ast.Term{k, v}) })
	out := ast.NewObject(append(pairs, [2]*ast.Term{ast.StringTerm(key), value})...)
	return out
}
