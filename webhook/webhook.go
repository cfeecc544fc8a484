// Package webhook answers the API server's admission requests. It decodes them, asks the
// policies, the templates and the cluster, and words the answer for the person who made
// the request; it writes nothing, and remembers nothing but renderings by their digests, so a dry run has the
// same answer.
//
// There are two paths. /gate judges writes of governed kinds in governed namespaces: the
// policy managed-flow first, then the DeployPolicies that are asked on admission.
// /tidegate judges Tidegate's own kinds. A request is Allowed, Denied (403: somebody
// decided so, and the message says who and what to do) or Errored (the facts could not be
// had; the API server refuses as well, since the webhooks fail closed).
//
// The manager wires the handlers up like this, on every replica:
//
//	server := mgr.GetWebhookServer()
//	metrics := webhook.NewMetrics()
//	err := metrics.Register(ctrlmetrics.Registry)
//	handlers, err := webhook.New(webhook.Config{Reader: mgr.GetClient(), ..., Metrics: metrics})
//	handlers.Register(server)
//
// Reader must be a cache that has synced before the server is ready, and must hold Gates,
// Namespaces, Releases, ReleaseTemplates, TemplateRevisions, Rollouts, MetricSources,
// BreakGlasses and BreakGlassCommands.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	managedflow "tidegate.io/tidegate/policies/library/managed-flow"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/webhook/gates"
)

const (
	// PathGate is where writes of governed kinds are judged.
	PathGate = gates.Path
	// PathTidegate is where writes of Tidegate's own kinds are judged.
	PathTidegate = "/tidegate"
)

// DefaultTimeout is how long one answer may take. It is shorter than the API server's
// patience (5 s), so that whoever waits reads our message and not a time-out.
const DefaultTimeout = 4 * time.Second

// Source is a template's files, and their digest where they are those of a
// TemplateRevision.
type Source struct {
	// Digest is that of the TemplateRevision; empty when the files are not published yet.
	Digest string
	Files  map[string]string
}

// Renderer renders templates. An error is a *render.SourceError when the template is at
// fault, a *render.ValuesError when the values are, and a *worker.BombError when rendering
// takes more time or memory than there is; any other means that nothing is known.
type Renderer interface {
	// Check compiles a template that is not published yet and runs its own tests.
	Check(ctx context.Context, files map[string]string) error
	// Vet finds what is wrong with such a template though it compiles. An error means that
	// it was not looked at, whosever fault that is.
	Vet(ctx context.Context, files map[string]string) ([]render.Finding, error)
	// Render renders values, a JSON object, or empty.
	Render(ctx context.Context, s Source, values []byte, c render.Context) (*render.Result, error)
	// Immutable compares the values of a Release before and after a change. The error is a
	// *render.ValuesError when variables differ that the template fixes for life.
	Immutable(ctx context.Context, s Source, was, now []byte) error
	// Compare says what a change of a template's files means for those who use it.
	Compare(ctx context.Context, before, after map[string]string) (*render.Comparison, error)
}

// Authorizer says whether RBAC lets a user do something.
type Authorizer interface {
	Allowed(ctx context.Context, user authenticationv1.UserInfo, what authorizationv1.ResourceAttributes) (bool, error)
}

// Config is what the handlers need. All fields but Exemptions and Timeout are required.
type Config struct {
	// Reader reads from the cache.
	Reader client.Reader
	// Policies holds the DeployPolicies in force.
	Policies *eval.Store
	Renderer Renderer
	// Authorizer is asked about the verbs of commands: approve, abort and pause on rollouts,
	// sync and rollback on releasetemplates.
	Authorizer Authorizer
	// Identity is the manager's own user name.
	Identity string
	// ManagerNamespace can never be governed.
	ManagerNamespace string
	// Exemptions records what a BreakGlass lets through. No BreakGlass is honoured if nil.
	Exemptions Exempter
	// Clock is for the duration metric, and says when an exemption ends.
	Clock   clock.PassiveClock
	Metrics *Metrics
	// Timeout bounds one answer; 0 is DefaultTimeout.
	Timeout time.Duration
}

// Validate says what is missing.
func (c Config) Validate() error {
	missing := func(what string) error {
		return fmt.Errorf("setting up the webhook: wanted %s, found none", what)
	}
	switch {
	case c.Reader == nil:
		return missing("a Reader")
	case c.Policies == nil:
		return missing("a Policies store")
	case c.Renderer == nil:
		return missing("a Renderer")
	case c.Authorizer == nil:
		return missing("an Authorizer")
	case c.Identity == "":
		return missing("the manager's Identity")
	case c.ManagerNamespace == "":
		return missing("the ManagerNamespace")
	case c.Clock == nil:
		return missing("a Clock")
	case c.Metrics == nil:
		return missing("Metrics")
	}
	return nil
}

// Handlers answers at both paths.
type Handlers struct {
	// Gate judges writes of governed kinds.
	Gate admission.Handler
	// Tidegate judges writes of Tidegate's own kinds.
	Tidegate admission.Handler

	clock clock.PassiveClock
}

// New returns the handlers.
func New(c Config) (*Handlers, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	flow, err := managedflow.Compile()
	if err != nil {
		return nil, fmt.Errorf("setting up the webhook: %w", err)
	}
	renderings, err := lru.New[pinnedKey, *render.Result](maxPinned)
	if err != nil {
		return nil, fmt.Errorf("setting up the webhook: %w", err)
	}
	return &Handlers{
		clock:    c.Clock,
		Gate:     measured{config: c, path: PathGate, next: &gate{Config: c, flow: flow, renderings: renderings}},
		Tidegate: measured{config: c, path: PathTidegate, next: &own{Config: c}},
	}, nil
}

// Server is the part of controller-runtime's webhook server that is needed here.
type Server interface {
	Register(path string, handler http.Handler)
}

// Register adds the handlers to a server.
func (h *Handlers) Register(s Server) {
	s.Register(PathGate, front{&admission.Webhook{Handler: h.Gate, RecoverPanic: new(true)}, h.clock})
	s.Register(PathTidegate, front{&admission.Webhook{Handler: h.Tidegate, RecoverPanic: new(true)}, h.clock})
}

// judge answers a request.
type judge interface {
	judge(ctx context.Context, r admission.Request) answer
}

// answer is the outcome of one request.
type answer struct {
	// err is set when nothing is known; the request is refused.
	err error
	// code and denial are set when it was decided to refuse.
	code, denial string
	// warnings are shown in either case.
	warnings []string
	// facts go to the API server's audit log, with the code.
	facts map[string]string
}

func deny(code, format string, args ...any) answer {
	return answer{code: code, denial: fmt.Sprintf(format, args...)}
}

func fail(err error) answer { return answer{err: err} }

// ReasonError is the code of a request that could not be judged.
const ReasonError = "TG-WEBHOOK-ERROR"

// response words the answer.
func (a answer) response() admission.Response {
	var r admission.Response
	facts := map[string]string{}
	for k, v := range a.facts {
		if v != "" {
			facts[k] = v
		}
	}
	switch {
	case a.err != nil:
		r = admission.Errored(http.StatusInternalServerError, errors.New(screen(fmt.Sprintf(
			"%s: wanted to judge the request, found: %v; do: try again; if it persists, ask the platform team to look at the manager's log", ReasonError, a.err))))
		facts["code"] = ReasonError
	case a.denial != "":
		r = admission.Denied(screen(a.code + ": " + a.denial))
		facts["code"] = a.code
	default:
		r = admission.Allowed("")
	}
	r.Warnings = a.warnings
	if len(facts) > 0 {
		r.AuditAnnotations = facts
	}
	return r
}

// measured bounds, counts and words the answers of one path.
type measured struct {
	config Config
	path   string
	next   judge
}

// Handle implements admission.Handler.
func (m measured) Handle(ctx context.Context, r admission.Request) admission.Response {
	start := m.config.Clock.Now()
	ctx, cancel := context.WithTimeout(ctx, m.config.Timeout)
	defer cancel()
	a := m.next.judge(ctx, r)
	m.config.Metrics.observe(m.path, a, m.config.Clock.Since(start))
	if a.err != nil && !errors.Is(a.err, context.Canceled) {
		ctrl.LoggerFrom(ctx).Error(a.err, "request could not be judged",
			"path", m.path, "operation", r.Operation, "resource", r.Resource.Resource, "namespace", r.Namespace, "name", r.Name)
	}
	return a.response()
}
