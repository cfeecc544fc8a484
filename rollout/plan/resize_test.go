package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// resize gives the Rollout of the world another size, as a Release does that changes in nothing else.
func (w *world) resize(replicas int32) {
	if !Resizable(w.spec, w.status, replicas) {
		return
	}
	w.spec = Resized(w.spec, Size{
		Generation: w.spec.ReleaseGeneration + 1, Digest: fmt.Sprintf("sha256:of-%d", replicas), Replicas: replicas,
		StableStays: w.load > 0, At: metav1.NewTime(w.now),
	})
}

// samePods says whether a verdict is about the pods of a Rollout, in whatever size.
func samePods(spec v1alpha1.RolloutSpec, digest string) bool {
	is := digest == spec.Digest
	for _, r := range spec.Resized {
		is = is || digest == r.Digest
	}
	return is
}

// i1SizeHasPods is about a Rollout whose size was changed: the size against which lost pods are
// counted is none that it never had, and it rises with the pods alone.
func i1SizeHasPods(f facts) string {
	is, spec := f.d.Status.Size, f.o.Spec
	sizes := []int32{spec.Replicas}
	for _, r := range spec.Resized {
		sizes = append(sizes, r.Replicas)
	}
	switch {
	case is == 0:
		return ""
	case is > spec.Replicas || is < slices.Min(sizes):
		return fmt.Sprintf("I1: pods are counted against a size of %d, of %v", is, sizes)
	case is > max(f.o.Status.Size, slices.Min(sizes)) && alive(f.o.Canary) < min(podsToShow(spec, spec.Replicas, f.was), podsToShow(spec, spec.Replicas, f.is)):
		return fmt.Sprintf("I1: a size of %d is reached with %d pods", is, alive(f.o.Canary))
	}
	if !f.split || f.d.Status.ExposedAt == nil || f.d.Status.Phase != v1alpha1.RolloutProgressing {
		return ""
	}
	for _, a := range f.d.Actions {
		switch {
		case a.Kind != ActionEnsureSet:
		case a.Role == RoleCanary && a.Replicas > f.o.Canary.Desired && alive(f.o.Stable) < f.stableWhole && !f.overdueStable():
			return "I4: the share of the new set grows before the old set has grown"
		case a.Role == RoleStable && a.Replicas < f.o.Stable.Desired && alive(f.o.Canary) > podsToShow(spec, f.whole, f.is):
			return "I4: the old set shrinks before the new one has"
		}
	}
	return ""
}

func TestASizeIsTakenWhereTheRolloutStands(t *testing.T) {
	t.Parallel()
	phase := func(p v1alpha1.RolloutPhase) func(*v1alpha1.RolloutStatus) {
		return func(st *v1alpha1.RolloutStatus) { st.Phase = p }
	}
	cause := func(p v1alpha1.RolloutPhase, code string) func(*v1alpha1.RolloutStatus) {
		return func(st *v1alpha1.RolloutStatus) { st.Phase, st.AbortCause = p, &v1alpha1.Cause{Code: code} }
	}
	retiring := func(st *v1alpha1.RolloutStatus) { st.Phase, st.Retiring = v1alpha1.RolloutPromoting, true }
	at := func(weight int32) func(*v1alpha1.RolloutStatus) {
		return func(st *v1alpha1.RolloutStatus) { st.Phase, st.ApprovedWeight = v1alpha1.RolloutProgressing, weight }
	}
	for name, c := range map[string]struct {
		spec     func() v1alpha1.RolloutSpec
		status   func(*v1alpha1.RolloutStatus)
		replicas int32
		want     bool
	}{
		"while it walks its steps":                            {canarySpec, phase(v1alpha1.RolloutProgressing), 16, true},
		"while the old set is kept":                           {blueGreenSpec, phase(v1alpha1.RolloutPromoting), 16, true},
		"in a first install":                                  {firstSpec, phase(v1alpha1.RolloutProgressing), 16, true},
		"while another size is on its way":                    {inPlaceSpec, phase(v1alpha1.RolloutProgressing), 16, true},
		"on the way back":                                     {canarySpec, cause(v1alpha1.RolloutAborting, ReasonAbortCommand), 16, true},
		"after the revision was rejected":                     {canarySpec, cause(v1alpha1.RolloutAborted, ReasonAnalysisFail), 16, true},
		"not before it has begun":                             {canarySpec, phase(v1alpha1.RolloutPending), 16, false},
		"not while the old set is being deleted":              {canarySpec, retiring, 16, false},
		"not after its end":                                   {canarySpec, phase(v1alpha1.RolloutSucceeded), 16, false},
		"not where another has taken over":                    {canarySpec, cause(v1alpha1.RolloutAborting, ReasonAbortSuperseded), 16, false},
		"not where what it was over has changed":              {canarySpec, cause(v1alpha1.RolloutAborted, ReasonAbortOutdated), 16, false},
		"not after a first install has failed":                {firstSpec, phase(v1alpha1.RolloutAborted), 16, false},
		"not on the way back to the size before":              {inPlaceSpec, phase(v1alpha1.RolloutAborting), 16, false},
		"not to nothing, to which no steps are walked":        {canarySpec, phase(v1alpha1.RolloutProgressing), 0, false},
		"not from nothing":                                    {sized(canarySpec, 0, 3), phase(v1alpha1.RolloutProgressing), 3, false},
		"not over nothing that serves":                        {sized(canarySpec, 3, 0), phase(v1alpha1.RolloutProgressing), 4, false},
		"of a workload that is changed in place":              {rollingSpec, phase(v1alpha1.RolloutProgressing), 16, true},
		"of one that has all of the new pods":                 {rollingSpec, at(100), 16, true},
		"less of one at a share of its pods":                  {rollingSpec, at(25), 4, true},
		"not so few that the share would be more":             {rollingSpec, at(25), 3, false},
		"not more of one at a share of its pods":              {rollingSpec, at(25), 16, false},
		"of one on the way back":                              {rollingSpec, cause(v1alpha1.RolloutAborting, ReasonAnalysisFail), 16, true},
		"from a workload in place to sets":                    {outOfPlaceSpec(canarySpec), phase(v1alpha1.RolloutProgressing), 16, true},
		"and back":                                            {intoPlaceSpec, at(50), 16, true},
		"not where the revision is one that was brought back": {changed(canarySpec, func(s *v1alpha1.RolloutSpec) { s.Restores = &v1alpha1.Restoration{} }), phase(v1alpha1.RolloutProgressing), 16, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var st v1alpha1.RolloutStatus
			c.status(&st)
			if got := Resizable(c.spec(), st, c.replicas); got != c.want {
				t.Errorf("takes it: %t, want %t", got, c.want)
			}
		})
	}
}

// The old set keeps its share of the new one's size, whatever the way there.
func TestTheOldSetKeepsItsShare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		over, pods int32
		to, want   []int32
	}{
		{4, 4, []int32{8, 4}, []int32{8, 4}},
		{3, 4, []int32{6, 4, 5, 4}, []int32{5, 3, 4, 3}},
		{10, 4, []int32{5, 1}, []int32{13, 3}},
		{1, 100, []int32{1, 50}, []int32{1, 1}},
		{2_000_000_000, 1, []int32{2}, []int32{2147483647}},
	} {
		spec := sized(canarySpec, c.pods, c.over)()
		was := spec.DeepCopy()
		for i, n := range c.to {
			spec = Resized(spec, Size{Replicas: n})
			if spec.Replicas != n || spec.Stable.Replicas != c.want[i] {
				t.Errorf("%d over %d, to %v: %d over %d, want %d", c.pods, c.over, c.to[:i+1], spec.Replicas, spec.Stable.Replicas, c.want[i])
			}
		}
		if spec.Resized[0].Replicas != c.pods || spec.Resized[0].StableReplicas != c.over || was.Stable.Replicas != c.over {
			t.Errorf("%d over %d: found %+v", c.pods, c.over, spec.Resized)
		}
		if stays := Resized(*was, Size{Replicas: 7, StableStays: true}); stays.Stable.Replicas != c.over {
			t.Errorf("an old set that an autoscaler looks after goes from %d to %d", c.over, stays.Stable.Replicas)
		}
	}
	spec := inPlaceSpec()
	if out := Resized(spec, Size{Replicas: 40}); out.Stable.Replicas != spec.Stable.Replicas {
		t.Errorf("what an abort in place returns to is %d pods, want %d", out.Stable.Replicas, spec.Stable.Replicas)
	}
	for n := range int32(60) {
		spec = Resized(spec, Size{Replicas: n + 10, Digest: fmt.Sprint(n)})
	}
	if r := spec.Resized; len(r) != maxResized || r[0].Replicas != inPlaceSpec().Replicas || r[1].Digest != "40" || r[maxResized-1].Digest != "58" {
		t.Errorf("of sixty sizes are kept %+v", r)
	}
}

// before is what a change of size leaves as it is.
type before struct {
	step, weight      int32
	exposed, started  time.Time
	approvals, checks int
	falls             int32
}

func (p *play) stands() before {
	st := p.status
	return before{st.Step, st.ApprovedWeight, st.ExposedAt.Time, st.StepStartedAt.Time, len(st.Approvals), len(st.Checks), st.Falls}
}

func TestARolloutGoesOnInAnotherSize(t *testing.T) {
	t.Parallel()
	shrinks := changed(canarySpec, func(s *v1alpha1.RolloutSpec) { s.Strategy.DynamicStableScale = true })
	compared := stepped(canarySpec, baseline(true), weigh(25), pauseForApproval(), weigh(50))
	service := changed(stepped(canarySpec, weigh(25), pauseForApproval(), weigh(50)), func(s *v1alpha1.RolloutSpec) { s.Router = v1alpha1.RouterService })
	waits := stepped(canarySpec, weigh(25), pauseForApproval(), weigh(50))
	half := stepped(canarySpec, weigh(50), pauseForApproval())
	for name, c := range map[string]struct {
		spec  func() v1alpha1.RolloutSpec
		pause bool
		to    []int32
		// want are the pods of both sets after each size.
		want []string
	}{
		"it grows":                            {spec: waits, to: []int32{16}, want: []string{"4 and 16"}},
		"it shrinks":                          {spec: waits, to: []int32{4}, want: []string{"1 and 4"}},
		"it grows and shrinks":                {spec: waits, to: []int32{16, 8}, want: []string{"4 and 16", "2 and 8"}},
		"it shrinks to one pod and grows":     {spec: waits, to: []int32{1, 8}, want: []string{"1 and 1", "2 and 8"}},
		"at half of the traffic, many times":  {spec: half, to: []int32{40, 2, 80}, want: []string{"20 and 40", "1 and 2", "40 and 80"}},
		"while it is paused":                  {spec: waits, pause: true, to: []int32{16, 4}, want: []string{"4 and 16", "1 and 4"}},
		"where the old set gives up pods":     {spec: stepped(shrinks, weigh(25), pauseForApproval()), to: []int32{16, 4}, want: []string{"4 and 12", "1 and 3"}},
		"beside a baseline":                   {spec: compared, to: []int32{16, 4}, want: []string{"4 and 16", "1 and 4"}},
		"behind a plain Service":              {spec: service, to: []int32{16, 4}, want: []string{"5 and 16", "1 and 4"}},
		"in five pods over three, by a third": {spec: sized(waits, 6, 3), to: []int32{8}, want: []string{"2 and 4"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := c.spec()
			if name != "in five pods over three, by a third" {
				spec.Stable.Replicas = spec.Replicas
			}
			p := played(t, spec).held(ReasonHoldApproval)
			if c.pause {
				p.asks(v1alpha1.CommandPause).held(ReasonHoldPaused)
			}
			was, reason := p.stands(), p.status.Reason
			most := p.share()
			for i, n := range c.to {
				p.resize(n)
				for range 40 {
					p.once(time.Second)
					if is := p.stands(); is != was {
						t.Fatalf("to %d: wanted %+v as it was, found %+v: %s", n, was, is, p.status.Message)
					}
					if share := p.share(); share > max(most, 25) && p.split() {
						t.Fatalf("to %d: the new revision has %d %% of the requests", n, share)
					}
				}
				if got := fmt.Sprintf("%d and %d", p.new.available, p.old.available); got != c.want[i] || p.status.Reason != reason || p.status.Size != n {
					t.Errorf("to %d: %s pods, want %s; size %d; %s: %s", n, got, c.want[i], p.status.Size, p.status.Reason, p.status.Message)
				}
			}
			p.attended = true
			if c.pause {
				p.asks(v1alpha1.CommandResume)
			}
			p.until("the end", func() bool { p.attend(); return p.status.Phase.Terminal() }).ended(v1alpha1.RolloutSucceeded)
			if p.new.available != spec.Replicas && p.new.available != c.to[len(c.to)-1] {
				t.Errorf("it ends with %d pods", p.new.available)
			}
		})
	}
}

// A workload that is changed in place goes on in its step too. At a partition it does so where the share of the
// new revision stays as it is or becomes less.
func TestAWorkloadInPlaceGoesOnInAnotherSize(t *testing.T) {
	t.Parallel()
	after := changed(rollingSpec, func(s *v1alpha1.RolloutSpec) { s.Strategy.Steps = []v1alpha1.Step{weigh(100), pauseForApproval()} })
	before := changed(rollingSpec, func(s *v1alpha1.RolloutSpec) { s.Strategy.Steps = []v1alpha1.Step{pauseForApproval(), weigh(100)} })
	half := changed(rollingSpec, func(s *v1alpha1.RolloutSpec) {
		s.Strategy.Steps = []v1alpha1.Step{weigh(50), pauseForApproval(), weigh(100)}
	})
	for name, c := range map[string]struct {
		spec func() v1alpha1.RolloutSpec
		to   []int32
		// want are the pods of the new revision and of the old one after each size.
		want []string
	}{
		"with all of its pods new":           {after, []int32{16, 3, 9}, []string{"16 and 0", "3 and 0", "9 and 0"}},
		"before its first new pod":           {before, []int32{16, 3, 9}, []string{"0 and 16", "0 and 3", "0 and 9"}},
		"at half of its pods, less and less": {half, []int32{6, 4, 2}, []string{"3 and 3", "2 and 2", "1 and 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newRollingWorld(c.spec())
			w.attended = false
			w.settleUnattended(t, name)
			was := *w.status.DeepCopy()
			for i, n := range c.to {
				if !w.resize(n) {
					t.Fatalf("to %d: it is not taken", n)
				}
				w.tick(5 * time.Minute) // no approval is of this moment
				w.settleUnattended(t, name)
				is := w.status
				if is.Step != was.Step || is.ApprovedWeight != was.ApprovedWeight || is.Falls != was.Falls || is.Reason != ReasonHoldApproval ||
					!is.ApprovedAt.Equal(was.ApprovedAt) || !is.StepStartedAt.Equal(was.StepStartedAt) {
					t.Errorf("to %d: wanted step %d as it was, found step %d: %s", n, was.Step, is.Step, is.Message)
				}
				if got := fmt.Sprintf("%d and %d", w.available[newRevision], w.available[oldRevision]); got != c.want[i] {
					t.Errorf("to %d: %s pods, want %s", n, got, c.want[i])
				}
			}
			w.attended = true
			w.settle(t, name)
			if w.status.Phase != v1alpha1.RolloutSucceeded || !w.wellEnded() || w.available[newRevision] != c.to[len(c.to)-1] {
				t.Errorf("ended as %s", w.outcome())
			}
		})
	}
}

// settleUnattended goes on until the Rollout waits for somebody.
func (w *rollingWorld) settleUnattended(t *testing.T, story string) {
	t.Helper()
	for range 60 {
		d, ok := w.decide(t, story)
		if !ok {
			return
		}
		w.execute(t, d, len(d.Actions))
		w.tick(time.Second)
	}
}

// A verdict is about the pods, whatever their number was when it was taken.
func TestVerdictsHoldOnInAnotherSize(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		verdict v1alpha1.Verdict
		digest  string
		// aborts and counts say whether it is acted on, and whether no other round is wanted.
		aborts, counts bool
	}{
		"a Fail that was not acted on yet":    {v1alpha1.VerdictFail, digest, true, true},
		"a Pass":                              {v1alpha1.VerdictPass, digest, false, true},
		"too little evidence":                 {v1alpha1.VerdictInconclusive, digest, false, true},
		"a Fail of a size in between":         {v1alpha1.VerdictFail, "sha256:of-16", true, true},
		"but not a Fail of something else":    {v1alpha1.VerdictFail, "sha256:else", false, false},
		"and neither a Pass of that, however": {v1alpha1.VerdictPass, "sha256:else", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := played(t, stepped(canarySpec, weigh(25), analyze(), weigh(50))())
			p.verdict = v1alpha1.VerdictInconclusive
			p.until("a round is taken", func() bool { return p.status.Analysis != nil })
			p.status.Analysis.Verdict, p.status.Analysis.Digest = c.verdict, c.digest
			p.resize(16)
			p.resize(8)
			d := Next(p.observe(), p.now)
			measures := slices.ContainsFunc(d.Actions, func(a Action) bool { return a.Kind == ActionMeasure })
			if aborts := d.Status.Phase == v1alpha1.RolloutAborting; aborts != c.aborts || !aborts && measures == c.counts {
				t.Errorf("it is %s (%s), and measures: %t", d.Status.Phase, d.Status.Message, measures)
			}
		})
	}
}
