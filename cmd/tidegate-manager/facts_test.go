package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// approve has somebody of some groups approve cart-2, by a command of a name.
func approve(o []client.Object, name, actor string, groups ...string) []client.Object {
	rollout := o[1].(*v1alpha1.Rollout)
	rollout.Status.Approvals = append(rollout.Status.Approvals, v1alpha1.Approval{Step: 1, Actor: actor, Command: name})
	return append(o, &v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: "cart-2", Action: v1alpha1.CommandApprove, Step: 1, Actor: actor, Groups: groups},
	})
}

// decide lets somebody promote the Rollout, or skip its first step, which asks for an approval.
func decide(o []client.Object, action v1alpha1.CommandAction, actor string, groups ...string) []client.Object {
	rollout := o[1].(*v1alpha1.Rollout)
	decision := v1alpha1.Approval{Step: 1, Actor: actor, Command: "d"}
	rollout.Spec.Strategy.Steps = []v1alpha1.Step{{Pause: &v1alpha1.Pause{Approval: true}}}
	if action == v1alpha1.CommandPromote {
		rollout.Status.Promoted = &decision
	} else {
		rollout.Status.Skips = []v1alpha1.Approval{decision}
	}
	return append(o, &v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "d"},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: "cart-2", Action: action, Step: 1, Actor: actor, Groups: groups},
	})
}

// without makes the first step one that asks for no approval.
func without(o []client.Object) []client.Object {
	o[1].(*v1alpha1.Rollout).Spec.Strategy.Steps = []v1alpha1.Step{{Analyze: &v1alpha1.Analyze{}}}
	return o
}

// restore makes the Rollout one by which somebody brings a revision back.
func restore(o []client.Object, actor string, known bool) []client.Object {
	s := &o[1].(*v1alpha1.Rollout).Spec
	s.Restores, s.Known = &v1alpha1.Restoration{Rollout: "cart-1", Command: "r", Actor: actor}, known
	return o
}

// pins makes the Rollout one of somebody's change.
func pins(o []client.Object, author string) []client.Object {
	o[1].(*v1alpha1.Rollout).Annotations = map[string]string{v1alpha1.AnnotationAuthor: author}
	return o
}

// resized gives the Rollout a size that the Release asked for later.
func resized(o []client.Object) []client.Object {
	o[1].(*v1alpha1.Rollout).Spec.Resized = []v1alpha1.FormerSize{{ReleaseGeneration: 3, Replicas: 2}}
	return o
}

func changedBy(o []client.Object, author string) []client.Object {
	release := o[2].(*v1alpha1.Release)
	release.Generation, release.Annotations = 4, map[string]string{v1alpha1.AnnotationAuthor: author}
	return o
}

// staged is the Release in the environment before, in service since a time.
func staged(o []client.Object, values string, since time.Time) []client.Object {
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "stage", Name: "cart-7"}}
	r.Spec = v1alpha1.RolloutSpec{Release: "cart", Number: 7, TemplateRevision: "web-3", Values: &runtime.RawExtension{Raw: []byte(values)}}
	r.Status.Phase = v1alpha1.RolloutSucceeded
	r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(since)}}
	old := r.DeepCopy()
	old.Name, old.Spec.Number, old.Spec.Values = "cart-6", 6, &runtime.RawExtension{Raw: []byte(`{"image": "a:0"}`)}
	o[1].(*v1alpha1.Rollout).Spec.Values = &runtime.RawExtension{Raw: []byte(`{"image": "a:2"}`)}
	return append(o, r, old, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "stage"}})
}

func begun(o []client.Object, at time.Time) []client.Object {
	r := o[0].(*v1alpha1.Rollout)
	r.CreationTimestamp = metav1.NewTime(at.Add(-time.Hour))
	r.Spec.Revision, r.Spec.Stable = "bbbbbbbbbb", &v1alpha1.StableReference{Rollout: "cart-0", Revision: "aaaaaaaaaa"}
	r.Status.Phase = v1alpha1.RolloutSucceeded
	r.Status.History = []v1alpha1.HistoryEntry{{At: metav1.NewMicroTime(at.Add(-time.Minute))}, {At: metav1.NewMicroTime(at), Weight: 5}}
	return o
}

// TestShippedPoliciesHoldAndGoOn puts each policy to a world in which it holds, and to one in
// which what it asks for has come about.
func TestShippedPoliciesHoldAndGoOn(t *testing.T) {
	noon := wednesdayNoon
	sre := shippedPolicy("approvals", `{"groups": ["sre"], "count": 1}`)
	two := shippedPolicy("two-person", `{}`)
	most := shippedPolicy("max-deployments", `{"max": 1, "window": "4h"}`)
	soak := shippedPolicy("soak-after", `{"soak": "2h", "before": {"shop": "stage"}, "same": ["image"]}`)
	budget := shippedPolicy("error-budget", `{"measurement": "main/left", "minimum": 0.1}`)
	for name, tc := range map[string]struct {
		source eval.Source
		world  []client.Object
		left   map[string]float64
		why    map[string]string
		// message is a part of what holds; empty where it goes on.
		message string
	}{
		"no approval":                                               {source: sre, world: promoted(), message: "wanted the approval of 1 of sre, found none"},
		"an approval of another group":                              {source: sre, world: approve(promoted(), "c", "bob", "dev"), message: "found none"},
		"an approval of the group":                                  {source: sre, world: approve(promoted(), "c", "bob", "dev", "sre")},
		"an approval whose command is of another":                   {source: sre, world: forged(approve(promoted(), "c", "bob", "sre")), message: "found none"},
		"the author's own approval":                                 {source: two, world: changedBy(approve(promoted(), "c", "alice"), "alice"), message: `somebody other than "alice"`},
		"a second person's approval":                                {source: two, world: changedBy(approve(promoted(), "c", "bob"), "alice")},
		"the author's own promotion":                                {source: two, world: changedBy(decide(promoted(), v1alpha1.CommandPromote, "alice"), "alice"), message: `somebody other than "alice"`},
		"a second person's promotion":                               {source: two, world: changedBy(decide(promoted(), v1alpha1.CommandPromote, "bob"), "alice")},
		"the author's own skip of an approval":                      {source: two, world: changedBy(decide(promoted(), v1alpha1.CommandSkipStep, "alice"), "alice"), message: `somebody other than "alice"`},
		"a second person's skip of an approval":                     {source: two, world: changedBy(decide(promoted(), v1alpha1.CommandSkipStep, "bob"), "alice")},
		"a second person's skip of something else":                  {source: two, world: changedBy(without(decide(promoted(), v1alpha1.CommandSkipStep, "bob")), "alice"), message: `somebody other than "alice"`},
		"a promotion by one of the group":                           {source: sre, world: decide(promoted(), v1alpha1.CommandPromote, "bob", "sre")},
		"a promotion by one of another group":                       {source: sre, world: decide(promoted(), v1alpha1.CommandPromote, "bob", "dev"), message: "found none"},
		"a roll-back by the author of the change":                   {source: two, world: restore(changedBy(approve(promoted(), "c", "alice"), "alice"), "bob", false)},
		"a roll-back that only who asked for it approved":           {source: two, world: restore(changedBy(approve(promoted(), "c", "bob"), "alice"), "bob", false), message: `somebody other than "bob"`},
		"a roll-back within the window is never held":               {source: two, world: restore(changedBy(promoted(), "alice"), "bob", true)},
		"an author that nobody knows":                               {source: two, world: approve(promoted(), "c", "bob"), message: "found that nobody does"},
		"an author of a later change":                               {source: two, world: later(changedBy(approve(promoted(), "c", "bob"), "alice")), message: "found that nobody does"},
		"the author's own approval, after another's change of size": {source: two, world: pins(resized(changedBy(approve(promoted(), "c", "alice"), "bob")), "alice"), message: `somebody other than "alice"`},
		"the approval of who changed the size":                      {source: two, world: pins(resized(changedBy(approve(promoted(), "c", "bob"), "bob")), "alice")},
		"a change of size of what pins no author":                   {source: two, world: resized(changedBy(approve(promoted(), "c", "alice"), "bob")), message: "found that nobody does"},
		"a later change that changes nothing":                       {source: two, world: pins(later(changedBy(approve(promoted(), "c", "bob"), "carol")), "alice")},
		"one Rollout too many":                                      {source: most, world: begun(promoted(), noon.Add(-3*time.Hour)), message: "the next may begin at 2026-11-25T13:00:00Z"},
		"one Rollout before the window":                             {source: most, world: begun(promoted(), noon.Add(-5*time.Hour))},
		"nothing in the environment before":                         {source: soak, world: promoted(), message: "found that there is none"},
		"the same there, but not for long":                          {source: soak, world: staged(promoted(), `{"image": "a:2"}`, noon.Add(-time.Hour)), message: "in service since 2026-11-25T11:00:00Z"},
		"another there, for long":                                   {source: soak, world: staged(promoted(), `{"image": "a:1"}`, noon.Add(-3*time.Hour)), message: "found another values.image"},
		"a long number that differs at its end":                     {source: shippedPolicy("soak-after", `{"soak": "2h", "before": {"shop": "stage"}, "same": ["image", "id"]}`), world: numbered(staged(promoted(), `{"image": "a:2", "id": 9007199254740993}`, noon.Add(-3*time.Hour))), message: "found another values.id"},
		"all there and here, but for a value":                       {source: shippedPolicy("soak-after", `{"soak": "2h", "before": {"shop": "stage"}}`), world: staged(promoted(), `{"image": "a:2", "replicas": 1}`, noon.Add(-3*time.Hour)), message: "found another values.replicas"},
		"the same there, for long":                                  {source: soak, world: staged(promoted(), `{"image": "a:2"}`, noon.Add(-3*time.Hour))},
		"no measurement":                                            {source: budget, world: promoted(), message: "found no number"},
		"no measurement, and why":                                   {source: budget, world: promoted(), why: map[string]string{"main/left": "asking main: no answer within 5s"}, message: "found no number, asking main: no answer within 5s"},
		"a measurement that another policy's source lacks":          {source: budget, world: promoted(), left: map[string]float64{"main/left": 0.5}, why: map[string]string{"other/left": "asking other: no answer within 5s"}},
		"little left":                                               {source: budget, world: promoted(), left: map[string]float64{"main/left": 0.01}, message: "found 0.01"},
		"enough left":                                               {source: budget, world: promoted(), left: map[string]float64{"main/left": 0.5}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newAsked(t, tc.world, interceptor.Funcs{}, logr.Discard(), tc.source)
			p.measure = func(context.Context, string, string, time.Time) (map[string]float64, map[string]string) {
				return tc.left, tc.why
			}
			verdict, err := p.Allowed(t.Context(), second(t, p), "web", 1, 25, noon)
			if err != nil {
				t.Fatal(err)
			}
			if verdict.Allowed != (tc.message == "") || !strings.Contains(verdict.Message, tc.message) {
				t.Errorf("wanted %q, found %+v", tc.message, verdict)
			}
		})
	}
}

// numbered gives cart-2 a number beside its image that is longer than a float64 tells apart.
func numbered(o []client.Object) []client.Object {
	o[1].(*v1alpha1.Rollout).Spec.Values = &runtime.RawExtension{Raw: []byte(`{"image": "a:2", "id": 9007199254740992}`)}
	return o
}

// forged lets the Rollout name a command that is about another one.
func forged(o []client.Object) []client.Object {
	o[len(o)-1].(*v1alpha1.RolloutCommand).Spec.Rollout = "cart-1"
	return o
}

func later(o []client.Object) []client.Object {
	o[2].(*v1alpha1.Release).Generation = 5
	return o
}
