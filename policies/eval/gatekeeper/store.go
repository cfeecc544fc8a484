package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Store holds the Set in force. Readers never wait for writers. A template or constraint
// whose new version does not work keeps its last good version; a template that never
// worked makes its constraints object to whatever they match.
type Store struct {
	compiler  Compiler
	mu        sync.Mutex
	templates map[string]*templateEntry
	inventory Inventory
	set       atomic.Pointer[Set]
	excluded  atomic.Pointer[[]Exclusion]
}

// templateEntry is a template, by kind, and its constraints, by name.
type templateEntry struct {
	// name is that of the ConstraintTemplate.
	name string
	// good is the last version that compiled, if any.
	good *Template
	// broken is why the newest does not, if it does not, and newest is that one.
	broken      error
	newest      *unstructured.Unstructured
	constraints map[string]*constraintEntry
}

type constraintEntry struct {
	object *unstructured.Unstructured
	// good is the last version that could be read, if any.
	good *Constraint
	// problem is why the newest could not be, or cannot be judged, if so.
	problem error
}

// NewStore returns a store without templates.
func NewStore() *Store { return Compiler{}.NewStore() }

// NewStore returns a store without templates, which compiles them so.
func (c Compiler) NewStore() *Store {
	s := &Store{compiler: c, templates: map[string]*templateEntry{}}
	s.set.Store(NewSet(&s.inventory))
	return s
}

// Set is the collection now in force.
func (s *Store) Set() *Set { return s.set.Load() }

// Inventory is what the templates read. A change of it is seen by the next review.
func (s *Store) Inventory() *Inventory { return &s.inventory }

// PutTemplate compiles a ConstraintTemplate and puts it into force, with the constraints
// that there are of its kind.
func (s *Store) PutTemplate(u *unstructured.Unstructured) (*Template, error) {
	return s.PutTemplateContext(context.Background(), u)
}

// PutTemplateContext is PutTemplate, which compiles for as long as ctx lives.
func (s *Store) PutTemplateContext(ctx context.Context, u *unstructured.Unstructured) (*Template, error) {
	// Compiling takes milliseconds; nobody waits for it.
	t, err := s.compiler.Compile(ctx, u)
	if err == nil {
		if err = t.Mistake(); err != nil {
			t = nil
		}
	}
	kind, _, nested := unstructured.NestedString(u.Object, "spec", "crd", "spec", "names", "kind")
	if nested != nil || kind == "" {
		return nil, errors.Join(err, nested)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(kind)
	e.name, e.broken, e.newest = u.GetName(), err, written(u)
	if err == nil {
		e.good = t
	}
	problems := []error{err}
	for _, name := range slices.Sorted(maps.Keys(e.constraints)) {
		problems = append(problems, e.read(e.constraints[name]))
	}
	s.publish()
	return t, errors.Join(problems...)
}

// DeleteTemplate takes the template with this name, and its constraints, out of force.
func (s *Store) DeleteTemplate(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.templates, func(_ string, e *templateEntry) bool { return e.name == name })
	s.publish()
}

// PutConstraint reads a constraint and puts it into force. One whose template is not there
// yet waits for it.
func (s *Store) PutConstraint(u *unstructured.Unstructured) error {
	if !IsConstraint(u) || u.GetKind() == "" || u.GetName() == "" {
		return fmt.Errorf("wanted a named object of %s, found %s %s %q", ConstraintGroup, u.GetAPIVersion(), u.GetKind(), u.GetName())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(u.GetKind())
	c := e.constraints[u.GetName()]
	if c == nil {
		c = &constraintEntry{}
		e.constraints[u.GetName()] = c
	}
	c.object = u.DeepCopy()
	err := e.read(c)
	s.publish()
	return err
}

// DeleteConstraint takes a constraint out of force.
func (s *Store) DeleteConstraint(key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.templates[key.Kind]; e != nil {
		delete(e.constraints, key.Name)
		s.publish()
	}
}

func (s *Store) entry(kind string) *templateEntry {
	e := s.templates[kind]
	if e == nil {
		e = &templateEntry{constraints: map[string]*constraintEntry{}}
		s.templates[kind] = e
	}
	return e
}

// read reads a constraint by the template in force. One of a template that never compiled
// is put into force as a stand-in; one without any template is not.
func (e *templateEntry) read(c *constraintEntry) error {
	c.problem = e.reread(c)
	if c.problem == nil && e.good == nil {
		// The stand-in is in force, which is not what its author wants.
		c.problem = e.broken
		return nil
	}
	return c.problem
}

func (e *templateEntry) reread(c *constraintEntry) error {
	switch {
	case e.good != nil:
		read, err := e.good.Constraint(c.object)
		if err != nil {
			return err
		}
		c.good = read
		return nil
	case e.broken != nil:
		read, err := brokenConstraint(c.object, e.newest, e.broken)
		if err != nil {
			return err
		}
		c.good = read
		return nil
	default:
		return fmt.Errorf("%s %q: wanted its ConstraintTemplate, found none yet", c.object.GetKind(), c.object.GetName())
	}
}

func (s *Store) publish() {
	var list []*Constraint
	for _, e := range s.templates {
		for _, c := range e.constraints {
			if c.good != nil {
				list = append(list, c.good)
			}
		}
	}
	slices.SortFunc(list, byKey)
	s.set.Store(NewSet(&s.inventory, list...))
}
