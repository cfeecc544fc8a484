package gatekeeper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
)

// maxProblem bounds what a status says of a problem, in bytes.
const maxProblem = 4 << 10

// target is whose status is written.
type target struct {
	gvk  schema.GroupVersionKind
	name string
}

// statuses writes what this replica has in force into status.byPod of templates and
// constraints: each replica its own entry, as Gatekeeper has it. Nobody waits for it, and
// the rest of a status, which others write, stays.
type statuses struct {
	client   client.Client
	replica  string
	replicas func(ctx context.Context) ([]string, error)
	queue    workqueue.TypedRateLimitingInterface[target]

	mu sync.Mutex
	// said is what this replica has to say.
	said map[target]map[string]any
	// seen are the versions of constraints that were put.
	seen map[target]version
}

type version struct {
	uid        types.UID
	generation int64
}

func newStatuses(c client.Client, o SyncOptions) *statuses {
	// The first try at once, the next ones later and later, up to a minute apart.
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[target](100*time.Millisecond, time.Minute)
	return &statuses{
		client: c, replica: o.Replica, replicas: o.Replicas, queue: workqueue.NewTypedRateLimitingQueue(limiter),
		said: map[target]map[string]any{}, seen: map[target]version{},
	}
}

// fresh says whether a version of a constraint was not seen before.
func (s *statuses) fresh(u *unstructured.Unstructured) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, now := target{u.GroupVersionKind(), u.GetName()}, version{u.GetUID(), u.GetGeneration()}
	if s.seen[at] == now {
		return false
	}
	s.seen[at] = now
	return true
}

// say has an entry written, unless the object has it already.
func (s *statuses) say(at target, entry map[string]any, u *unstructured.Unstructured) {
	entry["id"] = s.replica
	s.mu.Lock()
	s.said[at] = entry
	s.mu.Unlock()
	if !slices.ContainsFunc(pods(u), func(p any) bool { return equality.Semantic.DeepEqual(p, any(entry)) }) {
		s.queue.Add(at)
	}
}

func (s *statuses) forget(at target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.said, at)
	delete(s.seen, at)
}

// NeedLeaderElection says that every replica says what it has.
func (*statuses) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (s *statuses) Start(ctx context.Context) error {
	context.AfterFunc(ctx, s.queue.ShutDown)
	for {
		at, over := s.queue.Get()
		if over {
			return nil
		}
		switch err := s.write(ctx, at); {
		case err == nil:
			s.queue.Forget(at)
		case apierrors.IsConflict(err):
			s.queue.AddRateLimited(at)
		default:
			ctrl.LoggerFrom(ctx).Error(err, "Status is not written yet", "kind", at.gvk.Kind, "name", at.name)
			s.queue.AddRateLimited(at)
		}
		s.queue.Done(at)
	}
}

// write puts the entry of this replica beside those of the others that there are.
func (s *statuses) write(ctx context.Context, at target) error {
	s.mu.Lock()
	mine, ok := s.said[at]
	s.mu.Unlock()
	if !ok {
		return nil
	}
	u := object(at.gvk)
	switch err := s.client.Get(ctx, client.ObjectKey{Name: at.name}, u); {
	case apierrors.IsNotFound(err) || meta.IsNoMatchError(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading %s %s: %w", at.gvk.Kind, at.name, err)
	}
	var there []string
	if s.replicas != nil {
		var err error
		if there, err = s.replicas(ctx); err != nil {
			return fmt.Errorf("listing the replicas that serve %s %s: %w", at.gvk.Kind, at.name, err)
		}
	}
	was := pods(u)
	list := slices.DeleteFunc(slices.Clone(was), func(p any) bool {
		id := idOf(p)
		return id == s.replica || id == "" || there != nil && !slices.Contains(there, id)
	})
	list = append(list, any(mine))
	slices.SortFunc(list, func(a, b any) int { return cmp.Compare(idOf(a), idOf(b)) })
	if equality.Semantic.DeepEqual(was, list) {
		return nil
	}
	// With the version that was read, so that of two who write at once one tries again.
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": u.GetResourceVersion()}, "status": map[string]any{"byPod": list},
	})
	if err != nil {
		return fmt.Errorf("writing the status of %s %s: %w", at.gvk.Kind, at.name, err)
	}
	err = s.client.Status().Patch(ctx, u, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldOwner))
	if apierrors.IsConflict(err) || err == nil {
		return err //nolint:wrapcheck // it is told by its type
	}
	return client.IgnoreNotFound(fmt.Errorf("writing the status of %s %s: %w", at.gvk.Kind, at.name, err))
}

func pods(u *unstructured.Unstructured) []any {
	list, _, err := unstructured.NestedSlice(u.Object, "status", "byPod")
	if err != nil {
		return nil // somebody wrote something else; it is written over
	}
	return list
}

func idOf(pod any) string {
	m, _ := pod.(map[string]any)
	id, _ := m["id"].(string)
	return id
}

func problem(err error, stays bool) []any {
	text := err.Error()
	if len(text) > maxProblem {
		text = text[:maxProblem]
	}
	if stays {
		text += "\nThe last version that worked stays in force."
	}
	return []any{map[string]any{"code": "create_error", "message": text}}
}

// sayTemplate says what this replica has of a template.
func (l *Loader) sayTemplate(u *unstructured.Unstructured, t *gatekeeper.Template, err error) {
	entry := map[string]any{"observedGeneration": u.GetGeneration(), "templateUID": string(u.GetUID()), "operations": []any{gatekeeper.ProcessWebhook}}
	kind, _, nested := unstructured.NestedString(u.Object, "spec", "crd", "spec", "names", "kind")
	if err != nil && t == nil {
		entry["errors"] = problem(errors.Join(err, nested), l.store.TemplateInForce(kind))
	}
	l.statuses.say(target{templateKind, u.GetName()}, entry, u)
	// Constraints may fit a new version of their template, or not any more.
	for _, c := range l.statuses.ofKind(constraintKind(kind)) {
		l.restate(c)
	}
}

// sayConstraint says what this replica has of a constraint.
func (l *Loader) sayConstraint(u *unstructured.Unstructured) {
	state, ok := l.store.State(gatekeeper.Key{Kind: u.GetKind(), Name: u.GetName()})
	if !ok {
		return
	}
	l.statuses.say(target{u.GroupVersionKind(), u.GetName()}, constraintEntry(state, version{u.GetUID(), u.GetGeneration()}), u)
}

func constraintEntry(state gatekeeper.State, v version) map[string]any {
	entry := map[string]any{
		"observedGeneration": v.generation, "constraintUID": string(v.uid), "enforced": state.InForce, "operations": []any{gatekeeper.ProcessWebhook},
	}
	if state.Problem != nil {
		entry["errors"] = problem(state.Problem, state.InForce)
	}
	return entry
}

// restate says anew what has become of a constraint that itself did not change.
func (l *Loader) restate(at target) {
	l.statuses.mu.Lock()
	v := l.statuses.seen[at]
	l.statuses.mu.Unlock()
	if state, ok := l.store.State(gatekeeper.Key{Kind: at.gvk.Kind, Name: at.name}); ok {
		l.statuses.say(at, constraintEntry(state, v), object(at.gvk))
	}
}

// ofKind are the constraints of a kind that were seen.
func (s *statuses) ofKind(gvk schema.GroupVersionKind) []target {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []target
	for at := range s.seen {
		if at.gvk == gvk {
			out = append(out, at)
		}
	}
	return out
}
