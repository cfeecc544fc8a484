package manifest_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apivalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	kyaml "sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/render/internal/manifest"
)

// rolloutCRD is the definition of Rollouts as the chart installs it.
func rolloutCRD(t *testing.T) *apiextensions.CustomResourceDefinition {
	t.Helper()
	text, err := os.ReadFile("../../../../charts/tidegate/resources/crds/tidegate.io_rollouts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd, out := &apiextensionsv1.CustomResourceDefinition{}, &apiextensions.CustomResourceDefinition{}
	if err := kyaml.UnmarshalStrict(text, crd); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(crd)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, out, nil); err != nil {
		t.Fatal(err)
	}
	out.Status.StoredVersions = []string{out.Spec.Versions[0].Name}
	return out
}

// strategySchema is the schema of a strategy within that of a Rollout.
func strategySchema(t *testing.T) *apiextensions.JSONSchemaProps {
	t.Helper()
	crd := rolloutCRD(t)
	whole := crd.Spec.Validation
	if v := crd.Spec.Versions[0].Schema; v != nil {
		whole = v
	}
	schema := whole.OpenAPIV3Schema.Properties["spec"].Properties["strategy"]
	return &schema
}

// The API server refuses a definition whose rules could take too long.
func TestTheRulesOfARolloutAreCheapEnoughForTheAPIServer(t *testing.T) {
	t.Parallel()
	if errs := apivalidation.ValidateCustomResourceDefinition(t.Context(), rolloutCRD(t)); len(errs) > 0 {
		t.Error(errs.ToAggregate())
	}
}

// What is published must not be refused when a Rollout is made of it, and what is no strategy
// by the schema must not be published.
func TestTheCheckAndTheSchemaOfARolloutAgree(t *testing.T) {
	t.Parallel()
	schema := strategySchema(t)
	for name, rollout := range goodStrategies {
		s, _, lines := manifest.Strategy(toJSON(t, rollout))
		if len(lines) > 0 {
			t.Fatal(name, lines)
		}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if errs := refused(t, schema, data); len(errs) > 0 {
			t.Errorf("%s: %v", name, errs.ToAggregate())
		}
	}
	for name, want := range map[string]string{
		"a step of nothing":                "a step has exactly one of",
		"a step of two things":             "a step has exactly one of",
		"a pause of both":                  "a pause has either a duration or approval: true",
		"a scale of two":                   "a scale has exactly one of",
		"a match of nothing":               "a match needs headers, cookies or both",
		"a header whose value is not said": "a value match has exactly one of",
		"a prefix of nothing":              "should be at least 1 chars long",
	} {
		if errs := refused(t, schema, toJSON(t, mistakenSteps[name].rollout)); errs == nil || !strings.Contains(errs.ToAggregate().Error(), want) {
			t.Errorf("%s: wanted the schema to say %q, found %v", name, want, errs)
		}
	}
}

// refused is what the API server would say of a strategy.
func refused(t *testing.T, schema *apiextensions.JSONSchemaProps, data []byte) field.ErrorList {
	t.Helper()
	content, err := manifest.Decode(data) // with integers, as the API server has them
	if err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(schema)
	if err != nil {
		t.Fatal(err)
	}
	structural, err := structuralschema.NewStructural(schema)
	if err != nil {
		t.Fatal(err)
	}
	errs := validation.ValidateCustomResource(nil, content, validator)
	rules, _ := cel.NewValidator(structural, false, celconfig.PerCallLimit).Validate(t.Context(), nil, structural, content, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, rules...)
}
