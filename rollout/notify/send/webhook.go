package send

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"k8s.io/utils/clock"

	"tidegate.io/tidegate/rollout/notify/news"
	"tidegate.io/tidegate/rollout/notify/rules"
	"tidegate.io/tidegate/rollout/outbound"
)

const (
	// typePrefix and typeVersion go around the kind in the type of a CloudEvent.
	typePrefix  = "io.tidegate.rollout."
	typeVersion = ".v1"
)

// webhook posts CloudEvents.
type webhook struct {
	config  rules.Webhook
	cluster string
	client  *http.Client
	clock   clock.PassiveClock
}

func newWebhook(sink *rules.Sink, cluster string, now clock.PassiveClock) (*webhook, error) {
	var authorities *x509.CertPool
	if sink.Webhook.CABundle != "" {
		authorities = x509.NewCertPool()
		if !authorities.AppendCertsFromPEM([]byte(sink.Webhook.CABundle)) {
			return nil, errors.New("wanted certificates in PEM in caBundle, found none that can be read; paste the authority's certificate")
		}
	}
	return &webhook{config: *sink.Webhook, cluster: cluster, client: newClient(sink.Timeout.Duration, authorities), clock: now}, nil
}

// Data is the data of a CloudEvent.
type Data struct {
	Kind     news.Kind         `json:"kind"`
	Severity news.Severity     `json:"severity"`
	Cluster  string            `json:"cluster,omitempty"`
	Title    string            `json:"title"`
	Code     string            `json:"code,omitempty"`
	Message  string            `json:"message"`
	Remedy   string            `json:"remedy,omitempty"`
	Release  ReleaseData       `json:"release"`
	Rollout  RolloutData       `json:"rollout"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// ReleaseData names the Release.
type ReleaseData struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// RolloutData says what the Rollout brings into service and where it stands.
type RolloutData struct {
	Name     string `json:"name"`
	UID      string `json:"uid"`
	Number   int64  `json:"number"`
	Revision string `json:"revision"`
	Digest   string `json:"digest"`
	Template string `json:"templateRevision"`
	Phase    string `json:"phase"`
	Step     int32  `json:"step"`
	Steps    int32  `json:"steps"`
	Weight   int32  `json:"weight"`
}

// Send implements Sender.
func (w *webhook) Send(ctx context.Context, e *news.Event, secrets Secrets) error {
	request, failure := w.request(ctx, e, secrets)
	if failure != nil {
		return failure
	}
	_, failure = exchange(w.client, request, w.clock.Now())
	if failure != nil {
		return failure
	}
	return nil
}

func (w *webhook) request(ctx context.Context, e *news.Event, secrets Secrets) (*http.Request, *Error) {
	address, failure := w.address(ctx, secrets)
	if failure != nil {
		return nil, failure
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, http.NoBody)
	if err != nil {
		return nil, final("wanted a URL to post to, found something else; correct it")
	}
	cloud, err := w.event(e)
	if err != nil {
		return nil, final("the event cannot be written as a CloudEvent")
	}
	encoding := binding.WithForceStructured(ctx)
	if w.config.Mode == rules.Binary {
		encoding = binding.WithForceBinary(ctx)
	}
	if err := cehttp.WriteRequest(encoding, binding.ToMessage(cloud), request); err != nil {
		return nil, final("the event cannot be written as a CloudEvent")
	}
	if w.config.TokenKey != "" {
		token, failure := bearer(ctx, secrets, w.config.TokenKey)
		if failure != nil {
			return nil, failure
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if w.config.SigningKey != "" {
		if failure := w.sign(ctx, request, e.ID, secrets); failure != nil {
			return nil, failure
		}
	}
	return request, nil
}

func (w *webhook) address(ctx context.Context, secrets Secrets) (string, *Error) {
	if w.config.URLKey == "" {
		return w.config.URL, nil
	}
	address, failure := read(ctx, secrets, w.config.URLKey)
	if failure != nil {
		return "", failure
	}
	if err := rules.CheckAddress(address, true); err != nil {
		return "", final("key %s of the Secret: %v", w.config.URLKey, err)
	}
	return address, nil
}

// event makes a CloudEvent. What brokers filter by are attributes of it.
func (w *webhook) event(e *news.Event) (*event.Event, error) {
	out := event.New()
	out.SetID(e.ID)
	source := fmt.Sprintf("/namespaces/%s/releases/%s", e.Namespace, e.Release)
	if w.cluster != "" {
		source = "/clusters/" + w.cluster + source
	}
	out.SetSource(source)
	out.SetType(typePrefix + strings.ToLower(string(e.Kind)) + typeVersion)
	out.SetSubject(e.Rollout)
	out.SetTime(e.At)
	out.SetExtension("severity", string(e.Severity))
	if e.Code != "" {
		out.SetExtension("code", e.Code)
	}
	message := e.Why
	if e.Text != "" {
		message = e.Text
	}
	data := Data{
		Kind: e.Kind, Severity: e.Severity, Cluster: w.cluster, Title: e.Title(), Code: e.Code, Message: message, Remedy: e.Remedy,
		Release: ReleaseData{Namespace: e.Namespace, Name: e.Release}, Labels: e.Labels,
		Rollout: RolloutData{
			Name: e.Rollout, UID: e.UID, Number: e.Number, Revision: e.Revision, Digest: e.Digest, Template: e.Template,
			Phase: e.Phase, Step: e.Step, Steps: e.Steps, Weight: e.Weight,
		},
	}
	if err := out.SetData(event.ApplicationJSON, data); err != nil {
		return nil, fmt.Errorf("writing the data of a CloudEvent: %w", err)
	}
	if err := out.Validate(); err != nil {
		return nil, fmt.Errorf("checking a CloudEvent: %w", err)
	}
	return &out, nil
}

// sign adds the headers of Standard Webhooks: one signature for each key, so that a key can
// be replaced without a gap.
func (w *webhook) sign(ctx context.Context, request *http.Request, id string, secrets Secrets) *Error {
	written, failure := read(ctx, secrets, w.config.SigningKey)
	if failure != nil {
		return failure
	}
	keys, err := outbound.Keys(written)
	if err != nil {
		return final("key %s of the Secret: %v", w.config.SigningKey, err)
	}
	body, err := content(request)
	if err != nil {
		return final("the event cannot be read back to sign it")
	}
	outbound.Sign(request.Header, keys, id, w.clock.Now(), body)
	return nil
}

// content reads the body that the request will have.
func content(request *http.Request) ([]byte, error) {
	if request.GetBody == nil {
		return nil, errors.New("the body can be read once only")
	}
	body, err := request.GetBody()
	if err != nil {
		return nil, fmt.Errorf("reading the body of a request: %w", err)
	}
	return io.ReadAll(body)
}
