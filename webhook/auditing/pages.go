package auditing

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Pages begin small and grow while what comes is small, since nobody knows how large objects
// are before they are there.
const (
	firstPage = 50
	minPage   = 5
	maxPage   = 500
	// goodPage is how much JSON a page may have, in bytes. In memory it is several times that.
	goodPage = 4 << 20
)

// nextPage is how many objects are asked for after a page of count objects and so many bytes.
func nextPage(count, bytes int) int64 {
	if count == 0 {
		return firstPage
	}
	each := max(bytes/count, 1)
	// Twice as many at most, since those that follow may be larger.
	return int64(max(minPage, min(goodPage/each, count*2, maxPage)))
}

// pages lists the objects of a kind and looks at each.
func (r *run) pages(ctx context.Context, w *world, k *kind, p *pending) error {
	limit, again := int64(firstPage), ""
	for {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(k.gvk)
		options := []client.ListOption{client.Limit(limit), client.Continue(again)}
		if w.name() != "" {
			options = append(options, client.InNamespace(w.name()))
		}
		if k.labelled {
			options = append(options, client.HasLabels{v1alpha1.LabelRelease})
		}
		if err := r.Client.List(ctx, list, options...); err != nil {
			return err
		}
		began := r.Clock.Now()
		bytes, err := r.page(ctx, w, k, p, list)
		if err != nil {
			return err
		}
		if r.Rest != nil {
			if err := r.Rest(ctx, r.Clock.Since(began)); err != nil {
				return err
			}
		}
		if again = list.GetContinue(); again == "" {
			return nil
		}
		limit = nextPage(len(list.Items), bytes)
	}
}

// page looks at the objects of one page and returns how much JSON they are.
func (r *run) page(ctx context.Context, w *world, k *kind, p *pending, list *unstructured.UnstructuredList) (int, error) {
	bytes := 0
	for i := range list.Items {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		u := &list.Items[i]
		u.SetGroupVersionKind(k.gvk)
		u.SetManagedFields(nil)
		raw, err := json.Marshal(u.Object)
		if err != nil {
			return 0, fmt.Errorf("writing %s %q as JSON: %w", k.gvk.Kind, u.GetName(), err)
		}
		bytes += len(raw)
		p.counts.Objects++
		p.add(ctx, r.examine(ctx, w, k, u, raw))
		list.Items[i] = unstructured.Unstructured{}
	}
	return bytes, nil
}
