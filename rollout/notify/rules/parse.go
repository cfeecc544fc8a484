package rules

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/rollout/notify/news"
)

// Bounds of a file.
const (
	maxFile      = 1 << 20
	maxSinks     = 50
	maxRoutes    = 500
	maxNameBytes = 40
	maxRetries   = 10
	maxPerMinute = 600
	maxTimeout   = time.Minute
)

// webhookCertificate is the Secret of the manager's own key.
const webhookCertificate = "tidegate-webhook-cert"

var (
	namespacePattern = regexp.MustCompile(`^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$`)
	clusterPattern   = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9._]{0,62}$`)
	codePattern      = regexp.MustCompile(`^[A-Z0-9]+(-[A-Z0-9]+)+$`)
)

// mistake is what a person has to change.
func mistake(at, wanted, found, do string) error {
	return fmt.Errorf("%s: wanted %s, found %s; %s", at, wanted, found, do)
}

// Parse reads a file and says everything that is wrong with it.
func Parse(text []byte) (*File, error) {
	if len(text) > maxFile {
		return nil, mistake("the file", "at most 1 MiB", fmt.Sprintf("%d bytes", len(text)), "use selectors in place of a route for each Release")
	}
	var f File
	if err := decode(text, &f); err != nil {
		return nil, mistake("the file", "YAML with the fields that docs/notifications.md has, each once", strings.TrimSpace(err.Error()), "correct or remove the field")
	}
	f.withDefaults()
	if err := errors.Join(f.check()...); err != nil {
		return nil, err
	}
	return &f, nil
}

// decode says where in the file a field is unknown.
func decode(text []byte, f *File) error {
	written, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return fmt.Errorf("reading the YAML: %w", err)
	}
	strict, err := json.UnmarshalStrict(written, f)
	return errors.Join(append(strict, err)...)
}

func (f *File) check() []error {
	var wrong []error
	if len(f.Sinks) > maxSinks || len(f.Routes) > maxRoutes {
		wrong = append(wrong, mistake("the file", fmt.Sprintf("at most %d sinks and %d routes", maxSinks, maxRoutes),
			fmt.Sprintf("%d and %d", len(f.Sinks), len(f.Routes)), "use selectors in place of a route for each Release"))
	}
	if f.Cluster != "" && !clusterPattern.MatchString(f.Cluster) {
		wrong = append(wrong, mistake("cluster", "at most 63 letters, digits, -, . and _", fmt.Sprintf("%q", f.Cluster), "rename it"))
	}
	seen := map[string]bool{}
	for i := range f.Sinks {
		s := &f.Sinks[i]
		at := fmt.Sprintf("sinks[%d]", i)
		if len(validation.IsDNS1123Label(s.Name)) > 0 || len(s.Name) > maxNameBytes {
			wrong = append(wrong, mistake(at+".name", "a lower case name of at most 40 letters, digits and dashes", fmt.Sprintf("%q", s.Name), "rename the sink"))
		} else {
			at = fmt.Sprintf("sinks[%s]", s.Name)
		}
		if seen[s.Name] {
			wrong = append(wrong, mistake(at+".name", "a name of its own", "another sink of that name", "rename one of them"))
		}
		seen[s.Name] = true
		wrong = append(wrong, s.check(at)...)
	}
	for i := range f.Routes {
		r := &f.Routes[i]
		at := fmt.Sprintf("routes[%d]", i)
		if r.Name != "" {
			at = fmt.Sprintf("routes[%s]", r.Name)
		}
		wrong = append(wrong, r.check(at, f)...)
	}
	return wrong
}

func (s *Sink) check(at string) []error {
	var wrong []error
	var keys []string
	kinds := 0
	if s.Slack != nil {
		kinds++
		keys = append(keys, s.Slack.TokenKey, s.Slack.WebhookKey)
		wrong = append(wrong, s.Slack.check(at+".slack")...)
	}
	if s.Webhook != nil {
		kinds++
		keys = append(keys, s.Webhook.URLKey, s.Webhook.SigningKey, s.Webhook.TokenKey)
		wrong = append(wrong, s.Webhook.check(at+".webhook")...)
	}
	if s.URL != nil {
		kinds++
		keys = append(keys, s.URL.Key)
		if s.URL.Key == "" {
			wrong = append(wrong, mistake(at+".url.key", "the key of a URL in the Secret", "nothing", "put the URL into the Secret and name its key"))
		}
	}
	if kinds != 1 {
		wrong = append(wrong, mistake(at, "exactly one of slack, webhook and url", fmt.Sprint(kinds), "make a sink for each"))
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return k == "" })
	return append(append(wrong, s.checkSecret(at, keys)...), s.checkNumbers(at)...)
}

func (s *Sink) checkSecret(at string, keys []string) []error {
	var wrong []error
	for _, k := range keys {
		if len(validation.IsConfigMapKey(k)) > 0 {
			// What stands there may be the secret itself.
			wrong = append(wrong, mistake(at, "names of keys of a Secret: letters, digits, ., - and _", "something else in a field ...Key", "put the value into the Secret and its key here"))
		}
	}
	switch {
	case len(keys) > 0 && len(validation.IsDNS1123Subdomain(s.SecretName)) > 0:
		wrong = append(wrong, mistake(at+".secretName", "the name of a Secret in the manager's namespace", fmt.Sprintf("%q", s.SecretName), "set secretName here or for the whole file"))
	case s.SecretName == webhookCertificate:
		wrong = append(wrong, mistake(at+".secretName", "a Secret made for notifications", "that of the webhook's private key", "make another"))
	}
	return wrong
}

func (s *Sink) checkNumbers(at string) []error {
	var wrong []error
	if d := s.Timeout.Duration; d < time.Second || d > maxTimeout {
		wrong = append(wrong, mistake(at+".timeout", "1s to 1m", d.String(), "leave it out for 10s"))
	}
	if n := *s.Retries; n < 0 || n > maxRetries {
		wrong = append(wrong, mistake(at+".retries", "0 to 10", fmt.Sprint(n), "leave it out for 4"))
	}
	if n := s.PerMinute; n < 1 || n > maxPerMinute {
		wrong = append(wrong, mistake(at+".perMinute", "1 to 600", fmt.Sprint(n), "leave it out for 60"))
	}
	return wrong
}

func (s *Slack) check(at string) []error {
	var wrong []error
	switch {
	case (s.TokenKey == "") == (s.WebhookKey == ""):
		wrong = append(wrong, mistake(at, "tokenKey, for a bot, or webhookKey, for an incoming webhook", "both or neither", "keep one"))
	case s.TokenKey != "" && s.Channel == "":
		wrong = append(wrong, mistake(at+".channel", "a channel for the bot, such as #deployments", "nothing", "name it, and invite the bot there"))
	case s.WebhookKey != "" && s.Channel != "":
		wrong = append(wrong, mistake(at+".channel", "none, since an incoming webhook has its own", fmt.Sprintf("%q", s.Channel), "remove it, or use a bot's token"))
	}
	return append(wrong, checkAddress(at+".apiURL", s.APIURL, true)...)
}

func (w *Webhook) check(at string) []error {
	var wrong []error
	if (w.URL == "") == (w.URLKey == "") {
		wrong = append(wrong, mistake(at, "url, or urlKey where the URL is a secret", "both or neither", "keep one"))
	}
	if w.URL != "" {
		wrong = append(wrong, checkAddress(at+".url", w.URL, w.TokenKey != "")...)
	}
	if w.Mode != Structured && w.Mode != Binary {
		wrong = append(wrong, mistake(at+".mode", "structured or binary", fmt.Sprintf("%q", w.Mode), "leave it out for structured"))
	}
	if w.CABundle != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(w.CABundle)) {
		wrong = append(wrong, mistake(at+".caBundle", "certificates in PEM", "none that can be read", "paste the authority's certificate, from -----BEGIN CERTIFICATE----- on"))
	}
	return wrong
}

// CheckAddress says what keeps a URL that an event is posted to from being used; secrets
// says whether a secret goes there with it. It never repeats the URL.
func CheckAddress(address string, secrets bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("wanted a URL such as https://events.example.com/tidegate, found something else; correct it")
	case u.User != nil:
		return errors.New("wanted a URL without user and password, found one with them; use a token")
	case u.Scheme == "http" && secrets && !local(u.Hostname()):
		return errors.New("wanted https, since a secret goes there, found http; serve it by TLS")
	}
	return nil
}

// local says whether a host is this machine.
func local(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

func checkAddress(at, address string, secrets bool) []error {
	if err := CheckAddress(address, secrets); err != nil {
		return []error{fmt.Errorf("%s: %w", at, err)}
	}
	return nil
}

func (r *Route) check(at string, f *File) []error {
	var wrong []error
	for _, k := range r.Events {
		if !slices.Contains(news.Kinds(), k) {
			wrong = append(wrong, mistake(at+".events", fmt.Sprintf("some of %v", news.Kinds()), fmt.Sprintf("%q", k), "correct it, or leave events out for all"))
		}
	}
	for _, c := range r.Codes {
		if !codePattern.MatchString(c) {
			wrong = append(wrong, mistake(at+".codes", "reason codes such as those of docs/reasons.md", fmt.Sprintf("%q", c), "write the whole code"))
		}
	}
	for _, p := range r.Namespaces {
		if !namespacePattern.MatchString(p) {
			wrong = append(wrong, mistake(at+".namespaces", "names of namespaces, with * for any characters", fmt.Sprintf("%q", p), "correct it"))
		}
	}
	for _, s := range r.Sinks {
		if !f.Has(s) {
			wrong = append(wrong, mistake(at+".sinks", "names of sinks of this file", fmt.Sprintf("%q", s), "add the sink, or correct the name"))
		}
	}
	if !slices.Contains(news.Severities(), r.Severity) {
		wrong = append(wrong, mistake(at+".severity", fmt.Sprintf("one of %v", news.Severities()), fmt.Sprintf("%q", r.Severity), "leave it out for info"))
	}
	selector, err := metav1.LabelSelectorAsSelector(orEverything(r.Releases))
	if err != nil {
		return append(wrong, mistake(at+".releases", "matchLabels or matchExpressions", err.Error(), "correct it, or leave it out for all"))
	}
	r.selector = selector
	return wrong
}

// orEverything is a selector as it stands, and one that takes everything where there is
// none.
func orEverything(s *metav1.LabelSelector) *metav1.LabelSelector {
	if s == nil {
		return &metav1.LabelSelector{}
	}
	return s
}
