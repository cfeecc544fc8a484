package observe_test

import (
	"context"
	"errors"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const jobName = "cart-2-s1-1"

// ended is a Job of this Rollout that has a condition, unless that is empty.
func ended(kind batchv1.JobConditionType, status corev1.ConditionStatus, edits ...func(*batchv1.Job)) *batchv1.Job {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name: jobName, Namespace: "shop", UID: "job-uid",
		Annotations:     map[string]string{manifest.AnnotationRolloutUID: "rollout-uid"},
		OwnerReferences: []metav1.OwnerReference{manifest.Owner(&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", UID: "uid-1"}})},
	}}
	if kind != "" {
		job.Status.Conditions = []batchv1.JobCondition{
			{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue},
			{Type: kind, Status: status, Reason: "BackoffLimitExceeded", Message: "Job has reached the specified backoff limit"},
		}
	}
	for _, edit := range edits {
		edit(job)
	}
	return job
}

// podOf is a pod of a Job that has ended so many minutes after the first.
func podOf(name, job string, minutes int, code int32, message string) *corev1.Pod {
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Message: message, FinishedAt: metav1.NewTime(time.Date(2026, 11, 23, 9, minutes, 0, 0, time.UTC)),
	}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: map[string]string{
			batchv1.JobNameLabel: jobName, batchv1.ControllerUidLabel: job,
		}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "sidecar", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}, {Name: "smoke", State: ended},
		}},
	}
}

func TestObserveJob(t *testing.T) {
	const failed = "BackoffLimitExceeded: Job has reached the specified backoff limit"
	state := func(finished, succeeded bool, message string) plan.JobState {
		return plan.JobState{Knowledge: plan.Present, Name: jobName, Finished: finished, Succeeded: succeeded, Message: message}
	}
	absent := plan.JobState{Knowledge: plan.Absent, Name: jobName}
	for name, c := range map[string]struct {
		there []client.Object
		fail  string
		want  plan.JobState
	}{
		"there is none":                   {nil, "", absent},
		"it cannot be read":               {nil, "Job", plan.JobState{Name: jobName}},
		"it runs":                         {[]client.Object{ended("", "")}, "", state(false, false, "")},
		"it was complete and is not":      {[]client.Object{ended(batchv1.JobComplete, corev1.ConditionFalse)}, "", state(false, false, "")},
		"it is complete":                  {[]client.Object{ended(batchv1.JobComplete, corev1.ConditionTrue)}, "", state(true, true, "")},
		"its success is certain":          {[]client.Object{ended(batchv1.JobSuccessCriteriaMet, corev1.ConditionTrue)}, "", state(true, true, "")},
		"it has failed":                   {[]client.Object{ended(batchv1.JobFailed, corev1.ConditionTrue)}, "", state(true, false, failed)},
		"its failure is certain":          {[]client.Object{ended(batchv1.JobFailureTarget, corev1.ConditionTrue)}, "", state(true, false, failed)},
		"its pods cannot be read":         {[]client.Object{ended(batchv1.JobFailed, corev1.ConditionTrue)}, "PodList", state(true, false, failed)},
		"the last pod says why it failed": {[]client.Object{ended(batchv1.JobFailed, corev1.ConditionTrue), podOf("a", "job-uid", 1, 1, "first"), podOf("b", "job-uid", 5, 3, "no\nstock\x1b"), podOf("c", "job-uid", 2, 1, "")}, "", state(true, false, failed+"; pod b ended with exit code 3: no stock")},
		"a pod without last words":        {[]client.Object{ended(batchv1.JobFailed, corev1.ConditionTrue), podOf("a", "job-uid", 1, 137, "")}, "", state(true, false, failed+"; pod a ended with exit code 137")},
		"pods of others and good ones say nothing": {
			[]client.Object{ended(batchv1.JobFailed, corev1.ConditionTrue), podOf("a", "former", 1, 1, "other"), podOf("b", "job-uid", 1, 0, "fine")},
			"",
			state(true, false, failed),
		},
		"one of another Rollout is no verdict": {[]client.Object{ended(batchv1.JobComplete, corev1.ConditionTrue, func(j *batchv1.Job) {
			j.Annotations[manifest.AnnotationRolloutUID] = "former"
		})}, "", absent},
		"one of another owner is no verdict": {[]client.Object{ended(batchv1.JobComplete, corev1.ConditionTrue, func(j *batchv1.Job) {
			j.OwnerReferences[0].UID = "former"
		})}, "", absent},
		"one that its Release left is": {[]client.Object{ended(batchv1.JobComplete, corev1.ConditionTrue, func(j *batchv1.Job) {
			j.OwnerReferences = nil
		})}, "", state(true, true, "")},
	} {
		t.Run(name, func(t *testing.T) {
			subject := newScene(t).subject
			subject.Rollout.UID = "rollout-uid"
			subject.Rollout.Status.Checks = []v1alpha1.Check{{Step: 1, Job: jobName, Outcome: v1alpha1.CheckPending}}
			world, err := reading(t, c.fail, c.there...).Observe(t.Context(), subject)
			if err != nil {
				t.Fatal(err)
			}
			if world.Job != c.want || (len(world.Unread) > 0) != (c.fail == "Job") {
				t.Errorf("wanted %+v\nfound  %+v, %v", c.want, world.Job, world.Unread)
			}
		})
	}
}

// A Rollout that runs no Job asks for none.
func TestNoJobIsNotRead(t *testing.T) {
	subject := newScene(t).subject
	all := int32(100)
	subject.Rollout.Spec.Strategy.Steps = []v1alpha1.Step{{SetWeight: &all}}
	world, err := reading(t, "Job").Observe(t.Context(), subject)
	if err != nil || len(world.Unread) > 0 || world.Job != (plan.JobState{}) {
		t.Errorf("found %+v, %v, %v", world.Job, world.Unread, err)
	}
}

// reading is a reader of these objects that fails for a kind.
func reading(t *testing.T, fail string, objects ...client.Object) observe.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, gatewayv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	down := errors.New("the server is down")
	return observe.Reader{Live: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&v1alpha1.RolloutCommand{}, observe.FieldRollout, func(client.Object) []string { return nil }).
		WithInterceptorFuncs(interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if _, isJob := obj.(*batchv1.Job); isJob && fail == "Job" {
					return down
				}
				return c.Get(ctx, key, obj, opts...)
			},
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if _, isPods := list.(*corev1.PodList); isPods && fail == "PodList" {
					return down
				}
				return c.List(ctx, list, opts...)
			},
		}).Build()}
}
