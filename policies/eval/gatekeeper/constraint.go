package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Enforcement points: who asks. A constraint with scoped actions says for each what is to
// be done.
const (
	PointWebhook = "validation.gatekeeper.sh"
	PointAudit   = "audit.gatekeeper.sh"
	PointGator   = "gator.gatekeeper.sh"
)

// Actions that have a meaning. Any other is only reported, as in Gatekeeper.
const (
	ActionDeny   = "deny"
	ActionWarn   = "warn"
	ActionDryrun = "dryrun"
	actionScoped = "scoped"
)

// Key names a constraint.
type Key struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// String is Kind/Name.
func (k Key) String() string { return k.Kind + "/" + k.Name }

// Constraint is one use of a template. It never changes and may be used by many at once.
type Constraint struct {
	key      Key
	template *Template
	// match is nil where the constraint has none, which matches everything.
	match *match
	// parameters is an object, with the defaults of the schema.
	parameters *ast.Term
	action     string
	scoped     []scopedAction
	// object is the constraint with its defaults; CEL reads it.
	object *unstructured.Unstructured
	// written is the template as its author wrote it.
	written *unstructured.Unstructured
	// broken is why the constraint cannot be evaluated; what it matches violates it.
	broken error
}

type scopedAction struct {
	Action            string `json:"action"`
	EnforcementPoints []struct {
		Name string `json:"name"`
	} `json:"enforcementPoints"`
}

// Constraint reads a constraint of the template's kind: it is judged by the schema and gets
// its defaults. The error is ErrSchema where the schema refuses it.
func (t *Template) Constraint(u *unstructured.Unstructured) (*Constraint, error) {
	in := func(err error) error { return fmt.Errorf("reading %s %q: %w", t.kind, u.GetName(), err) }
	switch gvk := u.GroupVersionKind(); {
	case u.GetName() == "":
		return nil, in(errors.New("metadata.name: wanted a name, found nothing"))
	case gvk.Group != ConstraintGroup || !slices.Contains(constraintVersions, gvk.Version) || gvk.Kind != t.kind:
		return nil, in(fmt.Errorf("wanted kind %s of %s in version %v, found %s of %s", t.kind, ConstraintGroup, constraintVersions, gvk.Kind, u.GetAPIVersion()))
	case len(validName(u.GetName())) > 0:
		return nil, in(fmt.Errorf("metadata.name: %s", validName(u.GetName())[0]))
	}
	u = u.DeepCopy()
	c, err := readConstraint(u)
	if err != nil {
		return nil, in(err)
	}
	if err := t.schema.check(u); err != nil {
		return nil, in(err)
	}
	t.schema.setDefaults(u)
	delete(u.Object, "status")
	c.template, c.object, c.written = t, u, t.object
	if c.parameters, err = parameters(u); err != nil {
		return nil, in(err)
	}
	return c, nil
}

// brokenConstraint is a constraint whose template does not work: what it matches violates
// it, so that the template's absence is not taken for consent.
func brokenConstraint(u, template *unstructured.Unstructured, why error) (*Constraint, error) {
	c, err := readConstraint(u)
	if err != nil {
		return nil, fmt.Errorf("reading %s %q: %w", u.GetKind(), u.GetName(), err)
	}
	c.broken, c.object, c.written = why, written(u), template
	return c, nil
}

// readConstraint reads what does not depend on the template.
func readConstraint(u *unstructured.Unstructured) (*Constraint, error) {
	c := &Constraint{key: Key{Kind: u.GetKind(), Name: u.GetName()}, action: ActionDeny}
	spec, _, err := unstructured.NestedMap(u.Object, "spec")
	if err != nil {
		return nil, fmt.Errorf("%w: spec: wanted an object, found %T", ErrSchema, u.Object["spec"])
	}
	if action, ok := spec["enforcementAction"]; ok {
		if c.action, ok = action.(string); !ok {
			return nil, fmt.Errorf("%w: spec.enforcementAction: wanted a string, found %T", ErrSchema, action)
		}
	}
	if c.action == actionScoped {
		scoped, ok := spec["scopedEnforcementActions"]
		if !ok {
			return nil, errors.New("spec.scopedEnforcementActions: wanted a list, since enforcementAction is scoped; found nothing")
		}
		if err := convert(scoped, &c.scoped); err != nil {
			return nil, fmt.Errorf("spec.scopedEnforcementActions: wanted a list of {action, enforcementPoints: [{name}]}: %w", err)
		}
	}
	if m, ok := spec["match"]; ok && m != nil {
		if c.match, err = readMatch(m); err != nil {
			return nil, fmt.Errorf("spec.match: %w", err)
		}
	}
	return c, nil
}

// parameters converts spec.parameters, once for all reviews.
func parameters(u *unstructured.Unstructured) (*ast.Term, error) {
	p, ok, err := unstructured.NestedFieldNoCopy(u.Object, "spec", "parameters")
	if err != nil {
		return nil, fmt.Errorf("spec.parameters: %w", err)
	}
	if !ok || p == nil {
		return ast.ObjectTerm(), nil
	}
	v, err := ast.InterfaceToValue(p)
	if err != nil {
		return nil, fmt.Errorf("spec.parameters: %w", err)
	}
	return ast.NewTerm(v), nil
}

// convert reads a JSON value into a struct.
func convert(from, into any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// Key names the constraint.
func (c *Constraint) Key() Key { return c.key }

// actions returns what is to be done at a point, sorted; none means that the constraint is
// not asked there.
func (c *Constraint) actions(point string) []string {
	if c.action != actionScoped {
		return []string{c.action}
	}
	var out []string
	for _, s := range c.scoped {
		for _, p := range s.EnforcementPoints {
			if p.Name == "*" || p.Name == point {
				out = append(out, s.Action)
				break
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
