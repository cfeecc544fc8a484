package eval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	kjson "sigs.k8s.io/json"

	"tidegate.io/tidegate/policies/eval/internal/document"
)

// fit is what parameters must fit. The zero value takes everything.
type fit struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
}

// newFit reads a schema in the words of a CustomResourceDefinition.
func newFit(raw []byte) (fit, error) {
	if len(bytes.TrimSpace(raw)) == 0 || string(bytes.TrimSpace(raw)) == "null" {
		return fit{}, nil
	}
	var whole any
	if err := json.Unmarshal(raw, &whole); err == nil && refers(whole) {
		return fit{}, errors.New("parametersSchema: wanted a schema that says everything itself, found $ref; write what it refers to in its place")
	}
	var external apiextensionsv1.JSONSchemaProps
	strict, err := kjson.UnmarshalStrict(raw, &external)
	if err == nil && len(strict) > 0 {
		err = strict[0]
	}
	if err != nil {
		return fit{}, fmt.Errorf("parametersSchema: wanted an OpenAPI v3 schema, found: %w", err)
	}
	if external.Type == "" {
		external.Type = "object"
	}
	if external.Type != "object" {
		return fit{}, fmt.Errorf("parametersSchema: wanted type object, found %s", external.Type)
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&external, &internal, nil); err != nil {
		return fit{}, fmt.Errorf("parametersSchema: wanted an OpenAPI v3 schema, found: %w", err)
	}
	validator, _, err := validation.NewSchemaValidator(&internal)
	if err != nil {
		return fit{}, fmt.Errorf("parametersSchema: wanted an OpenAPI v3 schema, found: %w", err)
	}
	f := fit{validator: validator}
	// Only a structural schema has defaults. Others check, as they always did.
	if s, err := structuralschema.NewStructural(&internal); err == nil && len(structuralschema.ValidateStructural(nil, s)) == 0 {
		f.structural = s
	}
	return f, nil
}

// refers says whether a schema has $ref, which a CustomResourceDefinition has not.
func refers(schema any) bool {
	switch s := schema.(type) {
	case map[string]any:
		for key, v := range s {
			if _, isText := v.(string); isText && key == "$ref" {
				return true
			}
			// These have values, and not schemas.
			if key != "default" && key != "enum" && key != "example" && refers(v) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(s, refers)
	}
	return false
}

// parameters reads, completes and checks parameters.
func (f fit) parameters(raw []byte) (*ast.Term, []string) {
	if len(bytes.TrimSpace(raw)) == 0 || string(bytes.TrimSpace(raw)) == "null" {
		raw = []byte("{}")
	}
	v, err := document.Decode(raw)
	if err != nil {
		return nil, []string{fmt.Sprintf("parameters: wanted a JSON object, found: %v", err)}
	}
	if _, ok := v.(ast.Object); !ok {
		return nil, []string{"parameters: wanted a JSON object, found " + ast.ValueName(v)}
	}
	if f.validator == nil {
		return ast.NewTerm(v), nil
	}
	var tree map[string]any
	// Whole numbers stay whole here, as in the API server.
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &tree); err != nil {
		return nil, []string{fmt.Sprintf("parameters: wanted a JSON object, found: %v", err)}
	}
	if f.structural != nil {
		if unknown := f.unknown(raw); len(unknown) > 0 {
			return nil, unknown
		}
		defaulting.Default(tree, f.structural)
		raw, err = json.Marshal(tree)
		if err == nil {
			v, err = document.Decode(raw)
		}
		if err != nil {
			return nil, []string{fmt.Sprintf("parameters: completing them: %v", err)}
		}
	}
	var problems []string
	for _, e := range validation.ValidateCustomResource(nil, tree, f.validator) {
		if field := e.Field; field == "" || field == "<nil>" {
			e.Field = "parameters"
		} else {
			e.Field = "parameters." + field
		}
		problems = append(problems, e.Error())
	}
	slices.Sort(problems)
	if len(problems) > maxLines {
		problems = append(problems[:maxLines], "and more")
	}
	return ast.NewTerm(v), problems
}

// unknown are parameters that the schema does not know. A name that is misspelt would
// otherwise leave the policy without its parameter, and nobody would see it.
func (f fit) unknown(raw []byte) []string {
	var tree map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &tree); err != nil {
		return nil // the caller has read it before
	}
	var out []string
	for _, path := range pruning.PruneWithOptions(tree, f.structural, false, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		out = append(out, fmt.Sprintf("parameters.%s: wanted a parameter that parametersSchema has, found one that it has not", path))
	}
	return out
}
