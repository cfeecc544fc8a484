package sync

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func equal(a, b *v1alpha1.TemplateSyncStatus) bool { return reflect.DeepEqual(a, b) }

// TestRandomWalks lets people, teams and time do what they like while the sync is killed
// between its writes, and then lets the world come to rest.
func TestRandomWalks(t *testing.T) {
	t.Parallel()
	walks := 20000
	if testing.Short() {
		walks = 2000
	}
	ends := map[v1alpha1.SyncPhase]int{}
	for seed := range walks {
		w := newWorld(rand.New(rand.NewPCG(uint64(seed), 1)))
		for range 60 {
			switch w.random.IntN(3) {
			case 0:
				w.happen()
			case 1:
				w.release(w.services[w.random.IntN(len(w.services))])
			default:
				w.sync(w.random.IntN(6))
			}
		}
		w.rest(t, seed)
		ends[w.status.Phase]++
		if len(w.faults) > 0 {
			t.Fatalf("walk %d: %s\n%s", seed, strings.Join(w.faults, "\n"), strings.Join(w.trace, "\n"))
		}
	}
	t.Logf("walks end %v", ends)
	for _, phase := range []v1alpha1.SyncPhase{v1alpha1.SyncSynced, v1alpha1.SyncHalted, v1alpha1.SyncPaused, v1alpha1.SyncSyncing} {
		if ends[phase] == 0 {
			t.Errorf("no walk ends %s: the world is too small", phase)
		}
	}
}

// rest lets nothing happen any more, and checks where that ends.
func (w *world) rest(t *testing.T, seed int) {
	t.Helper()
	w.frozen = false
	quiet := 0
	for range 400 {
		_, wrote := w.sync(1000)
		before := make([]service, 0, len(w.services))
		for _, s := range w.services {
			before = append(before, *s)
			if s.Rollout != nil {
				copied := *s.Rollout
				before[len(before)-1].Rollout = &copied
			}
			w.release(s)
		}
		for i, s := range w.services {
			wrote = wrote || !reflect.DeepEqual(before[i], *s)
		}
		if quiet++; wrote {
			quiet = 0
		}
		if quiet == 3 {
			break
		}
		w.now = w.now.Add(time.Minute)
	}
	if quiet < 3 {
		t.Fatalf("walk %d: I5: it does not come to rest:\n%s", seed, strings.Join(w.trace[max(0, len(w.trace)-40):], "\n"))
	}
	if len(w.commands) > 0 {
		w.fault("commands are not answered: %+v", w.commands)
	}
	w.checkEnd()
}

// checkEnd holds the world at rest to what has to hold.
func (w *world) checkEnd() {
	st := w.status
	switch {
	case st.Target != w.name() && st.RolledBackFrom != w.name():
		w.fault("the target is %s, want %s", st.Target, w.name())
	case st.Phase == v1alpha1.SyncSoaking:
		w.fault("it soaks for ever")
	case st.Phase == v1alpha1.SyncSyncing && st.Reason != ReasonUnproven:
		w.fault("it stays at %s: %s", st.Reason, st.Message)
	}
	for _, s := range w.services {
		if !s.Free {
			if s.Assigned != nil {
				w.fault("%s pins a revision and is assigned %s", s.Name, s.Assigned.Name)
			}
			continue
		}
		if s.Assigned == nil || w.spec.Type == v1alpha1.SyncManual && s.Assigned.Generation != s.Generation {
			w.fault("%s of generation %d is assigned %+v", s.Name, s.Generation, s.Assigned)
			continue
		}
		if got := w.choose(s); got != s.Assigned.Name {
			w.fault("%s is assigned %s and follows %s", s.Name, s.Assigned.Name, got)
		}
		left := s.paused && s.Rollout != nil && s.Rollout.Paused
		if st.Phase == v1alpha1.SyncSynced && w.spec.Type != v1alpha1.SyncManual && s.Assigned.Name != st.Target && !left {
			w.fault("%s is left on %s", s.Name, s.Assigned.Name)
		}
	}
}
