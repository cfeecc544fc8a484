package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// jobs checks the Jobs that steps run. They end by themselves, and no request reaches their
// pods.
func (r *Rendered) jobs() {
	for _, o := range r.Jobs {
		job, ok := o.typed.(*batchv1.Job)
		if !ok {
			continue
		}
		r.pod(o, "spec.template", job.Spec.Template.Spec)
		if p := job.Spec.Template.Spec.RestartPolicy; p != corev1.RestartPolicyNever && p != corev1.RestartPolicyOnFailure {
			r.failf(o, "wanted spec.template.spec.restartPolicy Never or OnFailure, since a Job ends, found %q", p)
		}
		if job.Spec.Selector != nil || job.Spec.ManualSelector != nil {
			r.failf(o, "wanted no spec.selector or spec.manualSelector, since Kubernetes chooses it, found one")
		}
		if s := job.Spec.Suspend; s != nil && *s {
			r.failf(o, "wanted no spec.suspend, since the step would wait for ever, found true")
		}
		r.apart(o, job.Spec.Template.Labels)
	}
}

// apart refuses a Job whose pods would be taken for those that serve.
func (r *Rendered) apart(o *Object, pods labels.Set) {
	for _, other := range slices.Concat(r.Set, r.Routes, r.Shared) {
		s, ok := other.typed.(*corev1.Service)
		if !ok {
			continue
		}
		selector := maps.Clone(s.Spec.Selector)
		delete(selector, v1alpha1.LabelRevision) // as a plain Service has it between two weights
		if len(selector) > 0 && labels.SelectorFromSet(selector).Matches(pods) {
			r.failf(o, "wanted labels in spec.template.metadata that %v does not select, since requests would reach the Job's pods, found %v", other, pods)
		}
	}
	for _, label := range []string{v1alpha1.LabelRelease, v1alpha1.LabelRevision} {
		if pods[label] != "" {
			r.failf(o, "wanted spec.template.metadata.labels without %q, since selectors of the Release take pods in by it, found %q", label, pods[label])
		}
	}
}

// jobSteps checks that each job step names a Job, and each Job is run by a step.
func (r *Rendered) jobSteps(s v1alpha1.Strategy) {
	ids := make([]string, len(r.Jobs))
	for i, o := range r.Jobs {
		ids[i] = o.ID
	}
	slices.Sort(ids)
	run := map[string]bool{}
	for i, step := range s.Steps {
		if step.Job == nil {
			continue
		}
		run[step.Job.Object] = true
		if !slices.Contains(ids, step.Job.Object) {
			r.lines = append(r.lines, fmt.Sprintf("rollout.steps[%d].job.object: wanted the name of a batch/v1 Job among objects, found %q, and Jobs named %s",
				i, step.Job.Object, listed(ids)))
		}
	}
	for _, o := range r.Jobs {
		if !run[o.ID] {
			r.failf(o, "wanted a step of the rollout that runs the Job, found none; add {job: object: %q} to rollout.steps, or make it a CronJob with the strategy rolling", o.ID)
		}
	}
}

// sortJob wants a name of the revision's own, which each attempt is named after.
func (r *Rendered) sortJob(o *Object) {
	if !strings.HasSuffix(o.Name, "-"+r.release.Revision) {
		r.failf(o, withRevision, o.Name)
		return
	}
	r.Jobs = append(r.Jobs, o)
}
