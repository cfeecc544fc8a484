package gatekeeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Inventory is the objects of the cluster that templates may read, as data.inventory:
//
//	data.inventory.cluster[groupVersion][kind][name]
//	data.inventory.namespace[namespace][groupVersion][kind][name]
//
// Objects are converted when they are put. A snapshot shares them, so that a change costs
// what the changed branch has of direct children, and readers never wait for writers. The
// zero value is empty and ready to use.
type Inventory struct {
	mu         sync.Mutex
	root       branch
	namespaces map[string]namespaceFacts
	last       *snapshot
}

// branch is an inner node of the tree, or a leaf.
type branch struct {
	children map[string]*branch
	leaf     ast.Value
	// value is the branch as the engine reads it; nil after a change below.
	value ast.Value
}

// snapshot is the inventory at one time. It never changes.
type snapshot struct {
	data       ast.Object
	namespaces map[string]namespaceFacts
}

var emptySnapshot = &snapshot{data: ast.NewObject(ast.Item(ast.StringTerm("inventory"), ast.ObjectTerm()))}

// path is where an object is in the inventory.
func path(u *unstructured.Unstructured) ([]string, error) {
	gvk := u.GroupVersionKind()
	switch {
	case gvk.Version == "":
		return nil, fmt.Errorf("%s: resource %s has no version", textRequest, u.GetName())
	case gvk.Kind == "":
		return nil, fmt.Errorf("%s: resource %s has no kind", textRequest, u.GetName())
	}
	tail := []string{gvk.GroupVersion().String(), gvk.Kind, u.GetName()}
	if ns := u.GetNamespace(); ns != "" {
		return append([]string{"namespace", ns}, tail...), nil
	}
	return append([]string{"cluster"}, tail...), nil
}

// Put adds an object or replaces the one with its name.
func (i *Inventory) Put(u *unstructured.Unstructured) error {
	at, err := path(u)
	if err != nil {
		return err
	}
	v, err := ast.InterfaceToValue(u.Object)
	if err != nil {
		return fmt.Errorf("converting %s %s: %w", u.GetKind(), u.GetName(), err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.root.put(at, v)
	if isNamespace(u) {
		i.setNamespace(u.GetName(), &namespaceFacts{name: u.GetName(), labels: labels.Set(u.GetLabels())})
	}
	i.last = nil
	return nil
}

// Delete removes the object with the kind, namespace and name of u; no other part of u is
// read.
func (i *Inventory) Delete(u *unstructured.Unstructured) error {
	at, err := path(u)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.root.remove(at)
	if isNamespace(u) {
		i.setNamespace(u.GetName(), nil)
	}
	i.last = nil
	return nil
}

// DeleteKind removes all objects of a kind.
func (i *Inventory) DeleteKind(gvk schema.GroupVersionKind) {
	i.mu.Lock()
	defer i.mu.Unlock()
	tail := []string{gvk.GroupVersion().String(), gvk.Kind}
	i.root.remove(append([]string{"cluster"}, tail...))
	if all := i.root.children["namespace"]; all != nil {
		for _, ns := range slices.Collect(maps.Keys(all.children)) {
			i.root.remove(append([]string{"namespace", ns}, tail...))
		}
	}
	if gvk == namespaceKind {
		i.namespaces = nil
	}
	i.last = nil
}

// setNamespace replaces the map, since snapshots share it.
func (i *Inventory) setNamespace(name string, facts *namespaceFacts) {
	next := maps.Clone(i.namespaces)
	if next == nil {
		next = map[string]namespaceFacts{}
	}
	if delete(next, name); facts != nil {
		next[name] = *facts
	}
	i.namespaces = next
}

func isNamespace(u *unstructured.Unstructured) bool {
	return u.GroupVersionKind() == namespaceKind
}

var namespaceKind = schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}

// snapshot returns the inventory as it is now.
func (i *Inventory) snapshot() *snapshot {
	if i == nil {
		return emptySnapshot
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.last == nil {
		i.last = &snapshot{
			data:       ast.NewObject(ast.Item(ast.StringTerm("inventory"), ast.NewTerm(i.root.get()))),
			namespaces: i.namespaces,
		}
	}
	return i.last
}

func (b *branch) put(at []string, v ast.Value) {
	b.value = nil
	if len(at) == 0 {
		b.leaf = v
		return
	}
	child := b.children[at[0]]
	if child == nil {
		if b.children == nil {
			b.children = map[string]*branch{}
		}
		child = &branch{}
		b.children[at[0]] = child
	}
	child.put(at[1:], v)
}

// remove also removes branches that are left empty, so that a template sees none.
func (b *branch) remove(at []string) {
	child := b.children[at[0]]
	if child == nil {
		return
	}
	b.value = nil
	if len(at) > 1 {
		child.remove(at[1:])
	}
	if len(at) == 1 || len(child.children) == 0 {
		delete(b.children, at[0])
	}
}

func (b *branch) get() ast.Value {
	if b.leaf != nil {
		return b.leaf
	}
	if b.value == nil {
		o := ast.NewObjectWithCapacity(len(b.children))
		for _, key := range slices.Sorted(maps.Keys(b.children)) {
			o.Insert(ast.StringTerm(key), ast.NewTerm(b.children[key].get()))
		}
		b.value = o
	}
	return b.value
}

// transaction binds a query to a snapshot.
type transaction struct{ *snapshot }

// ID implements storage.Transaction. Nothing tells transactions apart by it.
func (transaction) ID() uint64 { return 1 }

// inventoryStore reads the snapshot of the transaction. It holds nothing itself, so that a
// template compiled once may be asked with any inventory.
type inventoryStore struct {
	storage.TriggersNotSupported
	storage.PolicyNotSupported
}

var errReadOnly = errors.New("the inventory is read only")

// NewTransaction implements storage.Store.
func (inventoryStore) NewTransaction(context.Context, ...storage.TransactionParams) (storage.Transaction, error) {
	return transaction{emptySnapshot}, nil
}

// Read implements storage.Store. What it returns is a value of the engine, so that nothing
// is converted.
func (inventoryStore) Read(_ context.Context, t storage.Transaction, at storage.Path) (any, error) {
	txn, ok := t.(transaction)
	if !ok {
		return nil, &storage.Error{Code: storage.InvalidTransactionErr, Message: fmt.Sprintf("found a transaction of type %T", t)}
	}
	var v ast.Value = txn.data
	for _, key := range at {
		var term *ast.Term
		switch parent := v.(type) {
		case ast.Object:
			term = parent.Get(ast.StringTerm(key))
		case *ast.Array:
			term = parent.Get(ast.NumberTerm(json.Number(key)))
		}
		if term == nil {
			return nil, &storage.Error{Code: storage.NotFoundErr, Message: "document does not exist"}
		}
		v = term.Value
	}
	return v, nil
}

// Write implements storage.Store.
func (inventoryStore) Write(context.Context, storage.Transaction, storage.PatchOp, storage.Path, any) error {
	return errReadOnly
}

// Commit implements storage.Store.
func (inventoryStore) Commit(context.Context, storage.Transaction) error { return nil }

// Truncate implements storage.Store.
func (inventoryStore) Truncate(context.Context, storage.Transaction, storage.TransactionParams, storage.Iterator) error {
	return errReadOnly
}

// Abort implements storage.Store.
func (inventoryStore) Abort(context.Context, storage.Transaction) {}
