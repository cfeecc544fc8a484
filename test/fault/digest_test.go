package fault

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestNothingUnjudgedServes gives the Release a third image at each moment of the rollout of the
// second: before and after each write, and in the midst of each query, each call of a hook and each Job that
// runs. Whatever the moment, the third image gets no request that its own steps did not allow, so
// that a bad one is never promoted on what was judged of another.
func TestNothingUnjudgedServes(t *testing.T) {
	if !*everything {
		t.Skip("make fault runs this")
	}
	l := newLab(t)
	for _, bad := range []bool{false, true} {
		play := &scenario{
			name: "good-third", template: checked, before: "v1", pods: 2,
			begin: func(w *world) { w.apply("v2", 2) }, shown: map[string]int32{"v1": 100, "v2": 100},
		}
		if bad {
			play.name = "bad-third"
			play.judge = func(r *v1alpha1.Rollout) v1alpha1.Verdict {
				if imageOf(r.Spec.Values) == "v3" {
					return v1alpha1.VerdictFail
				}
				return v1alpha1.VerdictPass
			}
		}
		l.publish(play.name, play.template)
		t.Run(play.name, func(t *testing.T) {
			t.Parallel()
			reference := undisturbed(t, l, play)
			for name, f := range map[string]func(*world) fault{
				"before a write": func(w *world) fault {
					return fault{do: func(x *exchange) (*http.Response, error) { w.apply("v3", 2); return x.send() }}
				},
				"after a write": func(w *world) fault {
					return fault{do: func(x *exchange) (*http.Response, error) {
						response, err := x.send()
						w.apply("v3", 2)
						return response, err
					}}
				},
			} {
				t.Run(name, func(t *testing.T) {
					reference.each(t, l, write, func(w *world, at int) bool { return w.changed(name, f(w), at, bad) })
				})
			}
			t.Run("in the midst of a query", func(t *testing.T) {
				reference.each(t, l, query, func(w *world, at int) bool {
					return w.changedDuring("query", &w.measurer.interrupted, at, bad)
				})
			})
			t.Run("in the midst of a call", func(t *testing.T) {
				reference.each(t, l, call, func(w *world, at int) bool {
					return w.changedDuring("call", &w.hooks.interrupted, at, bad)
				})
			})
		})
	}
}

// changed asks for the third image at a write.
func (w *world) changed(moment string, f fault, at int, bad bool) bool {
	m := w.prepare()
	m.disturb(f, write, at)
	w.play.begin(w)
	if !w.fires(m.fired) {
		return false
	}
	w.third(fmt.Sprintf("a third image %s, %d", moment, at), bad)
	return true
}

// changedDuring asks for the third image in the midst of a query or a call.
func (w *world) changedDuring(what string, i *interrupted, at int, bad bool) bool {
	w.prepare()
	fired := make(chan struct{})
	i.set(at, func() {
		w.apply("v3", 2)
		close(fired)
	})
	w.play.begin(w)
	if !w.fires(fired) {
		return false
	}
	w.third(fmt.Sprintf("a third image in the midst of %s %d", what, at), bad)
	return true
}

// fires waits for a moment, which does not come where the rollout of the second image has ended.
func (w *world) fires(moment <-chan struct{}) bool {
	fired := false
	await(w.t.Context(), within, func() bool {
		select {
		case <-moment:
			fired = true
		default:
		}
		r := last[*v1alpha1.Rollout](w.lab.journal, w.namespace, "cart-2")
		return fired || r != nil && r.Status.Phase.Terminal()
	})
	return fired
}

// third waits for what becomes of the third image, and holds the way there against the
// invariants.
func (w *world) third(what string, bad bool) {
	phase := v1alpha1.ReleaseServing
	if bad {
		phase = v1alpha1.ReleaseAborted
	}
	if !await(w.t.Context(), within, func() bool {
		r := last[*v1alpha1.Release](w.lab.journal, w.namespace, release)
		return imageOf(r.Spec.Values) == "v3" && w.over() && r.Status.Phase == phase
	}) || !w.rests() {
		w.t.Errorf("%s: the Release is not %s:%s", what, phase, w.explain())
		return
	}
	c := check(w.lab.journal.of(w.namespace))
	for _, v := range c.violations {
		w.t.Errorf("%s: %s", what, v)
	}
	third := c.revision("v3")
	want := int32(100)
	if bad {
		want = 20
	}
	if got := c.shown[third]; got != want {
		w.t.Errorf("%s: it has had %d %% at most, want %d", what, got, want)
	}
	served := ""
	for revision, share := range c.exposed {
		if share == 100 {
			served = revision
		}
	}
	if served == "" || !c.good[served] || bad == (served == third) {
		w.t.Errorf("%s: in the end %q serves, of which %v have succeeded; the third is %s", what, served, c.good, third)
	}
	if w.t.Failed() && strings.Contains(what, "third") && len(c.violations) > 0 {
		w.t.Log(w.explain())
	}
}
