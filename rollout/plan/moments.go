package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// clockSlack is by how much the clocks of two managers, or one before and after it was set, may differ and be
// taken for equal.
const clockSlack = 10 * time.Second

// reach takes moments of the status that are yet to come for now. The clock was set back, or the
// manager that wrote them had another: to wait until it is so late again may take hours. What lasts since such
// a moment begins anew, so that nothing counts sooner than it should.
func (t *turn) reach() {
	st := &t.st
	for _, since := range []*metav1.MicroTime{
		st.ApprovedAt, st.ExposedAt, st.StepStartedAt, st.DrainStartedAt,
		st.WaitingSince, st.StableShortSince, st.RouteUnsettledSince,
	} {
		t.atLatestNow(since)
	}
	for i := range st.Checks {
		if st.Checks[i].Outcome == v1alpha1.CheckPending {
			t.atLatestNow(&st.Checks[i].At)
		}
	}
}

// atLatestNow makes a moment of the turn's own status now where it is to come; nil stays.
func (t *turn) atLatestNow(at *metav1.MicroTime) {
	if at != nil && at.Sub(t.now) > clockSlack {
		*at = *t.stamp()
	}
}
