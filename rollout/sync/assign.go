package sync

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/follow"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// assign derives the assignments: the target for those whose turn it is, what they follow
// anyway for those that nothing is assigned to, and nothing for those that are not free.
func (t *turn) assign(r ruling) {
	given := map[int]bool{}
	if r.open {
		for _, i := range t.allowed(t.turns()) {
			given[i] = true
			t.give(i, t.st.Target)
		}
	}
	for i := range t.o.Releases {
		if !given[i] {
			t.keepUp(i)
		}
	}
	if len(t.assigns) > maxAssign {
		t.assigns = t.assigns[:maxAssign]
		t.wake(t.now.Add(again))
	}
}

// turns returns those that are to be given the target now, as many as may be under way.
func (t *turn) turns() []int {
	var queue []int
	var room time.Time // when the first of those that are in the way is late
	free := cmp.Or(int(t.o.Spec.MaxConcurrent), defaultConcurrent) - t.all().moving
	for _, place := range t.order {
		s := t.sights[place.index]
		if s.state != queued {
			continue
		}
		due := s.wave > 0 && s.wave <= int(t.st.Wave)
		if t.astray(place.index) {
			free--
			if at := t.lateAt(place.index); !due && (room.IsZero() || at.Before(room)) {
				room = at
			}
		}
		if due {
			queue = append(queue, place.index)
		}
	}
	// Those that are under way to a revision that nobody wants any more go first: there are
	// no more under way for it.
	slices.SortStableFunc(queue, func(a, b int) int {
		if t.astray(a) != t.astray(b) {
			if t.astray(a) {
				return -1
			}
			return 1
		}
		return cmp.Compare(t.sights[a].wave, t.sights[b].wave)
	})
	var out []int
	for _, i := range queue {
		if !t.astray(i) {
			if free <= 0 {
				t.wake(room)
				break
			}
			free--
		}
		out = append(out, i)
	}
	return out
}

// astray says whether a Release is under way to a revision that was the target before. One
// that is late is not waited for, as it would not be had the target stayed.
func (t *turn) astray(i int) bool {
	r := &t.o.Releases[i]
	if r.Assigned == nil || r.Assigned.Name == t.st.From || t.sights[i].wave == 0 {
		return false
	}
	if s, _ := r.underWay(r.Assigned.Name); s != moving {
		return false
	}
	return t.now.Before(t.lateAt(i))
}

// lateAt is when a Release that is under way becomes late.
func (t *turn) lateAt(i int) time.Time {
	return t.o.Releases[i].expires(patience(&t.waves[t.sights[i].wave-1]))
}

// allowed asks the policies about moving them. A rollback needs no permission, as an abort
// does not.
func (t *turn) allowed(turns []int) []int {
	if len(turns) == 0 || t.atOnce() {
		return turns
	}
	wave := t.waves[t.st.Wave-1].Name
	p, asked := t.o.Permissions[wave]
	switch {
	case !asked:
		t.want = wave
		p = Permission{Code: ReasonHeld, Message: "the policies were not asked yet"}
	case p.Allowed:
		return turns
	}
	t.held = true
	if p.Until.After(t.now) && p.Until.Before(t.now.Add(askAgain)) {
		t.wake(p.Until)
	} else {
		t.wake(t.now.Add(askAgain))
	}
	if t.st.Phase == v1alpha1.SyncSyncing {
		until := ""
		if p.Until.After(t.now) {
			until = " until " + p.Until.UTC().Format(time.RFC3339)
		}
		t.st.Reason = ReasonHeld
		t.st.Message = t.name(t.st.Wave-1) + " is held" + until + ": " + p.Code + ": " + p.Message
	}
	return nil
}

// keepUp makes the assignment of one Release say what it follows.
func (t *turn) keepUp(i int) {
	r := &t.o.Releases[i]
	if !r.Free {
		if r.Assigned != nil {
			t.assigns = append(t.assigns, Assignment{Namespace: r.Namespace, Name: r.Name, Was: r.was()})
		}
		return
	}
	if r.Assigned != nil {
		// Only where its team moves a Release on does it matter for which of its generations
		// something was assigned: elsewhere it is not worth a write for each change of a Release.
		_, exists := t.numbers[r.Assigned.Name]
		if exists && (!t.manual() || r.Assigned.Generation == r.Generation) {
			return
		}
	}
	if len(t.assigns) > maxAssign {
		return // the next decision's
	}
	if name := t.followed(r); name != "" {
		t.give(i, name)
	}
}

// followed is the revision that a Release is rendered with as the status says now. It is
// found where everybody finds it.
func (t *turn) followed(r *Release) string {
	revisions := make([]v1alpha1.TemplateRevision, 0, len(t.o.Revisions))
	for _, revision := range t.o.Revisions {
		revisions = append(revisions, v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: revision.Name},
			Spec:       v1alpha1.TemplateRevisionSpec{Template: t.o.Template, Number: revision.Number},
		})
	}
	release := &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name, Generation: r.Generation},
		Spec:       v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: t.o.Template}},
		Status:     v1alpha1.ReleaseStatus{Assigned: r.Assigned, TemplateRevision: r.Has, ObservedGeneration: r.Observed},
	}
	template := &v1alpha1.ReleaseTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: t.o.Template},
		Spec:       v1alpha1.ReleaseTemplateSpec{Sync: t.o.Spec},
		Status:     v1alpha1.ReleaseTemplateStatus{Sync: &t.st},
	}
	choice, err := follow.Choose(release, template, revisions)
	if err != nil {
		return "" // there is nothing to give
	}
	return choice.Revision.Name
}

// give assigns a revision. Since when a Release has it is kept.
func (t *turn) give(i int, revision string) {
	r := &t.o.Releases[i]
	at := *t.stamp()
	if r.Assigned != nil && r.Assigned.Name == revision {
		at = r.Assigned.At
	}
	t.assigns = append(t.assigns, Assignment{
		Namespace: r.Namespace, Name: r.Name, Was: r.was(),
		Assigned: &v1alpha1.AssignedRevision{Name: revision, Generation: r.Generation, At: at},
	})
}
