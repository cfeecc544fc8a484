package record

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// trace is what one answer is made of. What was read is kept as the caches hand it out:
// they never change an object, and a list is copied as far as its items.
type trace struct {
	time time.Time
	path string
	set  *eval.Set

	mu       sync.Mutex
	objects  []client.Object
	lists    []client.ObjectList
	unread   []failedRead
	answers  []Answer
	rendered map[string]bool
}

type failedRead struct {
	of   runtime.Object
	at   client.ObjectKey
	text string
}

type traceKey struct{}

func (t *trace) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// noted is the trace of the request that ctx belongs to; nil where none is made.
func noted(ctx context.Context) *trace {
	t, _ := ctx.Value(traceKey{}).(*trace)
	return t
}

// shallow copies a struct that o points to.
func shallow[T any](o T) T {
	from := reflect.ValueOf(o)
	to := reflect.New(from.Elem().Type())
	to.Elem().Set(from.Elem())
	out, _ := reflect.TypeAssert[T](to)
	return out
}

func (t *trace) failed(of runtime.Object, at client.ObjectKey, err error) {
	t.unread = append(t.unread, failedRead{of, at, err.Error()})
}

func (t *trace) got(o client.Object, at client.ObjectKey, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.objects = append(t.objects, shallow(o))
	case !apierrors.IsNotFound(err):
		t.failed(o, at, err)
	}
}

func (t *trace) listed(l client.ObjectList, at client.ObjectKey, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failed(l, at, err)
		return
	}
	t.lists = append(t.lists, shallow(l))
}

func (t *trace) answered(a Answer, of any) {
	raw, err := json.Marshal(of)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a.Of = string(raw)
	t.answers = append(t.answers, a)
}

// reader notes what is read.
type reader struct{ client.Reader }

// Get implements client.Reader.
func (r reader) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	err := r.Reader.Get(ctx, key, o, opts...)
	if t := noted(ctx); t != nil {
		t.got(o, key, err)
	}
	return err //nolint:wrapcheck // it is the reader's own
}

// List implements client.Reader.
func (r reader) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	err := r.Reader.List(ctx, l, opts...)
	if t := noted(ctx); t != nil {
		var o client.ListOptions
		o.ApplyOptions(opts)
		t.listed(l, client.ObjectKey{Namespace: o.Namespace}, err)
	}
	return err //nolint:wrapcheck // it is the reader's own
}

// rights is a question to RBAC.
type rights struct {
	User string                             `json:"user"`
	What authorizationv1.ResourceAttributes `json:"what"`
}

type authorizer struct{ webhook.Authorizer }

// Allowed implements webhook.Authorizer.
func (a authorizer) Allowed(ctx context.Context, user authenticationv1.UserInfo, what authorizationv1.ResourceAttributes) (bool, error) {
	allowed, err := a.Authorizer.Allowed(ctx, user, what)
	if t := noted(ctx); t != nil {
		t.answered(Answer{Allowed: allowed, Error: textOf(err)}, rights{user.Username, what})
	}
	return allowed, err //nolint:wrapcheck // it is the authorizer's own
}

// glass is a question about a BreakGlass.
type glass struct {
	BreakGlass client.ObjectKey `json:"breakGlass"`
}

type exempter struct{ webhook.Exempter }

// Use implements webhook.Exempter.
func (e exempter) Use(ctx context.Context, b *v1alpha1.BreakGlass, rules map[string]*v1alpha1.BreakGlassRule, groups []string, use v1alpha1.BreakGlassUse) (string, error) {
	refused, err := e.Exempter.Use(ctx, b, rules, groups, use)
	if t := noted(ctx); t != nil {
		t.answered(Answer{Refused: refused, Error: textOf(err)}, glass{client.ObjectKeyFromObject(b)})
	}
	return refused, err //nolint:wrapcheck // it is the exempter's own
}

// renderer notes which templates were rendered: of others only the names matter.
type renderer struct{ webhook.Renderer }

func used(ctx context.Context, s webhook.Source) {
	t := noted(ctx)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rendered == nil {
		t.rendered = map[string]bool{}
	}
	t.rendered[s.Digest] = true
}

// Render implements webhook.Renderer.
func (r renderer) Render(ctx context.Context, s webhook.Source, values []byte, c render.Context) (*render.Result, error) {
	used(ctx, s)
	return r.Renderer.Render(ctx, s, values, c) //nolint:wrapcheck // it is the renderer's own
}

// Immutable implements webhook.Renderer.
func (r renderer) Immutable(ctx context.Context, s webhook.Source, was, now []byte) error {
	used(ctx, s)
	return r.Renderer.Immutable(ctx, s, was, now) //nolint:wrapcheck // it is the renderer's own
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// facts writes what was read into a record, each object once.
func (t *trace) facts(scheme *runtime.Scheme, r *Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := map[string]bool{}
	add := func(o client.Object) error {
		gvk, err := apiutil.GVKForObject(o, scheme)
		if err != nil {
			return fmt.Errorf("recording %T: %w", o, err)
		}
		id := gvk.String() + "/" + client.ObjectKeyFromObject(o).String()
		if seen[id] {
			return nil
		}
		seen[id] = true
		o = shallow(o)
		o.GetObjectKind().SetGroupVersionKind(gvk)
		if revision, ok := o.(*v1alpha1.TemplateRevision); ok && !t.rendered[revision.Spec.Digest] && r.Path == webhook.PathTidegate && !t.templates() {
			revision.Spec.Files = nil
		}
		raw, err := json.Marshal(o)
		if err != nil {
			return fmt.Errorf("recording %s: %w", id, err)
		}
		r.Objects = append(r.Objects, raw)
		return nil
	}
	for _, o := range t.objects {
		if err := add(o); err != nil {
			return err
		}
	}
	for _, l := range t.lists {
		err := meta.EachListItem(l, func(item runtime.Object) error {
			o, ok := item.(client.Object)
			if !ok {
				return fmt.Errorf("recording a list: found a %T in it", item)
			}
			return add(o)
		})
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
	}
	for _, f := range t.unread {
		gvk, err := apiutil.GVKForObject(f.of, scheme)
		if err != nil {
			return fmt.Errorf("recording %T: %w", f.of, err)
		}
		r.Unread = append(r.Unread, Unread{Kind: gvk.String(), Namespace: f.at.Namespace, Name: f.at.Name, Error: f.text})
	}
	r.Answers = t.answers
	return nil
}

// templates says whether the request is about templates, whose files are all compared then.
func (t *trace) templates() bool {
	for _, l := range t.lists {
		if _, ok := l.(*v1alpha1.ReleaseList); ok {
			return true
		}
	}
	return false
}
