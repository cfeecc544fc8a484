package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"tidegate.io/tidegate/test/attack/internal/attempt"
)

// Apply applies an object on the server's side as the administrator.
func (w *World) Apply(ctx context.Context, object map[string]any) error {
	return w.ApplyAs(ctx, nil, object)
}

// ApplyAs is Apply as somebody; nil is the administrator. A namespaced object without a
// namespace is a mistake of the caller's.
func (w *World) ApplyAs(ctx context.Context, as *Person, object map[string]any) error {
	u := &unstructured.Unstructured{Object: object}
	resource, namespaced, err := w.Resource(u.GetAPIVersion(), u.GetKind())
	if err != nil {
		return err
	}
	path := ResourcePath(u.GetAPIVersion(), resource, "", u.GetNamespace(), u.GetName())
	if namespaced && u.GetNamespace() == "" {
		return fmt.Errorf("applying %s %q: wanted a namespace", u.GetKind(), u.GetName())
	}
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("applying %s %q: %w", u.GetKind(), u.GetName(), err)
	}
	if as == nil {
		if as, err = w.people.admin(); err != nil {
			return err
		}
	}
	query := url.Values{"fieldManager": {fieldManager}, "force": {"true"}}
	req, err := as.Request(ctx, http.MethodPatch, path, query, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", string(types.ApplyPatchType))
	status, answer, err := as.Do(req)
	if err != nil {
		return fmt.Errorf("applying %s %q: %w", u.GetKind(), u.GetName(), err)
	}
	if status/100 != 2 {
		return fmt.Errorf("applying %s %q as %s: %s", u.GetKind(), u.GetName(), as.Name, Message(answer))
	}
	return nil
}

// builtinKinds are known before the resources are asked for.
var builtinKinds = map[string]string{
	"ClusterRoleBinding": "clusterrolebindings", "ReleaseTemplate": "releasetemplates", "Gate": "gates",
}

// Resource returns the plural name of a kind, and whether it is namespaced.
func (w *World) Resource(apiVersion, kind string) (resource string, namespaced bool, err error) {
	if w.mapper == nil {
		if r, ok := builtinKinds[kind]; ok {
			return r, false, nil
		}
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return "", false, err
	}
	m, err := w.mapper.RESTMapping(gv.WithKind(kind).GroupKind(), gv.Version)
	if err != nil {
		return "", false, fmt.Errorf("looking up the resource of %s %s: %w", apiVersion, kind, err)
	}
	return m.Resource.Resource, m.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

// Namespaced says whether objects of a resource live in namespaces. What is not known is
// taken for namespaced.
func (w *World) Namespaced(apiVersion, resource string) bool {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return true
	}
	kind, err := w.mapper.KindFor(gv.WithResource(resource))
	if err != nil {
		return true
	}
	_, namespaced, err := w.Resource(kind.GroupVersion().String(), kind.Kind)
	return err != nil || namespaced
}

// ResourcePath is the path of a resource at the API server. A name is put in as it is, so
// that odd ones can be tried.
func ResourcePath(apiVersion, resource, subresource, namespace, name string) string {
	parts := []string{"/apis", apiVersion}
	if !strings.Contains(apiVersion, "/") {
		parts[0] = "/api"
	}
	if namespace != "" {
		parts = append(parts, "namespaces", namespace)
	}
	// The subresources of namespaces are found below the namespace itself.
	if resource != "namespaces" || namespace == "" {
		parts = append(parts, resource)
	}
	for _, p := range []string{name, subresource} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/")
}

func (w *World) resource(t attempt.Target, namespace string) (dynamic.ResourceInterface, error) {
	gv, err := schema.ParseGroupVersion(t.APIVersion)
	if err != nil {
		return nil, err
	}
	r := w.dynamic.Resource(gv.WithResource(t.Resource))
	if t.Namespace != nil {
		namespace = *t.Namespace
	}
	if namespace == "" || !w.Namespaced(t.APIVersion, t.Resource) {
		return r, nil
	}
	return r.Namespace(namespace), nil
}

// Find returns what a target names, as the administrator sees it; of a selector, all of it
// that is not being deleted. What is not there is no error.
func (w *World) Find(ctx context.Context, t attempt.Target, namespace string) ([]unstructured.Unstructured, error) {
	r, err := w.resource(t, namespace)
	if err != nil {
		return nil, err
	}
	if t.Name != "" {
		o, err := r.Get(ctx, t.Name, metav1.GetOptions{})
		if isNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []unstructured.Unstructured{*o}, nil
	}
	list, err := r.List(ctx, metav1.ListOptions{LabelSelector: t.Selector})
	if err != nil {
		return nil, err
	}
	var out []unstructured.Unstructured
	for _, o := range list.Items {
		if o.GetDeletionTimestamp() == nil {
			out = append(out, o)
		}
	}
	return out, nil
}

func (w *World) get(ctx context.Context, apiVersion, resource, namespace, name string) (*unstructured.Unstructured, error) {
	found, err := w.Find(ctx, attempt.Target{APIVersion: apiVersion, Resource: resource, Name: name}, namespace)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("wanted %s %q in namespace %q, found none", resource, name, namespace)
	}
	return &found[0], nil
}

// Message is what a person reads of an answer: that of a Status, or the beginning.
func Message(body []byte) string {
	var s metav1.Status
	if json.Unmarshal(body, &s) == nil && s.Kind == "Status" {
		return s.Message
	}
	const most = 500
	text := strings.TrimSpace(string(body))
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
