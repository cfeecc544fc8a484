package rules

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tidegate.io/tidegate/rollout/notify/news"
)

// File is what the platform writes.
type File struct {
	// Cluster is how messages name the cluster; empty leaves it out.
	Cluster string `json:"cluster,omitempty"`
	// SecretName is the Secret, in the manager's namespace, that keys are of.
	SecretName string `json:"secretName,omitempty"`
	// Sinks are where events can go.
	Sinks []Sink `json:"sinks,omitempty"`
	// Routes are asked in order. The first that takes an event ends the walk, unless it says
	// to go on.
	Routes []Route `json:"routes,omitempty"`
}

// Sink is one place that events can go to. Exactly one of Slack, Webhook and URL is set.
type Sink struct {
	// Name is what routes, steps and metrics call it.
	Name string `json:"name"`
	// SecretName takes the place of the file's.
	SecretName string `json:"secretName,omitempty"`
	// Timeout is how long one attempt may take. Default 10s.
	Timeout metav1.Duration `json:"timeout,omitzero"`
	// Retries is how often an attempt that failed is made again. Default 4.
	Retries *int `json:"retries,omitempty"`
	// PerMinute is how many events may go out in a minute; others wait. Default 60.
	PerMinute int `json:"perMinute,omitempty"`

	Slack   *Slack   `json:"slack,omitempty"`
	Webhook *Webhook `json:"webhook,omitempty"`
	URL     *URL     `json:"url,omitempty"`
}

// Slack is a channel of Slack, by a bot's token or an incoming webhook.
type Slack struct {
	// TokenKey is the key of a bot token, with the scope chat:write. It needs Channel.
	TokenKey string `json:"tokenKey,omitempty"`
	// Channel is a name, with or without #, or an ID.
	Channel string `json:"channel,omitempty"`
	// WebhookKey is the key of the URL of an incoming webhook, which has its own channel.
	WebhookKey string `json:"webhookKey,omitempty"`
	// APIURL is where Slack's API is. Default https://slack.com/api.
	APIURL string `json:"apiURL,omitempty"`
}

// Webhook is an HTTP server that takes CloudEvents.
type Webhook struct {
	// URL is where events are posted to. It has no password in it.
	URL string `json:"url,omitempty"`
	// URLKey is the key of such a URL, in place of URL, where it is a secret.
	URLKey string `json:"urlKey,omitempty"`
	// Mode is structured, where the body is the whole event, or binary, where it is the data
	// and the rest is headers. Default structured.
	Mode Mode `json:"mode,omitempty"`
	// SigningKey is the key of what requests are signed with; see docs/notifications.md.
	SigningKey string `json:"signingKey,omitempty"`
	// TokenKey is the key of a bearer token.
	TokenKey string `json:"tokenKey,omitempty"`
	// CABundle is PEM of the authorities of the server's certificate, in place of the
	// system's.
	CABundle string `json:"caBundle,omitempty"`
}

// Mode is how a CloudEvent is put into a request.
type Mode string

// The modes of CloudEvents over HTTP (HTTP Protocol Binding 1.0.2, section 3).
const (
	Structured Mode = "structured"
	Binary     Mode = "binary"
)

// URL is any service that the sender library knows, by its kind of URL.
type URL struct {
	// Key is the key of the URL, which has the credentials in it.
	Key string `json:"key"`
}

// Route says which sinks are told of which events. What is left out takes everything.
type Route struct {
	// Name is for messages.
	Name string `json:"name,omitempty"`
	// Releases selects by the labels of the Release.
	Releases *metav1.LabelSelector `json:"releases,omitempty"`
	// Namespaces are names, in which * stands for any characters.
	Namespaces []string `json:"namespaces,omitempty"`
	// Events are kinds of events.
	Events []news.Kind `json:"events,omitempty"`
	// Codes are reason codes; events of the kind Notify have none.
	Codes []string `json:"codes,omitempty"`
	// Severity is the least that is told. Default info.
	Severity news.Severity `json:"severity,omitempty"`
	// Sinks are told, each once. None ends the walk in silence.
	Sinks []string `json:"sinks"`
	// Continue goes on to the next route.
	Continue bool `json:"continue,omitempty"`

	selector labels.Selector
}

// Defaults of a sink.
const (
	DefaultTimeout   = 10 * time.Second
	DefaultRetries   = 4
	DefaultPerMinute = 60
	DefaultSlackAPI  = "https://slack.com/api"
)

// withDefaults fills in what was left out.
func (f *File) withDefaults() {
	for i := range f.Sinks {
		s := &f.Sinks[i]
		if s.SecretName == "" {
			s.SecretName = f.SecretName
		}
		if s.Timeout.Duration == 0 {
			s.Timeout.Duration = DefaultTimeout
		}
		if s.Retries == nil {
			retries := DefaultRetries
			s.Retries = &retries
		}
		if s.PerMinute == 0 {
			s.PerMinute = DefaultPerMinute
		}
		if s.Slack != nil && s.Slack.APIURL == "" {
			s.Slack.APIURL = DefaultSlackAPI
		}
		if s.Webhook != nil && s.Webhook.Mode == "" {
			s.Webhook.Mode = Structured
		}
	}
	for i := range f.Routes {
		if f.Routes[i].Severity == "" {
			f.Routes[i].Severity = news.Info
		}
	}
}
