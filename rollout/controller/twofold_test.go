package controller

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// errKilled ends a look of a manager that is no more.
var errKilled = errors.New("killed")

// twin is one of two managers that look after one template at the same time. It stops before
// each read from the API server and each write, until it is its turn again. Its caches are
// behind, each by itself.
type twin struct {
	*testing.T
	base     client.WithWatch
	releases v1alpha1.ReleaseList
	template v1alpha1.ReleaseTemplate
	commands v1alpha1.TemplateCommandList
	// pause gives the turn away, and says whether there is another.
	pause func(struct{}) bool
	next  func() (struct{}, bool)
	// wrote is called after each write.
	wrote func(what string)
	stop  func()
}

// refresh lets one of the caches, or with which < 0 all of them, see what there is.
func (m *twin) refresh(which int) {
	m.Helper()
	var err error
	if which == 0 || which < 0 {
		err = errors.Join(err, m.base.List(m.Context(), &m.releases))
	}
	if which == 1 || which < 0 {
		err = errors.Join(err, m.base.Get(m.Context(), client.ObjectKey{Name: "web"}, &m.template))
	}
	if which == 2 || which < 0 {
		err = errors.Join(err, m.base.List(m.Context(), &m.commands))
	}
	if err != nil {
		m.Fatal(err)
	}
}

// stopping is the API server, for a manager that stops before each call.
func (m *twin) stopping() interceptor.Funcs {
	turn := func() error {
		if !m.pause(struct{}{}) {
			return errKilled
		}
		return nil
	}
	return interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			return errors.Join(turn(), c.Get(ctx, key, obj, opts...))
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return errors.Join(turn(), c.List(ctx, list, opts...))
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if err := turn(); err != nil {
				return err
			}
			defer m.wrote("create " + obj.GetName())
			return c.Create(ctx, obj, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			if err := turn(); err != nil {
				return err
			}
			defer m.wrote("update " + obj.GetName())
			return c.SubResource(sub).Update(ctx, obj, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if err := turn(); err != nil {
				return err
			}
			defer m.wrote("patch " + obj.GetName())
			return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
		},
	}
}

// behind is what the manager reads from its caches.
func (m *twin) behind(live client.WithWatch) client.WithWatch {
	return interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, _ client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if template, ok := obj.(*v1alpha1.ReleaseTemplate); ok {
				m.template.DeepCopyInto(template)
				return nil
			}
			return m.base.Get(ctx, key, obj, opts...)
		},
		List: func(ctx context.Context, _ client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			switch list := list.(type) {
			case *v1alpha1.ReleaseList:
				m.releases.DeepCopyInto(list)
				return nil
			case *v1alpha1.TemplateCommandList:
				m.commands.DeepCopyInto(list)
				return nil
			}
			return m.base.List(ctx, list, opts...)
		},
	})
}

// begin starts the manager, or another in its place.
func (m *twin) begin() {
	m.Helper()
	if m.stop != nil {
		m.stop()
	}
	live := interceptor.NewClient(m.base, m.stopping())
	loop, err := newTemplates(m.behind(live), TemplateOptions{
		Live: liveReader{live}, Recorder: events.NewFakeRecorder(1000), Clock: testclock.NewFakePassiveClock(time.Unix(5000, 0)),
		Compile: func(context.Context, map[string]string) ([]byte, error) { return []byte(`{}`), nil },
	})
	if err != nil {
		m.Fatal(err)
	}
	m.next, m.stop = iter.Pull(func(yield func(struct{}) bool) {
		m.pause = yield
		for {
			_, err := loop.Reconcile(m.Context(), named("web"))
			if errors.Is(err, errKilled) || !yield(struct{}{}) {
				return
			}
		}
	})
}

// estate is what two managers look after: wave pilot has a, b and c; the rest d to g.
type estate struct {
	*templateWorld
	random *rand.Rand
	trace  []string
	// quiet counts the turns since the last write.
	quiet int
	// had has what each Release was last seen to be assigned; back are those that were turned
	// back to web-1.
	had  map[string]string
	back map[string]bool
}

func newEstate(t *testing.T, seed uint64) *estate {
	t.Helper()
	template := webTemplate("one")
	template.Spec.Sync = v1alpha1.TemplateSync{Type: v1alpha1.SyncStaged, MaxConcurrent: 2, Waves: []v1alpha1.SyncWave{
		{Name: "pilot", Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"a", "b", "c"}},
		}}},
	}}
	objects := []client.Object{template}
	for name := range strings.SplitSeq("abcdefg", "") {
		objects = append(objects, serves(name, ""))
	}
	e := &estate{templateWorld: newTemplateWorld(t, catalogWorld(t, objects...)), random: rand.New(rand.NewPCG(seed, 7)), had: map[string]string{}, back: map[string]bool{}}
	for range 8 { // it begins on web-1
		e.settle()
		e.serve()
	}
	e.edit("two")
	return e
}

// move lets one Release take up what was assigned to it.
func (e *estate) move() {
	e.Helper()
	var list v1alpha1.ReleaseList
	if err := e.client.List(e.Context(), &list); err != nil {
		e.Fatal(err)
	}
	r := &list.Items[e.random.IntN(len(list.Items))]
	if r.Status.Assigned == nil || r.Status.Assigned.Name == r.Status.Tried {
		return
	}
	r.Status.TemplateRevision, r.Status.Tried = r.Status.Assigned.Name, r.Status.Assigned.Name
	if err := e.client.Status().Update(e.Context(), r); err != nil {
		e.Fatal(err)
	}
	e.trace = append(e.trace, r.Name+" serves "+r.Status.Tried)
	e.quiet = 0
}

// check holds what is assigned to what has to hold at every moment.
func (e *estate) check() {
	e.Helper()
	if e.quiet++; e.quiet > 1 {
		return // nothing was written since the last time
	}
	var list v1alpha1.ReleaseList
	if err := e.client.List(e.Context(), &list); err != nil {
		e.Fatal(err)
	}
	moving, pilots, rest := 0, 0, 0
	for _, r := range list.Items {
		has := r.Status.Assigned.Name
		given := brief(has) == "web-2"
		if given && e.back[r.Name] {
			e.Fatalf("%s was turned back, and has the target again:\n%s", r.Name, strings.Join(e.trace, "\n"))
		}
		e.back[r.Name] = e.back[r.Name] || brief(has) == "web-1" && e.had[r.Name] == "web-2"
		e.had[r.Name] = brief(has)
		done := given && brief(r.Status.Tried) == "web-2"
		switch {
		case r.Name <= "c" && done:
			pilots++
		case r.Name > "c" && given:
			rest++
		}
		if given && !done {
			moving++
		}
	}
	if moving > 2 {
		e.Fatalf("%d Releases are under way, and 2 may:\n%s", moving, strings.Join(e.trace, "\n"))
	}
	if e.template().Status.Sync.RolledBackFrom == "" && rest > 0 && pilots < 3 {
		e.Fatalf("%d of the rest have the target when %d of 3 pilots have settled:\n%s", rest, pilots, strings.Join(e.trace, "\n"))
	}
}

// TestI6TwoManagersAtATimeDoWhatOneDoes interleaves two managers between any two of their
// calls, with caches that are behind and deaths in between.
func TestI6TwoManagersAtATimeDoWhatOneDoes(t *testing.T) {
	t.Parallel()
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		for _, back := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed %d, rollback %t", seed, back), func(t *testing.T) {
				t.Parallel()
				e := newEstate(t, seed)
				twins := []*twin{{T: t, base: e.client}, {T: t, base: e.client}}
				for i, m := range twins {
					m.wrote = func(what string) {
						e.trace = append(e.trace, fmt.Sprintf("manager %d: %s", i, what))
						e.quiet = 0
					}
					m.refresh(-1)
					m.begin()
					defer func() { m.stop() }()
				}
				turn := func(m *twin) {
					if _, ok := m.next(); !ok {
						t.Fatal("a manager ended")
					}
				}
				when := e.random.IntN(150)
				for step := range 400 {
					if back && step == when {
						e.create(&v1alpha1.TemplateCommand{
							ObjectMeta: metav1.ObjectMeta{Name: "back", UID: "back"},
							Spec:       v1alpha1.TemplateCommandSpec{Template: "web", Action: v1alpha1.TemplateRollback, Revision: 1},
						})
					}
					i := e.random.IntN(2)
					switch e.random.IntN(12) {
					case 0:
						e.move()
					case 1, 2, 3:
						twins[i].refresh(e.random.IntN(3))
					case 4:
						if e.random.IntN(6) == 0 {
							twins[i].begin()
						}
					default:
						turn(twins[i])
					}
					e.check()
				}
				// It comes to rest.
				for e.quiet = 0; e.quiet < 60; {
					i := e.random.IntN(2)
					twins[i].refresh(-1)
					turn(twins[i])
					e.move()
					e.check()
				}
				want, stands := "web-2", v1alpha1.SyncSynced
				if back {
					want = "web-1"
				}
				if s := e.template().Status.Sync; brief(s.Target) != want || s.Phase != stands || strings.Count(e.assigned(), want) != 7 {
					t.Errorf("wanted all on %s, %s; found %s; %+v\n%s", want, stands, e.assigned(), s, strings.Join(e.trace, "\n"))
				}
				if back {
					var c v1alpha1.TemplateCommand
					if err := e.client.Get(t.Context(), client.ObjectKey{Name: "back"}, &c); err != nil || c.Status.Outcome != v1alpha1.OutcomeApplied && c.Status.Outcome != v1alpha1.OutcomeRefused {
						t.Errorf("the command says %+v, %v", c.Status, err)
					}
				}
			})
		}
	}
}
