package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestStrategies rolls out every kind of workload by real templates on a real control
// plane: what is rendered, planned and applied must fit together, and Kubernetes' own
// controllers must do their part.
func TestStrategies(t *testing.T) {
	cluster := controlPlane(t)
	for name, c := range map[string]struct {
		template string
		run      func(*testing.T, *staged)
	}{
		"blueGreen shows the set, waits for an approval and switches once": {blueGreenTemplate, blueGreenSwitches},
		"blueGreen returns to the warm set after a bad analysis":           {blueGreenTemplate, blueGreenReturns},
		"blueGreen does not stay warm when something newer waits":          {blueGreenTemplate, blueGreenMakesWay},
		"an autoscaled set is never scaled below what its load asks for":   {autoscaledTemplate, autoscaledIsNotFought},
		"a worker is rolled in place":                                      {workerTemplate, workerRolls},
		"a worker whose pods never come up is put back":                    {workerTemplate, workerIsPutBack},
		"a first install of a worker that never comes up is taken away":    {workerTemplate, firstWorkerIsTakenAway},
		"a worker's size changes without steps":                            {workerTemplate, workerIsResized},
		"a worker that somebody edits is put right":                        {workerTemplate, workerIsRepaired},
		"a StatefulSet walks its partition":                                {statefulTemplate, statefulWalks},
		"a StatefulSet returns after a bad analysis":                       {statefulTemplate, statefulReturns},
		"a DaemonSet is rolled on every node":                              {daemonTemplate, daemonRolls},
		"a CronJob is changed, and a newer one supersedes":                 {cronTemplate, cronJobChanges},
		"sets by a route do not become a workload in place":                {workerTemplate, strategyChangeIsRefused},
		"a policy holds a rise and lets an abort through":                  {blueGreenTemplate, policyHolds},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.run(t, newStaged(t, newWorld(t, cluster.RESTConfig()), c.template))
		})
	}
}

func blueGreenSwitches(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	seen := w.watchRoute("v2")
	w.apply("v2", 3)
	w.awaitReason(2, plan.ReasonHoldApproval)
	r := w.rollout(2)
	if r.Status.Step != 2 || w.weightOf("v2") != 0 || w.deploymentOf("v2").Status.AvailableReplicas != 3 {
		t.Errorf("before the switch: step %d, weight %d, %d pods", r.Status.Step, w.weightOf("v2"), w.deploymentOf("v2").Status.AvailableReplicas)
	}
	preview := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Name: w.setOf("v2"), Namespace: w.namespace}}
	w.get(preview)
	if got := preview.Spec.Rules[0].BackendRefs[0].Name; string(got) != w.setOf("v2") {
		t.Errorf("the preview shows %s", got)
	}
	w.command(2, v1alpha1.CommandApprove, 2)
	w.awaitReason(2, plan.ReasonDraining)
	if d := w.deploymentOf("v1"); w.weightOf("v2") != 100 || d.Status.AvailableReplicas != 2 {
		t.Errorf("after the switch: weight %d, the old set has %d pods", w.weightOf("v2"), d.Status.AvailableReplicas)
	}
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.awaitGone(w.setOf("v1"))
	if got := seen(); !slices.Equal(got, []int32{100}) {
		t.Errorf("the weights were %v, want one switch", got)
	}
}

func blueGreenReturns(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	before := w.deploymentOf("v1")
	seen := w.watchRoute("v2")
	w.apply("v2", 2)
	w.awaitReason(2, plan.ReasonHoldApproval)
	w.command(2, v1alpha1.CommandApprove, 2)
	// The gates pass; the fault shows only while the old set is kept warm.
	w.awaitReason(2, plan.ReasonDraining)
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictFail })
	w.awaitPhase(v1alpha1.ReleaseAborted)
	if got := seen(); !slices.Equal(got, []int32{100, 0}) {
		t.Errorf("the weights were %v", got)
	}
	if after := w.deploymentOf("v1"); after.UID != before.UID || after.Generation != before.Generation || w.weightOf("v1") != 100 {
		t.Errorf("the old set was touched: generation %d -> %d, weight %d", before.Generation, after.Generation, w.weightOf("v1"))
	}
	w.awaitGone(w.setOf("v2"))
}

func blueGreenMakesWay(t *testing.T, w *staged) {
	w.strategy = `scaleDownDelay: "1h", drainDelay: "0s"`
	w.start()
	w.apply("v1", 1)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.apply("v2", 1)
	w.awaitReason(2, plan.ReasonDraining)
	w.apply("v3", 1)
	w.await("v3 is warm over v2", func() bool {
		r := w.newest()
		return r.Spec.Revision == w.revisionOf("v3") && r.Status.Reason == plan.ReasonDraining
	})
	if r := w.newest(); r.Spec.Stable == nil || r.Spec.Stable.Revision != w.revisionOf("v2") {
		t.Errorf("v3 is over %+v", r.Spec.Stable)
	}
	w.awaitGone(w.setOf("v1"))
}

func autoscaledIsNotFought(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	// What the autoscaler would do under load.
	d := w.deploymentOf("v1")
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 5}}
	if err := w.client.SubResource("scale").Update(t.Context(), d, client.WithSubResourceBody(scale)); err != nil {
		t.Fatal(err)
	}
	w.await("five pods serve", func() bool { return w.deploymentOf("v1").Status.AvailableReplicas == 5 })
	w.quiet(time.Second)
	if got := *w.deploymentOf("v1").Spec.Replicas; got != 5 {
		t.Errorf("the autoscaled set was set to %d", got)
	}
	pods := map[int32]int32{}
	w.apply("v2", 2)
	w.await("v2 is promoted", func() bool {
		var v2 appsv1.Deployment
		if w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.setOf("v2")}, &v2) == nil {
			if weight := w.weightOf("v2"); weight > 0 {
				pods[weight] = max(pods[weight], v2.Status.AvailableReplicas)
			}
		}
		return w.has(w.release(), v1alpha1.ReleaseServing)
	})
	if d := w.deploymentOf("v2"); *d.Spec.Replicas != 5 {
		t.Errorf("v2 serves with %d pods, want the 5 that the load asked for; %v", *d.Spec.Replicas, pods)
	}
}

func workerRolls(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 3)
	w.awaitPhase(v1alpha1.ReleaseServing)
	before := w.worker()
	w.wantConfigs("v1")
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictInconclusive })
	w.apply("v2", 3)
	w.awaitReason(2, plan.ReasonHoldInconclusive)
	w.wantConfigs("v1", "v2") // a return needs the old one
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictPass })
	w.awaitPhase(v1alpha1.ReleaseServing)
	after := w.worker()
	if after.UID != before.UID || image(after.Spec.Template) != "v2" || after.Status.AvailableReplicas != 3 || after.Status.UpdatedReplicas != 3 {
		t.Errorf("the worker is %s with %d pods, made anew: %t", image(after.Spec.Template), after.Status.AvailableReplicas, after.UID != before.UID)
	}
	w.wantConfigs("v2")
	r := w.rollout(2)
	if r.Status.Weight != 100 || !strings.Contains(r.Status.Message, "runs in all 3 pods") {
		t.Errorf("the Rollout says %d %%, %q", r.Status.Weight, r.Status.Message)
	}
	w.quiet(2 * time.Second)
	w.kill()
	w.start()
	if n := w.writesIn(3 * time.Second); n != 0 {
		t.Errorf("%d writes at rest, want none: %v", n, w.wire.lines())
	}
}

func workerIsPutBack(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 3)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.apply("unschedulable", 3)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	d := w.worker()
	if image(d.Spec.Template) != "v1" || d.Status.AvailableReplicas != 3 || d.Status.UpdatedReplicas != 3 {
		t.Errorf("the worker is %s with %d pods, %d of them updated", image(d.Spec.Template), d.Status.AvailableReplicas, d.Status.UpdatedReplicas)
	}
	w.wantConfigs("v1")
	if cause := w.rollout(2).Status.AbortCause; cause == nil || cause.Code != plan.ReasonAbortDeadline {
		t.Errorf("the cause is %+v", cause)
	}
	w.apply("v2", 3)
	w.awaitPhase(v1alpha1.ReleaseServing)
	if got := image(w.worker().Spec.Template); got != "v2" {
		t.Errorf("the cure is not in force: %s", got)
	}
}

func firstWorkerIsTakenAway(t *testing.T, w *staged) {
	w.start()
	w.apply("unschedulable", 1)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	key := client.ObjectKey{Namespace: w.namespace, Name: w.releaseName}
	if err := w.client.Get(t.Context(), key, &appsv1.Deployment{}); !apierrors.IsNotFound(err) {
		t.Errorf("the worker is still there: %v", err)
	}
	w.wantConfigs()
}

func workerIsResized(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 1)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.apply("v1", 4)
	w.awaitPhase(v1alpha1.ReleaseServing)
	if d := w.worker(); d.Status.AvailableReplicas != 4 {
		t.Errorf("%d pods, want 4", d.Status.AvailableReplicas)
	}
	w.apply("v1", 0)
	w.awaitPhase(v1alpha1.ReleaseServing)
	if d := w.worker(); *d.Spec.Replicas != 0 {
		t.Errorf("%d pods are asked for, want none", *d.Spec.Replicas)
	}
}

func workerIsRepaired(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	patch := client.RawPatch("application/json-patch+json",
		[]byte(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"evil:1"},{"op":"replace","path":"/spec/replicas","value":1}]`))
	if err := w.client.Patch(t.Context(), w.worker(), patch); err != nil {
		t.Fatal(err)
	}
	w.await("image and size are put back", func() bool {
		d := w.worker()
		return image(d.Spec.Template) == "v1" && *d.Spec.Replicas == 2 && d.Status.AvailableReplicas == 2
	})
	if err := w.client.Delete(t.Context(), w.worker()); err != nil {
		t.Fatal(err)
	}
	w.await("the worker is made again", func() bool {
		var d appsv1.Deployment
		err := w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.releaseName}, &d)
		return err == nil && d.DeletionTimestamp == nil && d.Status.AvailableReplicas == 2
	})
}

func statefulWalks(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 5)
	w.awaitPhase(v1alpha1.ReleaseServing)
	seen := w.watchPods()
	w.apply("v2", 5)
	w.awaitReason(2, plan.ReasonHoldApproval)
	s := w.stateful()
	if got := *s.Spec.UpdateStrategy.RollingUpdate.Partition; got != 4 || s.Status.UpdatedReplicas != 1 {
		t.Errorf("at 20 %% the partition is %d and %d pods are updated, want 4 and 1", got, s.Status.UpdatedReplicas)
	}
	if got := w.podsOf("v2"); got != 1 {
		t.Errorf("%d pods are of v2, want 1", got)
	}
	w.command(2, v1alpha1.CommandApprove, 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	if got := w.podsOf("v2"); got != 5 {
		t.Errorf("%d pods are of v2, want all 5", got)
	}
	if got := seen(); !slices.Equal(got, []int32{4, 0}) {
		t.Errorf("the partitions of v2 were %v, want 4 and 0", got)
	}
}

func statefulReturns(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 3)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.apply("v2", 3)
	w.awaitReason(2, plan.ReasonHoldApproval)
	w.command(2, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	if got := w.podsOf("v1"); got != 3 {
		t.Errorf("%d pods are of v1 again, want all 3", got)
	}
	// Also from pods that never become ready, without a person's hand.
	w.apply("unschedulable", 3)
	w.await("the deadline aborts", func() bool {
		r := w.newest()
		return r.Status.Phase == v1alpha1.RolloutAborted && r.Status.AbortCause.Code == plan.ReasonAbortDeadline
	})
	if got := w.podsOf("v1"); got != 3 {
		t.Errorf("%d pods are of v1 again, want all 3", got)
	}
}

func daemonRolls(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 0)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.apply("v2", 0)
	w.awaitPhase(v1alpha1.ReleaseServing)
	d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: w.releaseName, Namespace: w.namespace}}
	w.get(d)
	if n := d.Status.DesiredNumberScheduled; n == 0 || d.Status.UpdatedNumberScheduled != n || d.Status.NumberAvailable != n || image(d.Spec.Template) != "v2" {
		t.Errorf("the DaemonSet is %s: %+v", image(d.Spec.Template), d.Status)
	}
}

func cronJobChanges(t *testing.T, w *staged) {
	w.start()
	for i, v := range []string{"v1", "v2", "v3"} {
		w.apply(v, 0)
		w.awaitPhase(v1alpha1.ReleaseServing)
		job := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: w.releaseName, Namespace: w.namespace}}
		w.get(job)
		if got := image(job.Spec.JobTemplate.Spec.Template); got != v {
			t.Errorf("the CronJob runs %s, want %s", got, v)
		}
		if r := w.rollout(i + 1); r.Status.Phase != v1alpha1.RolloutSucceeded || !strings.Contains(r.Status.Message, "is in force") {
			t.Errorf("Rollout %d is %s: %s", i+1, r.Status.Phase, r.Status.Message)
		}
	}
}

func strategyChangeIsRefused(t *testing.T, w *staged) {
	w.start()
	w.apply("v1", 1)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.use(blueGreenTemplate)
	w.apply("v2", 1)
	w.await("the refusal is told", func() bool {
		return strings.Contains(w.release().Status.Message, "beside the workload in place, to which the route can lead, found none")
	})
	if d := w.worker(); image(d.Spec.Template) != "v1" || len(w.rollouts()) != 1 {
		t.Errorf("the worker is %s, and there are %d Rollouts", image(d.Spec.Template), len(w.rollouts()))
	}
	// Another kind under the same name is refused too.
	w.use(statefulTemplate)
	w.apply("v3", 1)
	w.await("the refusal is told", func() bool {
		return strings.Contains(w.release().Status.Message, controller.ReasonStrategyChange) ||
			strings.Contains(w.release().Status.Message, "now renders a StatefulSet")
	})
	err := w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.releaseName}, &appsv1.StatefulSet{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("a StatefulSet was made beside the Deployment: %v", err)
	}
	// Going back to what was is the cure.
	w.use(workerTemplate)
	w.apply("v4", 1)
	w.awaitPhase(v1alpha1.ReleaseServing)
	if got := image(w.worker().Spec.Template); got != "v4" {
		t.Errorf("the worker is %s", got)
	}
}

func policyHolds(t *testing.T, w *staged) {
	w.strategy = `scaleDownDelay: "0s", drainDelay: "0s"`
	freeze := &scriptedPromotion{}
	w.promotion = freeze
	w.start()
	w.apply("v1", 1)
	w.awaitPhase(v1alpha1.ReleaseServing)
	freeze.set(&controller.PromotionVerdict{Code: "TG-POLICY-FREEZE", Message: "the shop is frozen", Until: time.Now().Add(time.Hour)}, nil)
	w.apply("v2", 1)
	w.awaitReason(2, plan.ReasonHoldPolicy)
	if r := w.rollout(2); !strings.Contains(r.Status.Message, "TG-POLICY-FREEZE: the shop is frozen; until ") || w.weightOf("v2") != 0 {
		t.Errorf("weight %d, %q", w.weightOf("v2"), r.Status.Message)
	}
	if step, weight, template := freeze.last(); step != 1 || weight != 100 || template != w.template {
		t.Errorf("asked about step %d with %d %% of %s", step, weight, template)
	}
	w.command(2, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	freeze.set(nil, context.DeadlineExceeded)
	w.apply("v3", 1)
	w.awaitReason(3, plan.ReasonHoldPolicy)
	freeze.set(nil, nil)
	w.awaitPhase(v1alpha1.ReleaseServing)
	if w.weightOf("v3") != 100 {
		t.Errorf("v3 has %d %%", w.weightOf("v3"))
	}
}

// scriptedPromotion allows everything unless told otherwise.
type scriptedPromotion struct {
	mu           sync.Mutex
	verdict      *controller.PromotionVerdict
	err          error
	step, weight int32
	template     string
}

func (p *scriptedPromotion) set(v *controller.PromotionVerdict, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verdict, p.err = v, err
}

func (p *scriptedPromotion) last() (step, weight int32, template string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.step, p.weight, p.template
}

func (p *scriptedPromotion) Allowed(_ context.Context, _ *v1alpha1.Rollout, template string, step, weight int32, _ time.Time) (controller.PromotionVerdict, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step, p.weight, p.template = step, weight, template
	if p.verdict == nil {
		return controller.PromotionVerdict{Allowed: true}, p.err
	}
	return *p.verdict, p.err
}

// staged is a world whose Releases are rendered by a real template.
type staged struct {
	*world
	// strategy is put into the template's rollout field.
	strategy string
	renders  *realRenderer
}

func newStaged(t *testing.T, w *world, template string) *staged {
	s := &staged{world: w, renders: &realRenderer{t: t}}
	w.renders = s.renders
	s.renders.of = s
	s.use(template)
	return s
}

func (s *staged) use(template string) { s.renders.set(template) }

// realRenderer renders with the template that is set. A TemplateRevision is what it was
// when it was first rendered with those values, since Rollouts pin it.
type realRenderer struct {
	t    *testing.T
	of   *staged
	mu   sync.Mutex
	text string
	made map[string]*render.Result
}

func (r *realRenderer) set(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = text
}

func (r *realRenderer) Render(_ context.Context, _ *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if done := r.made[string(values.Raw)]; done != nil {
		return done, nil
	}
	template, err := render.Compile(map[string]string{"t.cue": strings.Replace(r.text, "STRATEGY", r.of.strategy, 1)})
	if err != nil {
		return nil, fmt.Errorf("compiling: %w", err)
	}
	result, err := template.Render(values.Raw, in)
	if err != nil {
		return nil, fmt.Errorf("rendering: %w", err)
	}
	if r.made == nil {
		r.made = map[string]*render.Result{}
	}
	r.made[string(values.Raw)] = result
	return result, nil
}

// revisionOf is the revision that an image was rendered to.
func (s *staged) revisionOf(image string) string {
	s.renders.mu.Lock()
	defer s.renders.mu.Unlock()
	for values, r := range s.renders.made {
		if strings.Contains(values, `"`+image+`"`) {
			return r.Revision
		}
	}
	return "none"
}

func (s *staged) setOf(image string) string { return s.releaseName + "-" + s.revisionOf(image) }

func (s *staged) deploymentOf(image string) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: s.setOf(image), Namespace: s.namespace}}
	s.get(d)
	return d
}

func (s *staged) worker() *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: s.releaseName, Namespace: s.namespace}}
	s.get(d)
	return d
}

func (s *staged) stateful() *appsv1.StatefulSet {
	d := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: s.releaseName, Namespace: s.namespace}}
	s.get(d)
	return d
}

func (s *staged) weightOf(image string) int32 { return weightOn(s.route(), s.setOf(image)) }

// newest is the Rollout made last.
func (s *staged) newest() *v1alpha1.Rollout {
	all := s.rollouts()
	newest := slices.MaxFunc(all, func(a, b v1alpha1.Rollout) int { return int(a.Spec.Number - b.Spec.Number) })
	return &newest
}

func (s *staged) awaitReason(rollout int, reason string) {
	s.t.Helper()
	s.await(fmt.Sprintf("Rollout %d says %s", rollout, reason), func() bool {
		r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", s.releaseName, rollout), Namespace: s.namespace}}
		return s.client.Get(s.t.Context(), client.ObjectKeyFromObject(r), r) == nil && r.Status.Reason == reason
	})
}

func (w *world) command(rollout int, action v1alpha1.CommandAction, step int32) {
	w.t.Helper()
	w.create(&v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "c-", Namespace: w.namespace},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: w.rollout(rollout).Name, Action: action, Step: step},
	})
}

// wantConfigs checks that there are exactly the ConfigMaps of these images.
func (s *staged) wantConfigs(images ...string) {
	s.t.Helper()
	var want, got []string
	for _, i := range images {
		want = append(want, s.setOf(i))
	}
	var list corev1.ConfigMapList
	if err := s.client.List(s.t.Context(), &list, client.InNamespace(s.namespace), client.HasLabels{v1alpha1.LabelRevision}); err != nil {
		s.t.Fatal(err)
	}
	for i := range list.Items {
		got = append(got, list.Items[i].Name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.t.Errorf("the ConfigMaps are %v, want %v", got, want)
	}
}

// podsOf counts the pods of an image.
func (s *staged) podsOf(image string) int {
	s.t.Helper()
	var list corev1.PodList
	if err := s.client.List(s.t.Context(), &list, client.InNamespace(s.namespace), client.MatchingLabels{v1alpha1.LabelRevision: s.revisionOf(image)}); err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			n++
		}
	}
	return n
}

// watchPods follows the StatefulSet and returns the distinct partitions that it had once
// its template was of another revision.
func (s *staged) watchPods() func() []int32 {
	s.t.Helper()
	first := s.stateful().Spec.Template.Labels[v1alpha1.LabelRevision]
	return follow(s, &appsv1.StatefulSetList{}, func(obj client.Object) (int32, bool) {
		set, ok := obj.(*appsv1.StatefulSet)
		if !ok || set.Spec.Template.Labels[v1alpha1.LabelRevision] == first || set.Spec.UpdateStrategy.RollingUpdate == nil {
			return 0, false
		}
		return *set.Spec.UpdateStrategy.RollingUpdate.Partition, true
	}, func() client.Object { return s.stateful() })
}

// watchRoute follows the route and returns the distinct weights that the image had, from
// its first one on.
func (s *staged) watchRoute(image string) func() []int32 {
	s.t.Helper()
	begun := false
	return follow(s, &gatewayv1.HTTPRouteList{}, func(obj client.Object) (int32, bool) {
		route, ok := obj.(*gatewayv1.HTTPRoute)
		if !ok || route.Name != s.releaseName {
			return 0, false
		}
		weight := weightOn(route, s.setOf(image))
		begun = begun || weight > 0
		return weight, begun
	}, func() client.Object { return s.route() })
}

// follow watches and returns the distinct values in order, up to the object as it is now.
func follow(s *staged, list client.ObjectList, read func(client.Object) (int32, bool), now func() client.Object) func() []int32 {
	s.t.Helper()
	watcher, err := s.client.Watch(s.t.Context(), list, client.InNamespace(s.namespace))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(watcher.Stop)
	var mu sync.Mutex
	var seen []int32
	versions := map[string]string{}
	go func() {
		for event := range watcher.ResultChan() {
			obj, ok := event.Object.(client.Object)
			if !ok {
				continue
			}
			value, counts := read(obj)
			mu.Lock()
			if counts && (len(seen) == 0 || seen[len(seen)-1] != value) {
				seen = append(seen, value)
			}
			versions[obj.GetName()] = obj.GetResourceVersion()
			mu.Unlock()
		}
	}()
	return func() []int32 {
		s.t.Helper()
		s.await("the watch has seen the object as it is", func() bool {
			is := now()
			mu.Lock()
			defer mu.Unlock()
			return versions[is.GetName()] == is.GetResourceVersion()
		})
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

func image(template corev1.PodTemplateSpec) string { return template.Spec.Containers[0].Image }
