package gates

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// staticSuffix is how the names of what an API server reads from files must end.
	staticSuffix = ".static.k8s.io"
	guardPrefix  = chartPrefix + "guard-"
	// sealName is the policy over admission policies, which only a file can hold: the API
	// server shows the policies that come by the API no writes of policies.
	sealName = guardPrefix + "policies" + staticSuffix
)

// rewrites is a mutating policy that would be shown what the rings are made of, or what the
// manager writes of them.
const rewrites = `request.resource.resource == "mutatingadmissionpolicies" && object != null && has(object.spec.matchConstraints) && has(object.spec.matchConstraints.resourceRules) && ` +
	`object.spec.matchConstraints.resourceRules.exists(r, r.apiGroups.exists(g, g in ["*", "admissionregistration.k8s.io", "tidegate.io"]))`

// Seal makes, of the chart's guards, what an API server reads from files: the same guards,
// which nobody can change by the API, and one more over the admission policies that come
// by it.
func Seal(chart []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	var cluster *unstructured.Unstructured
	for _, o := range chart {
		if !strings.HasPrefix(o.GetName(), guardPrefix) {
			continue
		}
		if o.GetKind() == "ValidatingAdmissionPolicy" && o.GetName() == guardPrefix+"cluster" {
			cluster = o
		}
		sealed, err := static(o, o.GetName()+staticSuffix)
		if err != nil {
			return nil, err
		}
		out = append(out, sealed)
	}
	if cluster == nil {
		return nil, errors.New("sealing: wanted the chart's guards, found none; install the chart with guard.enabled=true")
	}
	own, err := overPolicies(cluster)
	if err != nil {
		return nil, err
	}
	return append(out, own...), nil
}

// static is an object as a file has it: without what the API server or Helm keep, and
// under another name, so that it stands beside the one that came by the API.
func static(o *unstructured.Unstructured, name string) (*unstructured.Unstructured, error) {
	out := &unstructured.Unstructured{Object: map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "spec": runtime.DeepCopyJSONValue(o.Object["spec"])}}
	out.SetName(name)
	if o.GetKind() != "ValidatingAdmissionPolicyBinding" {
		return out, nil
	}
	policy, _, err := unstructured.NestedString(out.Object, "spec", "policyName")
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", o.GetName(), err)
	}
	return out, unstructured.SetNestedField(out.Object, policy+staticSuffix, "spec", "policyName")
}

// overPolicies guards the admission policies whose names are Tidegate's. It shares the
// variables of the guard over the cluster, which know who the administrators are.
func overPolicies(cluster *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var guard admissionregistrationv1.ValidatingAdmissionPolicy
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(cluster.Object, &guard); err != nil {
		return nil, fmt.Errorf("sealing: reading %s: %w", cluster.GetName(), err)
	}
	shared := []string{"user", "groups", "sub", "what", "name", "credential", "person", "admin", "trusted"}
	variables := slices.DeleteFunc(guard.Spec.Variables, func(v admissionregistrationv1.Variable) bool { return !slices.Contains(shared, v.Name) })
	if len(variables) != len(shared) {
		return nil, fmt.Errorf("sealing: wanted the variables %s in %s, found %d of them; this program and the chart are of different versions", strings.Join(shared, ", "), cluster.GetName(), len(variables))
	}
	if len(guard.Spec.Validations) == 0 {
		return nil, fmt.Errorf("sealing: wanted a validation in %s, found none; this program and the chart are of different versions", cluster.GetName())
	}
	validation := guard.Spec.Validations[0]
	validation.Expression = fmt.Sprintf("(!variables.name.startsWith(%s) && !variables.rewrites) || variables.trusted", quote(chartPrefix))
	variables = append(variables, admissionregistrationv1.Variable{Name: "rewrites", Expression: rewrites})
	policy := admissionregistrationv1.ValidatingAdmissionPolicy{
		TypeMeta:   guard.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{Name: sealName},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: new(admissionregistrationv1.Fail),
			MatchConstraints: &admissionregistrationv1.MatchResources{
				MatchPolicy: new(admissionregistrationv1.Equivalent), NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Delete},
					Rule: admissionregistrationv1.Rule{
						APIGroups: []string{admissionregistrationv1.GroupName}, APIVersions: []string{"*"}, Scope: new(admissionregistrationv1.ClusterScope),
						Resources: []string{"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "validatingadmissionpolicies", "validatingadmissionpolicybindings"},
					},
				}}},
			},
			Variables: variables, Validations: []admissionregistrationv1.Validation{validation},
		},
	}
	binding := admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: guard.APIVersion, Kind: "ValidatingAdmissionPolicyBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: sealName},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: sealName, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	out := make([]*unstructured.Unstructured, 0, 2)
	for _, o := range []any{&policy, &binding} {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return nil, fmt.Errorf("sealing: %w", err)
		}
		delete(content, "status")
		out = append(out, &unstructured.Unstructured{Object: content})
	}
	return out, nil
}
