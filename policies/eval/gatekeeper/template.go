package gatekeeper

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
	// other is true where it has code of the engine that was not taken too.
	other bool
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

// compileTime is how long compiling one template may take. Whoever applies templates waits
// for it.
const compileTime = 3 * time.Second

// Compiler compiles ConstraintTemplates. The zero value takes CEL (K8sNativeValidation) where
// a template has both engines, as Gatekeeper does.
type Compiler struct {
	// PreferRego takes Rego instead.
	PreferRego bool
}

// Engines that a Compiler can prefer.
const (
	PreferCEL  = "cel"
	PreferRego = "rego"
)

// Preferring returns a Compiler that takes the code of an engine, PreferCEL or PreferRego,
// where a template has both.
func Preferring(engine string) (Compiler, error) {
	switch engine {
	case PreferCEL, PreferRego:
		return Compiler{PreferRego: engine == PreferRego}, nil
	}
	return Compiler{}, fmt.Errorf("wanted %s or %s as the engine, found %q", PreferCEL, PreferRego, engine)
}

// CompileTemplate is Compile of a Compiler that takes what Gatekeeper takes.
func CompileTemplate(u *unstructured.Unstructured) (*Template, error) {
	return Compiler{}.Compile(context.Background(), u)
}

// Compile reads and compiles a ConstraintTemplate, for as long as ctx lives and no longer
// than 3 seconds.
func (c Compiler) Compile(ctx context.Context, u *unstructured.Unstructured) (*Template, error) {
	raw, err := json.Marshal(u.Object["spec"])
	if err != nil {
		return nil, fmt.Errorf("reading ConstraintTemplate %q: %w", u.GetName(), err)
	}
	sum := sha256.Sum256(raw)
	t, err := budget.Compile(ctx, compileTime, TemplateKind+" "+hex.EncodeToString(sum[:]), func(*budget.Step) (*Template, error) {
		return c.compile(u)
	})
	if ended, ok := errors.AsType[*budget.Error](err); ok {
		if ended.Cause == budget.CauseStuck {
			return nil, fmt.Errorf("compiling ConstraintTemplate %q: earlier ones, this very one or several others, still compile long after their time and cannot be interrupted; make it shorter, or try again later", u.GetName())
		}
		return nil, fmt.Errorf("compiling ConstraintTemplate %q: %w; make it shorter", u.GetName(), err)
	}
	return t, err
}

func (c Compiler) compile(u *unstructured.Unstructured) (*Template, error) {
	t, target, err := readTemplate(u)
	if err != nil {
		return nil, fmt.Errorf("reading ConstraintTemplate %q: %w", u.GetName(), err)
	}
	t.object = written(u)
	rego, err := target.regoSource()
	if err != nil {
		return nil, fmt.Errorf("reading ConstraintTemplate %q: %w", t.name, err)
	}
	source, isCEL := target.code(engineCEL)
	t.other = rego != nil && isCEL
	switch {
	case rego != nil && (c.PreferRego || !isCEL):
		t.source = *rego
		t.rego, err = compileRego(*rego)
	case isCEL:
		t.celSource = source
		t.cel, err = compileCEL(t.name, source)
	default:
		err = fmt.Errorf("wanted code of engine %s or %s, found %s", engineRego, engineCEL, target.engines())
	}
	if err != nil {
		return nil, fmt.Errorf("compiling ConstraintTemplate %q: %w", t.name, err)
	}
	return t, nil
}

// Mistake is what is wrong with a template that can be asked all the same: an expression of
// CEL that does not compile makes it object, as in Gatekeeper, and one without validations
// never objects.
func (t *Template) Mistake() error {
	if t.cel == nil || t.cel.mistake == nil {
		return nil
	}
	return fmt.Errorf("compiling ConstraintTemplate %q: %w", t.name, t.cel.mistake)
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
