package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"tidegate.io/tidegate/webhook/gates"
)

// Guards are what keeps the managed flow standing, and what Tidegate's power rests on, as
// they are at one moment, by kind and name.
type Guards map[string]guard

type guard struct {
	resource schema.GroupVersionResource
	object   *unstructured.Unstructured
}

// same compares content; an object that was made anew as it was is the same.
func (g guard) same(as guard) bool {
	return equality.Semantic.DeepEqual(content(g.object), content(as.object))
}

// generated is what the manager makes of the Gates and the namespaces that there are, gone
// ones for a while: its lists of namespaces change while others play.
const generated = "tidegate-gates"

func content(o *unstructured.Unstructured) map[string]any {
	out := Essence(o)
	if webhooks, ok := out["webhooks"].([]any); ok && o.GetName() == generated {
		unstructured.RemoveNestedField(out, "metadata", "annotations")
		for _, w := range webhooks {
			if w, ok := w.(map[string]any); ok {
				delete(w, "namespaceSelector")
			}
		}
	}
	unstructured.RemoveNestedField(out, "metadata", "uid")
	unstructured.RemoveNestedField(out, "metadata", "ownerReferences")
	return out
}

// guarding are the resources that Guards look at.
var guarding = []struct {
	resource  schema.GroupVersionResource
	namespace string
	// all are looked at; otherwise those that Tidegate is a part of the name of.
	all bool
}{
	{resource: schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}, all: true},
	{resource: schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"}, all: true},
	{resource: schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"}, all: true},
	{resource: schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"}, all: true},
	{resource: schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicies"}, all: true},
	{resource: schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicybindings"}, all: true},
	{resource: schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}},
	{resource: schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}},
	{resource: schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, namespace: System, all: true},
	{resource: schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}, namespace: System, all: true},
	{resource: schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, namespace: System},
	{resource: schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, namespace: System},
	{resource: schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}},
	{resource: schema.GroupVersionResource{Group: "tidegate.io", Version: "v1alpha1", Resource: "gates"}, all: true},
	{resource: schema.GroupVersionResource{Group: "tidegate.io", Version: "v1alpha1", Resource: "deploypolicies"}, all: true},
	{resource: schema.GroupVersionResource{Group: "tidegate.io", Version: "v1alpha1", Resource: "releasetemplates"}, all: true},
}

// resting is how long the guards must not change until they are taken to be as Tidegate wants
// them: longer than it gives API servers to take up a namespace that somebody made just before.
const resting = 2 * gates.DefaultSettle

// restless is how long they may go on changing.
const restless = 2 * time.Minute

// RestingGuards waits until the guards have been the same for a while, and takes them down.
func (w *World) RestingGuards(ctx context.Context) (Guards, error) {
	ctx, cancel := context.WithTimeout(ctx, restless)
	defer cancel()
	was, err := w.guards(ctx)
	if err != nil {
		return nil, err
	}
	for since := time.Now(); time.Since(since) < resting; {
		if err := pause(ctx, look); err != nil {
			return nil, err
		}
		now, err := w.guards(ctx)
		if err != nil {
			return nil, err
		}
		if len(was.Differences(now)) > 0 {
			was, since = now, time.Now()
		}
	}
	return was, nil
}

// guards takes them down as they are.
func (w *World) guards(ctx context.Context) (Guards, error) {
	out := Guards{}
	for _, g := range guarding {
		list, err := w.guarded(g.resource, g.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("looking at Tidegate's guards: %w", err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			if !g.all && !strings.Contains(o.GetName(), "tidegate") {
				continue
			}
			out[g.resource.Resource+" "+o.GetName()] = guard{g.resource, o}
		}
	}
	return out, nil
}

func (w *World) guarded(r schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return w.dynamic.Resource(r)
	}
	return w.dynamic.Resource(r).Namespace(namespace)
}

// Differences are what is not as it was: gone, changed or new.
func (g Guards) Differences(now Guards) []string {
	var out []string
	for name, was := range g {
		is, ok := now[name]
		switch {
		case !ok:
			out = append(out, name+" is gone")
		case !was.same(is):
			out = append(out, name+" is changed")
		}
	}
	for name := range now {
		if _, ok := g[name]; !ok {
			out = append(out, name+" is new")
		}
	}
	slices.Sort(out)
	return out
}

// healing is how long Tidegate is given to put right what belongs to it.
const healing = 6 * time.Second

// rounds is how often the guards are brought back: some are made from others, by Tidegate,
// and so are put right twice.
const rounds = 4

// Restore waits a moment for Tidegate to put right what somebody changed, returns what is
// not as it was then, and brings it back.
func (w *World) Restore(ctx context.Context, was Guards) (differences []string, err error) {
	var failures error
	for round := range rounds {
		now, left, err := w.healed(ctx, was)
		if err != nil {
			return differences, err
		}
		if round == 0 {
			differences = left
		}
		if len(left) == 0 {
			return differences, nil
		}
		failures = w.bringAllBack(ctx, was, now)
	}
	if _, left, err := w.healed(ctx, was); err != nil || len(left) > 0 {
		return differences, fmt.Errorf("wanted Tidegate's guards as they were, found %s: %w", strings.Join(left, ", "), errors.Join(err, failures))
	}
	return differences, nil
}

// healed waits until nothing differs, and says what does when the time is over.
func (w *World) healed(ctx context.Context, was Guards) (now Guards, left []string, err error) {
	deadline := time.Now().Add(healing)
	for {
		if now, err = w.guards(ctx); err != nil {
			return nil, nil, err
		}
		if left = was.Differences(now); len(left) == 0 || time.Now().After(deadline) {
			return now, left, nil
		}
		if err := pause(ctx, look); err != nil {
			return nil, nil, err
		}
	}
}

// look is the time between two looks at the guards.
const look = 300 * time.Millisecond

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("looking at Tidegate's guards: %w", ctx.Err())
	case <-timer.C:
		return nil
	}
}

func (w *World) bringAllBack(ctx context.Context, was, now Guards) error {
	var errs []error
	for name, old := range was {
		errs = append(errs, w.bringBack(ctx, name, old, now))
	}
	for name, o := range now {
		if _, ok := was[name]; ok {
			continue
		}
		if err := w.guarded(o.resource, o.object.GetNamespace()).Delete(ctx, o.object.GetName(), metav1.DeleteOptions{}); err != nil && !isNotFound(err) {
			errs = append(errs, fmt.Errorf("clearing away %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (w *World) bringBack(ctx context.Context, name string, old guard, now Guards) error {
	r := w.guarded(old.resource, old.object.GetNamespace())
	o := old.object.DeepCopy()
	is, ok := now[name]
	if ok && old.same(is) {
		return nil
	}
	o.SetResourceVersion("")
	o.SetManagedFields(nil)
	o.SetOwnerReferences(nil)
	var err error
	if ok {
		o.SetResourceVersion(is.object.GetResourceVersion())
		o.SetUID(is.object.GetUID())
		o.SetOwnerReferences(is.object.GetOwnerReferences())
		_, err = r.Update(ctx, o, metav1.UpdateOptions{})
	} else {
		o.SetUID("")
		_, err = r.Create(ctx, o, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("bringing back the guards: %s: %w", name, err)
	}
	return nil
}

// Essence is an object without its status and without what the API server keeps about it.
func Essence(o *unstructured.Unstructured) map[string]any {
	out := o.DeepCopy().Object
	delete(out, "status")
	metadata, _, _ := unstructured.NestedMap(out, "metadata")
	kept := map[string]any{}
	for _, k := range []string{"name", "namespace", "labels", "annotations", "ownerReferences", "finalizers", "uid", "deletionTimestamp"} {
		if v, ok := metadata[k]; ok {
			kept[k] = v
		}
	}
	out["metadata"] = kept
	if annotations, ok := kept["annotations"].(map[string]any); ok {
		// What controllers note about themselves.
		maps.DeleteFunc(annotations, func(k string, _ any) bool { return strings.HasPrefix(k, "deployment.kubernetes.io/") })
		if len(annotations) == 0 {
			delete(kept, "annotations")
		}
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return out
	}
	var plain map[string]any
	if json.Unmarshal(raw, &plain) != nil {
		return out
	}
	return plain
}
