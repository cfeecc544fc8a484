package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/policies/eval/budget"
)

// Names of Gatekeeper's own API.
const (
	// TemplateGroup is the API group of ConstraintTemplates.
	TemplateGroup = "templates.gatekeeper.sh"
	// TemplateKind is their kind.
	TemplateKind = "ConstraintTemplate"
	// ConstraintGroup is the API group of all kinds that templates define.
	ConstraintGroup = "constraints.gatekeeper.sh"
	// Target is the one target that a template may have.
	Target = "admission.k8s.gatekeeper.sh"

	engineRego = "Rego"
	engineCEL  = "K8sNativeValidation"
)

// TemplateVersions are the versions of ConstraintTemplate that are read, newest first.
var TemplateVersions = []string{"v1", "v1beta1", "v1alpha1"}

// Template is a compiled ConstraintTemplate. It never changes and may be used by many at
// once.
type Template struct {
	name       string
	kind       string
	labels     map[string]string
	shortNames []string
	operations []string
	source     RegoSource
	schema     *constraintSchema
	// object is the template as its author wrote it.
	object *unstructured.Unstructured
	// One of the two is set.
	rego *regoPolicy
	cel  *celPolicy
	// celSource is the CEL as written.
	celSource json.RawMessage
	// account remembers evaluations that did not end.
	account budget.Account
}

// RegoSource is the Rego of a template as written.
type RegoSource struct {
	Rego string
	Libs []string
	// V1 is false for Rego as it was before OPA 1.0.
	V1 bool
}

// templateDocument is what is read of a ConstraintTemplate.
type templateDocument struct {
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		CRD struct {
			Spec struct {
				Names struct {
					Kind       string   `json:"kind"`
					ShortNames []string `json:"shortNames"`
				} `json:"names"`
				Validation struct {
					OpenAPIV3Schema *apiextensionsv1.JSONSchemaProps `json:"openAPIV3Schema"`
					LegacySchema    *bool                            `json:"legacySchema"`
				} `json:"validation"`
			} `json:"spec"`
		} `json:"crd"`
		Targets []targetDocument `json:"targets"`
	} `json:"spec"`
}

type targetDocument struct {
	Target     string         `json:"target"`
	Rego       string         `json:"rego"`
	Libs       []string       `json:"libs"`
	Code       []codeDocument `json:"code"`
	Operations []string       `json:"operations"`
}

type codeDocument struct {
	Engine string          `json:"engine"`
	Source json.RawMessage `json:"source"`
}

// IsTemplate says whether an object is a ConstraintTemplate of any version.
func IsTemplate(u *unstructured.Unstructured) bool {
	gvk := u.GroupVersionKind()
	return gvk.Group == TemplateGroup && gvk.Kind == TemplateKind
}

// IsConstraint says whether an object is of a kind that a template may define.
func IsConstraint(u *unstructured.Unstructured) bool {
	return u.GroupVersionKind().Group == ConstraintGroup
}

// CompileTemplate reads and compiles a ConstraintTemplate. Its engine is Rego where it has
// any, and CEL (K8sNativeValidation) otherwise.
func CompileTemplate(u *unstructured.Unstructured) (*Template, error) {
	t, target, err := readTemplate(u)
	if err != nil {
		return nil, fmt.Errorf("reading ConstraintTemplate %q: %w", u.GetName(), err)
	}
	t.object = written(u)
	switch source, err := target.regoSource(); {
	case err != nil:
		return nil, fmt.Errorf("reading ConstraintTemplate %q: %w", t.name, err)
	case source != nil:
		t.source = *source
		if t.rego, err = compileRego(*source); err != nil {
			return nil, fmt.Errorf("compiling ConstraintTemplate %q: %w", t.name, err)
		}
		return t, nil
	}
	source, ok := target.code(engineCEL)
	if !ok {
		return nil, fmt.Errorf("compiling ConstraintTemplate %q: wanted code of engine %s or %s, found %s",
			t.name, engineRego, engineCEL, target.engines())
	}
	t.celSource = source
	if t.cel, err = compileCEL(t.name, source); err != nil {
		return nil, fmt.Errorf("compiling ConstraintTemplate %q: %w", t.name, err)
	}
	return t, nil
}

// readTemplate reads all but the code.
func readTemplate(u *unstructured.Unstructured) (*Template, *targetDocument, error) {
	version := u.GroupVersionKind().Version
	if !IsTemplate(u) || !slices.Contains(TemplateVersions, version) {
		return nil, nil, fmt.Errorf("wanted a %s of %s in version %s, found %s of %s",
			TemplateKind, TemplateGroup, strings.Join(TemplateVersions, ", "), u.GetKind(), u.GetAPIVersion())
	}
	raw, err := u.MarshalJSON()
	if err != nil {
		return nil, nil, fmt.Errorf("writing it as JSON: %w", err)
	}
	var d templateDocument
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, nil, fmt.Errorf("decoding it: %w", err)
	}
	names := d.Spec.CRD.Spec.Names
	switch {
	case names.Kind == "":
		return nil, nil, errors.New("spec.crd.spec.names.kind: wanted the kind that it defines, found nothing")
	case strings.ToLower(names.Kind) != d.Metadata.Name:
		return nil, nil, fmt.Errorf("metadata.name: wanted the kind in lower case, %q, found %q", strings.ToLower(names.Kind), d.Metadata.Name)
	case len(d.Spec.Targets) != 1:
		return nil, nil, fmt.Errorf("spec.targets: wanted one target, found %d", len(d.Spec.Targets))
	case d.Spec.Targets[0].Target != Target:
		return nil, nil, fmt.Errorf("spec.targets[0].target: wanted %q, found %q", Target, d.Spec.Targets[0].Target)
	}
	target := &d.Spec.Targets[0]
	t := &Template{
		name: d.Metadata.Name, kind: names.Kind, labels: d.Metadata.Labels, shortNames: names.ShortNames,
		operations: target.Operations,
	}
	validation := d.Spec.CRD.Spec.Validation
	// Before v1, parameters could be anything unless the template said otherwise.
	legacy := version != "v1"
	if validation.LegacySchema != nil {
		legacy = *validation.LegacySchema
	}
	if t.schema, err = newConstraintSchema(validation.OpenAPIV3Schema, legacy); err != nil {
		return nil, nil, fmt.Errorf("spec.crd.spec.validation.openAPIV3Schema: %w", err)
	}
	return t, target, nil
}

func (t *targetDocument) code(engine string) (json.RawMessage, bool) {
	for _, c := range t.Code {
		if c.Engine == engine {
			return c.Source, true
		}
	}
	return nil, false
}

func (t *targetDocument) engines() string {
	names := make([]string, 0, len(t.Code))
	for _, c := range t.Code {
		names = append(names, c.Engine)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// regoSource returns the Rego, from wherever it is; nil where there is none. The field
// rego goes before the list.
func (t *targetDocument) regoSource() (*RegoSource, error) {
	if t.Rego != "" {
		return &RegoSource{Rego: t.Rego, Libs: t.Libs}, nil
	}
	raw, ok := t.code(engineRego)
	if !ok {
		return nil, nil
	}
	var d struct {
		Rego    *string  `json:"rego"`
		Version string   `json:"version"`
		Libs    []string `json:"libs"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("spec.targets[0].code: decoding the source of engine %s: %w", engineRego, err)
	}
	if d.Rego == nil {
		return nil, fmt.Errorf("spec.targets[0].code: wanted source.rego for engine %s, found nothing", engineRego)
	}
	// Any other version means v0, as in Gatekeeper.
	return &RegoSource{Rego: *d.Rego, Libs: d.Libs, V1: d.Version == "v1"}, nil
}

// Name is the name of the ConstraintTemplate.
func (t *Template) Name() string { return t.name }

// Kind is the kind of its constraints.
func (t *Template) Kind() string { return t.kind }

// Source is its Rego; ok is false for a template in CEL.
func (t *Template) Source() (source RegoSource, ok bool) { return t.source, t.rego != nil }

// Operations are the operations that it is asked about at admission; empty is all.
func (t *Template) Operations() []string { return t.operations }

// asks says whether the template is asked about an operation. Only the webhook narrows by
// it.
func (t *Template) asks(point, operation string) bool {
	return point != PointWebhook || len(t.operations) == 0 ||
		slices.Contains(t.operations, "*") || slices.Contains(t.operations, operation)
}
