package record

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"tidegate.io/tidegate/policies/eval"
	engine "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

const (
	// maxQueued and maxQueuedBytes bound what waits to be recorded.
	maxQueued      = 64
	maxQueuedBytes = 32 << 20
	// maxInventory bounds the inventory in one record, in bytes.
	maxInventory = 4 << 20
	// lastWords is how long records that wait when the manager stops may take.
	lastWords = 5 * time.Second
)

// Config is what a Recorder needs. Directory, Handlers, Clock, Metrics
// and Log are required.
type Config struct {
	Directory Directory
	// Warned is true where answers that allow with a warning are recorded too.
	Warned bool
	// Version is that of this Tidegate.
	Version string
	// Handlers is what the handlers are made with, before [Recorder.Webhook].
	Handlers webhook.Config
	// Constraints are Gatekeeper's in force, where there are any.
	Constraints *engine.Store
	Clock       clock.WithTicker
	Metrics     *Metrics
	Log         logr.Logger
}

// Validate says what is missing.
func (c Config) Validate() error {
	if err := c.Directory.Validate(); err != nil {
		return err
	}
	if c.Clock == nil || c.Metrics == nil || c.Handlers.Policies == nil || c.Handlers.Renderer == nil {
		return errors.New("setting up records: wanted Clock, Metrics and the webhook's configuration, found that one is missing")
	}
	return nil
}

// Recorder records what handlers refuse. Nil records nothing, so that whoever sets up the
// webhook need not ask whether there is one.
type Recorder struct {
	Config
	scheme *runtime.Scheme
	queue  chan job

	mu sync.Mutex
	// queued is the number of bytes that wait.
	queued int64
}

// job is one answer to be recorded.
type job struct {
	trace        *trace
	review       []byte
	verdict      Verdict
	constraints  *engine.Set
	sizeOfReview int64
}

// New returns a recorder, which records once it is started.
func New(c Config) (*Recorder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	scheme, err := kinds()
	if err != nil {
		return nil, err
	}
	return &Recorder{Config: c, scheme: scheme, queue: make(chan job, maxQueued)}, nil
}

// Webhook is the configuration with which handlers are made whose answers are recorded.
func (r *Recorder) Webhook(c webhook.Config) webhook.Config {
	if r == nil {
		return c
	}
	c.Reader, c.Authorizer, c.Renderer = reader{c.Reader}, authorizer{c.Authorizer}, renderer{c.Renderer}
	if c.Exemptions != nil {
		c.Exemptions = exempter{c.Exemptions}
	}
	return c
}

// Reader is what handlers read from whose answers are recorded.
func (r *Recorder) Reader(c client.Reader) client.Reader {
	if r == nil {
		return c
	}
	return reader{c}
}

// Constrain says which constraints of Gatekeeper are in force. It is called before anything
// is served.
func (r *Recorder) Constrain(store *engine.Store) {
	if r != nil {
		r.Constraints = store
	}
}

// Server registers handlers with recording around them.
func (r *Recorder) Server(s webhook.Server) webhook.Server {
	if r == nil {
		return s
	}
	return recording{s, r}
}

type recording struct {
	webhook.Server
	recorder *Recorder
}

// Register implements webhook.Server.
func (s recording) Register(path string, h http.Handler) {
	s.Server.Register(path, s.recorder.around(path, h))
}

// around notes what each answer is made of, and keeps that of those to be recorded.
func (r *Recorder) around(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		t := &trace{time: r.Clock.Now(), path: path, set: r.Handlers.Policies.Set()}
		body := &tee{ReadCloser: q.Body}
		out := &heard{ResponseWriter: w}
		q = q.WithContext(t.in(q.Context()))
		q.Body = body
		next.ServeHTTP(out, q)
		r.offer(t, body.read.Bytes(), out.written.Bytes())
	})
}

// tee keeps what is read of a body. The handlers bound how much that is.
type tee struct {
	io.ReadCloser
	read bytes.Buffer
}

// Read implements io.Reader.
func (t *tee) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	_, _ = t.read.Write(b[:n]) // a buffer takes everything
	return n, err              //nolint:wrapcheck // it is the body's own, which its reader knows
}

// heard keeps what is answered.
type heard struct {
	http.ResponseWriter
	written bytes.Buffer
}

// Write implements http.ResponseWriter.
func (h *heard) Write(b []byte) (int, error) {
	_, _ = h.written.Write(b) // a buffer takes everything
	return h.ResponseWriter.Write(b)
}

// Unwrap lets deadlines be set through it.
func (h *heard) Unwrap() http.ResponseWriter { return h.ResponseWriter }

var (
	refused = []byte(`"allowed":false`)
	warned  = []byte(`"warnings":[`)
)

// offer hands an answer to the queue if it is one to be recorded. It never waits.
func (r *Recorder) offer(t *trace, review, response []byte) {
	if !bytes.Contains(response, refused) && (!r.Warned || !bytes.Contains(response, warned)) {
		return
	}
	v, ok := verdictOf(response)
	if !ok || v.Allowed && (!r.Warned || len(v.Warnings) == 0) {
		return
	}
	j := job{trace: t, review: review, verdict: v, sizeOfReview: int64(len(review))}
	if r.Constraints != nil && t.path == engine.WebhookPath {
		j.constraints = r.Constraints.Set()
	}
	if !r.reserve(j.sizeOfReview) {
		r.Metrics.reviews.WithLabelValues(outcomeDropped).Inc()
		return
	}
	select {
	case r.queue <- j:
	default:
		r.reserve(-j.sizeOfReview)
		r.Metrics.reviews.WithLabelValues(outcomeDropped).Inc()
	}
}

// reserve says whether so many bytes may wait besides those that do.
func (r *Recorder) reserve(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > 0 && r.queued+n > maxQueuedBytes {
		return false
	}
	r.queued += n
	return true
}

// NeedLeaderElection says that every replica records what it answers.
func (r *Recorder) NeedLeaderElection() bool { return false }

var _ manager.LeaderElectionRunnable = (*Recorder)(nil)

// Start implements manager.Runnable. It rests after each record for as long as that took,
// so that a flood of refusals takes half of a processor at most.
func (r *Recorder) Start(ctx context.Context) error {
	if err := r.Directory.sweep(); err != nil {
		r.Log.Error(err, "Cannot clear the directory of records")
	}
	for {
		select {
		case <-ctx.Done():
			r.drain(context.WithoutCancel(ctx))
			return nil
		case j := <-r.queue:
			begun := r.Clock.Now()
			r.finish(ctx, j)
			select {
			case <-ctx.Done():
			case <-r.Clock.After(r.Clock.Since(begun)):
			}
		}
	}
}

// drain records what waits, for as long as there is time.
func (r *Recorder) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	for ctx.Err() == nil {
		select {
		case j := <-r.queue:
			r.finish(ctx, j)
		default:
			return
		}
	}
}

// finish makes and writes one record.
func (r *Recorder) finish(ctx context.Context, j job) {
	defer r.reserve(-j.sizeOfReview)
	outcome := outcomeWritten
	removed, err := r.write(ctx, j)
	switch {
	case errors.Is(err, errNoRoom):
		outcome = outcomeTooLarge
	case err != nil:
		outcome = outcomeFailed
	}
	if err != nil {
		r.Log.Error(err, "A refusal was not recorded", "path", j.trace.path)
	}
	r.Metrics.removed.Add(float64(removed))
	r.Metrics.reviews.WithLabelValues(outcome).Inc()
}

func (r *Recorder) write(ctx context.Context, j job) (removed int, err error) {
	// What reads a review of anybody may panic; nothing but the record is lost then.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("recording: panicked: %v", p)
		}
	}()
	rec, err := r.record(ctx, j)
	if err != nil {
		return 0, err
	}
	raw, err := rec.Encode()
	if err != nil {
		return 0, err
	}
	if len(raw) > MaxRecord {
		return 0, errNoRoom
	}
	sum := sha256.Sum256(j.review)
	// The time comes first, so that names sort by age.
	name := j.trace.time.UTC().Format("20060102T150405.000000000Z") + "-" + hex.EncodeToString(sum[:6])
	return r.Directory.write(name, raw)
}

// record makes a record, takes the secrets out of it, and judges what is left.
func (r *Recorder) record(ctx context.Context, j job) (*Record, error) {
	t := j.trace
	rec := &Record{
		Format: Format, Version: r.Version, Time: t.time, Path: t.path, Identity: r.Handlers.Identity,
		ManagerNamespace: r.Handlers.ManagerNamespace, Verdict: j.verdict, Review: j.review,
	}
	if err := t.facts(r.scheme, rec); err != nil {
		return nil, err
	}
	kind, err := kindOfReview(j.review)
	if err != nil {
		return nil, err
	}
	if j.constraints != nil {
		if rec.Constraints, err = constraintsOf(j.constraints, kind); err != nil {
			return nil, err
		}
	} else {
		rec.Policies = policiesOf(t.set, t.path, kind)
	}
	key := make([]byte, sha256.Size)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	before, err := rec.lawsOf()
	if err != nil {
		return nil, err
	}
	if err := rec.redact(key); err != nil {
		return nil, err
	}
	after, err := rec.lawsOf()
	if err != nil {
		return nil, err
	}
	r.again(ctx, rec, j, before == after)
	return rec, nil
}

// again judges the record as it now is, and says where that differs. What is in force is
// compiled already; where secrets were in its text, the record has another.
func (r *Recorder) again(ctx context.Context, rec *Record, j job, inForce bool) {
	o := Options{
		Renderer: r.Handlers.Renderer, Timeout: r.Handlers.Timeout,
		NewStore: func() *eval.Store { return r.Handlers.Policies.Holding(eval.NewSet()) },
	}
	if inForce {
		o.Policies = r.Handlers.Policies.Holding(j.trace.set)
	}
	if inForce && j.constraints != nil {
		o.Constraints = engine.StoreOf(j.constraints)
	}
	now, err := rec.Replay(ctx, o)
	switch {
	case err != nil:
		rec.RedactedVerdictDiffers, rec.RedactedError = true, err.Error()
	case len(rec.Verdict.Diff(now)) > 0:
		rec.RedactedVerdictDiffers, rec.RedactedVerdict = true, &now
	}
}

func kindOfReview(raw []byte) (schema.GroupKind, error) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(raw, &review); err != nil || review.Request == nil {
		return schema.GroupKind{}, fmt.Errorf("recording: wanted a review with a request, found: %w", err)
	}
	return schema.GroupKind{Group: review.Request.Kind.Group, Kind: review.Request.Kind.Kind}, nil
}

// policiesOf are those that could be asked about a request at a path.
func policiesOf(set *eval.Set, path string, gk schema.GroupKind) []Policy {
	var out []Policy
	for _, p := range set.Policies() {
		s := p.Source()
		moment := v1alpha1.AtAdmission
		if path == webhook.PathTidegate {
			moment = v1alpha1.AtRelease
		}
		// What a Release renders can be of any kind.
		if !slices.Contains(s.At, moment) || moment == v1alpha1.AtAdmission && !about(s.Match.Kinds, gk) {
			continue
		}
		if p.Broken() == nil {
			s.Tests = v1alpha1.PolicyTests{}
		}
		out = append(out, Policy{Digest: p.Digest(), DeployPolicy: s.DeployPolicy()})
	}
	return out
}

// about says whether kinds, none of which is all, could hold one.
func about(kinds []v1alpha1.KindMatch, gk schema.GroupKind) bool {
	return len(kinds) == 0 || slices.ContainsFunc(kinds, func(k v1alpha1.KindMatch) bool {
		return (k.Group == "*" || k.Group == gk.Group) && (slices.Contains(k.Kinds, "*") || slices.Contains(k.Kinds, gk.Kind))
	})
}

func constraintsOf(set *engine.Set, gk schema.GroupKind) (*Constraints, error) {
	e, err := set.Evidence(gk)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it did
	}
	out := &Constraints{InventoryDigest: e.InventoryDigest, PreferRego: e.PreferRego}
	for _, u := range e.Templates {
		raw, err := u.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("recording a template: %w", err)
		}
		out.Templates = append(out.Templates, raw)
	}
	for _, u := range e.Constraints {
		raw, err := u.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("recording a constraint: %w", err)
		}
		out.Constraints = append(out.Constraints, raw)
	}
	size := 0
	for _, raw := range e.Inventory {
		size += len(raw)
	}
	if out.InventoryLeftOut = size > maxInventory; !out.InventoryLeftOut {
		out.Inventory = e.Inventory
	}
	return out, nil
}
