package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// workload is what the pods come from, whatever its kind.
type workload struct {
	object *Object
	pods   labels.Set
	// replicas is nil where the template leaves the number out, or the kind has none.
	replicas *int32
}

// workload checks the one workload and that the strategy fits it. It returns nil where
// nothing else can be checked.
func (r *Rendered) workload(strategy v1alpha1.Strategy) *workload {
	var found []*Object
	for _, o := range r.Set {
		if kinds[o.APIVersion+" "+o.Kind].workload {
			found = append(found, o)
		}
	}
	switch {
	case strategy.Type.InSets() && (len(found) != 1 || r.inPlace):
		r.lines = append(r.lines, fmt.Sprintf(
			"objects: wanted exactly one Deployment, named \\(context.name)-\\(context.revision), since rollout.type is %s, found %s", strategy.Type, names(found)))
		return nil
	case !strategy.Type.InSets() && (len(found) != 1 || !r.inPlace):
		r.lines = append(r.lines, fmt.Sprintf(
			"objects: wanted exactly one Deployment, StatefulSet, DaemonSet or CronJob, named \\(context.name), since rollout.type is %s, found %s", strategy.Type, names(found)))
		return nil
	}
	w := r.read(found[0])
	if w == nil {
		return nil
	}
	if !r.inPlace && w.object.Name != r.release.set() {
		r.failf(w.object, "wanted the Deployment to be named %s, found %s", r.release.set(), w.object.Name)
	}
	r.size(w)
	r.shares(w, strategy)
	return w
}

// shares refuses steps at which a workload in place cannot be held.
func (r *Rendered) shares(w *workload, strategy v1alpha1.Strategy) {
	autoscaled := slices.ContainsFunc(r.Shared, func(o *Object) bool { return o.Kind == kindAutoscaler || o.Kind == kindKEDA })
	for i, step := range strategy.Steps {
		switch {
		case !r.inPlace || step.SetWeight == nil || *step.SetWeight == fullExposure:
		case w.object.Kind != kindStatefulSet:
			r.lines = append(r.lines, fmt.Sprintf("rollout.steps[%d].setWeight: wanted %d, since a %s cannot be held at a share of its pods, found %d; only a StatefulSet can",
				i, fullExposure, w.object.Kind, *step.SetWeight))
		case autoscaled:
			r.lines = append(r.lines, fmt.Sprintf("rollout.steps[%d].setWeight: wanted %d beside an autoscaler, since every pod that it adds would be of the new revision, found %d",
				i, fullExposure, *step.SetWeight))
		}
	}
}

func names(list []*Object) string {
	if len(list) == 0 {
		return "none"
	}
	out := make([]string, len(list))
	for i, o := range list {
		out[i] = o.Kind + " " + o.Name
	}
	return strings.Join(out, ", ")
}

// read checks the pods of a workload and its selector. It returns nil where o is none.
func (r *Rendered) read(o *Object) *workload {
	w := &workload{object: o}
	var selector *metav1.LabelSelector
	var template corev1.PodTemplateSpec
	switch t := o.typed.(type) {
	case *appsv1.Deployment:
		selector, template, w.replicas = t.Spec.Selector, t.Spec.Template, t.Spec.Replicas
	case *appsv1.StatefulSet:
		selector, template, w.replicas = t.Spec.Selector, t.Spec.Template, t.Spec.Replicas
		r.stateful(o, t)
	case *appsv1.DaemonSet:
		selector, template = t.Spec.Selector, t.Spec.Template
		if t.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
			r.failf(o, "wanted spec.updateStrategy.type RollingUpdate, since with OnDelete no pod is replaced, found OnDelete")
		}
	case *batchv1.CronJob:
		template = t.Spec.JobTemplate.Spec.Template
		if t.Spec.JobTemplate.Spec.Selector != nil {
			r.failf(o, "wanted no spec.jobTemplate.spec.selector, since Kubernetes chooses it, found one")
		}
	default:
		return nil
	}
	content, path := podTemplate(o)
	r.pod(o, path, template.Spec)
	w.pods = labels.Set{}
	given := child(child(content, "metadata"), "labels") // with those that were added since o was decoded
	for key := range given {
		w.pods[key] = text(given, key)
	}
	if o.Kind != kindCronJob {
		r.selects(o, selector, w.pods)
	}
	return w
}

// stateful checks what a rollout of a StatefulSet rests on.
func (r *Rendered) stateful(o *Object, s *appsv1.StatefulSet) {
	if s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		r.failf(o, "wanted spec.updateStrategy.type RollingUpdate, since with OnDelete no pod is replaced, found OnDelete")
	}
	if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
		r.failf(o, "wanted no spec.updateStrategy.rollingUpdate.partition, since the steps of the rollout set it, found %d", *u.Partition)
	}
	// With OrderedReady Kubernetes waits for a broken pod to become ready before it puts
	// the old revision back, which is for ever.
	if s.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
		r.failf(o, "wanted spec.podManagementPolicy Parallel, since with OrderedReady a pod that never becomes ready would block the return to the old revision, found %q; updates still go pod by pod",
			s.Spec.PodManagementPolicy)
	}
	governing := func(o *Object) bool { return o.Kind == kindService && o.Name == s.Spec.ServiceName }
	if s.Spec.ServiceName != "" && !slices.ContainsFunc(r.Shared, governing) {
		r.failf(o, "wanted spec.serviceName to name one of the objects, a Service with clusterIP None, found %s", s.Spec.ServiceName)
	}
}

// size finds out how many pods are wanted.
func (r *Rendered) size(w *workload) {
	if w.object.Kind != kindDeployment && w.object.Kind != kindStatefulSet {
		return
	}
	r.Replicas = 1
	if w.replicas != nil {
		r.Replicas = *w.replicas
	}
	if r.Replicas < 0 {
		r.failf(w.object, "wanted spec.replicas of at least 0, found %d", r.Replicas)
	}
}

func (r *Rendered) pod(o *Object, path string, pod corev1.PodSpec) {
	if len(pod.Containers) == 0 {
		r.failf(o, "wanted at least one container in %s.spec.containers, found none", path)
	}
	for i, c := range pod.Containers {
		if c.Name == "" || c.Image == "" {
			r.failf(o, "wanted a name and an image in %s.spec.containers[%d], found name %q and image %q", path, i, c.Name, c.Image)
		}
	}
}

// selects checks that selector takes pods in: those of no other revision where each is a
// set, and those of every revision where they share a workload.
func (r *Rendered) selects(o *Object, selector *metav1.LabelSelector, pods labels.Set) {
	const path = "spec.selector"
	revision, named := "", false
	if selector != nil {
		revision, named = selector.MatchLabels[v1alpha1.LabelRevision]
	}
	switch {
	case !r.inPlace && revision != r.release.Revision:
		r.failf(o, "wanted %s.matchLabels to have %q: context.revision, since it must not take in the pods of other revisions, found %s",
			path, v1alpha1.LabelRevision, metav1.FormatLabelSelector(selector))
		return
	case r.inPlace && named:
		r.failf(o, "wanted %s without %q, since the revisions share it and the workload's own can never change, found it; select on %q: context.name",
			path, v1alpha1.LabelRevision, v1alpha1.LabelRelease)
		return
	case r.inPlace && (selector == nil || selector.MatchLabels[v1alpha1.LabelRelease] != r.release.Name):
		r.failf(o, "wanted %s.matchLabels to have %q: context.name, since it must not take in the pods of other Releases, found %s",
			path, v1alpha1.LabelRelease, metav1.FormatLabelSelector(selector))
		return
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		r.failf(o, "wanted %s to be a label selector: %v", path, err)
		return
	}
	if !s.Matches(pods) {
		r.failf(o, "wanted %s to match the labels of the workload's pods, %v, found %v", path, pods, s)
	}
}

// services checks the Services and returns those of the set by name.
func (r *Rendered) services(w *workload) map[string]*corev1.Service {
	own := map[string]*corev1.Service{}
	for _, o := range slices.Concat(r.Set, r.Shared) {
		s, ok := o.typed.(*corev1.Service)
		if !ok {
			continue
		}
		if slices.Contains(r.Set, o) {
			own[o.Name] = s
		}
		switch {
		case slices.Contains(r.Set, o), r.inPlace && len(s.Spec.Selector) > 0:
			r.selects(o, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}, w.pods)
			if len(s.Spec.Ports) == 0 && s.Spec.ClusterIP != corev1.ClusterIPNone {
				r.failf(o, "wanted at least one port in spec.ports, found none")
			}
		case !r.inPlace && len(s.Spec.Selector) > 0 && labels.SelectorFromSet(s.Spec.Selector).Matches(w.pods):
			r.failf(o, "wanted no Service that takes in the pods of every revision, since it would bring requests to a revision past the weights of the route, found one; leave its selector out where it is the parent of a route, or name it \\(context.name)-\\(context.revision) and select on %s", v1alpha1.LabelRevision)
		}
	}
	return own
}

func (r *Rendered) budgets(w *workload) {
	for _, o := range slices.Concat(r.Set, r.Shared) {
		b, ok := o.typed.(*policyv1.PodDisruptionBudget)
		if !ok {
			continue
		}
		r.selects(o, b.Spec.Selector, w.pods)
	}
}

// scaler is an autoscaler, of whichever kind.
type scaler struct {
	least, most int32
	// The fields of the two numbers.
	leastField, mostField string
	// target is the workload that it scales.
	target autoscalingv2.CrossVersionObjectReference
	idles  bool
}

// scalerOf reads an autoscaler; ok is false where o is none.
func scalerOf(o *Object) (s scaler, ok bool) {
	or := func(p *int32, otherwise int32) int32 {
		if p == nil {
			return otherwise
		}
		return *p
	}
	switch t := o.typed.(type) {
	case *autoscalingv2.HorizontalPodAutoscaler:
		return scaler{or(t.Spec.MinReplicas, 1), t.Spec.MaxReplicas, "minReplicas", "maxReplicas", t.Spec.ScaleTargetRef, false}, true
	case *scaledObject:
		to := t.Spec.ScaleTargetRef
		return scaler{or(t.Spec.MinReplicaCount, 0), or(t.Spec.MaxReplicaCount, kedaMaxReplicas), "minReplicaCount", "maxReplicaCount", autoscalingv2.CrossVersionObjectReference{
			APIVersion: cmp.Or(to.APIVersion, kedaAPIVersion), Kind: cmp.Or(to.Kind, kindDeployment), Name: to.Name,
		}, t.Spec.IdleReplicaCount != nil}, true
	}
	return s, false
}

// autoscalers checks that an autoscaler sizes the workload and nothing else does. The
// least size is then what a rollout asks for, and the autoscaler the rest.
func (r *Rendered) autoscalers(w *workload) {
	var first *Object
	for _, o := range slices.Concat(r.Set, r.Shared) {
		a, ok := scalerOf(o)
		if !ok {
			continue
		}
		if first != nil {
			r.failf(o, "wanted one HorizontalPodAutoscaler or ScaledObject, found objects.%s too", first.ID)
			continue
		}
		first = o
		target := a.target
		switch {
		case w.object.Kind != kindDeployment && w.object.Kind != kindStatefulSet:
			r.failf(o, "wanted no autoscaler, since a %s has no number of pods, found one", w.object.Kind)
		case target.APIVersion != w.object.APIVersion || target.Kind != w.object.Kind || target.Name != w.object.Name:
			r.failf(o, "wanted spec.scaleTargetRef to be the %s %s of %s, found %s %s of %q", w.object.Kind, w.object.Name, w.object.APIVersion, target.Kind, target.Name, target.APIVersion)
		case w.replicas != nil:
			r.failf(w.object, "wanted no spec.replicas beside objects.%s, since the autoscaler sets them, found %d; its %s are the least", o.ID, *w.replicas, a.leastField)
		case a.least < 1 || a.most < a.least:
			r.failf(o, "wanted spec.%s of at least 1 and spec.%s of at least that, found %d and %d", a.leastField, a.mostField, a.least, a.most)
		case a.idles:
			r.failf(o, "wanted no spec.idleReplicaCount, since a revision with requests needs pods, found one")
		}
		r.Replicas = a.least
	}
}
