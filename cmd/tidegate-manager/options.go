package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"

	engine "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/webhook/certs"
)

const (
	defaultNamespace = "tidegate-system"
	// namespaceFile is where a pod finds its namespace.
	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	// leaseName is the name of the Lease; the chart's RBAC names it.
	leaseName = "tidegate-manager"
	// webhookConfiguration is the chart's, for Tidegate's own kinds.
	webhookConfiguration = "tidegate"
	// disabled is the address of a listener that is not wanted.
	disabled = "0"
)

// options are the flags.
type options struct {
	kubeconfig string
	namespace  string
	identity   string

	webhookHost string
	webhookPort int
	webhookURL  string
	certSecret  string
	gatekeeper  bool
	// gatekeeperEngine is which code of a template counts where it has both.
	gatekeeperEngine string

	audit  auditOptions
	record recordOptions
	notify notifyOptions
	hooks  hookOptions

	metricsAddr string
	probeAddr   string
	pprofAddr   string

	leaderElect   bool
	leaseDuration time.Duration
	renewDeadline time.Duration
	retryPeriod   time.Duration

	renderWorkers int
	renderMemory  string
	renderTimeout time.Duration

	shutdownDelay time.Duration
	concurrency   int
	qps           float32
	burst         int

	logLevel  string
	logFormat string
}

// defaults returns the options before any flag was read.
func defaults(getenv func(string) string) *options {
	return &options{
		namespace:   ownNamespace(getenv),
		webhookPort: 9443,
		certSecret:  certs.DefaultSecret,

		gatekeeperEngine: engine.PreferCEL,

		audit:         auditOptions{enabled: true, interval: 10 * time.Minute, qps: 10},
		record:        recordOptions{maxFiles: 1000, maxSize: "64Mi"},
		metricsAddr:   ":8443",
		probeAddr:     ":8081",
		pprofAddr:     disabled,
		leaderElect:   true,
		leaseDuration: 15 * time.Second,
		renewDeadline: 10 * time.Second,
		retryPeriod:   2 * time.Second,
		renderWorkers: worker.DefaultWorkers,
		renderMemory:  resource.NewQuantity(worker.DefaultMemory, resource.BinarySI).String(),
		renderTimeout: worker.DefaultTimeout,
		shutdownDelay: 10 * time.Second,
		concurrency:   16,
		qps:           300,
		burst:         1000,
		logLevel:      "info",
		logFormat:     "json",
	}
}

// ownNamespace is where this process runs.
func ownNamespace(getenv func(string) string) string {
	if ns := getenv("POD_NAMESPACE"); ns != "" {
		return ns
	}
	if raw, err := os.ReadFile(namespaceFile); err == nil {
		if ns := strings.TrimSpace(string(raw)); ns != "" {
			return ns
		}
	}
	return defaultNamespace
}

func (o *options) addTo(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig, "kubeconfig `file`; default: $KUBECONFIG, then the pod's ServiceAccount")
	fs.StringVar(&o.namespace, "namespace", o.namespace, "namespace of the manager's Secrets, Lease and Service; never governed")
	fs.StringVar(&o.identity, "identity", o.identity, "user name under which the manager writes; default: asked of the API server")

	fs.StringVar(&o.webhookHost, "webhook-host", o.webhookHost, "address that the webhook listens on; default: all of this machine's")
	fs.IntVar(&o.webhookPort, "webhook-port", o.webhookPort, "port of the webhook, HTTPS")
	fs.StringVar(&o.webhookURL, "webhook-url", o.webhookURL, "where the API server reaches the webhook when not by the Service, such as https://localhost:9443; a host name, not an IP address")
	fs.StringVar(&o.certSecret, "webhook-cert-secret", o.certSecret, "name of the existing Secret that keeps the webhook's certificate")

	fs.BoolVar(&o.gatekeeper, "gatekeeper", o.gatekeeper, "judge by Gatekeeper's ConstraintTemplates and constraints, whose kinds must be served")
	fs.StringVar(&o.gatekeeperEngine, "gatekeeper-engine", o.gatekeeperEngine, "cel or rego: which code of a template counts where it has both; Gatekeeper takes CEL")

	o.audit.addTo(fs)
	o.record.addTo(fs)
	o.notify.addTo(fs)
	o.hooks.addTo(fs)

	fs.StringVar(&o.metricsAddr, "metrics-bind-address", o.metricsAddr, "address of /metrics: HTTPS for callers who may get /metrics; plain HTTP on a loopback address; 0 is off")
	fs.StringVar(&o.probeAddr, "health-probe-bind-address", o.probeAddr, "address of /healthz and /readyz")
	fs.StringVar(&o.pprofAddr, "pprof-bind-address", o.pprofAddr, "loopback address of /debug/pprof; 0 is off")

	fs.BoolVar(&o.leaderElect, "leader-elect", o.leaderElect, "run the controllers on one replica at a time; false only where there is one")
	fs.DurationVar(&o.leaseDuration, "leader-elect-lease-duration", o.leaseDuration, "how long a leader that died is waited for")
	fs.DurationVar(&o.renewDeadline, "leader-elect-renew-deadline", o.renewDeadline, "how long the leader tries to renew before it gives up")
	fs.DurationVar(&o.retryPeriod, "leader-elect-retry-period", o.retryPeriod, "time between two tries")

	fs.IntVar(&o.renderWorkers, "render-workers", o.renderWorkers, "child processes that render templates")
	fs.StringVar(&o.renderMemory, "render-memory", o.renderMemory, "memory that each of them may hold; a template or values that need more are refused")
	fs.DurationVar(&o.renderTimeout, "render-timeout", o.renderTimeout, "how long rendering one Release may take; checking a template may take half as long again, at most 3.5s")

	fs.DurationVar(&o.shutdownDelay, "shutdown-delay", o.shutdownDelay, "how long to keep serving after SIGTERM, while the API server still sends requests")
	fs.IntVar(&o.concurrency, "concurrency", o.concurrency, "Releases, and Rollouts, worked on at the same time")
	fs.Float32Var(&o.qps, "kube-api-qps", o.qps, "requests to the API server a second, of all kinds together; 0 is no limit")
	fs.IntVar(&o.burst, "kube-api-burst", o.burst, "requests to the API server at once, after a while without")

	fs.StringVar(&o.logLevel, "log-level", o.logLevel, "debug, info, warn or error")
	fs.StringVar(&o.logFormat, "log-format", o.logFormat, "json or text")
}

// validate says everything that is wrong, each with the flag.
func (o *options) validate() error {
	return errors.Join(o.validateIdentity(), o.validateListeners(), o.validateRendering(), o.audit.validate(), o.record.validate(), o.hooks.validate(), o.validateRunning())
}

// wrong is an error about one flag.
func wrong(flag, format string, args ...any) error {
	return fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...))
}

func (o *options) validateIdentity() error {
	if o.namespace == "" || strings.HasPrefix(o.namespace, "kube-") {
		return wrong("namespace", "wanted a namespace of the manager's own, found %q", o.namespace)
	}
	return nil
}

func (o *options) validateListeners() error {
	var errs []error
	if o.webhookPort < 1 || o.webhookPort > 65535 {
		errs = append(errs, wrong("webhook-port", "wanted a port from 1 to 65535, found %d", o.webhookPort))
	}
	if _, err := engine.Preferring(o.gatekeeperEngine); err != nil {
		errs = append(errs, wrong("gatekeeper-engine", "%v", err))
	}
	if o.webhookURL != "" {
		if _, err := certs.HostOf(o.webhookURL); err != nil {
			errs = append(errs, wrong("webhook-url", "%v", err))
		}
	}
	if _, err := hostOf(o.metricsAddr); err != nil && o.metricsAddr != disabled {
		errs = append(errs, wrong("metrics-bind-address", "%v", err))
	}
	if _, err := hostOf(o.probeAddr); err != nil {
		errs = append(errs, wrong("health-probe-bind-address", "%v", err))
	}
	if o.pprofAddr != disabled && !loopback(o.pprofAddr) {
		errs = append(errs, wrong("pprof-bind-address", "wanted a loopback address such as 127.0.0.1:6060, since profiles are nobody else's, found %q", o.pprofAddr))
	}
	return errors.Join(errs...)
}

// Bounds of the workers.
const (
	maxWorkers = 64
	// minRenderMemory is what a worker needs to start and to render the largest template.
	minRenderMemory = 128 << 20
	// maxRenderTimeout leaves time to answer: the webhook does so within 4 s.
	maxRenderTimeout = 3 * time.Second
)

func (o *options) validateRendering() error {
	var errs []error
	if o.renderWorkers < 1 || o.renderWorkers > maxWorkers {
		errs = append(errs, wrong("render-workers", "wanted 1 to %d, found %d", maxWorkers, o.renderWorkers))
	}
	if memory, err := o.workerMemory(); err != nil || memory < minRenderMemory {
		errs = append(errs, wrong("render-memory", "wanted an amount of memory of at least 128Mi, such as 256Mi, found %q", o.renderMemory))
	}
	if o.renderTimeout <= 0 || o.renderTimeout > maxRenderTimeout {
		errs = append(errs, wrong("render-timeout", "wanted more than nothing and at most %s, found %s", maxRenderTimeout, o.renderTimeout))
	}
	return errors.Join(errs...)
}

// workerMemory is what one worker may hold, in bytes.
func (o *options) workerMemory() (int64, error) {
	q, err := resource.ParseQuantity(o.renderMemory)
	if err != nil {
		return 0, fmt.Errorf("reading --render-memory: %w", err)
	}
	return q.Value(), nil
}

func (o *options) validateRunning() error {
	var errs []error
	if o.leaseDuration <= o.renewDeadline || o.renewDeadline <= o.retryPeriod || o.retryPeriod <= 0 {
		errs = append(errs, wrong("leader-elect-lease-duration", "wanted lease duration > renew deadline > retry period > 0, found %s, %s, %s", o.leaseDuration, o.renewDeadline, o.retryPeriod))
	}
	if o.shutdownDelay < 0 {
		errs = append(errs, wrong("shutdown-delay", "wanted 0 or more, found %s", o.shutdownDelay))
	}
	if o.concurrency < 1 {
		errs = append(errs, wrong("concurrency", "wanted 1 or more, found %d", o.concurrency))
	}
	if _, err := o.level(); err != nil {
		errs = append(errs, wrong("log-level", "%v", err))
	}
	if o.logFormat != "json" && o.logFormat != "text" {
		errs = append(errs, wrong("log-format", "wanted json or text, found %q", o.logFormat))
	}
	return errors.Join(errs...)
}

// level is the log level.
func (o *options) level() (slog.Level, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	l, ok := levels[o.logLevel]
	if !ok {
		return 0, fmt.Errorf("wanted debug, info, warn or error, found %q", o.logLevel)
	}
	return l, nil
}

// hostOf returns the host of an address to listen on, empty for all.
func hostOf(addr string) (string, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("wanted HOST:PORT or :PORT, found %q", addr)
	}
	if port, err := strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
		return "", fmt.Errorf("wanted a port from 1 to 65535, found %q", addr)
	}
	return host, nil
}

// loopback reports whether only this machine reaches an address.
func loopback(addr string) bool {
	host, err := hostOf(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
