package gatekeeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	celgo "github.com/google/cel-go/cel"
	celtypes "github.com/google/cel-go/common/types"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// celPolicy is the code of a template in CEL (engine K8sNativeValidation), with the
// variables and functions of a ValidatingAdmissionPolicy.
type celPolicy struct {
	conditions, validations, messages cel.ConditionEvaluator
	// conditional is true where there are conditions.
	conditional bool
	// ignore is true where an expression that fails counts as content.
	ignore bool
	// mistake is why the policy is none that its author can want, if so.
	mistake error
}

type celSource struct {
	Validations []celValidation `json:"validations"`
	// FailurePolicy is Fail unless it says Ignore.
	FailurePolicy string     `json:"failurePolicy"`
	Conditions    []celNamed `json:"matchCondition"`
	Variables     []celNamed `json:"variables"`
}

// celValidation is a condition that must be true, and what is said if it is not.
type celValidation struct {
	Expression        string `json:"expression"`
	Message           string `json:"message"`
	MessageExpression string `json:"messageExpression"`
}

// GetExpression implements cel.ExpressionAccessor.
func (v *celValidation) GetExpression() string { return v.Expression }

// ReturnTypes implements cel.ExpressionAccessor.
func (*celValidation) ReturnTypes() []*celgo.Type { return []*celgo.Type{celgo.BoolType} }

type celMessage string

// GetExpression implements cel.ExpressionAccessor.
func (m celMessage) GetExpression() string { return string(m) }

// ReturnTypes implements cel.ExpressionAccessor.
func (celMessage) ReturnTypes() []*celgo.Type { return []*celgo.Type{celgo.StringType} }

// celNamed is a variable or a condition.
type celNamed struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

// celVariable is a celNamed of any type.
type celVariable struct{ celNamed }

// GetName implements cel.NamedExpressionAccessor.
func (v *celVariable) GetName() string { return v.Name }

// GetExpression implements cel.ExpressionAccessor.
func (v *celVariable) GetExpression() string { return v.Expression }

// ReturnTypes implements cel.ExpressionAccessor.
func (*celVariable) ReturnTypes() []*celgo.Type {
	return []*celgo.Type{celgo.AnyType, celgo.DynType}
}

// celCondition is a celNamed that is true or false.
type celCondition struct{ celNamed }

// GetExpression implements cel.ExpressionAccessor.
func (c *celCondition) GetExpression() string { return c.Expression }

// ReturnTypes implements cel.ExpressionAccessor.
func (*celCondition) ReturnTypes() []*celgo.Type { return []*celgo.Type{celgo.BoolType} }

// Names that a template may not take, since they are given.
const (
	celParams   = "params"
	celObject   = "anyObject"
	celReserved = "gatekeeper_internal_"
)

// givenVariables are what every template in CEL finds in variables.
var givenVariables = []cel.NamedExpressionAccessor{
	&celVariable{celNamed{celObject, `has(request.operation) && request.operation == "DELETE" && object == null ? oldObject : object`}},
	&celVariable{celNamed{celParams, `!has(params.spec) ? null : !has(params.spec.parameters) ? null : params.spec.parameters`}},
}

func compileCEL(name string, raw json.RawMessage) (*celPolicy, error) {
	var s celSource
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("decoding the source of engine %s: %w", engineCEL, err)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		return nil, fmt.Errorf("preparing CEL for %s: %w", name, err)
	}
	withParameters := cel.OptionalVariableDeclarations{HasParams: true}
	p := &celPolicy{ignore: s.FailurePolicy == "Ignore", conditional: len(s.Conditions) > 0}
	if len(s.Validations) == 0 {
		p.mistake = errors.New("validations: wanted at least one, found none, so the template could never object")
	}
	variables := slices.Clone(givenVariables)
	for _, v := range s.Variables {
		variables = append(variables, &celVariable{v})
	}
	for _, v := range variables {
		if r := compiler.CompileAndStoreVariable(v, withParameters, environment.StoredExpressions); r.Error != nil {
			p.mistake = errors.Join(p.mistake, fmt.Errorf("variables: %s: %w", v.GetName(), r.Error))
		}
	}
	var conditions, validations, messages []cel.ExpressionAccessor
	for _, c := range s.Conditions {
		conditions = append(conditions, &celCondition{c})
	}
	for i := range s.Validations {
		validations = append(validations, &s.Validations[i])
		var message cel.ExpressionAccessor
		if m := s.Validations[i].MessageExpression; m != "" {
			message = celMessage(m)
		}
		messages = append(messages, message)
	}
	for _, part := range []struct {
		name string
		from []cel.ExpressionAccessor
		into *cel.ConditionEvaluator
	}{{"matchCondition", conditions, &p.conditions}, {"validations", validations, &p.validations}, {"messageExpression", messages, &p.messages}} {
		*part.into = compiler.CompileCondition(part.from, cel.OptionalVariableDeclarations{}, environment.StoredExpressions)
		if problems := (*part.into).CompilationErrors(); len(problems) > 0 {
			p.mistake = errors.Join(p.mistake, fmt.Errorf("%s: %w", part.name, errors.Join(problems...)))
		}
	}
	return p, nil
}

func (s *celSource) check() error {
	for _, c := range s.Conditions {
		if strings.HasPrefix(c.Name, celReserved) {
			return fmt.Errorf("matchCondition: wanted a name that does not begin with %s, found %s", celReserved, c.Name)
		}
	}
	for _, v := range s.Variables {
		if v.Name == celParams || v.Name == celObject || strings.HasPrefix(v.Name, celReserved) {
			return fmt.Errorf("variables: wanted a name that is not given already, found %s", v.Name)
		}
	}
	switch s.FailurePolicy {
	case "", "Fail", "Ignore":
		return nil
	default:
		return fmt.Errorf("failurePolicy: wanted Fail or Ignore, found %s", s.FailurePolicy)
	}
}

// celRequest is a review as CEL reads it, converted once.
type celRequest struct {
	attributes *admission.VersionedAttributes
	request    *admissionv1.AdmissionRequest
	namespace  *corev1.Namespace
	err        error
}

func (e *evaluation) celRequest() *celRequest {
	if e.cel.attributes == nil && e.cel.err == nil {
		e.cel = newCELRequest(e.review)
	}
	return &e.cel
}

func newCELRequest(r *Review) celRequest {
	q := *r.request
	// A ValidatingAdmissionPolicy sees no object on DELETE; variables.anyObject is for that.
	if q.Operation == admissionv1.Delete {
		q.Object = runtime.RawExtension{}
	}
	object, err := celReadObject(q.Object.Raw)
	if err != nil {
		return celRequest{err: err}
	}
	old, err := celReadObject(q.OldObject.Raw)
	if err != nil {
		return celRequest{err: err}
	}
	kind := schema.GroupVersionKind(q.Kind)
	record := admission.NewAttributesRecord(object, old, kind, q.Namespace, q.Name, schema.GroupVersionResource(q.Resource),
		q.SubResource, admission.Operation(q.Operation), nil, q.DryRun != nil && *q.DryRun, nil)
	out := celRequest{
		attributes: &admission.VersionedAttributes{
			Attributes: record, VersionedKind: kind,
			VersionedObject: admission.NewLazyObject(object), VersionedOldObject: admission.NewLazyObject(old),
		},
		request:   &q,
		namespace: cel.CreateNamespaceObject(r.Namespace),
	}
	// The request of a policy has no objects: they are variables of their own.
	q.Object, q.OldObject = runtime.RawExtension{}, runtime.RawExtension{}
	return out
}

func celReadObject(raw []byte) (runtime.Object, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("decoding the object: %w", err)
	}
	return u, nil
}

// askCEL follows the evaluation of a ValidatingAdmissionPolicy, and its words.
func (e *evaluation) askCEL(ctx context.Context, c *Constraint) ([]Violation, error) {
	p, q := c.template.cel, e.celRequest()
	fail := func(err error) ([]Violation, error) {
		if p.ignore && ctx.Err() == nil {
			return nil, nil
		}
		return nil, err
	}
	if q.err != nil {
		return fail(q.err)
	}
	given := cel.OptionalVariableBindings{VersionedParams: c.object}
	switch ok, err := p.applies(ctx, q, given); {
	case err != nil:
		return fail(err)
	case !ok:
		return nil, nil
	}
	results, left, err := p.validations.ForInput(ctx, q.attributes, q.request, given, q.namespace, celconfig.PerCallLimit)
	if err != nil {
		return fail(err)
	}
	// Where all is well, nobody reads the messages.
	if !slices.ContainsFunc(results, func(r cel.EvaluationResult) bool { return r.Error != nil || r.EvalResult != celtypes.True }) {
		return nil, nil
	}
	messages, _, messagesErr := p.messages.ForInput(ctx, q.attributes, q.request, given, q.namespace, left)
	var out []Violation
	for i, r := range results {
		switch {
		case r.Error != nil:
			out = append(out, p.failed(r.Error)...)
		case r.EvalResult == celtypes.True:
		case messagesErr != nil:
			out = append(out, p.failed(fmt.Errorf("failed messageExpression: %w", messagesErr))...)
		default:
			v, _ := r.ExpressionAccessor.(*celValidation)
			out = append(out, Violation{Message: v.text(messages[i])})
		}
	}
	return out, nil
}

// failed is the violation of an expression that failed.
func (p *celPolicy) failed(err error) []Violation {
	if p.ignore {
		return nil
	}
	return []Violation{failed(err)}
}

// applies asks the match conditions. One that is false settles it, whatever others say.
func (p *celPolicy) applies(ctx context.Context, q *celRequest, given cel.OptionalVariableBindings) (bool, error) {
	if !p.conditional {
		return true, nil
	}
	results, _, err := p.conditions.ForInput(ctx, q.attributes, q.request, given, nil, celconfig.RuntimeCELCostBudgetMatchConditions)
	if err != nil {
		return false, err
	}
	var problems []error
	for _, r := range results {
		if r.Error != nil {
			problems = append(problems, r.Error)
		} else if r.EvalResult == celtypes.False {
			return false, nil
		}
	}
	return len(problems) == 0, errors.Join(problems...)
}

// text is the message of a validation that is not true.
func (v *celValidation) text(computed cel.EvaluationResult) string {
	if computed.Error == nil && computed.EvalResult != nil {
		if s, ok := computed.EvalResult.Value().(string); ok {
			s = strings.TrimSpace(s)
			if s != "" && len(s) <= celconfig.MaxEvaluatedMessageExpressionSizeBytes && !strings.Contains(s, "\n") {
				return s
			}
		}
	}
	if m := strings.TrimSpace(v.Message); m != "" {
		return m
	}
	return "failed expression: " + strings.TrimSpace(v.Expression)
}
