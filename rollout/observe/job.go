package observe

import (
	"context"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/outbound"
	"tidegate.io/tidegate/rollout/plan"
)

const (
	// maxPods is how many pods of a Job are looked at to say why it failed.
	maxPods = 50
	// maxTermination is how many characters of a pod's last words people are shown.
	maxTermination = 500
)

// job reads the Job of the step that a Rollout is in. One that was made by somebody else, or
// for another Rollout, is no verdict: it is Absent.
func (r Reader) job(ctx context.Context, w *World, subject Subject) plan.JobState {
	out := plan.JobState{Name: plan.JobName(w.Spec, w.Status)}
	if out.Name == "" {
		return out
	}
	var job batchv1.Job
	key := client.ObjectKey{Namespace: subject.Rollout.Namespace, Name: out.Name}
	switch err := r.Live.Get(ctx, key, &job); {
	case apierrors.IsNotFound(err):
		out.Knowledge = plan.Absent
		return out
	case err != nil:
		w.Unread = append(w.Unread, fmt.Errorf("reading Job %s: %w", key, err))
		return out
	}
	if !manifest.OwnJob(&job, subject.Release, subject.Rollout) {
		out.Knowledge = plan.Absent
		return out
	}
	out.Knowledge = plan.Present
	ended := verdictOf(&job)
	if ended == nil {
		return out
	}
	out.Finished = true
	out.Succeeded = ended.Type == batchv1.JobComplete || ended.Type == batchv1.JobSuccessCriteriaMet
	if !out.Succeeded {
		out.Message = strings.Join(noneEmpty(strings.Trim(ended.Reason+": "+ended.Message, ": "), r.lastWords(ctx, &job)), "; ")
	}
	return out
}

// verdictOf is the condition that says how a Job ends, nil while that is open. From Kubernetes
// 1.31 on it is known before the last pods are gone: once SuccessCriteriaMet or FailureTarget
// is true the API server lets nothing else become of the Job.
func verdictOf(job *batchv1.Job) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		c := &job.Status.Conditions[i]
		switch c.Type {
		case batchv1.JobComplete, batchv1.JobFailed, batchv1.JobSuccessCriteriaMet, batchv1.JobFailureTarget:
			if c.Status == corev1.ConditionTrue {
				return c
			}
		case batchv1.JobSuspended:
		}
	}
	return nil
}

// lastWords is what the last pod of a Job that failed has left; empty where nothing can be
// told. It is read once, and only for people.
func (r Reader) lastWords(ctx context.Context, job *batchv1.Job) string {
	var pods corev1.PodList
	if err := r.Live.List(ctx, &pods, client.InNamespace(job.Namespace),
		client.MatchingLabels{batchv1.JobNameLabel: job.Name}, client.Limit(maxPods)); err != nil {
		return ""
	}
	var name string
	var last *corev1.ContainerStateTerminated
	for i := range pods.Items {
		ended := failedContainer(&pods.Items[i], job.UID)
		if ended != nil && (last == nil || last.FinishedAt.Before(&ended.FinishedAt)) {
			name, last = pods.Items[i].Name, ended
		}
	}
	if last == nil {
		return ""
	}
	return strings.Join(noneEmpty(fmt.Sprintf("pod %s ended with exit code %d", name, last.ExitCode),
		outbound.Text([]byte(last.Message), maxTermination)), ": ")
}

// failedContainer is how the container of a Job's pod ended that ended badly; nil for none.
func failedContainer(pod *corev1.Pod, job types.UID) *corev1.ContainerStateTerminated {
	if pod.Labels[batchv1.ControllerUidLabel] != string(job) {
		return nil
	}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range statuses {
			for _, state := range []corev1.ContainerState{statuses[i].State, statuses[i].LastTerminationState} {
				if state.Terminated != nil && state.Terminated.ExitCode != 0 {
					return state.Terminated
				}
			}
		}
	}
	return nil
}

func noneEmpty(words ...string) []string {
	var out []string
	for _, w := range words {
		if w != "" {
			out = append(out, w)
		}
	}
	return out
}
