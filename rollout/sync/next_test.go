package sync

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestNext(t *testing.T) {
	t.Parallel()
	immediate := v1alpha1.TemplateSync{Type: v1alpha1.SyncImmediate, MaxConcurrent: 20}
	manual := v1alpha1.TemplateSync{Type: v1alpha1.SyncManual}
	ab := staged(team("a", soak(time.Minute)), team("b"))
	synced := func(waves ...string) *v1alpha1.TemplateSyncStatus {
		s := underWay(int32(len(waves))+1, v1alpha1.SyncSynced, waves...)
		s.Target, s.From = "web-1", ""
		return s
	}
	for name, c := range map[string]struct {
		o Observation
		// after is how long after the start it is.
		after time.Duration
		// stands is "phase wave reason".
		stands string
		gives  string
		waits  string
		// again is when it is to be decided again.
		again time.Duration
	}{
		"a first revision goes to those that wait for it": {
			o:      observation(immediate, nil, fresh("a/x"), fresh("b/y")),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "a/x web-2, b/y web-2", waits: "a/x Moving, b/y Moving",
		},
		"an immediate sync gives the target to all at once": {
			o:      observation(immediate, synced(), of("a/x", "web-1"), of("b/y", "web-1")),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "a/x web-2, b/y web-2", waits: "a/x Queued, b/y Queued",
		},
		"an immediate sync has no more under way than it may": {
			o: observation(v1alpha1.TemplateSync{MaxConcurrent: 2}, underWay(1, v1alpha1.SyncSyncing),
				of("a/x", "web-1", moves), of("a/y", "web-1"), of("a/z", "web-1"), of("a/w", "web-2")),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "a/z web-2", waits: "a/x Moving, a/y Queued, a/z Queued",
			again: 2 * time.Hour,
		},
		"an immediate sync is not halted by failures, and ends": {
			o:      observation(immediate, underWay(1, v1alpha1.SyncSyncing), of("a/x", "web-1", fails), of("a/y", "web-2")),
			stands: "Synced 1 TG-SYNC-SYNCED", waits: "a/x Failed",
		},
		"nothing is done at rest": {
			o:      observation(immediate, underWay(1, v1alpha1.SyncSynced), of("a/x", "web-2"), of("a/y", "web-2")),
			stands: "Synced 1 TG-SYNC-SYNCED",
		},
		"a Release that comes when the sync is through gets the target": {
			o:      observation(immediate, underWay(1, v1alpha1.SyncSynced), of("a/x", "web-2"), of("a/y", "web-1", unassigned)),
			stands: "Synced 1 TG-SYNC-SYNCED", gives: "a/y web-2", waits: "a/y Queued",
		},

		"a staged sync begins with its first wave": {
			o:      observation(ab, synced("a", "b"), of("a/x", "web-1"), of("b/y", "web-1"), of("c/z", "web-1")),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "a/x web-2", waits: "a/x Queued, b/y Queued, c/z Queued",
		},
		"a wave waits for its Releases": {
			o: observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"),
				of("a/x", "web-1", moves), of("a/v", "web-2"), of("b/y", "web-1")),
			after: time.Hour, stands: "Syncing 1 TG-SYNC-MOVING", waits: "a/x Moving, b/y Queued", again: time.Hour,
		},
		"a wave that has been given the target and has not taken it up is waited for": {
			o:      observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-1", given("web-2")), of("b/y", "web-1")),
			stands: "Syncing 1 TG-SYNC-MOVING", waits: "a/x Moving, b/y Queued", again: 2 * time.Hour,
		},
		"one that does not take up the target, for reasons that pass, is waited for": {
			o: observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"),
				of("a/x", "web-1", rolling("web-1", v1alpha1.RolloutAborted), func(r *Release) {
					r.Assigned.Name, r.Tried = "web-2", "web-2"
				}), of("b/y", "web-1")),
			stands: "Syncing 1 TG-SYNC-MOVING", waits: "a/x Moving, b/y Queued", again: 2 * time.Hour,
		},
		"one that has taken it up, and whose Rollout waits for another to end, is waited for": {
			o: observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"),
				of("a/x", "web-1", rolling("web-1", v1alpha1.RolloutSucceeded), func(r *Release) {
					r.Assigned.Name, r.Tried, r.Has = "web-2", "web-2", "web-2"
				}), of("b/y", "web-1")),
			stands: "Syncing 1 TG-SYNC-MOVING", waits: "a/x Moving, b/y Queued", again: 2 * time.Hour,
		},
		"one whose spec has changed since is waited for": {
			o: observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"),
				of("a/x", "web-2", func(r *Release) { r.Generation, r.Assigned.Generation = 2, 2 }), of("b/y", "web-1")),
			stands: "Syncing 1 TG-SYNC-MOVING", waits: "a/x Moving, b/y Queued", again: 2 * time.Hour,
		},
		"a wave that has settled is watched": {
			o:      observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2"), of("b/y", "web-1")),
			stands: "Soaking 1 TG-SYNC-SOAKING", waits: "b/y Queued", again: time.Minute,
		},
		"a wave that was watched for long enough is followed by the next": {
			o: observation(ab, func() *v1alpha1.TemplateSyncStatus {
				s := underWay(1, v1alpha1.SyncSoaking, "a", "b")
				s.SettledAt = at(0)
				return s
			}(), of("a/x", "web-2"), of("b/y", "web-1")),
			after: time.Minute, stands: "Syncing 2 TG-SYNC-MOVING", gives: "b/y web-2", waits: "b/y Queued",
		},
		"what a team does while its wave is watched makes that no longer": {
			o: observation(ab, func() *v1alpha1.TemplateSyncStatus {
				s := underWay(1, v1alpha1.SyncSoaking, "a", "b")
				s.SettledAt = at(0)
				return s
			}(), of("a/x", "web-1", moves), of("b/y", "web-1")),
			after: 30 * time.Second, stands: "Soaking 1 TG-SYNC-SOAKING", waits: "a/x Moving, b/y Queued", again: 30 * time.Second,
		},
		"one of a later wave that is stuck on its way to what nobody wants any more takes the room until it is late": {
			o:     newer(staged(team("a"), team("b")), 1, of("a/x", "web-1"), of("b/y", "web-1", moves)),
			after: time.Hour, stands: "Syncing 1 TG-SYNC-MOVING", waits: "a/x Queued, b/y Queued", again: time.Hour,
		},
		"one of a later wave that is late on its way to what nobody wants any more keeps nobody waiting": {
			o:     newer(staged(team("a"), team("b")), 1, of("a/x", "web-1"), of("b/y", "web-1", moves)),
			after: 2 * time.Hour, stands: "Syncing 1 TG-SYNC-MOVING", gives: "a/x web-3", waits: "a/x Queued, b/y Queued",
		},
		"one that is turned back has settled only when it has taken that up": {
			o: observation(immediate, func() *v1alpha1.TemplateSyncStatus {
				s := underWay(1, v1alpha1.SyncSyncing)
				s.Target, s.From, s.RolledBackFrom = "web-1", "", "web-2"
				return s
			}(), of("a/x", "web-1", moves, given("web-1"))),
			stands: "Syncing 1 TG-SYNC-ROLLBACK", waits: "a/x Moving", again: 2 * time.Hour,
		},
		"an empty wave is passed": {
			o:      observation(ab, synced("a", "b"), of("b/y", "web-1"), of("c/z", "web-1")),
			stands: "Syncing 2 TG-SYNC-MOVING", gives: "b/y web-2", waits: "b/y Queued, c/z Queued",
		},
		"what no wave selects comes last": {
			o:      observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2"), of("b/y", "web-2"), of("c/z", "web-1")),
			stands: "Syncing 3 TG-SYNC-MOVING", gives: "c/z web-2", waits: "c/z Queued",
		},
		"a sync ends when the rest has settled": {
			o:      observation(ab, underWay(3, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2"), of("b/y", "web-2"), of("c/z", "web-2")),
			stands: "Synced 3 TG-SYNC-SYNCED",
		},
		"a template without Releases is synced at once": {
			o: observation(ab, synced("a", "b")), stands: "Synced 3 TG-SYNC-SYNCED",
		},

		"one in which a person has brought another revision back is no proof of the target, and is not waited for": {
			o:      observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2", broughtBack), of("a/v", "web-2"), of("b/y", "web-1")),
			stands: "Soaking 1 TG-SYNC-SOAKING", waits: "a/x Broken, b/y Queued", again: time.Minute,
		},
		"it is given the target all the same, for the day on which its team applies it": {
			o:      observation(immediate, underWay(1, v1alpha1.SyncSynced), of("a/x", "web-1", broughtBack)),
			stands: "Synced 1 TG-SYNC-SYNCED", gives: "a/x web-2", waits: "a/x Queued",
		},
		"a failure halts the sync": {
			o:      observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-1", fails), of("a/v", "web-1"), of("b/y", "web-1")),
			stands: "Halted 1 TG-SYNC-HALTED", waits: "a/x Failed, a/v Queued, b/y Queued",
		},
		"a Rollout that is being taken back has failed": {
			o: observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"),
				of("a/x", "web-1", rolling("web-2", v1alpha1.RolloutAborting)), of("b/y", "web-1")),
			stands: "Halted 1 TG-SYNC-HALTED", waits: "a/x Failed, b/y Queued",
		},
		"a Rollout that another one took over from has not failed": {
			o: observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"),
				of("a/x", "web-1", rolling("web-2", v1alpha1.RolloutAborted, blameless)), of("b/y", "web-1")),
			stands: "Syncing 1 TG-SYNC-MOVING", waits: "a/x Moving, b/y Queued", again: 2 * time.Hour,
		},
		"as many failures as a wave may have do not halt it": {
			o: observation(staged(team("a", mayFail(1)), team("b")), underWay(1, v1alpha1.SyncSyncing, "a", "b"),
				of("a/x", "web-1", fails), of("a/v", "web-2"), of("b/y", "web-1")),
			stands: "Syncing 2 TG-SYNC-MOVING", gives: "b/y web-2", waits: "a/x Failed, b/y Queued",
		},
		"a failure of an earlier wave that comes late halts too": {
			o:      observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-1", fails), of("a/v", "web-2"), of("b/y", "web-1")),
			stands: "Halted 2 TG-SYNC-HALTED", waits: "a/x Failed, b/y Queued",
		},
		"a failure while the wave is watched halts too": {
			o: observation(ab, func() *v1alpha1.TemplateSyncStatus {
				s := underWay(1, v1alpha1.SyncSoaking, "a", "b")
				s.SettledAt = at(0)
				return s
			}(), of("a/x", "web-1", fails), of("a/v", "web-2"), of("b/y", "web-1")),
			after: 2 * time.Minute, stands: "Halted 1 TG-SYNC-HALTED", waits: "a/x Failed, b/y Queued",
		},
		"what halted stays so when the failure is mended": {
			o:      observation(ab, underWay(1, v1alpha1.SyncHalted, "a", "b"), of("a/x", "web-2"), of("b/y", "web-1")),
			stands: "Halted 1 TG-SYNC-HALTED", waits: "b/y Queued",
		},
		"a failure of a Release that had settled is its team's own": {
			o: observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"),
				of("a/x", "web-2", rolling("web-2", v1alpha1.RolloutAborted)), of("b/y", "web-1")),
			stands: "Syncing 2 TG-SYNC-MOVING", gives: "b/y web-2", waits: "b/y Queued",
		},
		"a failure after the sync was through halts nothing": {
			o:      observation(ab, underWay(3, v1alpha1.SyncSynced, "a", "b"), of("a/x", "web-1", fails), of("b/y", "web-2")),
			stands: "Synced 3 TG-SYNC-SYNCED", waits: "a/x Failed",
		},

		"a paused Release is not waited for": {
			o:      observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("b/x", "web-1", pauses), of("b/y", "web-2"), of("c/z", "web-1")),
			stands: "Syncing 3 TG-SYNC-MOVING", gives: "c/z web-2", waits: "b/x Paused, c/z Queued",
		},
		"one that waits for an approval is not waited for": {
			o: observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"),
				of("b/x", "web-1", rolling("web-2", v1alpha1.RolloutProgressing, waits)), of("b/y", "web-2"), of("c/z", "web-1")),
			stands: "Syncing 3 TG-SYNC-MOVING", gives: "c/z web-2", waits: "b/x Paused, c/z Queued",
		},
		"one that was paused before is left alone, and not waited for": {
			o: observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"),
				of("b/x", "web-1", rolling("web-1", v1alpha1.RolloutProgressing, stopped)), of("b/y", "web-2"), of("c/z", "web-1")),
			stands: "Syncing 3 TG-SYNC-MOVING", gives: "c/z web-2", waits: "b/x Paused, c/z Queued",
		},
		"one that does not render is not waited for": {
			o:      observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("b/x", "web-1", breaks), of("b/y", "web-2"), of("c/z", "web-1")),
			stands: "Syncing 3 TG-SYNC-MOVING", gives: "c/z web-2", waits: "b/x Broken, c/z Queued",
		},
		"one that did not render before is given the target, and waited for until it has been tried": {
			o: observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"),
				of("b/x", "web-1", given("web-2"), func(r *Release) { r.Phase = v1alpha1.ReleaseInvalid }), of("b/y", "web-2"), of("c/z", "web-1")),
			stands: "Syncing 2 TG-SYNC-MOVING", waits: "b/x Moving, c/z Queued", again: 2 * time.Hour,
		},
		"one that was rejected before, and that the target does not change, is not waited for": {
			o: observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"),
				of("b/x", "web-1", rolling("web-1", v1alpha1.RolloutAborted), func(r *Release) {
					r.Assigned.Name, r.Has, r.Tried = "web-2", "web-2", "web-2"
				}), of("b/y", "web-2"), of("c/z", "web-1")),
			stands: "Syncing 3 TG-SYNC-MOVING", gives: "c/z web-2", waits: "b/x Broken, c/z Queued",
		},
		"one that is late is not waited for": {
			o:     observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("b/x", "web-1", moves), of("b/y", "web-2"), of("c/z", "web-1")),
			after: 2 * time.Hour, stands: "Syncing 3 TG-SYNC-MOVING", gives: "c/z web-2", waits: "b/x Late, c/z Queued",
		},
		"one that is not waited for is not under way": {
			o: observation(func() v1alpha1.TemplateSync {
				s := ab
				s.MaxConcurrent = 1
				return s
			}(), underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("b/x", "web-1", pauses), of("b/y", "web-1")),
			stands: "Syncing 2 TG-SYNC-MOVING", gives: "b/y web-2", waits: "b/x Paused, b/y Queued",
		},
		"a wave of which none has settled proves nothing": {
			o:      observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-1", pauses), of("a/y", "web-1", breaks), of("b/y", "web-1")),
			stands: "Syncing 1 TG-SYNC-UNPROVEN", waits: "a/x Paused, a/y Broken, b/y Queued",
		},
		"one that was paused gets the target when it goes on, though its wave has passed": {
			o:      observation(ab, underWay(3, v1alpha1.SyncSynced, "a", "b"), of("a/x", "web-1"), of("b/y", "web-2")),
			stands: "Synced 3 TG-SYNC-SYNCED", gives: "a/x web-2", waits: "a/x Queued",
		},

		"a new Release starts from the last revision that was good": {
			o:      observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/v", "web-1", moves), fresh("a/x"), fresh("b/y")),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "a/x web-1, b/y web-1", waits: "a/v Moving, a/x Queued, b/y Queued", again: 2 * time.Hour,
		},
		"a new Release is not moved before its first Rollout has ended": {
			o: observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/v", "web-2"),
				of("a/x", "web-1", rolling("web-1", v1alpha1.RolloutProgressing, first)), of("b/y", "web-1")),
			stands: "Soaking 1 TG-SYNC-SOAKING", waits: "a/x Queued, b/y Queued", again: time.Minute,
		},
		"a pin is left alone, and what was assigned before is taken back": {
			o: observation(immediate, underWay(1, v1alpha1.SyncSynced), of("a/x", "web-1", pinned), of("a/y", "web-1", func(r *Release) {
				r.Free = false
			})),
			stands: "Synced 1 TG-SYNC-SYNCED", gives: "a/y nothing",
		},
		"a changed spec keeps its assignment, which is not written anew": {
			o:      observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-1", moves), of("b/y", "web-1", func(r *Release) { r.Generation = 2 })),
			stands: "Syncing 1 TG-SYNC-MOVING", waits: "a/x Moving, b/y Queued", again: 2 * time.Hour,
		},
		"what was assigned and is gone is replaced by what the Release has": {
			o: observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-1", moves),
				of("b/y", "web-1", func(r *Release) { r.Assigned.Name = "web-0" })),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "b/y web-1", waits: "a/x Moving, b/y Queued", again: 2 * time.Hour,
		},

		"a new revision in mid-sync begins with the first wave, and those under way move on": {
			o: func() Observation {
				o := observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2"), of("b/y", "web-1", moves))
				o.Latest, o.Revisions = "web-3", append(o.Revisions, Revision{"web-3", 3})
				return o
			}(),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "a/x web-3", waits: "a/x Queued, b/y Queued",
		},
		"a new revision moves a halted sync on": {
			o: func() Observation {
				o := observation(ab, underWay(1, v1alpha1.SyncHalted, "a", "b"), of("a/x", "web-1", fails), of("b/y", "web-1"))
				o.Latest, o.Revisions = "web-3", append(o.Revisions, Revision{"web-3", 3})
				return o
			}(),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "a/x web-3", waits: "a/x Queued, b/y Queued",
		},
		"a pause holds against a new revision": {
			o: func() Observation {
				o := observation(ab, underWay(3, v1alpha1.SyncPaused, "a", "b"), of("a/x", "web-2"), of("b/y", "web-2"))
				o.Latest, o.Revisions = "web-3", append(o.Revisions, Revision{"web-3", 3})
				return o
			}(),
			stands: "Paused 0 TG-SYNC-PAUSED", waits: "a/x Queued, b/y Queued",
		},
		"those under way to what nobody wants any more go first, and need no room": {
			o: func() Observation {
				o := observation(v1alpha1.TemplateSync{MaxConcurrent: 1}, underWay(1, v1alpha1.SyncSyncing), of("a/x", "web-1"), of("b/y", "web-1", moves))
				o.Latest, o.Revisions = "web-3", append(o.Revisions, Revision{"web-3", 3})
				return o
			}(),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "b/y web-3", waits: "a/x Queued, b/y Queued",
		},

		"with a manual sync nobody is given anything": {
			o:      observation(manual, synced(), of("a/x", "web-1"), of("a/y", "web-1")),
			stands: "Synced 1 TG-SYNC-MANUAL", waits: "a/x Queued, a/y Queued",
		},
		"with a manual sync a changed spec takes the target": {
			o:      observation(manual, synced(), of("a/x", "web-1", func(r *Release) { r.Generation = 2 }), of("a/y", "web-1")),
			stands: "Synced 1 TG-SYNC-MANUAL", gives: "a/x web-2", waits: "a/x Queued, a/y Queued",
		},
		"with a manual sync a new Release takes the target": {
			o:      observation(manual, synced(), fresh("a/x")),
			stands: "Synced 1 TG-SYNC-MANUAL", gives: "a/x web-2", waits: "a/x Queued",
		},
		"what was manual and becomes staged begins with the first wave": {
			o: observation(ab, func() *v1alpha1.TemplateSyncStatus {
				s := underWay(1, v1alpha1.SyncSynced)
				s.Reason = ReasonManual
				return s
			}(), of("a/x", "web-1"), of("b/y", "web-1")),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "a/x web-2", waits: "a/x Queued, b/y Queued",
		},

		"a wave that was edited is found again by its name": {
			o: observation(staged(team("new"), team("a"), team("b")), underWay(2, v1alpha1.SyncSyncing, "a", "b"),
				of("new/w", "web-1"), of("a/x", "web-2"), of("b/y", "web-1", moves)),
			stands: "Syncing 3 TG-SYNC-MOVING", gives: "new/w web-2", waits: "b/y Moving, new/w Queued", again: 2 * time.Hour,
		},
		"a wave that was removed begins the sync anew": {
			o:      observation(staged(team("b")), underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2"), of("b/y", "web-1")),
			stands: "Syncing 1 TG-SYNC-MOVING", gives: "b/y web-2", waits: "b/y Queued",
		},
		"waves that are edited when the sync is through change nothing": {
			o:      observation(staged(team("b"), team("c")), underWay(3, v1alpha1.SyncSynced, "a", "b"), of("a/x", "web-2")),
			stands: "Synced 3 TG-SYNC-SYNCED",
		},
		"waves that make no sense hold everything": {
			o: observation(staged(v1alpha1.SyncWave{Name: "a", Selector: &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "x", Operator: "Near"}},
			}}), synced("a"), of("a/x", "web-1")),
			stands: "Syncing 0 TG-SYNC-INVALID",
		},
		"a target that is gone holds everything": {
			o: func() Observation {
				o := observation(immediate, underWay(1, v1alpha1.SyncSyncing), of("a/x", "web-1"))
				o.Revisions = o.Revisions[:1]
				return o
			}(),
			stands: "Syncing 1 TG-SYNC-INVALID", waits: "a/x Queued",
		},
		"what a rollback turned away from is not taken up again": {
			o: observation(ab, func() *v1alpha1.TemplateSyncStatus {
				s := underWay(1, v1alpha1.SyncSynced)
				s.Target, s.From, s.RolledBackFrom = "web-1", "", "web-2"
				return s
			}(), of("a/x", "web-1"), of("b/y", "web-1")),
			stands: "Synced 1 TG-SYNC-ROLLBACK",
		},
		"a rollback takes no waves, waits for nobody and is not halted": {
			o: observation(ab, func() *v1alpha1.TemplateSyncStatus {
				s := underWay(1, v1alpha1.SyncSyncing)
				s.Target, s.From, s.RolledBackFrom = "web-1", "", "web-2"
				return s
			}(), of("a/x", "web-1", pauses), of("b/y", "web-1", fails), of("c/z", "web-2")),
			stands: "Syncing 1 TG-SYNC-ROLLBACK", gives: "a/x web-1, b/y web-1, c/z web-1", waits: "a/x Queued, b/y Queued, c/z Queued",
		},
		"with a manual sync a rollback takes back those that are on a newer revision": {
			o: func() Observation {
				o := observation(manual, func() *v1alpha1.TemplateSyncStatus {
					s := underWay(1, v1alpha1.SyncSyncing)
					s.Target, s.From, s.RolledBackFrom = "web-2", "", "web-3"
					return s
				}(), of("a/x", "web-1"), of("b/y", "web-3"), of("c/z", "web-2"))
				o.Latest, o.Revisions = "web-3", append(o.Revisions, Revision{"web-3", 3})
				return o
			}(),
			stands: "Syncing 1 TG-SYNC-ROLLBACK", gives: "b/y web-2", waits: "b/y Queued, a/x Queued",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Next(c.o, start.Add(c.after))
			slices.SortFunc(d.Assign, func(a, b Assignment) int { return strings.Compare(a.Namespace+a.Name, b.Namespace+b.Name) })
			if got := fmt.Sprintf("%s %d %s", d.Status.Phase, d.Status.Wave, d.Status.Reason); got != c.stands {
				t.Errorf("it stands at %q, want %q: %s", got, c.stands, d.Status.Message)
			}
			if got := gave(d); sorted(got) != sorted(c.gives) {
				t.Errorf("it gives %q, want %q", got, c.gives)
			}
			if got := waitingFor(d); sorted(got) != sorted(c.waits) {
				t.Errorf("those wait: %q, want %q", got, c.waits)
			}
			if d.RequeueAfter != c.again {
				t.Errorf("it is to be decided again after %s, want %s", d.RequeueAfter, c.again)
			}
			if d.Ask != "" {
				t.Errorf("it asks about wave %s", d.Ask)
			}
			o := c.o
			o.Status = d.Status
			for range d.Assign {
				return // the world changes
			}
			if diff := cmp.Diff(d, Next(o, start.Add(c.after))); diff != "" {
				t.Errorf("I5: a second look says something else (-first +second):\n%s", diff)
			}
		})
	}
}

// sorted sorts what is listed with commas.
func sorted(list string) string {
	words := strings.Split(list, ", ")
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// newer is in the first wave of a sync from web-1 to web-3, which was published while one to
// web-2 was under way. So many Releases may be under way at a time.
func newer(spec v1alpha1.TemplateSync, concurrent int32, releases ...Release) Observation {
	spec.MaxConcurrent = concurrent
	status := underWay(1, v1alpha1.SyncSyncing, "a", "b")
	status.Target = "web-3"
	o := observation(spec, status, releases...)
	o.Latest, o.Revisions = "web-3", append(o.Revisions, Revision{"web-3", 3})
	return o
}

func TestCommands(t *testing.T) {
	t.Parallel()
	ab := staged(team("a"), team("b"))
	manual := v1alpha1.TemplateSync{Type: v1alpha1.SyncManual}
	halted := underWay(1, v1alpha1.SyncHalted, "a", "b")
	for name, c := range map[string]struct {
		o        Observation
		commands []Command
		stands   string
		gives    string
		// answers is "Outcome message" of each, cut to what is given here.
		answers []string
	}{
		"a pause holds the sync": {
			o:        observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2"), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplatePause, 0)},
			stands:   "Paused 2", answers: []string{"Applied paused: no further Release gets web-2"},
		},
		"a pause when the sync is through holds the next one": {
			o:        observation(ab, underWay(3, v1alpha1.SyncSynced, "a", "b"), of("a/x", "web-2")),
			commands: []Command{command(v1alpha1.TemplatePause, 0)},
			stands:   "Paused 3", answers: []string{"Applied paused"},
		},
		"a manual sync cannot be paused": {
			o:        observation(manual, underWay(1, v1alpha1.SyncSynced), of("a/x", "web-2")),
			commands: []Command{command(v1alpha1.TemplatePause, 0)},
			stands:   "Synced 1", answers: []string{"Refused TG-COMMAND-UNFIT: the sync is of type Manual"},
		},
		"a resume ends a pause": {
			o:        observation(ab, underWay(2, v1alpha1.SyncPaused, "a", "b"), of("a/x", "web-2"), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplateResume, 0)},
			stands:   "Syncing 2", gives: "b/y web-2", answers: []string{"Applied resumed"},
		},
		"a resume after the sync was through returns there": {
			o:        observation(ab, Next(withCommand(observation(ab, underWay(3, v1alpha1.SyncSynced, "a", "b"), of("a/x", "web-2")), command(v1alpha1.TemplatePause, 0)), start).Status, of("a/x", "web-2")),
			commands: []Command{command(v1alpha1.TemplateResume, 0)},
			stands:   "Synced 3", answers: []string{"Applied resumed"},
		},
		"a resume accepts the failures, and the sync goes on": {
			o:        observation(ab, halted, of("a/x", "web-1", fails), of("a/v", "web-2"), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplateResume, 0)},
			stands:   "Syncing 2", gives: "b/y web-2", answers: []string{"Applied resumed: 1 failed are accepted"},
		},
		"a resume accepts a wave of which all have failed": {
			o:        observation(ab, halted, of("a/x", "web-1", fails), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplateResume, 0)},
			stands:   "Syncing 2", gives: "b/y web-2", answers: []string{"Applied resumed: 1 failed are accepted"},
		},
		"a resume goes on without a proof": {
			o:        observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-1", pauses), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplateResume, 0)},
			stands:   "Syncing 2", gives: "b/y web-2", answers: []string{"Applied goes on to the next wave, though none of wave a has settled"},
		},
		"a resume of what goes on is refused": {
			o:        observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2"), of("b/y", "web-1", moves)),
			commands: []Command{command(v1alpha1.TemplateResume, 0)},
			stands:   "Syncing 2", answers: []string{"Refused TG-COMMAND-UNFIT: the sync to web-2 is neither paused nor halted"},
		},
		"a rollback gives an earlier revision to all at once": {
			o:        observation(ab, halted, of("a/x", "web-1", fails), of("a/v", "web-2"), of("b/y", "web-1"), of("c/z", "web-1", given("web-2"))),
			commands: []Command{command(v1alpha1.TemplateRollback, 1)},
			stands:   "Syncing 1", gives: "a/v web-1, a/x web-1, c/z web-1", answers: []string{"Applied web-1 is the target for all Releases at once; web-2 is not taken up again"},
		},
		"a rollback to what is not there is refused": {
			o:        observation(ab, halted, of("a/x", "web-1", fails), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplateRollback, 7)},
			stands:   "Halted 1", answers: []string{"Refused TG-COMMAND-UNFIT: there is no revision 7; there is 1, 2"},
		},
		"a rollback to the target is refused": {
			o:        observation(ab, halted, of("a/x", "web-1", fails), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplateRollback, 2)},
			stands:   "Halted 1", answers: []string{"Refused TG-COMMAND-UNFIT: web-2 is the target already"},
		},
		"a return to the newest revision goes wave by wave": {
			o: observation(ab, func() *v1alpha1.TemplateSyncStatus {
				s := underWay(1, v1alpha1.SyncSynced)
				s.Target, s.From, s.RolledBackFrom = "web-1", "", "web-2"
				return s
			}(), of("a/x", "web-1"), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplateRollback, 2)},
			stands:   "Syncing 1", gives: "a/x web-2", answers: []string{"Applied web-2 is the target again, as the sync says"},
		},
		"one command is taken at a time": {
			o:        observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2"), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplatePause, 0), command(v1alpha1.TemplateResume, 0)},
			stands:   "Paused 2", answers: []string{"Applied paused"},
		},
		"one that is refused does not keep the next one waiting": {
			o:        observation(ab, underWay(2, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2"), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplateResume, 0), command(v1alpha1.TemplatePause, 0)},
			stands:   "Paused 2", answers: []string{"Refused TG-COMMAND-UNFIT", "Applied paused"},
		},
		"one whose answer was lost is answered and not taken again": {
			o: observation(ab, func() *v1alpha1.TemplateSyncStatus {
				s := underWay(1, v1alpha1.SyncHalted, "a", "b")
				s.LastCommand = command(v1alpha1.TemplateResume, 0).UID
				return s
			}(), of("a/x", "web-1", fails), of("b/y", "web-1")),
			commands: []Command{command(v1alpha1.TemplateResume, 0)},
			stands:   "Halted 1", answers: []string{"Applied taken into account"},
		},
		"before the first revision every command is refused": {
			o:        Observation{Template: "web"},
			commands: []Command{command(v1alpha1.TemplatePause, 0)},
			answers:  []string{"Refused TG-COMMAND-UNFIT: the template has no revision yet"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.o.Commands = c.commands
			d := Next(c.o, start)
			stands := ""
			if d.Status != nil {
				stands = fmt.Sprintf("%s %d", d.Status.Phase, d.Status.Wave)
			}
			if stands != c.stands {
				t.Errorf("it stands at %q, want %q", stands, c.stands)
			}
			if got := sorted(gave(d)); got != sorted(c.gives) {
				t.Errorf("it gives %q, want %q", got, c.gives)
			}
			var answers []string
			for i, a := range d.Answers {
				said := string(a.Outcome) + " " + a.Message
				if i < len(c.answers) && strings.HasPrefix(said, c.answers[i]) {
					said = c.answers[i]
				}
				answers = append(answers, said)
			}
			if diff := cmp.Diff(c.answers, answers); diff != "" {
				t.Errorf("the answers (-want +got):\n%s", diff)
			}
			if len(d.Answers) < len(c.commands) && d.RequeueAfter == 0 {
				t.Error("the other commands are forgotten")
			}
		})
	}
}

func TestACommandIsTakenOnce(t *testing.T) {
	t.Parallel()
	ab := staged(team("a"), team("b"))
	resume := command(v1alpha1.TemplateResume, 0)
	o := withCommand(observation(ab, underWay(1, v1alpha1.SyncHalted, "a", "b"), of("a/x", "web-1", fails), of("a/y", "web-2"), of("b/z", "web-1")), resume)
	d := Next(o, start)
	if d.Status.Phase != v1alpha1.SyncSyncing || d.Status.LastCommand != resume.UID {
		t.Fatalf("it stands at %s after command %q", d.Status.Phase, d.Status.LastCommand)
	}
	// Its answer is lost, and another Release fails: that was not accepted by anybody.
	o = withCommand(observation(ab, d.Status, of("a/x", "web-1", fails), of("a/y", "web-1", fails), of("b/z", "web-1")), resume)
	if d = Next(o, start); d.Status.Phase != v1alpha1.SyncHalted || len(d.Answers) != 1 {
		t.Errorf("it stands at %s, with answers %+v", d.Status.Phase, d.Answers)
	}
}

func TestSinceWhenARevisionIsAssignedIsKept(t *testing.T) {
	t.Parallel()
	manual := v1alpha1.TemplateSync{Type: v1alpha1.SyncManual}
	o := observation(manual, underWay(1, v1alpha1.SyncSynced), of("a/x", "web-2", func(r *Release) { r.Generation = 2 }))
	d := Next(o, start.Add(time.Hour))
	if len(d.Assign) != 1 || !d.Assign[0].Assigned.At.Equal(at(0)) || d.Assign[0].Assigned.Generation != 2 {
		t.Errorf("it gives %+v", d.Assign)
	}
}

func withCommand(o Observation, c Command) Observation {
	o.Commands = []Command{c}
	return o
}

func TestFromIsTheLastRevisionThatWasGood(t *testing.T) {
	t.Parallel()
	ab := staged(team("a"))
	third := func(o Observation) Observation {
		o.Latest, o.Revisions = "web-3", append(o.Revisions, Revision{"web-3", 3})
		return o
	}
	back := underWay(1, v1alpha1.SyncSyncing)
	back.Target, back.From, back.RolledBackFrom = "web-1", "", "web-2"
	firstOne := underWay(1, v1alpha1.SyncSyncing, "a")
	firstOne.From = ""
	paused := underWay(2, v1alpha1.SyncPaused, "a")
	for i := range paused.Waves {
		paused.Waves[i].Phase = waveDone
	}
	for name, c := range map[string]struct {
		o    Observation
		want string
	}{
		"after a sync that was through":             {third(observation(ab, underWay(2, v1alpha1.SyncSynced, "a"))), "web-2"},
		"after one that was through and was paused": {third(observation(ab, paused)), "web-2"},
		"in the middle of one":                      {third(observation(ab, underWay(1, v1alpha1.SyncSyncing, "a"))), "web-1"},
		"after one that halted":                     {third(observation(ab, underWay(1, v1alpha1.SyncHalted, "a"))), "web-1"},
		"in the middle of the very first":           {third(observation(ab, firstOne)), "web-2"},
		"after a rollback":                          {third(observation(ab, back)), "web-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Next(c.o, start)
			if d.Status.Target != "web-3" || d.Status.From != c.want || d.Status.RolledBackFrom != "" {
				t.Errorf("it goes from %q to %q, want from %q (turned away from %q)", d.Status.From, d.Status.Target, c.want, d.Status.RolledBackFrom)
			}
		})
	}
}

func TestPermission(t *testing.T) {
	t.Parallel()
	ab := staged(team("a"), team("b"))
	o := observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-1"), of("a/v", "web-1", moves), of("b/y", "web-1"), fresh("b/z"))

	o.Permissions = nil
	d := Next(o, start)
	if d.Ask != "a" || gave(d) != "b/z web-1" {
		t.Errorf("without an answer of the policies it asks about %q and gives %q", d.Ask, gave(d))
	}

	o.Permissions = map[string]Permission{"a": {Code: "TG-FREEZE", Message: "it is Friday", Until: start.Add(10 * time.Second)}}
	d = Next(o, start)
	if d.Ask != "" || gave(d) != "b/z web-1" || d.Status.Reason != ReasonHeld || d.RequeueAfter != 10*time.Second {
		t.Errorf("against the policies it asks about %q, gives %q and says %s, again after %s", d.Ask, gave(d), d.Status.Reason, d.RequeueAfter)
	}
	if !strings.Contains(d.Status.Message, "TG-FREEZE: it is Friday") || !strings.Contains(d.Status.Message, "until 2026-03-02T09:00:10Z") {
		t.Errorf("it says %q", d.Status.Message)
	}
	if got := waitingFor(d); !strings.HasPrefix(got, "a/x Held, a/v Moving,") {
		t.Errorf("those wait: %s", got)
	}

	o.Permissions["a"] = Permission{Code: "TG-FREEZE", Message: "for long", Until: start.Add(time.Hour)}
	if d = Next(o, start); d.RequeueAfter != askAgain {
		t.Errorf("it asks again after %s, want %s, since policies change", d.RequeueAfter, askAgain)
	}

	o = withCommand(observation(ab, underWay(1, v1alpha1.SyncSyncing, "a", "b"), of("a/x", "web-2")), command(v1alpha1.TemplateRollback, 1))
	o.Permissions = nil
	if d = Next(o, start); d.Ask != "" || gave(d) != "a/x web-1" {
		t.Errorf("a rollback asks about %q and gives %q", d.Ask, gave(d))
	}
}

func TestDriftIsCounted(t *testing.T) {
	t.Parallel()
	drifts := func(r *Release) { r.Drifted = true }
	d := Next(observation(v1alpha1.TemplateSync{}, nil, of("a/x", "web-2", drifts), of("a/y", "web-2", drifts, pinned), of("a/z", "web-2")), start)
	if d.Status.Drifted != 2 {
		t.Errorf("%d have drifted, want 2", d.Status.Drifted)
	}
}

func TestWhatOneDecisionDoesIsBounded(t *testing.T) {
	t.Parallel()
	var releases []Release
	for i := range 500 {
		releases = append(releases, fresh(fmt.Sprintf("a/x%d", i)))
	}
	d := Next(observation(v1alpha1.TemplateSync{}, nil, releases...), start)
	if len(d.Assign) != maxAssign || d.RequeueAfter != again || len(d.Status.Waiting) != maxWaiting {
		t.Errorf("%d assignments, again after %s, %d named", len(d.Assign), d.RequeueAfter, len(d.Status.Waiting))
	}
}
