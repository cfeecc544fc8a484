package fault

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// kinds are those whose writes are written down, and which make up a state.
func kinds() []client.ObjectList {
	return []client.ObjectList{
		&v1alpha1.ReleaseList{}, &v1alpha1.RolloutList{}, &v1alpha1.RolloutCommandList{},
		&appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{},
		&policyv1.PodDisruptionBudgetList{}, &gatewayv1.HTTPRouteList{}, &batchv1.JobList{},
	}
}

// entry is one write, as the API server tells of it.
type entry struct {
	version uint64
	deleted bool
	object  client.Object
}

func (e entry) String() string {
	verb := "wrote"
	if e.deleted {
		verb = "deleted"
	}
	return fmt.Sprintf("%d %s %T %s", e.version, verb, e.object, e.object.GetName())
}

// journal has every write of the kinds above, by namespace. Versions are those of one store, so
// that they put writes to different kinds in the order in which they were made.
type journal struct {
	mu sync.Mutex
	// watchers are those of the kinds, each in its place.
	watchers []watch.Interface
	closed   bool
	entries  map[string][]entry
	// current is what is there in each namespace.
	current   map[string]map[string]client.Object
	listeners []listener
}

// listener is told of what is written in a namespace, in all if it is empty.
type listener struct {
	namespace string
	c         chan entry
}

func newJournal(l *lab) *journal {
	j := &journal{entries: map[string][]entry{}, current: map[string]map[string]client.Object{}}
	all := kinds()
	for _, list := range all {
		must(l.t, l.client.List(l.t.Context(), list))
		w, err := l.watch(list, list.GetResourceVersion())
		must(l.t, err)
		j.watchers = append(j.watchers, w)
	}
	for i, list := range all {
		go j.keep(l, list, i)
	}
	return j
}

func (l *lab) watch(list client.ObjectList, version string) (watch.Interface, error) {
	return l.client.Watch(l.t.Context(), list, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})
}

// keep writes down what a watch tells. The API server ends the watch of who is slow, as on a machine that is
// busy: it is taken up where it has ended, so that nothing is missed.
func (j *journal) keep(l *lab, list client.ObjectList, number int) {
	version := list.GetResourceVersion()
	for {
		j.mu.Lock()
		events := j.watchers[number].ResultChan()
		j.mu.Unlock()
		for event := range events {
			if err := j.note(event); err != nil && !j.over() {
				l.t.Errorf("watching %T from version %s on: %v", list, version, err)
				return
			}
			if o, ok := event.Object.(client.Object); ok {
				version = o.GetResourceVersion()
			}
		}
		if j.over() || l.t.Context().Err() != nil {
			return
		}
		w, err := l.watch(list, version)
		switch {
		case err == nil && j.took(number, w):
		case err == nil || l.t.Context().Err() != nil:
			return
		default:
			l.t.Errorf("the watch of %T has ended, and what was written since version %s is not known: %v", list, version, err)
			return
		}
	}
}

// took goes on with another watch, unless all has ended.
func (j *journal) took(number int, w watch.Interface) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		w.Stop()
		return false
	}
	j.watchers[number] = w
	return true
}

func (j *journal) note(event watch.Event) error {
	o, ok := event.Object.(client.Object)
	if !ok || event.Type != watch.Added && event.Type != watch.Modified && event.Type != watch.Deleted {
		return fmt.Errorf("found a %s of %v", event.Type, event.Object)
	}
	version, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return fmt.Errorf("reading a version: %w", err)
	}
	e := entry{version, event.Type == watch.Deleted, o}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries[o.GetNamespace()] = append(j.entries[o.GetNamespace()], e)
	if j.current[o.GetNamespace()] == nil {
		j.current[o.GetNamespace()] = map[string]client.Object{}
	}
	if e.deleted {
		delete(j.current[o.GetNamespace()], keyOf(o))
	} else {
		j.current[o.GetNamespace()][keyOf(o)] = o
	}
	for _, l := range j.listeners {
		if l.namespace == "" || l.namespace == o.GetNamespace() {
			l.c <- e
		}
	}
	return nil
}

// follow tells of every write in a namespace from now on, in all namespaces if it is empty.
// Who follows must keep reading until ctx ends.
func (j *journal) follow(ctx context.Context, namespace string) <-chan entry {
	in, out := make(chan entry, 4096), make(chan entry)
	j.mu.Lock()
	j.listeners = append(j.listeners, listener{namespace, in})
	j.mu.Unlock()
	go func() {
		defer close(out)
		for {
			select {
			case e := <-in:
				select {
				case out <- e:
				case <-ctx.Done():
				}
			case <-ctx.Done():
				j.mu.Lock()
				j.listeners = slices.DeleteFunc(j.listeners, func(l listener) bool { return l.c == in })
				j.mu.Unlock()
				return
			}
		}
	}()
	return out
}

// of returns what was written in a namespace, in order.
func (j *journal) of(namespace string) []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := slices.Clone(j.entries[namespace])
	slices.SortStableFunc(out, func(a, b entry) int {
		switch {
		case a.version < b.version:
			return -1
		case a.version > b.version:
			return 1
		}
		return 0
	})
	return out
}

// now is the state of a namespace as far as it was written down.
func (j *journal) now(namespace string) map[string]client.Object {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.current[namespace])
}

// length is how many writes there were.
func (j *journal) length(namespace string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries[namespace])
}

func keyOf(o client.Object) string { return fmt.Sprintf("%T %s", o, o.GetName()) }

// last returns the newest version of one object, nil where there is none.
func last[T client.Object](j *journal, namespace, name string) (out T) {
	for _, o := range j.now(namespace) {
		if t, ok := o.(T); ok && t.GetName() == name {
			return t
		}
	}
	return out
}

func (j *journal) over() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closed
}

func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	for _, w := range j.watchers {
		w.Stop()
	}
}
