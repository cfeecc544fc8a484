// Package certs keeps the serving certificate of the webhook: a self-signed authority and
// a leaf in one Secret, rotated before they expire, served straight from the Secret (no
// mounted file, so no delay of the kubelet), and the authority's certificate for whoever
// writes webhook configurations.
//
// The rotation itself is cert-controller's. What is here decides the names in the leaf,
// serves it, and says when it is ready.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

const (
	// DefaultSecret is the name of the Secret that the chart creates, empty.
	DefaultSecret = "tidegate-webhook-cert"
	// DefaultService is the name of the webhook's Service.
	DefaultService = "tidegate-webhook"

	keyCA      = "ca.crt"
	keyCert    = "tls.crt"
	keyPrivate = "tls.key"

	// fieldOwner is who owns caBundle in the webhook configurations of the chart.
	fieldOwner = "tidegate-certs"
)

// Options says what the certificate is for. Zero durations mean cert-controller's
// defaults: authority 10 years, leaf 1 year, renewed 90 days before the end, looked at
// every 12 hours and at each change of the Secret.
type Options struct {
	// Namespace of the Secret and the Service.
	Namespace string
	// Secret is the name of an existing Secret; DefaultSecret if empty.
	Secret string
	// Service is the name of the Service; DefaultService if empty.
	Service string
	// URL is where the API server reaches the webhook, when it is not by the Service.
	URL string
	// Chart is a ConfigMap that goes before the Secret when the chart is uninstalled. A
	// Secret that somebody deleted is made anew only while it is there; empty: always.
	Chart types.NamespacedName
	// Webhooks are the ValidatingWebhookConfigurations whose caBundle is kept.
	Webhooks []string
	// Clock tells whether the certificate has expired. The real one if nil; the rotation
	// itself has its own.
	Clock clock.PassiveClock
	// Controller is the name of the rotation among the controllers of this process; one
	// that runs several managers, as tests do, has to tell them apart.
	Controller string

	// AuthorityDuration is how long a new authority is valid.
	AuthorityDuration time.Duration
	// LeafDuration is how long a new leaf is valid.
	LeafDuration time.Duration
	// Lookahead is how long before its end a certificate is renewed.
	Lookahead time.Duration
	// CheckEvery is how often the ends are looked at.
	CheckEvery time.Duration
}

// complete fills in defaults and says what cannot work.
func (o *Options) complete() error {
	if o.Namespace == "" {
		return errors.New("setting up the webhook certificate: wanted the namespace of the Secret, found none")
	}
	if o.Secret == "" {
		o.Secret = DefaultSecret
	}
	if o.Service == "" {
		o.Service = DefaultService
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return nil
}

// names returns the DNS names of the leaf. The first is the one by which the API server
// checks the certificate, and the one whose absence makes cert-controller issue a new
// leaf; so a change of URL takes effect by itself.
func (o *Options) names() ([]string, error) {
	service := []string{
		o.Service + "." + o.Namespace + ".svc",
		o.Service + "." + o.Namespace + ".svc.cluster.local",
		o.Service + "." + o.Namespace,
	}
	if o.URL == "" {
		return service, nil
	}
	host, err := HostOf(o.URL)
	if err != nil {
		return nil, err
	}
	return append([]string{host}, service...), nil
}

// HostOf returns the host name in the URL of a webhook, or says what is wrong with it.
// The host must be a name, since the leaf carries names and no IP addresses.
func HostOf(webhookURL string) (string, error) {
	u, err := url.Parse(webhookURL)
	if err != nil {
		return "", fmt.Errorf("reading the webhook URL: %w", err)
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "https" || host == "":
		return "", fmt.Errorf("reading the webhook URL: wanted https://HOST:PORT, found %q", webhookURL)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("reading the webhook URL: the API server allows no user, query or fragment, found %q", u.Redacted())
	case net.ParseIP(host) != nil:
		return "", fmt.Errorf("reading the webhook URL: wanted a host name, found the address %s; use a name that the API server resolves to it, such as localhost for 127.0.0.1", host)
	}
	return host, nil
}

// Certs serves the certificate. Its methods are safe for concurrent use.
type Certs struct {
	log      logr.Logger
	secret   types.NamespacedName
	clock    clock.PassiveClock
	injected <-chan struct{}
	loaded   atomic.Pointer[pair]

	mu       sync.Mutex
	onChange []func()
}

// pair is a leaf and the authority that signed it, as read from one state of the Secret.
type pair struct {
	leaf *tls.Certificate
	ca   []byte
}

// Setup adds the rotation and the reader of the Secret to mgr; both run on every replica.
// The manager's cache must hold the Secrets of o.Namespace.
func Setup(ctx context.Context, mgr manager.Manager, o Options) (*Certs, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	names, err := o.names()
	if err != nil {
		return nil, err
	}
	marker, err := markerDir()
	if err != nil {
		return nil, err
	}
	if err := mgr.Add(cleanup(marker)); err != nil {
		return nil, fmt.Errorf("having the certificate's marker removed at the end: %w", err)
	}
	injected := make(chan struct{})
	key := types.NamespacedName{Namespace: o.Namespace, Name: o.Secret}
	cr := &rotator.CertRotator{
		SecretKey:              key,
		CertDir:                marker,
		CAName:                 "tidegate-ca",
		CAOrganization:         "tidegate",
		DNSName:                names[0],
		ExtraDNSNames:          names[1:],
		IsReady:                injected,
		ControllerName:         o.Controller,
		FieldOwner:             fieldOwner,
		RestartOnSecretRefresh: false,
		RequireLeaderElection:  false,
		CaCertDuration:         o.AuthorityDuration,
		ServerCertDuration:     o.LeafDuration,
		LookaheadInterval:      o.Lookahead,
		RotationCheckFrequency: o.CheckEvery,
	}
	for _, name := range o.Webhooks {
		cr.Webhooks = append(cr.Webhooks, rotator.WebhookInfo{Name: name, Type: rotator.Validating})
	}
	if err := rotator.AddRotator(quiet{mgr}, cr); err != nil {
		return nil, fmt.Errorf("adding the rotation of the webhook certificate: %w", err)
	}
	c := newCerts(mgr.GetLogger().WithName("certs"), key, injected, o.Clock)
	keeper := newKeeper(mgr.GetAPIReader(), mgr.GetClient(), key, o.Chart, c.log)
	// Before anything starts: the rotation gives up where there is no Secret.
	if err := keeper.ensure(ctx); err != nil {
		return nil, err
	}
	if err := mgr.Add(keeper); err != nil {
		return nil, fmt.Errorf("having Secret %s kept: %w", key, err)
	}
	informer, err := mgr.GetCache().GetInformer(ctx, &corev1.Secret{})
	if err != nil {
		return nil, fmt.Errorf("watching Secret %s: %w", key, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    c.observe,
		UpdateFunc: func(_, obj any) { c.observe(obj) },
		DeleteFunc: keeper.observe,
	})
	if err != nil {
		return nil, fmt.Errorf("watching Secret %s: %w", key, err)
	}
	return c, nil
}

func newCerts(log logr.Logger, secret types.NamespacedName, injected <-chan struct{}, now clock.PassiveClock) *Certs {
	return &Certs{log: log, secret: secret, injected: injected, clock: now}
}

// markerDir returns a directory with an empty file named as the certificate.
// cert-controller waits for the kubelet to mount the Secret before it calls itself ready;
// nothing is mounted here, and nothing is read from this file.
func markerDir() (string, error) {
	dir, err := os.MkdirTemp("", "tidegate-certs-")
	if err != nil {
		return "", fmt.Errorf("making a directory for the certificate's marker: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, keyCert), nil, 0o600); err != nil {
		return "", fmt.Errorf("writing the certificate's marker: %w", err)
	}
	return dir, nil
}

// cleanup removes a directory when the manager stops.
type cleanup string

// NeedLeaderElection says that every replica has such a directory.
func (cleanup) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (c cleanup) Start(ctx context.Context) error {
	<-ctx.Done()
	if err := os.RemoveAll(string(c)); err != nil {
		return fmt.Errorf("removing the certificate's marker: %w", err)
	}
	return nil
}

// OnChange calls f whenever another authority or leaf is served from then on. f must not
// block.
func (c *Certs) OnChange(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onChange = append(c.onChange, f)
}

// GetCertificate is for tls.Config.
func (c *Certs) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p := c.loaded.Load()
	if p == nil {
		return nil, fmt.Errorf("no certificate has been read from Secret %s yet", c.secret)
	}
	return p.leaf, nil
}

// CABundle returns PEM of the authority, or nil before it is known.
func (c *Certs) CABundle() []byte {
	p := c.loaded.Load()
	if p == nil {
		return nil
	}
	return p.ca
}

// Ready is a healthz.Checker: nil when a valid certificate is served and the webhook
// configurations of the chart trust it.
func (c *Certs) Ready(*http.Request) error {
	p := c.loaded.Load()
	if p == nil {
		return fmt.Errorf("no certificate has been read from Secret %s yet", c.secret)
	}
	if end := p.leaf.Leaf.NotAfter; c.clock.Now().After(end) {
		return fmt.Errorf("the certificate in Secret %s expired at %s", c.secret, end.UTC().Format(time.RFC3339))
	}
	select {
	case <-c.injected:
		return nil
	default:
		return errors.New("the webhook configurations do not carry the authority yet")
	}
}

// observe takes over what the Secret holds. What cannot be served is logged and left
// aside: the last good certificate stays.
func (c *Certs) observe(obj any) {
	secret, ok := obj.(*corev1.Secret)
	if !ok || secret.Namespace != c.secret.Namespace || secret.Name != c.secret.Name {
		return
	}
	if len(secret.Data[keyCert]) == 0 {
		return // as the chart made it; cert-controller is about to fill it
	}
	p, err := parse(secret.Data)
	if err != nil {
		c.log.Error(err, "Not serving the certificate in the Secret", "secret", c.secret.String())
		return
	}
	before := c.loaded.Swap(p)
	if before != nil && string(before.ca) == string(p.ca) && before.leaf.Leaf.Equal(p.leaf.Leaf) {
		return
	}
	expiry.Set(float64(p.leaf.Leaf.NotAfter.Unix()))
	c.log.Info("Serving a certificate", "names", p.leaf.Leaf.DNSNames, "notAfter", p.leaf.Leaf.NotAfter)
	c.mu.Lock()
	notify := append([]func(){}, c.onChange...)
	c.mu.Unlock()
	for _, f := range notify {
		f()
	}
}

// parse reads leaf and authority, and refuses a leaf that the authority has not signed.
func parse(data map[string][]byte) (*pair, error) {
	leaf, err := tls.X509KeyPair(data[keyCert], data[keyPrivate])
	if err != nil {
		return nil, fmt.Errorf("reading %s and %s: %w", keyCert, keyPrivate, err)
	}
	if leaf.Leaf == nil {
		if leaf.Leaf, err = x509.ParseCertificate(leaf.Certificate[0]); err != nil {
			return nil, fmt.Errorf("reading %s: %w", keyCert, err)
		}
	}
	block, _ := pem.Decode(data[keyCA])
	if block == nil {
		return nil, fmt.Errorf("reading %s: it holds no PEM block", keyCA)
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", keyCA, err)
	}
	if err := leaf.Leaf.CheckSignatureFrom(ca); err != nil {
		return nil, fmt.Errorf("checking %s against %s: %w", keyCert, keyCA, err)
	}
	return &pair{leaf: &leaf, ca: data[keyCA]}, nil
}
