package apply

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// AnnotationTurnedBack names, on what carries an exposure, the Rollout that was last allowed less than before, and the
// version of it that was turned back. It makes the object another version and says nothing else.
const AnnotationTurnedBack = "tidegate.io/turned-back"

// Renew makes an object another version without changing what it does, so that no write goes through any more that
// rests on the version from before. It returns the object with the version that it has then. Where it was
// changed since it was read, there is a conflict.
func (a Applier) Renew(ctx context.Context, obj *unstructured.Unstructured, rollout *v1alpha1.Rollout) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": obj.GetUID(), "resourceVersion": obj.GetResourceVersion(),
		"annotations": map[string]any{AnnotationTurnedBack: rollout.Name + " " + rollout.ResourceVersion},
	}})
	if err != nil {
		return nil, fmt.Errorf("encoding a patch: %w", err)
	}
	answer := obj.DeepCopy()
	err = a.Writer.Patch(ctx, answer, client.RawPatch(types.MergePatchType, body), client.FieldOwner(v1alpha1.FieldManager))
	if err != nil {
		return nil, fmt.Errorf("turning back %s %s/%s: %w", obj.GetKind(), obj.GetNamespace(), obj.GetName(), err)
	}
	out := obj.DeepCopy()
	out.SetResourceVersion(answer.GetResourceVersion())
	return out, nil
}
