package plan

import (
	"fmt"
	"math"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// The checks here are the invariants of the design, written from its words and not from
// the code: what one decision may and must do, given what was seen. Each broken one is
// a sentence that begins with its number.

func alive(s Set) int32 {
	if s.Knowledge == Present {
		return s.Available
	}
	return 0
}

// facts is what the checks read off an observation.
type facts struct {
	o                  Observation
	now                time.Time
	d                  Decision
	over               string // nothing, itself, another
	whole, stableWhole int32
	floor              int32 // whole without what the load asks for now
	keeps              int32 // the pods that the stable set keeps, whatever its autoscaler measures
	carried            Exposure
	weight             int32    // of carried
	known              bool     // whether carried is
	was, is            Exposure // approved before and after
	dynamic            bool     // the stable set gives up pods
	split              bool     // both sets are behind one Service
	stableDead         bool
	inCharge           bool
	watching           bool // an ended Rollout that nobody has taken over from
}

func factsOf(o Observation, now time.Time, d Decision) facts {
	f := facts{o: o, now: now, d: d, over: "another", whole: o.Spec.Replicas}
	switch {
	case o.Spec.Stable == nil:
		f.over = "nothing"
	case o.Spec.Stable.Revision == o.Spec.Revision:
		f.over = "itself"
	}
	if o.Spec.Stable != nil {
		f.stableWhole = o.Spec.Stable.Replicas
	}
	f.floor = f.whole
	open := d.Status.Phase == v1alpha1.RolloutProgressing || d.Status.Phase == v1alpha1.RolloutPromoting && (!d.Status.Retiring || !o.Status.Retiring)
	if o.Canary.Autoscaled && f.over == "another" && open {
		f.whole = max(f.whole, o.Status.StableLoad)
		if o.Stable.Knowledge == Present && o.Stable.Autoscaled {
			f.whole = max(f.whole, o.Stable.Desired)
		}
		f.whole = max(f.whole, loadTold(o))
		if o.Canary.Most > 0 {
			f.whole = min(f.whole, max(f.floor, o.Canary.Most))
		}
	}
	f.keeps = keptPods(f)
	if len(o.Spec.Resized) > 0 && f.over == "another" && open {
		f.floor = min(f.floor, d.Status.Size) // held to account by i1SizeHasPods
	}
	f.was, f.is = approvedIn(o.Spec, o.Status), approvedIn(o.Spec, d.Status)
	f.dynamic = o.Spec.Strategy.DynamicStableScale && f.over == "another"
	f.known = o.Traffic.Knowledge != Unknown
	if o.Traffic.Knowledge == Present {
		f.carried = o.Traffic.Exposure
		f.split = o.Traffic.Split
	}
	if f.split {
		f.readSplit()
	}
	f.weight = f.carried.Weight
	since := d.Status.StableShortSince // bounded, so that an abort ends
	f.stableDead = (since == nil || now.Sub(since.Time) < o.Spec.Strategy.ProgressDeadline.Duration) && f.over == "another" && f.stableWhole > 0 &&
		o.Stable.Knowledge != Unknown && alive(o.Stable) == 0 && alive(o.Canary) > 0
	f.watching = d.Status.Phase.Terminal() && o.Newer == "" && o.Older == "" && !o.StableMoved
	f.inCharge = f.watching || !d.Status.Phase.Terminal() && d.Status.Phase != v1alpha1.RolloutPending
	return f
}

// loadTold is how many pods all of the requests would take: what the old set measures for its share
// says it of the whole, but no more than all sets measure; 0 where nothing tells.
func loadTold(o Observation) int32 {
	share := o.Traffic.Exposure
	old := float64(100-share.Weight-share.Baseline) / 100
	switch {
	case o.Spec.Router == v1alpha1.RouterService && o.Spec.Strategy.Type == v1alpha1.StrategyCanary:
		return 0
	case o.Traffic.Knowledge != Present || !o.Traffic.Settled:
		return 0
	}
	if o.Stable.Knowledge != Present || o.Stable.Load == 0 || old <= 0 {
		return 0
	}
	told := float64(o.Stable.Load) / old
	if share.Weight > 0 {
		if o.Canary.Knowledge != Present || o.Canary.Load == 0 {
			return 0
		}
		sets := 1.0
		if share.Baseline > 0 {
			sets = 2
		}
		told = min(told, float64(o.Stable.Load)+sets*float64(o.Canary.Load))
	}
	return int32(math.Ceil(math.Floor(told) / 1000))
}

// readSplit finds the weight that the pods behind a plain Service make up: what was approved before
// where they are as many as that asks for, or their share.
func (f *facts) readSplit() {
	c, s := f.o.Canary, f.o.Stable
	f.known = c.Knowledge != Unknown && s.Knowledge != Unknown
	f.carried = Exposure{}
	switch {
	case !f.known || c.Knowledge == Absent || c.Desired == 0:
	case f.was.Weight > 0 && f.was.Weight < 100 && c.Desired == podsToShow(f.o.Spec, f.whole, f.was):
		f.carried = f.was
	default:
		f.carried.Weight = int32(math.Ceil(100 * float64(c.Desired) / float64(c.Desired+max(0, s.Desired))))
		if more := c.Desired > podsToShow(f.o.Spec, f.whole, f.was); more && c.Autoscaled && f.was.Weight < 100 && f.carried.Weight < f.was.Weight {
			f.carried = f.was // an autoscaler has added some, within what is approved
		}
	}
}

// overdueStable says whether the stable set has been short for as long as it is waited for.
func (f facts) overdueStable() bool {
	for _, since := range []*metav1.MicroTime{f.o.Status.StableShortSince, f.d.Status.StableShortSince} {
		if since != nil && f.now.Sub(since.Time) >= f.o.Spec.Strategy.ProgressDeadline.Duration {
			return true
		}
	}
	return false
}

// vouched says whether nobody means to return to the old set, whose pods are then not waited for.
func (f facts) vouched() bool {
	return f.o.Stable.Knowledge != Unknown && (f.o.Spec.Known || f.d.Status.Promoted != nil)
}

// stableOwed is how many pods an abort from what is carried would need of the stable set.
func (f facts) stableOwed() int32 {
	if f.dynamic && f.known {
		return podsFor(f.stableWhole, 100-min(f.weight, f.was.Weight))
	}
	return f.stableWhole
}

// warm is how long the old set is owed to be kept. Nobody goes back to it past a newer
// Rollout.
func (f facts) warm() time.Duration {
	s := f.o.Spec.Strategy
	if s.ScaleDownDelay != nil && f.o.Newer == "" {
		return s.ScaleDownDelay.Duration
	}
	return s.DrainDelay.Duration
}

// broken returns the invariants that the decision breaks.
func broken(o Observation, now time.Time, d Decision) []string {
	f := factsOf(o, now, d)
	var all []string
	for _, check := range []func(facts) string{
		i1WeightHasPods, i1SizeHasPods, i1StableKeepsItsPods, i1CanaryKeepsItsPods, i1StablePodsOutliveWeight, i1PodsOutliveWeight, i1LostPodsLoseWeight, i1DeletedOnlyWithoutTraffic,
		i2OneAtATime, i2ApprovalNeedsGates, i2RaiseNeedsApproval, i3AbortIsObeyed, i3AbortOnlyReturns, i3NothingIsLeft, i4NoneAboveApproved,
		i4WorkIsOwed, i5SameFactsSameDecision, i9Explained, i9Bounded, commandsAnsweredOnce, quietOutOfCharge,
	} {
		if s := check(f); s != "" {
			all = append(all, s)
		}
	}
	return all
}

func i1WeightHasPods(f facts) string {
	alone := f.over == "itself" || f.d.Status.Phase == v1alpha1.RolloutSucceeded || f.d.Status.Retiring
	returning := f.d.Status.Phase == v1alpha1.RolloutAborting || f.d.Status.Phase == v1alpha1.RolloutAborted
	for _, a := range f.d.Actions {
		raises := shows(a.Exposure, f.carried)
		switch {
		case a.Kind != ActionSetWeight:
		case f.over == "itself" && returning:
		case raises && alone:
			if alive(f.o.Canary) == 0 && f.whole > 0 {
				return "I1: weight given to a set without pods"
			}
		case raises && f.split && a.Exposure.Weight < 100: // it is the pods themselves
		case raises:
			if n := podsToShow(f.o.Spec, f.whole, a.Exposure); alive(f.o.Canary) < n || !f.o.Canary.UpToDate {
				return fmt.Sprintf("I1: %+v needs %d pods and has %d", a.Exposure, n, alive(f.o.Canary))
			}
			if n := podsFor(f.whole, a.Exposure.Baseline); alive(f.o.Baseline) < n {
				return fmt.Sprintf("I1: %+v needs %d pods of the baseline and has %d", a.Exposure, n, alive(f.o.Baseline))
			}
		case a.Exposure.Weight < f.weight && f.stableDead && f.weight <= max(f.was.Weight, f.is.Weight):
			return fmt.Sprintf("I1: weight %d lowered to %d for a stable set without pods", f.weight, a.Exposure.Weight)
		}
	}
	return ""
}

// keptPods is how many pods the stable set has had at most since the Rollout began, as far as its autoscaler may go.
func keptPods(f facts) int32 {
	s, phase, was := f.o.Stable, f.d.Status.Phase, f.o.Status
	open := phase == v1alpha1.RolloutProgressing || phase == v1alpha1.RolloutPromoting && !f.d.Status.Retiring
	open = open || phase == v1alpha1.RolloutAborting && (was.Phase == v1alpha1.RolloutProgressing || was.Phase == v1alpha1.RolloutPromoting)
	if f.over != "another" || !s.Autoscaled || f.o.Spec.Strategy.DynamicStableScale || f.o.Spec.Changes() && f.o.Spec.Strategy.Type.InSets() {
		return 0
	}
	var n int32
	switch {
	case open && s.Knowledge == Present:
		n = max(was.StableLoad, s.Desired, s.Lifted)
	case open || phase == v1alpha1.RolloutAborting:
		n = was.StableLoad
	}
	if s.Most > 0 {
		n = min(n, s.Most)
	}
	return n
}

// i1StableKeepsItsPods is about a stable set that an autoscaler sizes: its requests leave it, and it must stand all of
// them when they come back.
func i1StableKeepsItsPods(f facts) string {
	s := f.o.Stable
	least := f.keeps
	if least <= f.stableWhole {
		least = 0 // as rendered
	}
	owed := f.inCharge && f.keeps > 0 && s.Knowledge == Present && !f.d.Status.Retiring && f.d.Status.Phase != v1alpha1.RolloutSucceeded
	told := slices.ContainsFunc(f.d.Actions, func(a Action) bool {
		return a.Kind == ActionEnsureSet && a.Role == RoleStable && a.Least == least && a.Replicas >= f.keeps
	})
	if owed && !told && (s.Lifted != least || s.Desired < f.keeps) {
		return fmt.Sprintf("I1: a stable set of %d pods is left to an autoscaler that leaves it %d, and has had %d", s.Desired, s.Lifted, f.keeps)
	}
	return ""
}

// i1CanaryKeepsItsPods is about a new set that an autoscaler sizes: what it needs for the requests that it has, or is
// about to have, is not its autoscaler's to take away.
func i1CanaryKeepsItsPods(f facts) string {
	c, phase := f.o.Canary, f.d.Status.Phase
	open := phase == v1alpha1.RolloutProgressing || phase == v1alpha1.RolloutPromoting && (!f.d.Status.Retiring || f.o.Spec.Strategy.Type.InSets())
	weight := max(f.weight, f.is.Weight)
	plain := f.o.Spec.Router == v1alpha1.RouterService && f.o.Spec.Strategy.Type == v1alpha1.StrategyCanary
	pods := plain && (f.is.Weight < 100 || f.split || !f.known) // are the weight
	if !f.inCharge || !open || f.over != "another" || pods || c.Knowledge != Present || !c.Autoscaled || f.o.Spec.Strategy.Type == v1alpha1.StrategyRolling {
		return ""
	}
	least, owed, kept := c.Lifted, podsFor(f.whole, weight), c.Lifted
	if c.Most > 0 {
		owed, kept = min(owed, c.Most), min(kept, c.Most)
	}
	for _, a := range f.d.Actions {
		if a.Kind == ActionEnsureSet && a.Role == RoleCanary {
			least = a.Least
		}
	}
	if max(least, f.o.Spec.Replicas) < kept {
		return fmt.Sprintf("I1: a new set that its autoscaler leaves %d pods is left %d in the midst", c.Lifted, least)
	}
	if max(least, f.o.Spec.Replicas) < owed && !f.d.Status.Retiring {
		return fmt.Sprintf("I1: a new set that needs %d pods is left to an autoscaler that leaves it %d", owed, least)
	}
	return ""
}

// i1StablePodsOutliveWeight is about a stable set that gives up pods: it gets back no more than it has
// pods for, as long as the deadline lets it.
func i1StablePodsOutliveWeight(f facts) string {
	for _, a := range f.d.Actions {
		switch {
		case !f.dynamic || f.d.Status.Retiring:
		case a.Kind == ActionSetWeight && a.Exposure.Weight < f.weight && alive(f.o.Canary) > 0 && f.o.Stable.Knowledge != Unknown && !f.overdueStable() &&
			f.stableWhole > 0 && (100-a.Exposure.Weight)*f.stableWhole > 100*alive(f.o.Stable):
			return fmt.Sprintf("I1: %d %% return to %d pods", 100-a.Exposure.Weight, alive(f.o.Stable))
		case a.Kind != ActionEnsureSet || a.Role != RoleStable:
		case a.Replicas < podsFor(f.stableWhole, 100-f.weight) || a.Replicas < podsFor(f.stableWhole, 100-f.is.Weight):
			return fmt.Sprintf("I1: stable set scaled to %d pods, %d %% of the traffic are its own", a.Replicas, 100-f.weight)
		case a.Replicas < min(f.stableWhole, f.o.Stable.Desired) && (!f.known || !f.o.Traffic.Settled || f.carried != f.is):
			return "I1: stable set scaled down before its traffic has gone"
		}
	}
	return ""
}

func i1PodsOutliveWeight(f facts) string {
	for _, a := range f.d.Actions {
		switch {
		case a.Kind != ActionEnsureSet:
		case a.Role == RoleStable && f.o.Stable.Autoscaled && a.Replicas == max(f.stableWhole, f.o.Stable.Desired, f.keeps):
		case a.Role == RoleCanary && f.o.Canary.Autoscaled && a.Replicas == f.o.Canary.Desired: // what its own load asks for
		case a.Role == RoleStable && f.split && len(f.o.Spec.Resized) > 0 && a.Replicas == f.o.Stable.Desired && a.Replicas > f.stableWhole: // the new set shrinks first
		case a.Role == RoleStable && (a.Replicas > f.stableWhole || a.Replicas < f.stableWhole && !f.dynamic):
			return fmt.Sprintf("I1: stable set scaled to %d", a.Replicas)
		case a.Role == RoleBaseline && (a.Replicas < podsFor(f.whole, f.carried.Baseline) && f.o.Baseline.Knowledge == Present || a.Replicas > f.whole):
			return fmt.Sprintf("I1: baseline set scaled to %d at %d %%", a.Replicas, f.carried.Baseline)
		case a.Role != RoleCanary:
		case f.split:
			if most := podsToShow(f.o.Spec, f.whole, f.is); a.Replicas > most && (f.is.Weight > 0 || a.Replicas > f.o.Canary.Desired) {
				return fmt.Sprintf("I4: %d pods behind the Service, %d are approved", a.Replicas, most)
			}
		case a.Replicas < podsFor(f.whole, f.weight) || a.Replicas > f.whole || f.carried.seen() && a.Replicas < min(1, f.whole):
			return fmt.Sprintf("I1: canary set scaled to %d at weight %d", a.Replicas, f.weight)
		case a.Replicas < min(f.whole, f.o.Canary.Desired) && (!f.known || f.o.Traffic.Knowledge == Present && !f.o.Traffic.Settled):
			return fmt.Sprintf("I1: canary set scaled down to %d while its traffic is not known", a.Replicas)
		}
	}
	return ""
}

func i1LostPodsLoseWeight(f facts) string {
	phase := f.o.Status.Phase
	if f.over != "another" || f.o.Status.Retiring || f.stableDead || !f.known || f.split || f.o.Canary.Knowledge == Unknown ||
		phase != v1alpha1.RolloutProgressing && phase != v1alpha1.RolloutPromoting {
		return ""
	}
	n := podsFor(f.floor, min(f.weight, f.was.Weight))
	if (f.was.Header > 0 || f.was.Mirror > 0) && (f.carried.Header > 0 || f.carried.Mirror > 0) && f.floor > 0 {
		n = max(n, 1)
	}
	if n == 0 || alive(f.o.Canary) >= max(1, n-n/4) {
		return ""
	}
	if f.dynamic && alive(f.o.Canary) > 0 && podsFor(f.floor, f.is.Weight) <= alive(f.o.Canary) {
		return "" // the traffic goes back as fast as the stable set can take it
	}
	if len(f.d.Actions) == 0 || f.d.Actions[0].Kind != ActionSetWeight || podsFor(f.floor, f.d.Actions[0].Exposure.Weight) > alive(f.o.Canary) {
		return fmt.Sprintf("I1: %d pods keep weight %d", alive(f.o.Canary), f.weight)
	}
	return ""
}

func i1DeletedOnlyWithoutTraffic(f facts) string {
	for _, a := range f.d.Actions {
		if a.Kind != ActionRetire {
			continue
		}
		settled := f.o.Traffic.Knowledge == Absent || f.o.Traffic.Knowledge == Present && f.o.Traffic.Settled
		// Where nothing else can serve, no request is saved by waiting for the gateway.
		gone := settled || (f.over == "nothing" || f.neverTold()) && f.o.Traffic.Knowledge == Present
		switch {
		case f.over == "itself":
			return "I1: the serving set is deleted"
		case a.Role == RoleBaseline && (!settled || f.carried.Baseline != 0):
			return "I1: baseline set deleted while it has traffic"
		case a.Role == RoleStable && f.o.Traffic.Lent && f.o.Traffic.Knowledge == Absent && f.d.Status.Phase == v1alpha1.RolloutSucceeded:
			// The route has gone to nobody, and what had gone has come back.
		case a.Role == RoleStable && (f.o.Traffic.Knowledge != Present || f.weight != 100 || !settled || alive(f.o.Canary) == 0 && f.whole > 0):
			return "I1: stable set deleted while it has traffic"
		case f.d.Status.Phase == v1alpha1.RolloutSucceeded && a.Role == RoleStable:
			// What had gone has come back.
		case a.Role == RoleStable && !f.d.Status.Retiring:
			return "I3: stable set deleted without a record"
		case a.Role == RoleStable && !f.o.Status.Retiring && alive(f.o.Canary) < f.whole:
			return "I1: stable set deleted while the new one is not whole"
		case a.Role == RoleCanary && (f.d.Status.Phase != v1alpha1.RolloutAborting && f.d.Status.Phase != v1alpha1.RolloutAborted || f.carried != (Exposure{}) || !gone ||
			f.o.Traffic.Knowledge == Absent && f.over != "nothing" && !f.lentOut()):
			return "I1: canary set deleted while it has traffic"
		}
	}
	return ""
}

// gates says which gate between the step that the observation is in and the one that was moved on to
// did not let pass; empty if all did.
func gates(f facts) string {
	o, is, last := f.o, f.d.Status, lastOf(f.o.Spec)
	through := is.Step - 1
	if is.Phase != v1alpha1.RolloutProgressing {
		through = last
	}
	noRoute := f.over == "nothing" && o.Traffic.Knowledge == Absent && f.was == (Exposure{})
	switch {
	case is.Paused:
		return "paused"
	case o.Older != "" || o.Newer != "":
		return "another Rollout"
	case o.Canary.Knowledge != Present || o.Traffic.Knowledge == Unknown || o.Shared == Unknown || o.Stable.Knowledge == Unknown && f.over == "another":
		return "a fact is unknown"
	case !noRoute && (!o.Traffic.Settled || !o.Traffic.UpToDate || f.carried != f.was):
		return "the route has not settled"
	case !o.Canary.UpToDate || !f.split && alive(o.Canary) < podsToShow(o.Spec, f.whole, f.is):
		return "pods are missing"
	case o.Spec.Strategy.Type != v1alpha1.StrategyCanary && alive(o.Canary) < f.whole:
		return "the set is not whole"
	case alive(o.Baseline) < podsFor(f.whole, f.is.Baseline):
		return "pods of the baseline are missing"
	case f.over == "another" && alive(o.Stable) < f.stableOwed() && !f.overdueStable() && !f.vouched():
		return "the stable set is not whole"
	}
	for step := o.Status.Step; step <= through; step++ {
		if w := waitsFor(f, step); w != "" {
			return fmt.Sprintf("step %d waits for %s", step, w)
		}
	}
	if through > 0 && asksForPass(f, through) {
		return passMissing(f)
	}
	return ""
}

func i2OneAtATime(f facts) string {
	if f.o.Status.Phase == v1alpha1.RolloutPending && f.d.Status.Phase == v1alpha1.RolloutProgressing &&
		(f.o.Older != "" || f.o.Newer != "" || f.o.StableMoved) {
		return "I2: begins while another Rollout is there, or over what no longer serves"
	}
	if f.o.Newer != "" && f.o.Status.Phase == v1alpha1.RolloutProgressing && f.d.Status.AbortCause == nil {
		return "I2: goes on though it is superseded"
	}
	if f.o.Returns && f.o.Status.Phase == v1alpha1.RolloutPromoting && !f.o.Status.Retiring && f.d.Status.Phase != v1alpha1.RolloutAborting &&
		f.o.Spec.Strategy.Type != v1alpha1.StrategyRolling {
		return "I2: goes on though its way back is asked for"
	}
	return ""
}

func i2ApprovalNeedsGates(f facts) string {
	was, is := f.o.Status, f.d.Status
	if f.over == "itself" {
		return ""
	}
	if !walksSteps(f.o.Spec) {
		if is.ApprovedWeight > was.ApprovedWeight && (alive(f.o.Canary) < f.whole || is.Paused || !f.o.Promotion.Allowed || f.o.Newer != "" || f.o.Older != "") {
			return "I2: first install approved without its pods"
		}
		return ""
	}
	if is.Phase == v1alpha1.RolloutProgressing && is.ApprovedWeight != exposureAfter(f.o.Spec, is.Step).Weight {
		return fmt.Sprintf("I4: %d %% are approved, and step %d is of %d", is.ApprovedWeight, is.Step, exposureAfter(f.o.Spec, is.Step).Weight)
	}
	began := was.Phase == v1alpha1.RolloutProgressing && (is.Phase == v1alpha1.RolloutPromoting || is.Phase == v1alpha1.RolloutSucceeded)
	rises := shows(f.is, f.was) && (was.Phase == v1alpha1.RolloutProgressing || was.Phase == v1alpha1.RolloutPending || was.Phase == "")
	switch {
	case !was.Retiring && is.Retiring && (is.DrainStartedAt == nil || f.now.Sub(is.DrainStartedAt.Time) < f.warm() || is.Paused):
		return "I2: retired before it was drained"
	case !began && !shows(f.is, f.was):
		return ""
	case is.Falls > was.Falls && f.is.Weight < f.was.Weight:
		return "" // it fell further than it rose at once; what the route is given is looked at apart
	case is.Falls > was.Falls:
		return "I2: fell back and rose at once"
	case !began && !rises:
		return "I2: raised in phase " + string(was.Phase)
	case rises && !f.o.Promotion.Allowed:
		return "I2: approved though no policy is known to allow it"
	}
	if g := gates(f); g != "" {
		return fmt.Sprintf("I2: %+v approved after %+v though %s", f.is, f.was, g)
	}
	return ""
}

func i2RaiseNeedsApproval(f facts) string {
	if f.over != "another" || f.d.Status.Retiring || f.d.Status.Phase == v1alpha1.RolloutSucceeded {
		return ""
	}
	for _, a := range f.d.Actions {
		grows := f.split && a.Kind == ActionEnsureSet && a.Role == RoleCanary && a.Replicas > f.o.Canary.Desired && f.d.Status.ExposedAt == nil &&
			f.d.Status.Phase == v1alpha1.RolloutProgressing
		stays := f.split && a.Exposure.Weight > 0 && a.Exposure.Weight < 100 // there the pods are the weight
		if !grows && (a.Kind != ActionSetWeight || stays || !shows(a.Exposure, f.carried)) {
			continue
		}
		st := f.d.Status
		switch {
		case !f.known, f.o.Canary.Knowledge != Present && (!grows || f.o.Canary.Knowledge == Unknown), f.o.Stable.Knowledge == Unknown, f.o.Shared == Unknown:
			return "I2: raised on unknown facts"
		case st.Paused:
			return "I2: raised while paused"
		case !f.o.Promotion.Allowed:
			return "I2: raised though no policy is known to allow it"
		case st.ApprovedAt == nil || f.now.Sub(st.ApprovedAt.Time) > time.Minute && (!f.split || f.d.Status.ExposedAt == nil && f.o.Canary.Desired < podsToShow(f.o.Spec, f.whole, f.is)):
			return "I2: raised on a stale approval"
		case alive(f.o.Stable) < f.stableOwed() && !f.overdueStable() && !f.vouched():
			return "I2: raised while the stable set is not whole"
		}
	}
	return ""
}

// i2AsksBeforeRising is about Rise: policies are asked only about what it says, so that what it keeps
// back would never rise.
func i2AsksBeforeRising(f facts) string {
	if f.d.Status.Retiring || f.d.Status.Phase.Terminal() || f.over == "itself" {
		return ""
	}
	rises := shows(f.is, f.was)
	for _, a := range f.d.Actions {
		rises = rises || a.Kind == ActionSetWeight && shows(a.Exposure, f.carried) && (!f.split || a.Exposure.Weight == 100)
	}
	o := f.o
	o.Promotion = Promotion{}
	if _, _, asked := Rise(o, f.now); rises && !asked && f.d.Status.Falls == f.o.Status.Falls {
		return fmt.Sprintf("I2: %+v rises from %+v, and no policy was asked", f.is, f.carried)
	}
	return ""
}
