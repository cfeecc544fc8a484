package prom

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Keys of the Secret that a MetricSource names.
const (
	secretToken    = "token"
	secretUsername = "username"
	secretPassword = "password"
)

// Sources finds the client of a MetricSource by its name. It keeps clients, and with them
// their connections, for as long as the MetricSource and its Secret stay as they are.
// It is safe for concurrent use.
type Sources struct {
	reader    client.Reader
	namespace string

	mu      sync.Mutex
	clients map[string]cached
}

// cached is a client and what it was made from.
type cached struct {
	source     types.UID
	generation int64
	// secret is the resource version of the Secret; empty without one.
	secret string
	client *Client
}

// NewSources returns Sources that read MetricSources, and Secrets in namespace, through
// reader.
func NewSources(reader client.Reader, namespace string) *Sources {
	return &Sources{reader: reader, namespace: namespace, clients: map[string]cached{}}
}

// SourceError says what a person must mend before a MetricSource can be used. An error of
// another type is the API server's and passes by itself.
type SourceError struct {
	// Source is the name of the MetricSource.
	Source string
	Err    error
}

// Error implements error.
func (e *SourceError) Error() string {
	return fmt.Sprintf("MetricSource %s cannot be used: %v", e.Source, e.Err)
}

// Unwrap returns the reason.
func (e *SourceError) Unwrap() error { return e.Err }

// Client returns the client of the MetricSource called name.
func (s *Sources) Client(ctx context.Context, name string) (*Client, error) {
	var source v1alpha1.MetricSource
	if err := s.reader.Get(ctx, types.NamespacedName{Name: name}, &source); err != nil {
		if apierrors.IsNotFound(err) {
			s.Forget(name)
			return nil, &SourceError{Source: name, Err: errors.New("there is no MetricSource of this name; create it, or name another in the template's analysis.source")}
		}
		return nil, fmt.Errorf("reading MetricSource %s: %w", name, err)
	}
	spec := source.Spec.Prometheus
	cfg := Config{Address: spec.Address, Timeout: spec.Timeout.Duration, CABundle: spec.CABundle}
	want := cached{source: source.UID, generation: source.Generation}
	if spec.SecretName != "" {
		version, err := s.credentials(ctx, name, spec.SecretName, &cfg)
		if err != nil {
			return nil, err
		}
		want.secret = version
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	have, ok := s.clients[name]
	if ok && have.source == want.source && have.generation == want.generation && have.secret == want.secret {
		return have.client, nil
	}
	made, err := NewClient(cfg)
	if err != nil {
		return nil, &SourceError{Source: name, Err: err}
	}
	if ok {
		have.client.Close()
	}
	want.client = made
	s.clients[name] = want
	return made, nil
}

// Forget drops the client of a MetricSource that is gone.
func (s *Sources) Forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.clients[name]; ok {
		have.client.Close()
		delete(s.clients, name)
	}
}

// credentials fills in cfg from the Secret and returns the Secret's resource version.
func (s *Sources) credentials(ctx context.Context, source, name string, cfg *Config) (string, error) {
	key := types.NamespacedName{Namespace: s.namespace, Name: name}
	var secret corev1.Secret
	if err := s.reader.Get(ctx, key, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return "", &SourceError{Source: source, Err: fmt.Errorf("secretName: there is no Secret %s; create it with the key %s, or %s and %s", key, secretToken, secretUsername, secretPassword)}
		}
		return "", fmt.Errorf("reading Secret %s of MetricSource %s: %w", key, source, err)
	}
	// Files and echo end with a line break, which no credential does.
	cfg.Token = strings.TrimSpace(string(secret.Data[secretToken]))
	cfg.Username = strings.TrimSpace(string(secret.Data[secretUsername]))
	cfg.Password = strings.TrimRight(string(secret.Data[secretPassword]), "\r\n")
	if at := broken(*cfg); at != "" {
		return "", &SourceError{Source: source, Err: fmt.Errorf("secretName: wanted one line of characters that print in the key %s of the Secret %s, found others; write it anew", at, key)}
	}
	if cfg.Token == "" && cfg.Username == "" {
		return "", &SourceError{Source: source, Err: fmt.Errorf("secretName: Secret %s has neither the key %s nor the keys %s and %s", key, secretToken, secretUsername, secretPassword)}
	}
	return secret.ResourceVersion, nil
}

// broken is the key of a credential that no header can carry, or that is not what was meant: one with a
// line break or another control character in it.
func broken(cfg Config) string {
	for _, c := range [][2]string{{secretToken, cfg.Token}, {secretUsername, cfg.Username}, {secretPassword, cfg.Password}} {
		if strings.ContainsFunc(c[1], unicode.IsControl) {
			return c[0]
		}
	}
	return ""
}

// Probe asks the MetricSource called name whether it can be asked. It returns nil, a
// *SourceError when a person has to mend the MetricSource, a *ProbeError when the server
// does not answer as it should, or the API server's error.
func (s *Sources) Probe(ctx context.Context, name string, now time.Time) error {
	c, err := s.Client(ctx, name)
	if err != nil {
		return err
	}
	return c.Probe(ctx, now)
}
