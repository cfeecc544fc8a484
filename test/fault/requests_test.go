package fault

import (
	"fmt"
	"net/http"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

var (
	// drops ends all watches once the write was carried out.
	drops = fault{"watches lost", false, func(x *exchange) (*http.Response, error) {
		response, err := x.send()
		x.wire.dropWatches()
		return response, err
	}}
	// silences lets the watches deliver nothing for a while, after which they end.
	silences = fault{"watches silent", false, func(x *exchange) (*http.Response, error) {
		open := x.wire.mute()
		time.AfterFunc(3*time.Second, func() {
			x.wire.dropWatches()
			open()
		})
		return x.send()
	}}
)

// twofold holds one manager up at one write, everything that it read in mind, while another, which
// believes that it leads too, goes on until it has nothing left to do. Then the first goes on.
func (w *world) twofold(r *record, at int) bool {
	m := w.prepare()
	m.disturb(held, write, at)
	w.play.begin(w)
	fired := w.awaitFault(m, r)
	if fired {
		w.start().arm()
		if !w.comesToRest(r.end) {
			w.t.Errorf("I6: beside one that is held at write %d: the end differs:\n%s%s", at, w.same(r.end), w.explain())
		}
		m.release()
	}
	w.conclude(r, fmt.Sprintf("two managers, one held at write %d", at))
	return fired
}

// held shuts everything of this manager, the write included, until it is released.
var held = fault{"held up", false, func(x *exchange) (*http.Response, error) {
	open := x.wire.shut()
	x.wire.mu.Lock()
	x.wire.open = open
	x.wire.mu.Unlock()
	x.fire()
	if err := x.wire.passGate(x.request); err != nil {
		return nil, err
	}
	return x.send()
}}

// jumps sets the clock of the manager forward or back by hours at a write.
func (w *world) jumps(by time.Duration) fault {
	return fault{"the clock jumps by " + by.String(), false, func(x *exchange) (*http.Response, error) {
		w.clock.by.Store(int64(by))
		return x.send()
	}}
}

// abortedUnseen holds one manager up at the write that would give a revision its first share. A person aborts, another
// manager does it, and then the first goes on: what it was about to write must not be carried out.
func (w *world) abortedUnseen() {
	m := w.prepare()
	m.disturbFirst(held, w.play.rise)
	w.play.begin(w)
	if !w.fires(m.fired) {
		w.t.Fatalf("nothing is sent that has %q in it:%s", w.play.rise, w.explain())
	}
	w.command("stop", "cart-2", v1alpha1.CommandAbort, 0)
	w.start().arm()
	aborted := func() bool {
		r := last[*v1alpha1.Rollout](w.lab.journal, w.namespace, "cart-2")
		return w.over() && r != nil && r.Status.Phase == v1alpha1.RolloutAborted
	}
	if !await(w.t.Context(), within, aborted) || !w.rests() {
		w.t.Fatalf("the Rollout is not aborted:%s", w.explain())
	}
	m.release()
	if !w.rests() {
		w.t.Errorf("I5: the world does not come to rest:%s", w.explain())
	}
	w.verify("held up at the first rise, released after an abort,")
}
