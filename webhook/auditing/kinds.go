package auditing

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// kind is one kind of objects that are listed.
type kind struct {
	gvk        schema.GroupVersionKind
	resource   string
	namespaced bool
	// governed says that a Gate governs such objects, marked that it does so only where they
	// have Tidegate's label.
	governed, marked bool
	// asked says that DeployPolicies are, constrained that Gatekeeper's constraints are.
	asked, constrained bool
	// labelled says that only what has Tidegate's label is listed.
	labelled bool
}

func (k *kind) groupKind() schema.GroupKind { return k.gvk.GroupKind() }

func (k *kind) part(namespace string) audit.Part {
	return audit.Part{Namespace: namespace, Group: k.gvk.Group, Resource: k.resource}
}

// Kinds that pods come from. What makes others is listed before what it makes, so that the
// owners of a pod are known when it is looked at.
var (
	podKind  = schema.GroupKind{Kind: "Pod"}
	roots    = []schema.GroupKind{{Group: "apps", Kind: "DaemonSet"}, {Group: "apps", Kind: "Deployment"}, {Group: "apps", Kind: "StatefulSet"}, {Group: "batch", Kind: "CronJob"}}
	between  = []schema.GroupKind{{Group: "apps", Kind: "ReplicaSet"}, {Group: "batch", Kind: "Job"}, {Kind: "ReplicationController"}}
	makers   = slices.Concat(roots, between)
	hashed   = roots // what is compared with what was rendered, as the webhook does
	unlisted = []schema.GroupResource{{Resource: "secrets"}}
	// ringOne are the kinds of ring 1 that are looked at: the others are of no object that
	// somebody makes, or come from Services.
	ringOne = []schema.GroupResource{{Resource: "pods"}, {Resource: "replicationcontrollers"}, {Group: "apps", Resource: "replicasets"}}
)

func rank(gk schema.GroupKind) int {
	switch {
	case slices.Contains(roots, gk):
		return 0
	case slices.Contains(between, gk):
		return 1
	case gk == podKind:
		return 3
	}
	return 2
}

func order(a, b *kind) int {
	return cmp.Or(rank(a.groupKind())-rank(b.groupKind()), strings.Compare(a.gvk.Group, b.gvk.Group), strings.Compare(a.resource, b.resource))
}

// failure is a kind of which nobody knows whether it is served.
type failure struct {
	what string
	err  error
}

// found is what a RESTMapper answered; a nil mapping without an error is of no served kind.
type found struct {
	mapping *meta.RESTMapping
	err     error
}

// kinds finds out what to list.
type kinds struct {
	mapper meta.RESTMapper
	// named are the kinds that DeployPolicies name; anyKind says that one is about all.
	named   []schema.GroupKind
	anyKind bool
	// constraints are those that constraints name; anyConstraint says that one is about all.
	constraints   []schema.GroupKind
	anyConstraint bool

	byKind     map[schema.GroupKind]found
	byResource map[schema.GroupResource]found
}

func newKinds(mapper meta.RESTMapper, policies []v1alpha1.DeployPolicy, rules *gatekeeper.Set) *kinds {
	k := &kinds{mapper: mapper, byKind: map[schema.GroupKind]found{}, byResource: map[schema.GroupResource]found{}}
	k.named, k.anyKind = audit.Kinds(policies)
	if rules != nil {
		k.constraints, k.anyConstraint = rules.Kinds()
		k.constraints = audit.Unique(k.constraints)
	}
	return k
}

// kind asks for a kind by its name.
func (k *kinds) kind(gk schema.GroupKind) found {
	f, known := k.byKind[gk]
	if !known {
		f.mapping, f.err = k.mapper.RESTMapping(gk)
		if meta.IsNoMatchError(f.err) {
			f = found{}
		}
		k.byKind[gk] = f
	}
	return f
}

// resource asks for a kind by the name of its resource.
func (k *kinds) resource(gr schema.GroupResource) found {
	f, known := k.byResource[gr]
	if !known {
		gvk, err := k.mapper.KindFor(gr.WithVersion(""))
		switch {
		case meta.IsNoMatchError(err):
		case err != nil:
			f.err = err
		default:
			f = k.kind(gvk.GroupKind())
		}
		k.byResource[gr] = f
	}
	return f
}

// choice is the kinds of one namespace in the making.
type choice struct {
	list   map[schema.GroupKind]*kind
	failed []failure
}

// take adds a kind; nil where it is not served or not known.
func (c *choice) take(what string, f found, namespaced bool) *kind {
	switch {
	case f.err != nil:
		c.failed = append(c.failed, failure{what, f.err})
		return nil
	case f.mapping == nil || (f.mapping.Scope.Name() == meta.RESTScopeNameNamespace) != namespaced:
		return nil
	}
	gk := f.mapping.GroupVersionKind.GroupKind()
	if c.list[gk] == nil {
		c.list[gk] = &kind{gvk: f.mapping.GroupVersionKind, resource: f.mapping.Resource.Resource, namespaced: namespaced, labelled: true}
	}
	return c.list[gk]
}

func (c *choice) sorted() ([]*kind, []failure) {
	out := make([]*kind, 0, len(c.list))
	for _, k := range c.list {
		out = append(out, k)
	}
	slices.SortFunc(out, order)
	slices.SortFunc(c.failed, func(a, b failure) int { return strings.Compare(a.what, b.what) })
	return out, c.failed
}

// in are the kinds to list in a namespace: what the Gates over it govern, what policies name,
// and what constraints are about, which know no Gates.
func (k *kinds) in(namespace string, gates []*v1alpha1.Gate, outside bool) ([]*kind, []failure) {
	c := &choice{list: map[schema.GroupKind]*kind{}}
	if len(gates) > 0 {
		k.governed(c, gates)
	}
	if len(gates) > 0 || outside {
		for _, gk := range k.named {
			if o := c.take(gk.String(), k.kind(gk), true); o != nil {
				o.asked = true
				// Of those kinds the webhook is asked about no others.
				o.labelled = o.labelled && o.governed && o.marked && len(gates) > 0 && light(o)
			}
		}
		for _, o := range c.list {
			o.asked = o.asked || k.anyKind
		}
	}
	if !govern.Excluded(namespace, "") || outside {
		k.constrain(c, true)
	}
	return c.sorted()
}

// light says whether only labelled objects of a kind are ever sent to the webhook.
func light(o *kind) bool {
	return slices.ContainsFunc(govern.DefaultKinds(), func(d govern.Kind) bool {
		return d.Light && d.Group == o.gvk.Group && d.Resource == o.resource
	})
}

func (k *kinds) governed(c *choice, gates []*v1alpha1.Gate) {
	all := govern.DefaultKinds()
	for _, g := range gates {
		all = append(all, govern.ExtraKinds(g)...)
	}
	for _, d := range all {
		gr := schema.GroupResource{Group: d.Group, Resource: d.Resource}
		if strings.Contains(d.Resource, "/") || slices.Contains(unlisted, gr) || (d.Ring == govern.RingServer && !slices.Contains(ringOne, gr)) {
			continue
		}
		o := c.take(gr.String(), k.resource(gr), true)
		if o == nil {
			continue
		}
		o.governed, o.marked = true, true
		for _, g := range gates {
			o.marked = o.marked && govern.Labelled(g, gr)
		}
		o.labelled = o.marked && light(o)
	}
}

// constrain adds what constraints are about.
func (k *kinds) constrain(c *choice, namespaced bool) {
	for _, gk := range k.constraints {
		if o := c.take(gk.String(), k.kind(gk), namespaced); o != nil {
			o.constrained, o.labelled = true, false
		}
	}
	if k.anyConstraint {
		for _, o := range c.list {
			o.constrained = true
		}
	}
}

// outside are the kinds to list that are in no namespace.
func (k *kinds) outside(asked bool) ([]*kind, []failure) {
	c := &choice{list: map[schema.GroupKind]*kind{}}
	if asked {
		for _, gk := range k.named {
			if o := c.take(gk.String(), k.kind(gk), false); o != nil {
				o.asked, o.labelled = true, false
			}
		}
	}
	k.constrain(c, false)
	return c.sorted()
}
