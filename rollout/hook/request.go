package hook

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// typePrefix goes before the event in the type of a CloudEvent.
	typePrefix = "io.tidegate.rollout."
	// called is the event of a hook that a step names.
	called = "check"
	// defaultTimeout is that of a hook that has none.
	defaultTimeout = 10 * time.Second
)

// request is one call, as it is made, and made again by a manager that takes over: all of it
// follows from the Rollout's spec and the status that was written before.
type request struct {
	id  string
	url string
	// server is the host and the port of url, by which calls are bounded.
	server  string
	timeout time.Duration
	body    []byte
	// secret and authorities are nil where there are none.
	secret, authorities *v1alpha1.KeyReference
}

// Data is the data of the CloudEvent that a hook is called with.
type Data struct {
	Namespace string `json:"namespace"`
	Release   string `json:"release"`
	Rollout   string `json:"rollout"`
	UID       string `json:"uid"`
	// Number counts the Rollouts of the Release.
	Number int64 `json:"number"`
	// Revision is brought into service over StableRevision, which is left out where nothing
	// serves yet.
	Revision       string `json:"revision"`
	StableRevision string `json:"stableRevision,omitempty"`
	// Digest is that of everything that was rendered and judged.
	Digest           string `json:"digest"`
	TemplateRevision string `json:"templateRevision"`
	Hook             string `json:"hook"`
	// Event is begin, step, promote or rollback, and check where a step names the hook.
	Event string `json:"event"`
	// Step of Steps is counted from 1, and is 0 before the first.
	Step  int32 `json:"step"`
	Steps int32 `json:"steps"`
	// Weight is the share of requests, in percent, that the step gives to the revision.
	Weight int32 `json:"weight"`
	// Call is the same for all tries of a call, which Try counts from 1.
	Call string `json:"call"`
	Try  int32  `json:"try"`
	// Reason and Message are why the Rollout was aborted; with rollback alone.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// newRequest makes the request of a call, or says what is wrong with it.
func newRequest(rollout *v1alpha1.Rollout, which plan.Call) (request, *outcome) {
	hook := hookNamed(rollout, which.Hook)
	if hook == nil {
		return request{}, final("wanted a hook named %q in the strategy of Rollout %s, found none; publish the template with it", which.Hook, rollout.Name)
	}
	id := callID(rollout, which)
	out := request{
		id: fmt.Sprintf("%s-%d", id, which.Try), url: hook.URL, server: serverOf(hook.URL), timeout: hook.Timeout.Duration,
		secret: hook.SecretRef.DeepCopy(), authorities: hook.CASecretRef.DeepCopy(),
	}
	if out.timeout <= 0 {
		out.timeout = defaultTimeout
	}
	body, err := message(rollout, which, id, out.id)
	if err != nil {
		return request{}, final("the call cannot be written as a CloudEvent: %v", err)
	}
	out.body = body
	return out, nil
}

// serverOf is the host and the port of a URL, and the URL itself where it has none.
func serverOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}

func hookNamed(rollout *v1alpha1.Rollout, name string) *v1alpha1.Hook {
	for i := range rollout.Spec.Strategy.Hooks {
		if h := &rollout.Spec.Strategy.Hooks[i]; h.Name == name {
			return h
		}
	}
	return nil
}

// callID names a call, whichever try of it; the uid makes it one of its own in the world.
func callID(rollout *v1alpha1.Rollout, which plan.Call) string {
	return strings.Join([]string{string(rollout.UID), which.Hook, named(which.Event), fmt.Sprint(which.Step), fmt.Sprint(which.Falls)}, "-")
}

func named(e v1alpha1.HookEvent) string {
	if e == "" {
		return called
	}
	return string(e)
}

// message is the call as a CloudEvent in JSON, in structured mode.
func message(rollout *v1alpha1.Rollout, which plan.Call, callID, id string) ([]byte, error) {
	spec := &rollout.Spec
	levels := plan.Levels(plan.Walked(*spec))
	data := Data{
		Namespace: rollout.Namespace, Release: spec.Release, Rollout: rollout.Name, UID: string(rollout.UID), Number: spec.Number,
		Revision: spec.Revision, Digest: spec.Digest, TemplateRevision: spec.TemplateRevision,
		Hook: which.Hook, Event: named(which.Event), Step: which.Step, Steps: int32(len(levels) - 1), //nolint:gosec // at most 50
		Call: callID, Try: which.Try,
	}
	if int(which.Step) < len(levels) {
		data.Weight = levels[which.Step].Weight
	}
	if spec.Stable != nil {
		data.StableRevision = spec.Stable.Revision
	}
	if cause := rollout.Status.AbortCause; cause != nil && which.Event == v1alpha1.HookRollback {
		data.Reason, data.Message = cause.Code, cause.Message
	}
	e := event.New()
	e.SetID(id)
	e.SetSource(fmt.Sprintf("/namespaces/%s/releases/%s", rollout.Namespace, spec.Release))
	e.SetType(typePrefix + data.Event)
	e.SetSubject(rollout.Namespace + "/" + spec.Release)
	e.SetTime(begun(rollout, which))
	if err := e.SetData(event.ApplicationJSON, data); err != nil {
		return nil, fmt.Errorf("writing the data: %w", err)
	}
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("checking it: %w", err)
	}
	return e.MarshalJSON()
}

// begun is when the status says that the try was begun.
func begun(rollout *v1alpha1.Rollout, which plan.Call) time.Time {
	for i := range rollout.Status.Checks {
		c := &rollout.Status.Checks[i]
		if c.Job == "" && c.Hook == which.Hook && c.Event == which.Event && c.Step == which.Step {
			return c.At.UTC()
		}
	}
	return rollout.CreationTimestamp.UTC()
}
