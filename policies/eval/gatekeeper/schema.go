package gatekeeper

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
)

// ErrSchema marks a constraint that does not fit the schema of its template.
var ErrSchema = errors.New("schema validation failed")

// constraintVersions are the versions in which constraints are served; the first is
// stored.
var constraintVersions = []string{"v1beta1", "v1alpha1"}

// constraintSchema is the schema of the constraints of one template.
type constraintSchema struct {
	v1         *apiextensionsv1.JSONSchemaProps
	validator  validation.SchemaValidator
	structural *structuralschema.Structural
}

// newConstraintSchema builds it around the schema of the parameters; nil is none.
func newConstraintSchema(parameters *apiextensionsv1.JSONSchemaProps, legacy bool) (*constraintSchema, error) {
	if legacy {
		if parameters == nil {
			parameters = &apiextensionsv1.JSONSchemaProps{}
		}
		parameters = parameters.DeepCopy()
		if err := preserveUnknown(parameters); err != nil {
			return nil, err
		}
	}
	s := &constraintSchema{v1: wholeSchema(parameters)}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(s.v1, &internal, nil); err != nil {
		return nil, fmt.Errorf("converting it: %w", err)
	}
	var err error
	if s.structural, err = structuralschema.NewStructural(&internal); err != nil {
		return nil, fmt.Errorf("wanted a structural schema: %w", err)
	}
	if problems := structuralschema.ValidateStructural(nil, s.structural); len(problems) > 0 {
		return nil, fmt.Errorf("wanted a structural schema: %w", problems.ToAggregate())
	}
	if s.validator, _, err = validation.NewSchemaValidator(&internal); err != nil {
		return nil, fmt.Errorf("preparing it: %w", err)
	}
	return s, nil
}

// preserveUnknown makes a schema of before structural schemas one: wherever an object may
// be, it may have unknown fields.
func preserveUnknown(s *apiextensionsv1.JSONSchemaProps) error {
	yes := true
	switch s.Type {
	case "", "object":
		s.XPreserveUnknownFields = &yes
	case "array":
		if s.Items == nil || (s.Items.Schema == nil && s.Items.JSONSchemas == nil) {
			s.Items = &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &apiextensionsv1.JSONSchemaProps{XPreserveUnknownFields: &yes}}
		}
	}
	for name, property := range s.Properties {
		if err := preserveUnknown(&property); err != nil {
			return err
		}
		s.Properties[name] = property
	}
	if s.Items != nil {
		if s.Items.JSONSchemas != nil {
			return errors.New("items: wanted one schema, found a list")
		}
		if err := preserveUnknown(s.Items.Schema); err != nil {
			return err
		}
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		return preserveUnknown(s.AdditionalProperties.Schema)
	}
	return nil
}

type props = map[string]apiextensionsv1.JSONSchemaProps

func object(properties props, required ...string) apiextensionsv1.JSONSchemaProps {
	return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: properties, Required: required}
}

func list(of apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
	return apiextensionsv1.JSONSchemaProps{Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &of}}
}

var text = apiextensionsv1.JSONSchemaProps{Type: "string"}

// wildcardText is a name that may begin or end with *.
var wildcardText = apiextensionsv1.JSONSchemaProps{Type: "string", Pattern: `^\*?[-:a-z0-9]*\*?$`}

func wholeSchema(parameters *apiextensionsv1.JSONSchemaProps) *apiextensionsv1.JSONSchemaProps {
	yes, maxName := true, int64(63)
	spec := props{
		"match":             matchSchema(),
		"enforcementAction": {Type: "string", Default: &apiextensionsv1.JSON{Raw: []byte(`"deny"`)}},
		"scopedEnforcementActions": list(object(props{
			"action":            text,
			"enforcementPoints": list(object(props{"name": text})),
		})),
	}
	if parameters != nil {
		spec["parameters"] = *parameters
	}
	whole := object(props{
		"metadata": object(props{"name": {Type: "string", MaxLength: &maxName}}),
		"spec":     object(spec),
		"status":   {XPreserveUnknownFields: &yes},
	})
	return &whole
}

func matchSchema() apiextensionsv1.JSONSchemaProps {
	return object(props{
		"source":             {Type: "string", Enum: []apiextensionsv1.JSON{{Raw: []byte(`"All"`)}, {Raw: []byte(`"Generated"`)}, {Raw: []byte(`"Original"`)}}},
		"kinds":              list(object(props{"apiGroups": list(text), "kinds": list(text)})),
		"scope":              text,
		"namespaces":         list(wildcardText),
		"excludedNamespaces": list(wildcardText),
		"name":               wildcardText,
		"labelSelector":      selectorSchema(),
		"namespaceSelector":  selectorSchema(),
	})
}

func selectorSchema() apiextensionsv1.JSONSchemaProps {
	atomic := "atomic"
	s := object(props{
		"matchLabels":      {Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: &text}},
		"matchExpressions": list(object(props{"key": text, "operator": text, "values": list(text)}, "key", "operator")),
	})
	s.XMapType = &atomic
	return s
}

// check judges a constraint as the API server would judge it by the CRD, and refuses what
// that would prune.
func (s *constraintSchema) check(u *unstructured.Unstructured) error {
	if problems := validation.ValidateCustomResource(nil, u.Object, s.validator); len(problems) > 0 {
		return fmt.Errorf("%w: %w", ErrSchema, problems.ToAggregate())
	}
	unknown := pruning.PruneWithOptions(u.DeepCopy().Object, s.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		return fmt.Errorf("unknown fields: %s", strings.Join(unknown, ", "))
	}
	return nil
}

// setDefaults adds the defaults that the schema has.
func (s *constraintSchema) setDefaults(u *unstructured.Unstructured) {
	defaulting.Default(u.Object, s.structural)
}

// CRD is the CustomResourceDefinition of the template's constraints.
func (t *Template) CRD() *apiextensionsv1.CustomResourceDefinition {
	plural := strings.ToLower(t.kind)
	crd := &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiextensionsv1.SchemeGroupVersion.String(), Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + ConstraintGroup, Labels: map[string]string{}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: ConstraintGroup,
			Scope: apiextensionsv1.ClusterScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Kind: t.kind, ListKind: t.kind + "List", Plural: plural, Singular: plural, ShortNames: t.shortNames,
				Categories: []string{"constraint", "constraints"},
			},
		},
	}
	maps.Copy(crd.Labels, t.labels)
	crd.Labels["gatekeeper.sh/constraint"] = "yes"
	for i, version := range constraintVersions {
		crd.Spec.Versions = append(crd.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{
			Name: version, Served: true, Storage: i == 0,
			Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: t.schema.v1.DeepCopy()},
			Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			AdditionalPrinterColumns: []apiextensionsv1.CustomResourceColumnDefinition{
				{Name: "enforcement-action", Type: "string", Description: "What a violation leads to", JSONPath: ".spec.enforcementAction"},
				{Name: "total-violations", Type: "integer", Description: "How many objects violate it", JSONPath: ".status.totalViolations"},
			},
		})
	}
	return crd
}

// validName says why a name is none for a constraint, or nothing.
func validName(name string) []string { return utilvalidation.IsDNS1123Subdomain(name) }
