// Package gatekeeper runs Gatekeeper's ConstraintTemplates and Constraints as they are:
// the same matching, the same input, the same messages. A verdict depends on the templates,
// the constraints, the inventory and the review alone, except where a template asks for
// the time or for chance.
//
// A template is compiled once and alone; a request is converted once, and only when a
// constraint matches it; parameters are converted when a constraint is read. A Set never
// changes, so that a review never waits for an update.
package gatekeeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/policies/eval/budget"
	"tidegate.io/tidegate/policies/eval/sandbox"
)

// Violation is one thing that a constraint has against a request.
type Violation struct {
	// Constraint is who objects.
	Constraint Key
	// Message equals Gatekeeper's.
	Message string
	// Details is whatever else the template gives.
	Details any
	// Actions are what the constraint wants done about it where it was asked: deny, warn,
	// dryrun or a word of somebody else's, which is only reported.
	Actions []string
	// Failed is true where the constraint could not be judged, so that nothing is known.
	Failed bool
}

// Is says whether an action is wanted.
func (v Violation) Is(action string) bool { return slices.Contains(v.Actions, action) }

// Set is a collection of constraints and the inventory that they read. It never changes,
// the inventory aside, of which each review sees one state. It may be used by many at once.
type Set struct {
	// exact are the constraints that list their kinds, by kind.
	exact map[schema.GroupKind][]*Constraint
	// other match by a wildcard, or have no kinds.
	other     []*Constraint
	all       []*Constraint
	inventory *Inventory

	// spaces are Namespaces as the engine reads them, by name.
	spaces sync.Map
}

type space struct {
	uid     types.UID
	version string
	term    *ast.Term
}

// NewSet returns the set of the constraints; a nil inventory is an empty one.
func NewSet(inventory *Inventory, constraints ...*Constraint) *Set {
	s := &Set{exact: map[schema.GroupKind][]*Constraint{}, all: constraints, inventory: inventory}
	for _, c := range constraints {
		s.add(c)
	}
	return s
}

func (s *Set) add(c *Constraint) {
	if c.match == nil || len(c.match.Kinds) == 0 {
		s.other = append(s.other, c)
		return
	}
	seen := map[schema.GroupKind]bool{}
	for _, k := range c.match.Kinds {
		if anyOf(k.APIGroups, "*") || anyOf(k.Kinds, "*") {
			s.other = append(s.other, c)
			return
		}
		for _, group := range k.APIGroups {
			for _, kind := range k.Kinds {
				seen[schema.GroupKind{Group: group, Kind: kind}] = true
			}
		}
	}
	for gk := range seen {
		s.exact[gk] = append(s.exact[gk], c)
	}
}

// Len is the number of constraints.
func (s *Set) Len() int { return len(s.all) }

// Asks says whether any constraint may be about a kind, so that a caller can spare itself
// the rest.
func (s *Set) Asks(gk schema.GroupKind) bool { return len(s.other)+len(s.exact[gk]) > 0 }

// candidates returns the constraints that may match by kind. The API server says the kind
// of the object with the request; elsewhere it is read from the object.
func (s *Set) candidates(r *Review) []*Constraint {
	if k := r.request.Kind; r.Point == PointWebhook && k.Kind != "" {
		gk := schema.GroupKind{Group: k.Group, Kind: k.Kind}
		out := slices.Clone(s.exact[gk])
		for _, c := range s.other {
			if c.match == nil || c.match.kind(gk) {
				out = append(out, c)
			}
		}
		return slices.DeleteFunc(out, func(c *Constraint) bool { return c.elsewhere(r.request) })
	}
	r.decode()
	out := slices.Clone(s.other)
	seen := map[schema.GroupKind]bool{}
	for _, p := range []*part{&r.object, &r.old} {
		if p.facts == nil {
			continue
		}
		gk := schema.GroupKind{Group: p.facts.group, Kind: p.facts.kind}
		if !seen[gk] {
			out = append(out, s.exact[gk]...)
		}
		seen[gk] = true
	}
	if r.object.err != nil || r.old.err != nil {
		// What cannot be read may be of any kind.
		for _, list := range s.exact {
			out = append(out, list...)
		}
		slices.SortFunc(out, byKey)
		out = slices.Compact(out)
	}
	return out
}

// Judge asks every constraint that matches and returns what they say, in the order of
// constraints and messages. One that cannot be asked, because ctx has ended, it took more
// than its share of the time or for whatever reason, counts as violated.
func (s *Set) Judge(ctx context.Context, r *Review) []Violation {
	candidates := s.candidates(r)
	if len(candidates) == 0 {
		return nil
	}
	data := s.inventory.snapshot()
	asked, out := s.matching(candidates, r, r.namespaceFacts(data))
	if len(asked) > 0 {
		out = append(out, s.ask(ctx, asked, &evaluation{review: r, data: transaction{data}})...)
	}
	slices.SortStableFunc(out, func(a, b Violation) int {
		return cmp.Or(strings.Compare(a.Constraint.Kind, b.Constraint.Kind), strings.Compare(a.Constraint.Name, b.Constraint.Name), strings.Compare(a.Message, b.Message))
	})
	return out
}

// matching returns the constraints to ask, and the violations of those that cannot be
// asked.
func (s *Set) matching(candidates []*Constraint, r *Review, ns *namespaceFacts) (asked []*Constraint, out []Violation) {
	for _, c := range candidates {
		if c.template != nil && !c.template.asks(r.Point, string(r.request.Operation)) {
			continue
		}
		actions := c.actions(r.Point)
		if len(actions) == 0 {
			continue
		}
		ok, err := r.matched(c.match, ns)
		switch {
		case err != nil:
			out = append(out, Violation{Constraint: c.key, Message: textAutoreject + ": " + err.Error(), Actions: actions, Failed: true})
		case !ok:
		case c.broken != nil:
			out = append(out, Violation{Constraint: c.key, Message: c.broken.Error(), Actions: actions, Failed: true})
		default:
			asked = append(asked, c)
		}
	}
	return asked, out
}

// ask evaluates constraints, each within its share of the time.
func (s *Set) ask(ctx context.Context, asked []*Constraint, e *evaluation) []Violation {
	if ns := e.review.Namespace; ns != nil {
		e.review.space = s.space(ns)
	}
	if err := e.review.prepare(); err != nil {
		return failedAll(asked, e.review.Point, err)
	}
	outcomes := budget.Each(ctx, len(asked), 0,
		func(i int) *budget.Account { return &asked[i].template.account },
		func(i int, step *budget.Step) ([]Violation, error) { return e.ask(ctx, asked[i], step) })
	var out []Violation
	for i, o := range outcomes {
		found := o.Value
		if o.Err != nil {
			found = []Violation{failed(o.Err)}
		}
		for _, v := range found {
			v.Constraint, v.Actions = asked[i].key, asked[i].actions(e.review.Point)
			out = append(out, v)
		}
	}
	return out
}

func failedAll(list []*Constraint, point string, err error) []Violation {
	out := make([]Violation, 0, len(list))
	for _, c := range list {
		out = append(out, Violation{Constraint: c.key, Actions: c.actions(point), Message: err.Error(), Failed: true})
	}
	return out
}

// elsewhere says that the namespaces of a constraint leave a request out. It spares the
// request from being decoded; what it does not know is matched later.
func (c *Constraint) elsewhere(q *admissionv1.AdmissionRequest) bool {
	o := reviewed{group: q.Kind.Group, kind: q.Kind.Kind, namespace: q.Namespace}
	return c.match != nil && q.Namespace != "" && !o.isNamespace() && !c.match.inNamespaces(&o, nil)
}

func byKey(a, b *Constraint) int {
	return cmp.Or(strings.Compare(a.key.Kind, b.key.Kind), strings.Compare(a.key.Name, b.key.Name))
}

// evaluation is what the constraints of one review share.
type evaluation struct {
	review *Review
	data   transaction
	cel    celRequest
}

// space returns a Namespace as the engine reads it, converted once for each state of it;
// nil where it cannot be known that the state is the same.
func (s *Set) space(ns *corev1.Namespace) *ast.Term {
	if ns.UID == "" || ns.ResourceVersion == "" {
		return nil
	}
	if known, ok := s.spaces.Load(ns.Name); ok {
		if k, ok := known.(space); ok && k.uid == ns.UID && k.version == ns.ResourceVersion {
			return k.term
		}
	}
	term, err := namespaceTerm(ns)
	if err != nil {
		return nil
	}
	s.spaces.Store(ns.Name, space{uid: ns.UID, version: ns.ResourceVersion, term: term})
	return term
}

// ask evaluates one constraint.
func (e *evaluation) ask(ctx context.Context, c *Constraint, step *budget.Step) ([]Violation, error) {
	if c.template.cel != nil {
		return e.askCEL(ctx, c)
	}
	t := c.template.rego
	query := topdown.NewQuery(t.query).
		WithQueryCompiler(t.queries).
		WithCompiler(t.compiler).
		WithStore(inventoryStore{}).
		WithTransaction(e.data).
		WithMetrics(metrics.NoOp()).
		WithInput(e.review.input(c.parameters)).
		WithCancel(step)
	if !e.review.Time.IsZero() {
		query = query.WithTime(e.review.Time)
	}
	var out []Violation
	results := 0
	err := query.Iter(ctx, func(r topdown.QueryResult) error {
		results++
		answers, ok := r[answerVar]
		if !ok {
			return errors.New("wanted an answer, found none")
		}
		set, ok := answers.Value.(ast.Set)
		if !ok {
			return fmt.Errorf("wanted a set as the answer, found %s", ast.ValueName(answers.Value))
		}
		if set.Len() == 0 {
			return nil
		}
		if t.whole {
			set = answersOf(set)
		}
		if !sandbox.Fits(set) {
			return sandbox.ErrTooLarge
		}
		return set.Iter(func(element *ast.Term) error {
			v, err := readAnswer(element.Value)
			out = append(out, v)
			return err
		})
	})
	if err == nil && results != 1 {
		err = fmt.Errorf("wanted one answer, found %d", results)
	}
	return out, err
}

var (
	answerVar  = ast.Var("answer")
	keyMsg     = ast.StringTerm("msg")
	keyDetails = ast.StringTerm("details")
)

// answersOf does with the violations what answerQuery does: an element without msg is none.
// That none can have one was found out when the template was compiled.
func answersOf(violations ast.Set) ast.Set {
	out := ast.NewSet()
	violations.Foreach(func(e *ast.Term) {
		object, ok := e.Value.(ast.Object)
		if !ok {
			return // object.get fails of it, and so it is none
		}
		msg, details := object.Get(keyMsg), object.Get(keyDetails)
		if msg == nil {
			return
		}
		if details == nil {
			details = noObject
		}
		out.Add(ast.ObjectTerm(ast.Item(keyMsg, msg), ast.Item(keyDetails, details)))
	})
	return out
}

func readAnswer(v ast.Value) (Violation, error) {
	object, ok := v.(ast.Object)
	if !ok {
		return Violation{}, fmt.Errorf("wanted an object as a violation, found %s", ast.ValueName(v))
	}
	msg, ok := object.Get(keyMsg).Value.(ast.String)
	if !ok {
		return Violation{}, fmt.Errorf("wanted a string as the msg of a violation, found %s", object.Get(keyMsg))
	}
	details, err := ast.JSON(object.Get(keyDetails).Value)
	if err != nil {
		return Violation{}, fmt.Errorf("reading the details of a violation: %w", err)
	}
	return Violation{Message: string(msg), Details: details}, nil
}

func failed(err error) Violation { return Violation{Message: err.Error(), Failed: true} }
