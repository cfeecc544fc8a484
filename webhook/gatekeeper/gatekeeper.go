// Package gatekeeper answers admission requests by Gatekeeper's constraints, in their own
// words.
package gatekeeper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
)

const (
	// ReasonDeny is: a constraint whose action is deny objects.
	ReasonDeny = "TG-GATEKEEPER-DENY"
	// ReasonError is: such a constraint could not be judged.
	ReasonError = "TG-GATEKEEPER-ERROR"

	// DefaultTimeout bounds one answer. It is below what the API server waits.
	DefaultTimeout = 4 * time.Second
	// maxLines is how many violations a denial shows.
	maxLines = 20
	// maxReported bounds the audit annotation, in bytes of messages.
	maxReported = 128 << 10
)

// Options are what a Handler needs.
type Options struct {
	// Store has the constraints in force. Required.
	Store *gatekeeper.Store
	// Reader knows the Namespaces. Nil is for servers without a cluster: then the inventory
	// knows them, or nobody.
	Reader client.Reader
	// Clock is what templates take for the time. Required.
	Clock clock.PassiveClock
	// Timeout bounds one answer; 0 is DefaultTimeout.
	Timeout time.Duration
}

// Handler answers admission requests.
type Handler struct{ Options }

// New returns the handler.
func New(o Options) (*Handler, error) {
	switch {
	case o.Store == nil:
		return nil, errors.New("setting up the webhook for constraints: wanted a Store, found none")
	case o.Clock == nil:
		return nil, errors.New("setting up the webhook for constraints: wanted a Clock, found none")
	}
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	return &Handler{o}, nil
}

// Handle implements admission.Handler.
func (h *Handler) Handle(ctx context.Context, r admission.Request) admission.Response {
	set := h.Store.Set()
	if !set.Asks(schema.GroupKind{Group: r.Kind.Group, Kind: r.Kind.Kind}) {
		return admission.Allowed("")
	}
	if h.excluded(r) {
		return admission.Allowed("")
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	review, err := gatekeeper.NewReview(&r.AdmissionRequest)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("%s: wanted a whole request, found: %w; do: send it as the API server does", ReasonError, err))
	}
	review.Source, review.Time = gatekeeper.SourceOriginal, h.Clock.Now()
	if review.Namespace, err = h.namespace(ctx, r); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "request could not be judged by constraints", "kind", r.Kind.Kind, "namespace", r.Namespace, "name", r.Name)
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("%s: wanted to know the namespace, found: %w; do: try again", ReasonError, err))
	}
	return respond(set.Judge(ctx, review))
}

// excluded says whether a Config leaves the namespace out.
func (h *Handler) excluded(r admission.Request) bool {
	namespace := r.Namespace
	if r.Kind.Group == "" && r.Kind.Kind == "Namespace" {
		namespace = r.Name
	}
	return h.Store.Excluded(gatekeeper.ProcessWebhook, namespace)
}

// namespace reads the namespace of the object. One that is not known is none: a constraint
// that needs it then objects.
func (h *Handler) namespace(ctx context.Context, r admission.Request) (*corev1.Namespace, error) {
	if h.Reader == nil || r.Namespace == "" || (r.Kind.Group == "" && r.Kind.Kind == "Namespace") {
		return nil, nil
	}
	ns := &corev1.Namespace{}
	err := h.Reader.Get(ctx, types.NamespacedName{Name: r.Namespace}, ns)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading namespace %q: %w", r.Namespace, err)
	}
	return ns, nil
}

// respond words the answer: violations to deny in the denial, violations to warn as
// warnings, and all of them for the audit log.
func respond(found []gatekeeper.Violation) admission.Response {
	var denials []gatekeeper.Violation
	var warnings []string
	for _, v := range found {
		if v.Is(gatekeeper.ActionDeny) {
			denials = append(denials, v)
		}
		if v.Is(gatekeeper.ActionWarn) {
			warnings = append(warnings, line(v))
		}
	}
	r := admission.Allowed("")
	if len(denials) > 0 {
		r = admission.Denied(denial(denials))
	}
	r.Warnings = warnings
	if len(found) > 0 {
		r.AuditAnnotations = map[string]string{gatekeeper.AnnotationViolations: report(found)}
	}
	return r
}

// line is what Gatekeeper shows of a violation.
func line(v gatekeeper.Violation) string { return fmt.Sprintf("[%s] %s", v.Constraint.Name, v.Message) }

func denial(list []gatekeeper.Violation) string {
	code := ReasonError
	for _, v := range list {
		if !v.Failed {
			code = ReasonDeny
		}
	}
	var b strings.Builder
	b.WriteString(code + ": ")
	for i, v := range list {
		if i == maxLines {
			fmt.Fprintf(&b, "and %d more\n", len(list)-i)
			break
		}
		b.WriteString(line(v) + "\n")
	}
	first := list[0].Constraint
	fmt.Fprintf(&b, "do: change the object; what is wanted says: kubectl get %s.%s %s -o yaml", strings.ToLower(first.Kind), gatekeeper.ConstraintGroup, first.Name)
	return b.String()
}

func report(found []gatekeeper.Violation) string {
	list := make([]gatekeeper.Reported, 0, len(found))
	size := 0
	for i, v := range found {
		if size += len(v.Message); size > maxReported {
			list = append(list, gatekeeper.Reported{Message: fmt.Sprintf("and %d more", len(found)-i)})
			break
		}
		list = append(list, gatekeeper.Reported{Constraint: v.Constraint.String(), Actions: v.Actions, Message: v.Message})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return "[]" // it is text
	}
	return string(raw)
}

// HTTP returns what a server registers. It tells who asks which version of a constraint is
// in force.
func (h *Handler) HTTP() http.Handler {
	next := &admission.Webhook{Handler: h, RecoverPanic: new(true)}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kind, name, ok := strings.Cut(r.Header.Get(gatekeeper.HeaderAsks), "/"); ok {
			if c := h.Store.Set().Find(gatekeeper.Key{Kind: kind, Name: name}); c != nil {
				w.Header().Set(gatekeeper.HeaderServes, c.Digest())
			}
		}
		next.ServeHTTP(w, r)
	})
}
