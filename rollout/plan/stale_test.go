package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// manager is one of several that look after the same Rollout. Each has its own picture, whose parts
// are of different ages. A status that is not of the newest version is refused by the API server, and
// then nothing is done; what was decided on the newest may be done long after.
type manager struct {
	o       Observation
	version int
	late    []late
}

type late struct {
	due     time.Time
	version int
	a       Action
}

// crowd is a world with managers.
type crowd struct {
	*world
	version  int
	managers []*manager
	// approved is the most that was ever approved, by any status.
	approved int32
	retiring bool
	refused  int
}

// look lets a manager see some parts of the world as they are now; the others stay as they were, and
// some cannot be read.
func (c *crowd) look(m *manager, r *rand.Rand) {
	o := c.observe()
	some := func() bool { return r.IntN(3) > 0 }
	if some() {
		m.o.Status, m.version = o.Status, c.version
		m.o.Job, m.o.Answers = o.Job, o.Answers
	}
	if some() {
		m.o.Stable = o.Stable
	}
	if some() {
		m.o.Canary, m.o.Baseline = o.Canary, o.Baseline
	}
	if some() {
		m.o.Traffic, m.o.Shared = o.Traffic, o.Shared
	}
	if some() {
		m.o.Commands, m.o.Promotion = o.Commands, o.Promotion
	}
	if some() {
		m.o.Newer, m.o.Older = o.Newer, o.Older
	}
	switch r.IntN(20) {
	case 0:
		m.o.Canary, m.o.Baseline = Set{Autoscaled: m.o.Canary.Autoscaled}, Set{}
	case 1:
		m.o.Stable = Set{Autoscaled: m.o.Stable.Autoscaled}
	case 2:
		m.o.Traffic = Traffic{}
	}
	if c.inPlace() {
		m.o.Stable = m.o.Canary
	}
}

// decide lets a manager decide on what it has seen, twice at times, and do it, or some of it later.
func (c *crowd) decide(t *testing.T, story string, m *manager, r *rand.Rand) bool {
	t.Helper()
	for range 1 + r.IntN(2) {
		d := Next(m.o, c.now)
		if !c.sound(t, story, m.o, d) {
			return false
		}
		if m.version != c.version {
			c.refused++
			continue
		}
		if !sameStatus(&d.Status, &m.o.Status) {
			c.version++
		}
		c.status = *d.Status.DeepCopy()
		c.approved = max(c.approved, d.Status.ApprovedWeight)
		c.retiring = c.retiring || d.Status.Retiring || d.Status.Phase == v1alpha1.RolloutSucceeded
		m.version = c.version
		at := c.now
		for _, a := range d.Actions {
			if r.IntN(6) == 0 {
				at = at.Add(time.Duration(r.IntN(90)) * time.Second)
			}
			m.late = append(m.late, late{at, c.version, a})
		}
		c.work(t, story, m)
	}
	return true
}

// work does what is due of what a manager has decided, in order.
func (c *crowd) work(t *testing.T, story string, m *manager) {
	t.Helper()
	for len(m.late) > 0 && !m.late[0].due.After(c.now) {
		l := m.late[0]
		m.late = m.late[1:]
		switch {
		case l.a.Kind == ActionMeasure && l.version != c.version:
			continue // the round is written to a status that is not the newest
		case l.a.Kind == ActionMeasure:
			c.version++
			m.version = c.version
		case l.a.Kind == ActionRetire && l.a.Role == RoleStable && !c.retiring:
			t.Errorf("%s: I3: the stable set is deleted, and nobody has decided it", story)
		case l.a.Kind == ActionSetWeight && !c.inPlace() && !c.spec.Strategy.DynamicStableScale && l.a.Exposure.Weight > c.approved:
			t.Errorf("%s: I4: %+v is set, and no more than %d %% was ever approved", story, l.a.Exposure, c.approved)
		}
		c.act(l.a)
	}
}

// TestRandomWalksOfManagersWithOldPictures lets two managers act on pictures of which each part has its own age,
// are missing or come twice, each doing some of what it decided minutes later, while people and the
// cluster do what they do. Each decision is held to the invariants by what it saw; what is set was
// approved once; and when one of them is gone the other brings the Rollout to a good end.
func TestRandomWalksOfManagersWithOldPictures(t *testing.T) {
	t.Parallel()
	walks := uint64(200)
	if testing.Short() {
		walks = 25
	}
	for name, spec := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused, ends := 0, map[v1alpha1.RolloutPhase]int{}
			for seed := range walks {
				r := rand.New(rand.NewPCG(seed, 13))
				w := newWorld(spec())
				w.load = loads[name]
				c := &crowd{world: w, managers: []*manager{{}, {}}}
				story := fmt.Sprintf("seed %d", seed)
				for _, m := range c.managers {
					m.o, m.version = w.observe(), c.version
				}
				for range 120 {
					m := c.managers[r.IntN(2)]
					c.look(m, r)
					if !c.decide(t, story, m, r) {
						return
					}
					if r.IntN(4) == 0 {
						w.disturb(r)
						w.attend()
					}
					w.tick(time.Duration(r.IntN(12)) * time.Second)
					for _, m := range c.managers {
						c.work(t, story, m)
					}
				}
				refused += c.refused
				ends[w.status.Phase]++
				w.calm()
				w.now = w.now.Add(2 * time.Minute)
				for _, m := range slices.Backward(c.managers) {
					c.work(t, story, m)
				}
				taken := w.newer != "" && w.status.Phase.Terminal()
				w.settle(t, story+"; one is left")
				if !t.Failed() && !taken && !w.wellEnded() {
					t.Errorf("%s; one is left: I6: ended as %s: %s", story, w.outcome(), w.status.Message)
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%d decisions were too late; walks ended %v", refused, ends)
		})
	}
}
