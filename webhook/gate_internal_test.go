package webhook

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	managedflow "tidegate.io/tidegate/policies/library/managed-flow"
)

func TestSilenceOfTheFlowIsNoConsent(t *testing.T) {
	flow, err := eval.Compile(eval.Source{Name: "silent", Rego: "package p\nallow if input.nothing\ndeny contains \"x\" if input.nothing"})
	if err != nil {
		t.Fatal(err)
	}
	in, err := eval.NewInput(map[string]any{"request": eval.Request{}})
	if err != nil {
		t.Fatal(err)
	}
	h := &gate{flow: flow}
	a := h.refuse(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{}}, in, managedflow.Facts{})
	if a.denial == "" || a.code != managedflow.ReasonBypass {
		t.Errorf("wanted a denial, got %+v", a)
	}
}

func TestConsentOfTheWordsIsNoConsent(t *testing.T) {
	flow, err := eval.Compile(eval.Source{Name: "content", Rego: "package p\nallow if true\ndeny contains \"x\" if input.nothing"})
	if err != nil {
		t.Fatal(err)
	}
	h := &gate{flow: flow}
	if a := h.refuse(t.Context(), admission.Request{}, eval.Input{}, managedflow.Facts{}); a.denial == "" || a.code != managedflow.ReasonBypass {
		t.Errorf("wanted a denial, got %+v", a)
	}
}
