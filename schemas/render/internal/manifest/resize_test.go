package manifest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apimachinery/pkg/runtime"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"tidegate.io/tidegate/schemas/render/internal/manifest"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// pinned is a Rollout of eight pods over four.
func pinned() v1alpha1.RolloutSpec {
	half := int32(50)
	return v1alpha1.RolloutSpec{
		Release: "cart", Number: 2, ReleaseGeneration: 5, TemplateRevision: "web-1", Revision: "ab12cd34ef", Digest: "sha256:eight", Replicas: 8,
		Values: &runtime.RawExtension{Raw: []byte(`{"replicas":8}`)}, Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyCanary, Steps: []v1alpha1.Step{{SetWeight: &half}}},
		Workload: "Deployment", Objects: []v1alpha1.RenderedObject{{APIVersion: "apps/v1", Kind: "Deployment", Name: "cart-ab12cd34ef"}},
		Stable: &v1alpha1.StableReference{Rollout: "cart-1", Revision: "0000000000", Replicas: 4},
	}
}

// inSize is another size of it.
func inSize(spec v1alpha1.RolloutSpec, replicas int32) v1alpha1.RolloutSpec {
	out := *spec.DeepCopy()
	out.Resized = append(out.Resized, v1alpha1.FormerSize{ReleaseGeneration: spec.ReleaseGeneration, Digest: spec.Digest, Replicas: spec.Replicas, StableReplicas: spec.Stable.Replicas})
	out.ReleaseGeneration, out.Replicas, out.Stable.Replicas, out.Digest = spec.ReleaseGeneration+1, replicas, replicas/2, "sha256:other"
	out.Values = &runtime.RawExtension{Raw: []byte(`{"replicas":16}`)}
	return out
}

// The API server itself lets nobody change a Rollout in anything but its size, with a record of it.
func TestARolloutChangesInItsSizeAlone(t *testing.T) {
	t.Parallel()
	crd := rolloutCRD(t)
	schema := crd.Spec.Validation
	if v := crd.Spec.Versions[0].Schema; v != nil {
		schema = v
	}
	once := inSize(pinned(), 16)
	for name, c := range map[string]struct {
		was    v1alpha1.RolloutSpec
		change func(*v1alpha1.RolloutSpec)
		// refused is what is said; empty where it is let through.
		refused string
	}{
		"nothing":            {was: pinned(), change: func(*v1alpha1.RolloutSpec) {}},
		"its size":           {was: pinned(), change: func(s *v1alpha1.RolloutSpec) { *s = inSize(*s, 16) }},
		"its size once more": {was: once, change: func(s *v1alpha1.RolloutSpec) { *s = inSize(*s, 4) }},
		"nothing, after a change of size": {
			was: once, change: func(*v1alpha1.RolloutSpec) {},
		},
		"its size without a record": {
			was: pinned(), change: func(s *v1alpha1.RolloutSpec) { s.Replicas = 16 }, refused: "but in its size",
		},
		"its size with an earlier record": {
			was: once, change: func(s *v1alpha1.RolloutSpec) { s.Replicas, s.ReleaseGeneration = 32, 9 }, refused: "but in its size",
		},
		"its values alone": {
			was: pinned(), change: func(s *v1alpha1.RolloutSpec) { s.Values.Raw = []byte(`{"replicas":9}`) }, refused: "but in its size",
		},
		"its digest without a newer Release": {
			was: pinned(), change: func(s *v1alpha1.RolloutSpec) { *s = inSize(*s, 16); s.ReleaseGeneration-- }, refused: "but in its size",
		},
		"the first of the records": {
			was: once, change: func(s *v1alpha1.RolloutSpec) { *s = inSize(*s, 4); s.Resized[0].Digest = "sha256:mine" }, refused: "but in its size",
		},
		"its size, and its revision": {
			was: pinned(), change: func(s *v1alpha1.RolloutSpec) { *s = inSize(*s, 16); s.Revision = "ffffffffff" }, refused: "never changes",
		},
		"its size, and its steps": {
			was: pinned(), change: func(s *v1alpha1.RolloutSpec) { *s = inSize(*s, 16); s.Strategy.Steps = nil }, refused: "never changes",
		},
		"its size, and what it returns to": {
			was: pinned(), change: func(s *v1alpha1.RolloutSpec) { *s = inSize(*s, 16); s.Stable.Rollout = "cart-0" }, refused: "never changes",
		},
		"its size, and that it returns to anything": {
			was: pinned(), change: func(s *v1alpha1.RolloutSpec) { *s = inSize(*s, 16); s.Stable = nil }, refused: "never changes",
		},
		"its size, and that it walks its steps": {
			was: pinned(), change: func(s *v1alpha1.RolloutSpec) { *s = inSize(*s, 16); s.Known = true }, refused: "never changes",
		},
		"its size, and what it has made": {
			was: pinned(), change: func(s *v1alpha1.RolloutSpec) { *s = inSize(*s, 16); s.Objects = nil }, refused: "never changes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := *c.was.DeepCopy()
			c.change(&spec)
			errs := transition(t, schema.OpenAPIV3Schema, c.was, spec)
			if c.refused == "" && errs == "" || c.refused != "" && strings.Contains(errs, c.refused) {
				return
			}
			t.Errorf("wanted %q, found %s", c.refused, errs)
		})
	}
}

// transition asks the rules of the definition about a change of spec.
func transition(t *testing.T, schema *apiextensions.JSONSchemaProps, was, is v1alpha1.RolloutSpec) string {
	t.Helper()
	content := func(spec v1alpha1.RolloutSpec) any {
		data, err := json.Marshal(map[string]any{"spec": spec})
		if err != nil {
			t.Fatal(err)
		}
		out, err := manifest.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	structural, err := structuralschema.NewStructural(schema)
	if err != nil {
		t.Fatal(err)
	}
	errs, _ := cel.NewValidator(structural, true, celconfig.PerCallLimit).Validate(t.Context(), nil, structural, content(is), content(was), celconfig.RuntimeCELCostBudget)
	if len(errs) == 0 {
		return ""
	}
	return errs.ToAggregate().Error()
}
