package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/eval"
	engine "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
	"tidegate.io/tidegate/webhook/gatekeeper"
)

// ReplayTimeout is how long one answer may take. It is longer than the webhook's, since the
// machine may be slower and nobody waits.
const ReplayTimeout = 20 * time.Second

// Options say what a record is judged with.
type Options struct {
	// Renderer renders templates. Required.
	Renderer webhook.Renderer
	// Policies replace those of the record, unless nil.
	Policies *eval.Store
	// NewStore makes the store that the policies of the record are put into; nil is
	// eval.NewStore.
	NewStore func() *eval.Store
	// Constraints replace those of the record, unless nil.
	Constraints *engine.Store
	// Timeout is that of one answer; 0 is ReplayTimeout.
	Timeout time.Duration
}

// Want is the verdict that a replay should have: that of the record, or that of the review
// without its secrets where it is another.
func (r *Record) Want() Verdict {
	if r.RedactedVerdict != nil {
		return *r.RedactedVerdict
	}
	return r.Verdict
}

// Replay judges the review once more, by the handlers of the webhook, in the world that the
// record has. An error means that it could not be.
func (r *Record) Replay(ctx context.Context, o Options) (Verdict, error) {
	if o.Timeout == 0 {
		o.Timeout = ReplayTimeout
	}
	w, err := newWorld(r)
	if err != nil {
		return Verdict{}, err
	}
	handler, err := r.handler(w, o) //nolint:contextcheck,nolintlint // found or not, as the facts are cached; policies are compiled whole, however long the answer may take
	if err != nil {
		return Verdict{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Path, bytes.NewReader(r.Review))
	if err != nil {
		return Verdict{}, fmt.Errorf("replaying: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	out := &answer{header: http.Header{}}
	handler.ServeHTTP(out, request)
	v, ok := verdictOf(out.body.Bytes())
	if !ok {
		return Verdict{}, fmt.Errorf("replaying: wanted a verdict, found that the webhook takes no such review: %s", bytes.TrimSpace(out.body.Bytes()[:min(out.body.Len(), 500)]))
	}
	return v, nil
}

// paths is the handlers, by path.
type paths map[string]http.Handler

// Register implements webhook.Server.
func (p paths) Register(path string, h http.Handler) { p[path] = h }

// handler is what answered, in another world.
func (r *Record) handler(w *world, o Options) (http.Handler, error) {
	now := still(r.Time)
	if r.Path == engine.WebhookPath {
		store := o.Constraints
		if store == nil {
			var err error
			if store, err = r.Constraints.store(); err != nil {
				return nil, err
			}
		}
		h, err := gatekeeper.New(gatekeeper.Options{Store: store, Reader: w, Clock: now, Timeout: o.Timeout})
		if err != nil {
			return nil, err //nolint:wrapcheck // says what it did
		}
		return h.HTTP(), nil
	}
	store := o.Policies
	if store == nil {
		store = r.store(o.NewStore)
	}
	h, err := webhook.New(webhook.Config{
		Reader: w, Policies: store, Renderer: unnamed{o.Renderer}, Authorizer: w, Exemptions: w,
		Identity: r.Identity, ManagerNamespace: r.ManagerNamespace, Clock: now, Metrics: webhook.NewMetrics(), Timeout: o.Timeout,
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it did
	}
	served := paths{}
	h.Register(served)
	if served[r.Path] == nil {
		return nil, fmt.Errorf("replaying: wanted a path that the webhook has, found %q", r.Path)
	}
	return served[r.Path], nil
}

// store has the policies of the record. One that does not compile has the stand-in that the
// webhook has for it.
func (r *Record) store(empty func() *eval.Store) *eval.Store {
	if empty == nil {
		empty = eval.NewStore
	}
	s := empty()
	for _, p := range r.Policies {
		_ = s.Put(eval.FromDeployPolicy(p.DeployPolicy)) // the stand-in says it
	}
	return s
}

// store has Gatekeeper's part of the record.
func (c *Constraints) store() (*engine.Store, error) {
	if c == nil {
		return engine.NewStore(), nil
	}
	s := engine.Compiler{PreferRego: c.PreferRego}.NewStore()
	if c.InventoryLeftOut {
		return nil, fmt.Errorf("replaying: wanted the inventory that the templates read, found only its digest %s, since it was too large to be recorded", c.InventoryDigest)
	}
	read := func(raw []byte) (*unstructured.Unstructured, error) {
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("replaying: reading constraints: %w", err)
		}
		return u, nil
	}
	put := func(list []json.RawMessage, put func(*unstructured.Unstructured) error) error {
		for _, raw := range list {
			u, err := read(raw)
			if err == nil {
				err = put(u)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return s, errors.Join(
		// A template that does not compile makes its constraints object, as it did then.
		put(c.Templates, func(u *unstructured.Unstructured) error { _, _ = s.PutTemplate(u); return nil }),
		put(c.Constraints, func(u *unstructured.Unstructured) error { _ = s.PutConstraint(u); return nil }),
		put(c.Inventory, s.Inventory().Put))
}

// still is a clock that stands still.
type still time.Time

// Now implements clock.PassiveClock.
func (s still) Now() time.Time { return time.Time(s) }

// Since implements clock.PassiveClock.
func (s still) Since(t time.Time) time.Duration { return time.Time(s).Sub(t) }

var _ clock.PassiveClock = still{}

// unnamed renders templates by their files alone: their texts may have been changed, and
// must not be taken for those of the digest.
type unnamed struct{ webhook.Renderer }

// Render implements webhook.Renderer.
func (u unnamed) Render(ctx context.Context, s webhook.Source, values []byte, c render.Context) (*render.Result, error) {
	return u.Renderer.Render(ctx, webhook.Source{Files: s.Files}, values, c) //nolint:wrapcheck // it is the renderer's own
}

// Immutable implements webhook.Renderer.
func (u unnamed) Immutable(ctx context.Context, s webhook.Source, was, now []byte) error {
	return u.Renderer.Immutable(ctx, webhook.Source{Files: s.Files}, was, now) //nolint:wrapcheck // it is the renderer's own
}

// answer keeps what a handler answers.
type answer struct {
	header http.Header
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(int) {}

// said finds the answer to a question, in the record.
func (w *world) said(of any) (Answer, error) {
	raw, err := json.Marshal(of)
	if err != nil {
		return Answer{}, fmt.Errorf("replaying: %w", err)
	}
	v, err := decode(raw)
	if err == nil {
		raw, err = encode(v)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("replaying: %w", err)
	}
	i := slices.IndexFunc(w.answers, func(a Answer) bool { return a.Of == string(raw) })
	if i < 0 {
		return Answer{}, fmt.Errorf("the record does not say what the answer to %s was", raw)
	}
	if a := w.answers[i]; a.Error != "" {
		return Answer{}, errors.New(a.Error)
	}
	return w.answers[i], nil
}

// Allowed implements webhook.Authorizer.
func (w *world) Allowed(_ context.Context, user authenticationv1.UserInfo, what authorizationv1.ResourceAttributes) (bool, error) {
	a, err := w.said(rights{user.Username, what})
	return a.Allowed, err
}

// Use implements webhook.Exempter.
func (w *world) Use(_ context.Context, b *v1alpha1.BreakGlass, _ map[string]*v1alpha1.BreakGlassRule, _ []string, _ v1alpha1.BreakGlassUse) (string, error) {
	a, err := w.said(glass{client.ObjectKeyFromObject(b)})
	return a.Refused, err
}
