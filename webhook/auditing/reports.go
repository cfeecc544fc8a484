package auditing

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Format is the first format of reports that a cluster serves; ok is false where it serves none.
func Format(mapper meta.RESTMapper) (api audit.API, ok bool, err error) {
	for _, api := range audit.APIs() {
		_, err := mapper.RESTMapping(schema.GroupKind{Group: api.Group, Kind: api.Kind}, api.Version)
		switch {
		case err == nil:
			return api, true, nil
		case !meta.IsNoMatchError(err):
			return audit.API{}, false, fmt.Errorf("asking whether %s/%s is served: %w", api.Group, api.Version, err)
		}
	}
	return audit.API{}, false, nil
}

// Reports is the Sink that keeps reports on the cluster. What is there already as it is wanted
// is not written again.
type Reports struct {
	// Client writes, and reads the API server itself. Required.
	Client client.Client
	// API is the format. Required.
	API audit.API

	owners []any
	// there are the reports of the namespace that is looked at: its part by name.
	there map[string]metav1.PartialObjectMetadata
	// wanted are those that stay.
	wanted map[string]bool
	// begun are the namespaces that were looked at.
	begun map[string]bool
}

var _ Sink = (*Reports)(nil)

func (s *Reports) kind(namespace string) schema.GroupVersionKind {
	return s.API.GroupVersion().WithKind(s.API.KindIn(namespace))
}

// metadata lists the metadata of reports, page by page; the empty namespace of namespaced
// kinds is all.
func (s *Reports) metadata(ctx context.Context, gvk schema.GroupVersionKind, namespace string, each func(metav1.PartialObjectMetadata)) error {
	gvk.Kind += "List"
	for again := ""; ; {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(gvk)
		err := s.Client.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels{audit.Label: audit.LabelValue}, client.Limit(maxPage), client.Continue(again))
		if err != nil {
			return fmt.Errorf("listing the reports: %w", err)
		}
		for i := range list.Items {
			// Somebody else's may have the label too.
			if strings.HasPrefix(list.Items[i].Name, "tidegate-") {
				each(list.Items[i])
			}
		}
		if again = list.GetContinue(); again == "" {
			return nil
		}
	}
}

// Begin implements Sink.
func (s *Reports) Begin(ctx context.Context, namespace string, gates []*v1alpha1.Gate) error {
	if s.begun == nil {
		s.begun = map[string]bool{}
	}
	s.begun[namespace] = true
	s.there, s.wanted, s.owners = map[string]metav1.PartialObjectMetadata{}, map[string]bool{}, nil
	for _, g := range gates {
		// Without its Gates nothing is known of a namespace any more.
		s.owners = append(s.owners, map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Gate", "name": g.Name, "uid": string(g.UID),
		})
	}
	return s.metadata(ctx, s.kind(namespace), namespace, func(m metav1.PartialObjectMetadata) { s.there[m.Name] = m })
}

// Put implements Sink.
func (s *Reports) Put(ctx context.Context, part audit.Part, number int, findings []audit.Finding) error {
	name := part.Name(number)
	s.wanted[name] = true
	return s.write(ctx, part.Namespace, name, s.API.Report(part, number, s.owners, findings))
}

// write creates or changes a report, unless it is there as it is wanted.
func (s *Reports) write(ctx context.Context, namespace, name string, want map[string]any) error {
	have := &unstructured.Unstructured{}
	have.SetGroupVersionKind(s.kind(namespace))
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, have)
	if apierrors.IsNotFound(err) {
		err := s.Client.Create(ctx, &unstructured.Unstructured{Object: want})
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil // it takes nothing new, maybe for days; what was found is counted
		}
		if err != nil {
			return fmt.Errorf("creating report %s: %w", title(namespace, name), err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading report %s: %w", title(namespace, name), err)
	}
	if audit.Same(have.Object, want) {
		return nil
	}
	next := &unstructured.Unstructured{Object: want}
	next.SetResourceVersion(have.GetResourceVersion())
	next.SetUID(have.GetUID())
	if err := s.Client.Update(ctx, next); err != nil {
		return fmt.Errorf("updating report %s: %w", title(namespace, name), err)
	}
	return nil
}

func title(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// Done implements Sink. What else there is of the part goes with End.
func (s *Reports) Done(context.Context, audit.Part, int) error { return nil }

// Kept implements Sink.
func (s *Reports) Kept(ctx context.Context, part audit.Part, count func([]audit.Finding)) error {
	var errs []error
	for name, m := range s.there {
		if m.Annotations[audit.AnnotationPart] != part.String() || name == audit.Incomplete("").Name(1) {
			continue
		}
		s.wanted[name] = true
		have := &unstructured.Unstructured{}
		have.SetGroupVersionKind(s.kind(part.Namespace))
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: part.Namespace, Name: name}, have); err != nil {
			errs = append(errs, fmt.Errorf("reading report %s: %w", title(part.Namespace, name), err))
			continue
		}
		findings, err := audit.Read(have.Object)
		errs = append(errs, err)
		count(findings)
	}
	return errors.Join(errs...)
}

// End implements Sink: it removes what is over.
func (s *Reports) End(ctx context.Context, namespace string, whole bool) error {
	var errs []error
	for name, m := range s.there {
		summary := namespace == "" && name == audit.Summary().Name(1)
		if whole && !s.wanted[name] && !summary {
			errs = append(errs, s.remove(ctx, s.kind(namespace), m))
		}
	}
	return errors.Join(errs...)
}

func (s *Reports) remove(ctx context.Context, gvk schema.GroupVersionKind, m metav1.PartialObjectMetadata) error {
	gone := &unstructured.Unstructured{}
	gone.SetGroupVersionKind(gvk)
	gone.SetNamespace(m.Namespace)
	gone.SetName(m.Name)
	err := s.Client.Delete(ctx, gone, client.Preconditions{UID: new(m.UID)})
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting report %s: %w", title(m.Namespace, m.Name), err)
	}
	return nil
}

// Finish implements Sink: it removes the reports of namespaces that are governed no more, and
// sums up.
func (s *Reports) Finish(ctx context.Context, t *Totals) error {
	var stale []metav1.PartialObjectMetadata
	gvk := s.kind("any")
	err := s.metadata(ctx, gvk, "", func(m metav1.PartialObjectMetadata) {
		if !s.begun[m.Namespace] {
			stale = append(stale, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, UID: m.UID}})
		}
	})
	errs := []error{err}
	for _, m := range stale {
		errs = append(errs, s.remove(ctx, gvk, m))
	}
	return errors.Join(append(errs, s.write(ctx, "", audit.Summary().Name(1), s.API.Total(t.ByResult())))...)
}

// Collected is the Sink that keeps everything in memory, for those who show it.
type Collected struct {
	parts map[audit.Part]map[int][]audit.Finding
}

var _ Sink = (*Collected)(nil)

// Findings are all of them, in order.
func (c *Collected) Findings() []audit.Finding {
	var out []audit.Finding
	for _, reports := range c.parts {
		for _, findings := range reports {
			out = append(out, findings...)
		}
	}
	return audit.Sorted(out)
}

// Begin implements Sink.
func (c *Collected) Begin(context.Context, string, []*v1alpha1.Gate) error { return nil }

// Put implements Sink.
func (c *Collected) Put(_ context.Context, part audit.Part, number int, findings []audit.Finding) error {
	if c.parts == nil {
		c.parts = map[audit.Part]map[int][]audit.Finding{}
	}
	if c.parts[part] == nil {
		c.parts[part] = map[int][]audit.Finding{}
	}
	c.parts[part][number] = findings
	return nil
}

// Done implements Sink: what a list that expired had found before is found again.
func (c *Collected) Done(_ context.Context, part audit.Part, reports int) error {
	for number := range c.parts[part] {
		if number > reports {
			delete(c.parts[part], number)
		}
	}
	return nil
}

// Kept implements Sink.
func (c *Collected) Kept(_ context.Context, part audit.Part, _ func([]audit.Finding)) error {
	delete(c.parts, part)
	return nil
}

// End implements Sink.
func (c *Collected) End(context.Context, string, bool) error { return nil }

// Finish implements Sink.
func (c *Collected) Finish(context.Context, *Totals) error { return nil }

// Read gives each report of the audit that there is, of one namespace or, where that is empty,
// of all and of none.
func Read(ctx context.Context, c client.Reader, api audit.API, namespace string, each func([]audit.Finding)) error {
	kinds := []string{api.Kind}
	if namespace == "" {
		kinds = append(kinds, api.ClusterKind)
	}
	for _, kind := range kinds {
		for again := ""; ; {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(api.GroupVersion().WithKind(kind + "List"))
			// A report may have a megabyte.
			if err := c.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels{audit.Label: audit.LabelValue}, client.Limit(firstPage), client.Continue(again)); err != nil {
				return fmt.Errorf("listing the reports: %w", err)
			}
			for i := range list.Items {
				findings, err := audit.Read(list.Items[i].Object)
				if err != nil {
					return fmt.Errorf("report %s: %w", title(list.Items[i].GetNamespace(), list.Items[i].GetName()), err)
				}
				each(findings)
			}
			if again = list.GetContinue(); again == "" {
				break
			}
		}
	}
	return nil
}

// HasRun says whether there is the report that every run ends with.
func HasRun(ctx context.Context, c client.Reader, api audit.API) (bool, error) {
	var m metav1.PartialObjectMetadata
	m.SetGroupVersionKind(api.GroupVersion().WithKind(api.ClusterKind))
	err := c.Get(ctx, types.NamespacedName{Name: audit.Summary().Name(1)}, &m)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the report %s: %w", audit.Summary().Name(1), err)
	}
	return true, nil
}
