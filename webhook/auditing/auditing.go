// Package auditing looks at what exists already: it lists the objects of a cluster page by
// page, asks the policies about each, looks for what came around the gate, and writes down
// what it finds. It holds one page of objects and one report at a time, so that its memory
// does not grow with the cluster. The decisions are those of package policies/audit.
package auditing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
	"tidegate.io/tidegate/webhook/govern"
)

// Renderer renders what a Rollout pins; see webhook.Renderer.
type Renderer interface {
	Render(ctx context.Context, s webhook.Source, values []byte, c render.Context) (*render.Result, error)
}

// Auditor looks at a cluster.
type Auditor struct {
	// Client reads the API server itself, not a cache. Required.
	Client client.Client
	// Policies returns those in force. Required.
	Policies func() *eval.Set
	// Constraints are Gatekeeper's; nil where they are not served.
	Constraints *gatekeeper.Store
	// Renderer makes again what Rollouts pinned. Nil: then nothing is compared with it, and
	// whatever the label of an existing Release names counts as managed.
	Renderer Renderer
	// ManagerNamespace is never governed.
	ManagerNamespace string
	// Clock says how old things are. Required.
	Clock clock.PassiveClock
	// Rest is called after each page with the time that judging it took. Nil: no rest.
	Rest func(ctx context.Context, worked time.Duration) error
}

// Scope is what is looked at.
type Scope struct {
	// Namespace is the only one; empty for all.
	Namespace string
	// Outside asks policies about namespaces that no Gate governs too, where they are never
	// asked at admission.
	Outside bool
}

// Sink takes what is found, one part after the other, each part from its first report to its
// last. A part that has to be begun again begins with report 1 again.
type Sink interface {
	// Begin is called once for each namespace, with the Gates over it; "" is for objects in none.
	Begin(ctx context.Context, namespace string, gates []*v1alpha1.Gate) error
	// Put takes a report; number counts from 1.
	Put(ctx context.Context, part audit.Part, number int, findings []audit.Finding) error
	// Done says that a part has so many reports, and that everything else about it is over.
	Done(ctx context.Context, part audit.Part, reports int) error
	// Kept says that a part could not be looked at, so that what is known of it stays, and
	// gives that to count.
	Kept(ctx context.Context, part audit.Part, count func([]audit.Finding)) error
	// End is called once after each namespace. Whole says that every part was told of, so that
	// what is known of others is over.
	End(ctx context.Context, namespace string, whole bool) error
	// Finish is called at the end of a run about everything.
	Finish(ctx context.Context, t *Totals) error
}

// run is one look at everything.
type run struct {
	*Auditor
	scope    Scope
	sink     Sink
	policies *eval.Set
	rules    *gatekeeper.Set
	kinds    *kinds
	gates    []v1alpha1.Gate
	totals   *Totals
	problems []error
}

// maxProblems is how many errors of one run are told.
const maxProblems = 10

// problem remembers an error that does not end the run.
func (r *run) problem(err error) {
	if err != nil && len(r.problems) < maxProblems {
		r.problems = append(r.problems, err)
	}
}

// Run looks at everything in scope. What cannot be looked at is among the findings; an error
// is about what is needed for any of it, or about what could not be written down.
func (a *Auditor) Run(ctx context.Context, scope Scope, sink Sink) (*Totals, error) {
	r := &run{Auditor: a, scope: scope, sink: sink, policies: a.Policies(), totals: newTotals()}
	if a.Constraints != nil {
		r.rules = a.Constraints.Set()
	}
	var gates v1alpha1.GateList
	if err := a.Client.List(ctx, &gates); err != nil {
		return nil, fmt.Errorf("listing Gates: %w", err)
	}
	slices.SortFunc(gates.Items, func(x, y v1alpha1.Gate) int { return strings.Compare(x.Name, y.Name) })
	r.gates = gates.Items
	var policies v1alpha1.DeployPolicyList
	if err := a.Client.List(ctx, &policies); err != nil {
		return nil, fmt.Errorf("listing DeployPolicies: %w", err)
	}
	r.kinds = newKinds(a.Client.RESTMapper(), policies.Items, r.rules)
	spaces, err := a.namespaces(ctx, scope)
	if err != nil {
		return nil, err
	}
	for i := range spaces {
		if err := r.namespace(ctx, &spaces[i]); err != nil {
			return nil, err
		}
	}
	if scope.Namespace == "" {
		if err := r.outer(ctx); err != nil {
			return nil, err
		}
		r.problem(sink.Finish(ctx, r.totals))
	}
	return r.totals, errors.Join(r.problems...)
}

// namespaces are those in scope, sorted, with what is needed of them alone.
func (a *Auditor) namespaces(ctx context.Context, scope Scope) ([]corev1.Namespace, error) {
	if scope.Namespace != "" {
		var ns corev1.Namespace
		if err := a.Client.Get(ctx, client.ObjectKey{Name: scope.Namespace}, &ns); err != nil {
			return nil, fmt.Errorf("reading namespace %q: %w", scope.Namespace, err)
		}
		return []corev1.Namespace{ns}, nil
	}
	var out []corev1.Namespace
	for again := ""; ; {
		var page corev1.NamespaceList
		if err := a.Client.List(ctx, &page, client.Limit(maxPage), client.Continue(again)); err != nil {
			return nil, fmt.Errorf("listing namespaces: %w", err)
		}
		for i := range page.Items {
			page.Items[i].ManagedFields = nil
			out = append(out, page.Items[i])
		}
		if again = page.Continue; again == "" {
			break
		}
	}
	slices.SortFunc(out, func(x, y corev1.Namespace) int { return strings.Compare(x.Name, y.Name) })
	return out, nil
}

// namespace looks at one namespace. An error is that of ctx.
func (r *run) namespace(ctx context.Context, ns *corev1.Namespace) error {
	gates, err := govern.Governing(r.gates, govern.Namespace{Name: ns.Name, Labels: ns.Labels}, r.ManagerNamespace)
	w := newWorld(r.Auditor, ns, gates)
	if err != nil {
		// Nobody knows whether it is governed, so nothing that was known is taken back.
		w.missed(audit.Object{APIVersion: "v1", Kind: "Namespace", Name: ns.Name}, "which Gates govern it", err)
		r.problem(r.sink.Begin(ctx, ns.Name, nil))
		return r.end(ctx, w, false)
	}
	list, failed := r.kinds.in(ns.Name, gates, r.scope.Outside)
	for _, f := range failed {
		w.missed(audit.Object{APIVersion: "v1", Kind: "Namespace", Name: ns.Name}, f.what, f.err)
	}
	if len(list) == 0 && len(failed) == 0 {
		return ctx.Err()
	}
	r.problem(r.sink.Begin(ctx, ns.Name, gates))
	for _, k := range list {
		r.part(ctx, w, k)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return r.end(ctx, w, len(failed) == 0)
}

// outer looks at what is in no namespace.
func (r *run) outer(ctx context.Context) error {
	w := newWorld(r.Auditor, nil, nil)
	r.problem(r.sink.Begin(ctx, "", nil))
	list, failed := r.kinds.outside(r.scope.Outside)
	for _, f := range failed {
		w.missed(audit.Object{APIVersion: "v1", Kind: "Namespace", Name: r.ManagerNamespace}, f.what, f.err)
	}
	for _, k := range list {
		r.part(ctx, w, k)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return r.end(ctx, w, len(failed) == 0)
}

// end writes down what could not be looked at, which is last since it is known last.
func (r *run) end(ctx context.Context, w *world, whole bool) error {
	part := audit.Incomplete(w.name())
	pieces := audit.Split(audit.Sorted(w.incomplete))
	for i, piece := range pieces {
		r.problem(r.sink.Put(ctx, part, i+1, piece))
		r.totals.add(piece)
	}
	r.problem(r.sink.Done(ctx, part, len(pieces)))
	r.problem(r.sink.End(ctx, w.name(), whole))
	return ctx.Err()
}

// maxRestarts is how often a list that expired is begun again in one run.
const maxRestarts = 3

// part looks at the objects of one kind in one namespace.
func (r *run) part(ctx context.Context, w *world, k *kind) {
	part := k.part(w.name())
	var err error
	if k.governed {
		// Where it is forbidden, it will be so next time too, and policies can be asked all the
		// same. Else what is known of who stands behind what must not be lost meanwhile.
		if err = w.own(ctx).err; apierrors.IsForbidden(err) {
			err = nil
		}
	}
	if err == nil {
		err = r.whole(ctx, w, k, part)
	}
	if err == nil {
		return
	}
	if ctx.Err() != nil {
		return
	}
	if notThere(err) {
		r.problem(r.sink.Done(ctx, part, 0))
		return
	}
	w.unread[k.groupKind()] = true
	r.totals.Unread++
	where := audit.Object{APIVersion: "v1", Kind: "Namespace", Name: w.name()}
	if w.name() == "" {
		where.Name = r.ManagerNamespace
	}
	w.missed(where, part.String(), err)
	r.problem(r.sink.Kept(ctx, part, r.totals.add))
}

// whole looks at all of a part, and begins again where its list expires.
func (r *run) whole(ctx context.Context, w *world, k *kind, part audit.Part) error {
	var err error
	for range maxRestarts + 1 {
		p := &pending{run: r, part: part, counts: newTotals()}
		if err = r.pages(ctx, w, k, p); err == nil {
			p.flush(ctx)
			r.problem(r.sink.Done(ctx, part, p.reports))
			r.totals.merge(p.counts)
			return nil
		}
		if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			return err
		}
	}
	return err
}

// notThere says whether an API server answered that there is no such list: of kinds such as
// reviews, which are asked for and never stored, or of a kind that is served no more.
func notThere(err error) bool {
	return apierrors.IsMethodNotSupported(err) || apierrors.IsNotFound(err)
}

// pending are the findings of a part that are not written down yet.
type pending struct {
	*run
	part    audit.Part
	buffer  audit.Buffer
	reports int
	counts  *Totals
}

// add takes the findings of one object.
func (p *pending) add(ctx context.Context, findings []audit.Finding) {
	for _, piece := range audit.Split(findings) {
		if p.buffer.Full(piece) {
			p.flush(ctx)
		}
		p.buffer.Add(piece)
	}
}

func (p *pending) flush(ctx context.Context) {
	if len(p.buffer.Findings) == 0 {
		return
	}
	findings := p.buffer.Take()
	p.reports++
	p.counts.add(findings)
	p.problem(p.sink.Put(ctx, p.part, p.reports, findings))
}
