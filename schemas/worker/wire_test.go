package worker

import (
	"encoding/json"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestAResultArrivesWhole(t *testing.T) {
	object := func(kind string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"kind": kind}}
	}
	sent := &render.Result{
		Revision: "ab12cd34ef", Router: v1alpha1.RouterService, Route: object("Service"),
		Set: []*unstructured.Unstructured{object("Deployment")}, Shared: []*unstructured.Unstructured{object("ConfigMap")},
		Jobs: map[string]*unstructured.Unstructured{"smoke": object("Job")},
	}
	var out, in reply
	out.setResult(sent)
	text, err := json.Marshal(&out)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatal(err)
	}
	if got := in.result(); !reflect.DeepEqual(got, sent) {
		t.Errorf("wanted %+v, found %+v", sent, got)
	}
	if sent.Jobs["smoke"] == nil {
		t.Error("wanted what was sent to stay as it was")
	}
}
