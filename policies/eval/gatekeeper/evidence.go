package gatekeeper

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Evidence is what reviews of a kind are judged by.
type Evidence struct {
	Templates   []*unstructured.Unstructured
	Constraints []*unstructured.Unstructured
	// Inventory are the objects that templates can read, sorted by their places; nil where
	// none of these templates reads any.
	Inventory []json.RawMessage
	// InventoryDigest is that of all of them.
	InventoryDigest string
	// PreferRego is true where a template was compiled by its Rego and has CEL too.
	PreferRego bool
}

// Evidence returns the templates and constraints that may be about a kind, as they are in
// force, and the inventory as it is now.
func (s *Set) Evidence(gk schema.GroupKind) (*Evidence, error) {
	list := slices.Clone(s.exact[gk])
	for _, c := range s.other {
		if c.match == nil || c.match.kind(gk) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, byKey)
	e := &Evidence{}
	seen := map[*unstructured.Unstructured]bool{}
	readsInventory := false
	for _, c := range list {
		e.Constraints = append(e.Constraints, written(c.object))
		if u := c.written; u != nil && !seen[u] {
			seen[u] = true
			e.Templates = append(e.Templates, u)
		}
		e.PreferRego = e.PreferRego || c.template != nil && c.template.rego != nil && c.template.other
		readsInventory = readsInventory || c.template != nil && c.template.readsInventory()
	}
	if !readsInventory {
		return e, nil
	}
	return e, e.take(s.inventory.snapshot())
}

// readsInventory says whether the template refers to it anywhere.
func (t *Template) readsInventory() bool {
	if t.rego == nil {
		return false
	}
	return slices.ContainsFunc(slices.Collect(maps.Values(t.rego.compiler.Modules)), func(m *ast.Module) bool { return reads(m, inventoryRef) })
}

// take reads the objects of an inventory.
func (e *Evidence) take(s *snapshot) error {
	raw, err := ast.JSON(s.data)
	if err != nil {
		return fmt.Errorf("reading the inventory: %w", err)
	}
	data, _ := raw.(map[string]any)
	all, _ := data["inventory"].(map[string]any)
	sum := sha256.New()
	var walk func(v any, depth int) error
	walk = func(v any, depth int) error {
		if depth == 0 {
			object, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("reading the inventory: %w", err)
			}
			_, _ = sum.Write(append(object, '\n')) // a hash takes everything
			e.Inventory = append(e.Inventory, object)
			return nil
		}
		m, _ := v.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if err := walk(m[key], depth-1); err != nil {
				return err
			}
		}
		return nil
	}
	// groupVersion, kind, name; below namespace there is the namespace first.
	if err := cmp.Or(walk(all["cluster"], 3), walk(all["namespace"], 4)); err != nil {
		return err
	}
	e.InventoryDigest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return nil
}

// StoreOf returns a store in which the set is in force, to ask once more what was asked
// before. Its inventory is that of the set.
func StoreOf(set *Set) *Store {
	s := NewStore()
	s.set.Store(set)
	return s
}

// written is an object as its author wrote it.
func written(u *unstructured.Unstructured) *unstructured.Unstructured {
	u = u.DeepCopy()
	u.SetManagedFields(nil)
	delete(u.Object, "status")
	if a := u.GetAnnotations(); a["kubectl.kubernetes.io/last-applied-configuration"] != "" {
		delete(a, "kubectl.kubernetes.io/last-applied-configuration")
		u.SetAnnotations(a)
	}
	return u
}
