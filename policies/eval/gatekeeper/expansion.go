package gatekeeper

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ExpansionGroup is the API group of ExpansionTemplates.
const ExpansionGroup = "expansion.gatekeeper.sh"

// maxExpansions bounds how often what is made of an object is expanded again.
const maxExpansions = 30

// Expansion makes objects of others before they exist: the Pod of a Deployment, so that
// constraints about Pods speak when the Deployment is applied.
type Expansion struct{ templates []expansionTemplate }

type expansionTemplate struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		ApplyTo []struct {
			Groups   []string `json:"groups"`
			Kinds    []string `json:"kinds"`
			Versions []string `json:"versions"`
		} `json:"applyTo"`
		TemplateSource    string                  `json:"templateSource"`
		GeneratedGVK      schema.GroupVersionKind `json:"generatedGVK"`
		EnforcementAction string                  `json:"enforcementAction"`
	} `json:"spec"`
}

// Generated is an object that an ExpansionTemplate makes of another.
type Generated struct {
	// Template is the name of the ExpansionTemplate.
	Template string
	// Action takes the place of the constraints' actions, unless it is empty.
	Action string
	Object *unstructured.Unstructured
}

// Imply changes violations of the generated object into those of its origin.
func (g Generated) Imply(list []Violation) []Violation {
	out := slices.Clone(list)
	for i := range out {
		out[i].Message = fmt.Sprintf("[Implied by %s] %s", g.Template, out[i].Message)
		if g.Action != "" {
			out[i].Actions = []string{g.Action}
		}
	}
	return out
}

// NewExpansion reads ExpansionTemplates.
func NewExpansion(objects ...*unstructured.Unstructured) (*Expansion, error) {
	x := &Expansion{}
	for _, u := range objects {
		gvk := u.GroupVersionKind()
		if gvk.Group != ExpansionGroup || gvk.Kind != "ExpansionTemplate" {
			return nil, fmt.Errorf("wanted an ExpansionTemplate of %s, found %s of %s", ExpansionGroup, u.GetKind(), u.GetAPIVersion())
		}
		var t expansionTemplate
		if err := convert(u.Object, &t); err != nil {
			return nil, fmt.Errorf("reading ExpansionTemplate %q: %w", u.GetName(), err)
		}
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("reading ExpansionTemplate %q: %w", u.GetName(), err)
		}
		x.templates = append(x.templates, t)
	}
	slices.SortFunc(x.templates, func(a, b expansionTemplate) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	return x, nil
}

func (t *expansionTemplate) check() error {
	switch gvk := t.Spec.GeneratedGVK; {
	case t.Metadata.Name == "" || len(t.Metadata.Name) > 63:
		return errors.New("metadata.name: wanted 1 to 63 characters")
	case t.Spec.TemplateSource == "":
		return errors.New("spec.templateSource: wanted a path such as spec.template, found nothing")
	case gvk.Empty():
		return errors.New("spec.generatedGVK: wanted group, version and kind, found nothing")
	case len(t.Spec.ApplyTo) == 0:
		return errors.New("spec.applyTo: wanted groups, versions and kinds, found nothing")
	case t.applies(gvk):
		return fmt.Errorf("spec.applyTo: wanted kinds other than the generated one, found %s", gvk)
	}
	return nil
}

func (t *expansionTemplate) applies(gvk schema.GroupVersionKind) bool {
	for _, a := range t.Spec.ApplyTo {
		if slices.Contains(a.Groups, gvk.Group) && slices.Contains(a.Versions, gvk.Version) && slices.Contains(a.Kinds, gvk.Kind) {
			return true
		}
	}
	return false
}

// Expand returns what is made of an object, and of that again.
func (x *Expansion) Expand(u *unstructured.Unstructured) ([]Generated, error) {
	return x.expand(u, 0)
}

func (x *Expansion) expand(u *unstructured.Unstructured, depth int) ([]Generated, error) {
	if depth >= maxExpansions {
		return nil, fmt.Errorf("expanding %s: more than %d levels", u.GetName(), maxExpansions)
	}
	if u.GroupVersionKind().Empty() {
		return nil, fmt.Errorf("expanding %s: it has no kind", u.GetName())
	}
	var own, below []Generated
	for i := range x.templates {
		t := &x.templates[i]
		if !t.applies(u.GroupVersionKind()) {
			continue
		}
		object, err := t.generate(u)
		if err != nil {
			return nil, fmt.Errorf("expanding %s by ExpansionTemplate %q: %w", u.GetName(), t.Metadata.Name, err)
		}
		own = append(own, Generated{Template: t.Metadata.Name, Action: t.Spec.EnforcementAction, Object: object})
		more, err := x.expand(object, depth+1)
		if err != nil {
			return nil, err
		}
		below = append(below, more...)
	}
	return append(below, own...), nil
}

func (t *expansionTemplate) generate(from *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	source, ok, err := unstructured.NestedMap(from.Object, strings.Split(t.Spec.TemplateSource, ".")...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Spec.TemplateSource, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: wanted an object, found nothing", t.Spec.TemplateSource)
	}
	gvk := t.Spec.GeneratedGVK
	u := &unstructured.Unstructured{Object: source}
	u.SetGroupVersionKind(gvk)
	if ns := from.GetNamespace(); ns != "" {
		u.SetNamespace(ns)
	}
	u.SetName(strings.ToLower(from.GetName() + "-" + gvk.Kind))
	addOwner(u, from)
	return u, nil
}

// addOwner names the origin as owner, the way a controller would, but without a UID, which
// nobody knows yet.
func addOwner(u, owner *unstructured.Unstructured) {
	if owner.GetAPIVersion() == "" || owner.GetKind() == "" || owner.GetName() == "" {
		return
	}
	list, _, _ := unstructured.NestedSlice(u.Object, "metadata", "ownerReferences")
	for _, one := range list {
		if o, ok := one.(map[string]any); ok && o["apiVersion"] == owner.GetAPIVersion() && o["kind"] == owner.GetKind() && o["name"] == owner.GetName() {
			return
		}
	}
	list = append(list, map[string]any{
		"apiVersion": owner.GetAPIVersion(), "kind": owner.GetKind(), "name": owner.GetName(), "uid": "",
	})
	if metadata, ok := u.Object["metadata"].(map[string]any); ok {
		metadata["ownerReferences"] = list
	}
}
