package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// world is the cluster as a record has it.
type world struct {
	scheme  *runtime.Scheme
	objects []stored
	unread  []Unread
	answers []Answer
}

type stored struct {
	gvk    schema.GroupVersionKind
	key    client.ObjectKey
	labels labels.Set
	raw    json.RawMessage
}

func newWorld(r *Record) (*world, error) {
	scheme, err := kinds()
	if err != nil {
		return nil, err
	}
	w := &world{scheme: scheme, unread: r.Unread, answers: r.Answers}
	for i, raw := range r.Objects {
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(raw, &o); err != nil {
			return nil, fmt.Errorf("reading a record: objects[%d]: %w", i, err)
		}
		w.objects = append(w.objects, stored{o.GroupVersionKind(), client.ObjectKeyFromObject(&o), o.Labels, raw})
	}
	slices.SortStableFunc(w.objects, func(a, b stored) int { return strings.Compare(a.key.String(), b.key.String()) })
	return w, nil
}

// failed is the error of a read that failed when the record was made.
func (w *world) failed(gvk schema.GroupVersionKind, at client.ObjectKey) error {
	for _, u := range w.unread {
		if u.Kind == gvk.String() && u.Namespace == at.Namespace && u.Name == at.Name {
			return errors.New(u.Error)
		}
	}
	return nil
}

// Get implements client.Reader.
func (w *world) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	gvk, err := apiutil.GVKForObject(into, w.scheme)
	if err != nil {
		return fmt.Errorf("replaying: %w", err)
	}
	if err := w.failed(gvk, key); err != nil {
		return err
	}
	for _, o := range w.objects {
		if o.gvk == gvk && o.key == key {
			if err := json.Unmarshal(o.raw, into); err != nil {
				return fmt.Errorf("replaying: reading %s %s: %w", gvk.Kind, key, err)
			}
			return nil
		}
	}
	resource, _ := meta.UnsafeGuessKindToResource(gvk)
	return apierrors.NewNotFound(resource.GroupResource(), key.Name)
}

// List implements client.Reader.
func (w *world) List(_ context.Context, into client.ObjectList, opts ...client.ListOption) error {
	gvk, err := apiutil.GVKForObject(into, w.scheme)
	if err != nil {
		return fmt.Errorf("replaying: %w", err)
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	if o.FieldSelector != nil && !o.FieldSelector.Empty() {
		return fmt.Errorf("replaying: wanted a list without a selector of fields, found %q", o.FieldSelector)
	}
	if err := w.failed(gvk, client.ObjectKey{Namespace: o.Namespace}); err != nil {
		return err
	}
	gvk.Kind = strings.TrimSuffix(gvk.Kind, "List")
	items := []json.RawMessage{}
	for _, x := range w.objects {
		if x.gvk == gvk && (o.Namespace == "" || x.key.Namespace == o.Namespace) && (o.LabelSelector == nil || o.LabelSelector.Matches(x.labels)) {
			items = append(items, x.raw)
		}
	}
	raw, err := json.Marshal(map[string]any{"items": items})
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("replaying: reading the list of %s: %w", gvk.Kind, err)
	}
	return nil
}
