package certs

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// quiet is a manager whose client does not write what is there already. The rotation writes the
// webhook configurations whenever it looks at them, so that every start of a replica would be a
// write, and that again an event for the others.
type quiet struct {
	manager.Manager
}

// GetClient implements cluster.Cluster.
func (q quiet) GetClient() client.Client {
	return quietClient{q.Manager.GetClient(), q.GetAPIReader()}
}

type quietClient struct {
	client.Client
	live client.Reader
}

// Update implements client.Writer. What cannot be compared is written.
func (c quietClient) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	if wanted, ok := obj.(*unstructured.Unstructured); ok {
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(wanted.GroupVersionKind())
		if err := c.live.Get(ctx, client.ObjectKeyFromObject(wanted), live); err == nil && same(live, wanted) {
			return nil
		}
	}
	return c.Client.Update(ctx, obj, opts...) //nolint:wrapcheck // as the client has it
}

// same compares two states of an object, but for what the API server notes about writes.
func same(a, b *unstructured.Unstructured) bool {
	return equality.Semantic.DeepEqual(said(a), said(b))
}

func said(o *unstructured.Unstructured) map[string]any {
	out := o.DeepCopy()
	out.SetManagedFields(nil)
	out.SetResourceVersion("")
	out.SetGeneration(0)
	return out.Object
}
