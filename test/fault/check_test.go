package fault

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// checker replays what was written, write by write, and holds each state against the
// invariants. It knows of no decision and no program: only of what the API server had.
type checker struct {
	objects map[string]client.Object
	// exposed is the share of each revision, by the route or the workload in place.
	exposed map[string]int32
	// passed are the steps of each Rollout whose analysis was seen to pass.
	passed map[string]map[int32]bool
	// good are the revisions of which a Rollout has succeeded.
	good map[string]bool
	// shown is the highest share that each revision ever had.
	shown      map[string]int32
	rises      int
	violations []string
}

// check returns what was violated, and the checker as it is at the end.
func check(entries []entry) *checker {
	c := &checker{
		objects: map[string]client.Object{}, exposed: map[string]int32{}, passed: map[string]map[int32]bool{},
		good: map[string]bool{}, shown: map[string]int32{},
	}
	for _, e := range entries {
		c.replay(e)
	}
	return c
}

func (c *checker) violated(e entry, invariant, format string, args ...any) {
	c.violations = append(c.violations, fmt.Sprintf("%s: at %s: %s", invariant, e, fmt.Sprintf(format, args...)))
}

func (c *checker) replay(e entry) {
	key := keyOf(e.object)
	before := c.objects[key]
	if e.deleted {
		delete(c.objects, key)
	} else {
		c.objects[key] = e.object
	}
	switch o := e.object.(type) {
	case *v1alpha1.Rollout:
		if !e.deleted {
			was, _ := before.(*v1alpha1.Rollout)
			c.rollout(e, was, o)
		}
	case *gatewayv1.HTTPRoute:
		if o.Name == release && !e.deleted {
			c.move(e, weights(o))
		}
	case *appsv1.StatefulSet:
		c.workload(e, o.Spec.Template)
		c.move(e, c.inPlace(o, e.deleted))
	case *appsv1.Deployment:
		c.workload(e, o.Spec.Template)
	}
	c.standing(e)
}

// weights are what a route gives to each revision, in percent.
func weights(route *gatewayv1.HTTPRoute) map[string]int32 {
	out, total := map[string]int32{}, int32(0)
	for _, rule := range route.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			weight := int32(1)
			if ref.Weight != nil {
				weight = *ref.Weight
			}
			total += weight
			if name := string(ref.Name); len(name) > len(release)+1 {
				out[name[len(release)+1:]] += weight
			}
		}
	}
	for revision := range out {
		out[revision] = out[revision] * 100 / max(total, 1)
	}
	return out
}

// inPlace is the share of the pods that a StatefulSet is told to make of its newest template.
func (c *checker) inPlace(s *appsv1.StatefulSet, deleted bool) map[string]int32 {
	revision, pods := s.Spec.Template.Labels[v1alpha1.LabelRevision], *s.Spec.Replicas
	if deleted || pods == 0 {
		return map[string]int32{}
	}
	share := max(0, pods-partitionOf(s)) * 100 / pods
	out := map[string]int32{revision: share}
	if share == 100 {
		return out
	}
	for other := range c.exposed {
		if other != revision && c.good[other] {
			out[other] = 100 - share
		}
	}
	return out
}

// move takes in what the revisions have got, and asks of each that has got more whether it may.
func (c *checker) move(e entry, now map[string]int32) {
	before := c.exposed
	c.exposed = now
	for revision, share := range now {
		if share > before[revision] {
			c.rises++
			c.shown[revision] = max(c.shown[revision], share)
			c.rise(e, revision, share)
		}
	}
}

// governing is the newest Rollout that brings a revision into service, nil where none does.
func (c *checker) governing(revision string) *v1alpha1.Rollout {
	var newest *v1alpha1.Rollout
	for _, o := range c.objects {
		r, ok := o.(*v1alpha1.Rollout)
		if !ok || r.Spec.Revision != revision || r.Status.Phase != v1alpha1.RolloutProgressing && r.Status.Phase != v1alpha1.RolloutPromoting {
			continue
		}
		if newest == nil || r.Spec.Number > newest.Spec.Number {
			newest = r
		}
	}
	return newest
}

// replaced is the newest Rollout that has succeeded, where it is newer than all that are about a
// revision.
func (c *checker) replaced(revision string) string {
	own, newest, name := int64(0), int64(0), ""
	for _, o := range c.objects {
		r, ok := o.(*v1alpha1.Rollout)
		switch {
		case !ok:
		case r.Spec.Revision == revision:
			own = max(own, r.Spec.Number)
		case r.Status.Phase == v1alpha1.RolloutSucceeded && r.Spec.Number > newest:
			newest, name = r.Spec.Number, r.Name
		}
	}
	if newest < own {
		return ""
	}
	return name
}

// rise asks whether a revision may have more than it had.
func (c *checker) rise(e entry, revision string, share int32) {
	r := c.governing(revision)
	switch {
	case r == nil && c.good[revision]:
		// What served before serves again, unless something else has come into service since.
		if by := c.replaced(revision); by != "" {
			c.violated(e, "I4", "revision %s rises to %d %%, and Rollout %s has replaced it", revision, share, by)
		}
		return
	case r == nil:
		c.violated(e, "I3, I4", "revision %s rises to %d %%, and no Rollout brings it into service", revision, share)
		return
	case share > r.Status.ApprovedWeight && !c.good[revision]:
		c.violated(e, "I4", "revision %s rises to %d %%, and %d %% are approved by Rollout %s", revision, share, r.Status.ApprovedWeight, r.Name)
	}
	c.gates(e, r, share)
	if r.Spec.Strategy.Type.InSets() {
		if have, needed := c.available(revision), (r.Spec.Replicas*share+99)/100; have < needed {
			c.violated(e, "I1", "revision %s rises to %d %% with %d available pods, which needs %d", revision, share, have, needed)
		}
	}
}

// gates asks whether every step below a share has its pass on record.
func (c *checker) gates(e entry, r *v1alpha1.Rollout, share int32) {
	if r.Spec.Stable == nil || r.Spec.Stable.Revision == r.Spec.Revision || r.Status.Promoted != nil {
		return // nothing to walk
	}
	for i, step := range plan.Walked(r.Spec) {
		n := int32(i + 1)
		switch {
		case step.SetWeight != nil && *step.SetWeight >= share:
			return
		case slices.ContainsFunc(r.Status.Skips, func(a v1alpha1.Approval) bool { return a.Step == n }):
		case step.Analyze != nil && !c.passed[r.Name][n]:
			c.violated(e, "I2", "Rollout %s rises to %d %%, and no analysis has passed in step %d", r.Name, share, n)
		case step.Pause != nil && step.Pause.Approval && !slices.ContainsFunc(r.Status.Approvals, func(a v1alpha1.Approval) bool { return a.Step == n }):
			c.violated(e, "I2", "Rollout %s rises to %d %%, and nobody has approved step %d", r.Name, share, n)
		case (step.Hook != nil || step.Job != nil) && !slices.ContainsFunc(r.Status.Checks, func(k v1alpha1.Check) bool {
			return k.Step == n && k.Outcome == v1alpha1.CheckPassed
		}):
			c.violated(e, "I2", "Rollout %s rises to %d %%, and the check of step %d has not passed", r.Name, share, n)
		}
	}
}

// rollout looks at one write of a Rollout.
func (c *checker) rollout(e entry, was, is *v1alpha1.Rollout) {
	if was != nil && was.UID == is.UID {
		if was.Spec.Digest != is.Spec.Digest && !resized(was, is) || was.Spec.Revision != is.Spec.Revision || imageOf(was.Spec.Values) != imageOf(is.Spec.Values) {
			c.violated(e, "I4", "what Rollout %s has pinned has changed", is.Name)
		}
		if was.Status.AbortCause != nil && is.Status.AbortCause == nil || was.Status.Phase.Terminal() && is.Status.Phase != was.Status.Phase {
			c.violated(e, "I3", "Rollout %s was %s and is %s", is.Name, was.Status.Phase, is.Status.Phase)
		}
		if was.Status.AbortCause != nil && is.Status.ApprovedWeight > was.Status.ApprovedWeight {
			c.violated(e, "I3", "%d %% are approved for Rollout %s, which was aborted", is.Status.ApprovedWeight, is.Name)
		}
	}
	if a := is.Status.Analysis; a != nil {
		if a.Digest != is.Spec.Digest && !slices.Contains(sizesOf(is), a.Digest) {
			c.violated(e, "I4", "Rollout %s is about %s and holds a verdict on %s", is.Name, is.Spec.Digest, a.Digest)
		} else if a.Verdict == v1alpha1.VerdictPass {
			if c.passed[is.Name] == nil {
				c.passed[is.Name] = map[int32]bool{}
			}
			c.passed[is.Name][a.Step] = true
		}
	}
	approved := int32(0)
	if was != nil {
		approved = was.Status.ApprovedWeight
	}
	if is.Status.ApprovedWeight > approved {
		c.gates(e, is, is.Status.ApprovedWeight)
	}
	if is.Status.Phase == v1alpha1.RolloutSucceeded {
		c.good[is.Spec.Revision] = true
	}
}

// resized says whether what a Rollout has pinned differs in numbers of pods alone: it has noted what it was before, and
// for how many, as the newest of its former sizes.
func resized(was, is *v1alpha1.Rollout) bool {
	n := len(is.Spec.Resized)
	return n == len(was.Spec.Resized)+1 && is.Spec.Replicas != was.Spec.Replicas &&
		is.Spec.Resized[n-1].Digest == was.Spec.Digest && is.Spec.Resized[n-1].Replicas == was.Spec.Replicas
}

// sizesOf are the digests of what a Rollout was about in its former sizes.
func sizesOf(r *v1alpha1.Rollout) []string {
	var out []string
	for _, f := range r.Spec.Resized {
		out = append(out, f.Digest)
	}
	return out
}

// workload asks whether the pods of a revision run what was judged under its name.
func (c *checker) workload(e entry, template corev1.PodTemplateSpec) {
	revision, image := template.Labels[v1alpha1.LabelRevision], template.Spec.Containers[0].Image
	known := false
	for _, o := range c.objects {
		r, ok := o.(*v1alpha1.Rollout)
		if !ok || r.Spec.Revision != revision {
			continue
		}
		known = true
		if judged := imageOf(r.Spec.Values); judged != image {
			c.violated(e, "I4", "revision %s runs %s, and Rollout %s is about %s", revision, image, r.Name, judged)
		}
	}
	if !known && !e.deleted {
		c.violated(e, "I4", "revision %s runs, and no Rollout is about it", revision)
	}
}

// standing asks of whatever has traffic at this moment whether it can take it.
func (c *checker) standing(e entry) {
	for revision, share := range c.exposed {
		if share == 0 || c.objects[fmt.Sprintf("%T %s", &gatewayv1.HTTPRoute{}, release)] == nil {
			continue
		}
		name := release + "-" + revision
		if c.objects[fmt.Sprintf("%T %s", &corev1.Service{}, name)] == nil {
			c.violated(e, "I1", "revision %s has %d %% and no Service", revision, share)
		}
		if have, least := c.available(revision), c.least(revision, share); have < least {
			c.violated(e, "I1", "revision %s has %d %% and %d available pods, at least %d are needed", revision, share, have, least)
		}
	}
}

// least is how many pods must stand behind a share: three quarters of what raising it needs, by the
// smallest size that a Rollout asks for, or has asked for: what is added to a size comes up later.
func (c *checker) least(revision string, share int32) int32 {
	size := int32(-1)
	for _, o := range c.objects {
		r, ok := o.(*v1alpha1.Rollout)
		if !ok || r.Spec.Revision != revision {
			continue
		}
		if size < 0 || r.Spec.Replicas < size {
			size = r.Spec.Replicas
		}
		for _, f := range r.Spec.Resized {
			size = min(size, f.Replicas)
		}
	}
	return max(1, (size*share+99)/100*3/4)
}

// available is how many pods of a revision are there now.
func (c *checker) available(revision string) int32 {
	d, ok := c.objects[fmt.Sprintf("%T %s", &appsv1.Deployment{}, release+"-"+revision)].(*appsv1.Deployment)
	if !ok {
		return 0
	}
	return min(d.Status.AvailableReplicas, *d.Spec.Replicas)
}

// revision is the one that an image was pinned as.
func (c *checker) revision(image string) string {
	for _, o := range c.objects {
		if r, ok := o.(*v1alpha1.Rollout); ok && imageOf(r.Spec.Values) == image {
			return r.Spec.Revision
		}
	}
	return ""
}
