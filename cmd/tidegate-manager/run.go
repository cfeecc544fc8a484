package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/cmd/internal/version"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/fence"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/prom"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/webhook"
	"tidegate.io/tidegate/webhook/certs"
	"tidegate.io/tidegate/webhook/exemption"
	"tidegate.io/tidegate/webhook/gates"
	"tidegate.io/tidegate/webhook/policysync"
	"tidegate.io/tidegate/webhook/record"
)

// stopLimit bounds everything that happens after the shutdown delay: requests under way
// end, reconciles end, the lease is given back.
const stopLimit = 60 * time.Second

// run starts everything and returns when it has stopped.
func run(ctx context.Context, o *options, logTo io.Writer) error {
	log, err := setLogger(o, logTo)
	if err != nil {
		return err
	}
	limitMemory(os.Getenv, o)
	config, err := restConfig(o)
	if err != nil {
		return err
	}
	identity := o.identity
	if identity == "" {
		if identity, err = whoAmI(ctx, config); err != nil {
			return err
		}
	}
	log.Info("Starting", "version", version.Get().String(), "identity", identity, "namespace", o.namespace)

	var stopping drain
	ctx = stopping.context(ctx, o.shutdownDelay, log)
	workers, err := newPools(o, log, ctrlmetrics.Registry)
	if err != nil {
		return err
	}
	defer workers.close()
	m, err := build(ctx, o, config, identity, workers, log)
	if err != nil {
		return err
	}
	m.checks["stopping"] = stopping.ready
	for name, check := range m.checks {
		if err := m.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("adding the readiness check %s: %w", name, err)
		}
	}
	if err := m.Add(newResting()); err != nil {
		return fmt.Errorf("adding what gives memory back: %w", err)
	}
	if err := m.AddHealthzCheck("process", healthz.Ping); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("running: %w", err)
	}
	log.Info("Stopped")
	return nil
}

func restConfig(o *options) (*rest.Config, error) {
	var config *rest.Config
	var err error
	if o.kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	} else {
		config, err = ctrl.GetConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("finding out how to reach the API server: %w", err)
	}
	limitRequests(config, o)
	config.UserAgent = "tidegate-manager/" + version.Get().Version
	return config, nil
}

// limitRequests has all clients share one limit: with a number alone each kind of object would
// have one of its own. Nothing is limited where the number is 0 or less.
func limitRequests(config *rest.Config, o *options) {
	config.QPS, config.Burst = o.qps, o.burst
	if o.qps <= 0 {
		config.QPS = -1
		return
	}
	config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(o.qps, o.burst)
}

func scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, gatewayv1.Install, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("making the scheme: %w", err)
		}
	}
	return s, nil
}

// built is a manager with everything in it, and what must hold before it is ready.
type built struct {
	manager.Manager
	checks map[string]healthz.Checker
}

// build makes the manager.
func build(ctx context.Context, o *options, config *rest.Config, identity string, workers *pools, log logr.Logger) (*built, error) {
	pool := workers.render
	var certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	mgr, err := newManager(o, config, log, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(hello) })
	if err != nil {
		return nil, err
	}
	served, err := certs.Setup(ctx, mgr, certs.Options{
		Namespace: o.namespace,
		Secret:    o.certSecret,
		URL:       o.webhookURL,
		Chart:     types.NamespacedName{Namespace: o.namespace, Name: gates.DefaultChart},
		Webhooks:  o.webhookConfigurations(),
	})
	if err != nil {
		return nil, err
	}
	certificate = served.GetCertificate

	store := eval.Compiler{CUE: worker.Policies{Pool: workers.judge}}.NewStore()
	replica, err := os.Hostname() // in a pod, that of the pod
	if err != nil {
		return nil, fmt.Errorf("finding out the name of this replica: %w", err)
	}
	others := &replicas{reader: mgr.GetAPIReader(), clock: clock.RealClock{}, namespace: o.namespace, name: replica}
	policies, err := policysync.Setup(mgr, policysync.Options{Store: store, Replica: replica, Replicas: others.All})
	if err != nil {
		return nil, err
	}
	templates := &templateLoader{client: mgr.GetClient(), cache: mgr.GetCache(), pool: pool, log: log.WithName("templates")}
	if err := mgr.Add(templates); err != nil {
		return nil, fmt.Errorf("adding the first load of templates: %w", err)
	}
	asked, err := addPromotions(mgr, store, policies, log)
	if err != nil {
		return nil, err
	}
	if err := addLoops(ctx, mgr, o, identity, pool, asked); err != nil {
		return nil, err
	}
	recorder, err := addWebhook(mgr, o, identity, store, pool, log)
	if err != nil {
		return nil, err
	}
	// The webhook reads these; asked for here, they are in sync before the first request.
	for _, kind := range []client.Object{
		&v1alpha1.Gate{}, &corev1.Namespace{}, &v1alpha1.Release{}, &v1alpha1.ReleaseTemplate{},
		&v1alpha1.TemplateRevision{}, &v1alpha1.Rollout{}, &v1alpha1.MetricSource{},
		&v1alpha1.BreakGlass{}, &v1alpha1.BreakGlassCommand{},
	} {
		if _, err := mgr.GetCache().GetInformer(ctx, kind); err != nil {
			return nil, fmt.Errorf("watching %T: %w", kind, err)
		}
	}
	checks := map[string]healthz.Checker{
		"policies":    policies.Ready,
		"templates":   templates.ready, // and, since it waits for them, the caches
		"certificate": served.Ready,
		"webhook":     mgr.GetWebhookServer().StartedChecker(),
	}
	audited := auditParts{policies: store, pool: pool, ready: func() error { return policies.Ready(nil) }}
	if o.gatekeeper {
		constraints, rules, err := addGatekeeper(mgr, o.namespace, o.gatekeeperEngine, others, recorder)
		if err != nil {
			return nil, err
		}
		checks["constraints"] = constraints.Ready
		audited.constraints = rules
		audited.ready = func() error { return errors.Join(policies.Ready(nil), constraints.Ready(nil)) }
	}
	if err := addAudit(mgr, o, audited, log); err != nil {
		return nil, err
	}
	return &built{Manager: mgr, checks: checks}, nil
}

// newManager makes the manager without anything in it.
func newManager(o *options, config *rest.Config, log logr.Logger, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) (manager.Manager, error) {
	s, err := scheme()
	if err != nil {
		return nil, err
	}
	lease, err := podLease(o, config)
	if err != nil {
		return nil, err
	}
	limit := stopLimit
	mgr, err := manager.New(config, manager.Options{
		Scheme:                 s,
		Logger:                 log,
		Cache:                  cacheOptions(o),
		NewCache:               newCache,
		Metrics:                metricsOptions(o),
		HealthProbeBindAddress: o.probeAddr,
		PprofBindAddress:       o.pprofAddr,
		WebhookServer: drainingServer{ctrlwebhook.NewServer(ctrlwebhook.Options{
			Host: o.webhookHost,
			Port: o.webhookPort,
			TLSOpts: []func(*tls.Config){func(c *tls.Config) {
				c.MinVersion = tls.VersionTLS12
				c.GetCertificate = certificate
			}},
		})},
		LeaderElection:                      o.leaderElect,
		LeaderElectionID:                    leaseName,
		LeaderElectionNamespace:             o.namespace,
		LeaderElectionReleaseOnCancel:       true,
		LeaderElectionConfig:                leaseConfig(config),
		LeaderElectionResourceLockInterface: lease,
		LeaseDuration:                       &o.leaseDuration,
		RenewDeadline:                       &o.renewDeadline,
		RetryPeriod:                         &o.retryPeriod,
		GracefulShutdownTimeout:             &limit,
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the manager: %w", err)
	}
	return mgr, nil
}

// cacheOptions keeps in memory what is read often: Tidegate's own kinds, and of others only
// what is Tidegate's.
func cacheOptions(o *options) cache.Options {
	own := cache.ByObject{
		Label:     labels.SelectorFromSet(labels.Set{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy}),
		Transform: fence.KeepFields(v1alpha1.FieldManager),
	}
	virtual := &unstructured.Unstructured{}
	virtual.SetGroupVersionKind(manifest.Kind(v1alpha1.RouterVirtualService))
	workloads := own
	workloads.Transform = fence.KeepSizes(v1alpha1.FieldManager)
	listed := own // EndpointSlices have the labels of their Services.
	listed.Transform = fence.KeepReady
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:                {Namespaces: map[string]cache.Config{o.namespace: {}}},
			&appsv1.Deployment{}:            workloads,
			&appsv1.StatefulSet{}:           workloads,
			&appsv1.DaemonSet{}:             workloads,
			&batchv1.CronJob{}:              own,
			&batchv1.Job{}:                  own,
			&corev1.Service{}:               own,
			&corev1.ConfigMap{}:             own,
			&discoveryv1.EndpointSlice{}:    listed,
			&policyv1.PodDisruptionBudget{}: own,
			&gatewayv1.HTTPRoute{}:          own,
			&gatewayv1.GRPCRoute{}:          own,
			virtual:                         own,
		},
	}
}

// metricsOptions serves metrics to this machine as they are, and to others only over TLS
// and to those whom the API server lets get /metrics.
func metricsOptions(o *options) metricsserver.Options {
	if o.metricsAddr == disabled || loopback(o.metricsAddr) {
		return metricsserver.Options{BindAddress: o.metricsAddr}
	}
	return metricsserver.Options{
		BindAddress:    o.metricsAddr,
		SecureServing:  true,
		FilterProvider: filters.WithAuthenticationAndAuthorization,
	}
}

// addWebhook adds what answers the API server, on every replica, and returns what records
// its refusals, if anything does.
func addWebhook(mgr manager.Manager, o *options, identity string, store *eval.Store, pool *worker.Pool, log logr.Logger) (*record.Recorder, error) {
	numbers := webhook.NewMetrics()
	if err := numbers.Register(ctrlmetrics.Registry); err != nil {
		return nil, err
	}
	config := webhook.Config{
		Reader:           mgr.GetClient(),
		Policies:         store,
		Renderer:         rendering{pool},
		Authorizer:       webhook.ReviewAuthorizer{Client: mgr.GetClient()},
		Exemptions:       webhook.Exemptions{Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Clock: clock.RealClock{}},
		Identity:         identity,
		ManagerNamespace: o.namespace,
		Clock:            clock.RealClock{},
		Metrics:          numbers,
	}
	recorder, err := addRecorder(mgr, o.record, config, log)
	if err != nil {
		return nil, err
	}
	handlers, err := webhook.New(recorder.Webhook(config))
	if err != nil {
		return nil, err
	}
	handlers.Register(recorder.Server(mgr.GetWebhookServer()))
	return recorder, nil
}

// addPromotions makes what the loops ask before exposure rises.
func addPromotions(mgr manager.Manager, store *eval.Store, policies *policysync.Loader, log logr.Logger) (*promotions, error) {
	numbers := newPromotionMetrics()
	if err := numbers.register(ctrlmetrics.Registry); err != nil {
		return nil, err
	}
	return newPromotions(mgr.GetClient(), store, func() error { return policies.Ready(nil) }, numbers, log.WithName("promotion"))
}

// addLoops adds the loops that run on the leader.
func addLoops(ctx context.Context, mgr manager.Manager, o *options, identity string, pool *worker.Pool, asked *promotions) error {
	sources := prom.NewSources(mgr.GetClient(), o.namespace)
	asked.measure = sources.Measured
	told, err := addNotifier(mgr, o)
	if err != nil {
		return err
	}
	hooks, err := addHooks(ctx, mgr, o)
	if err != nil {
		return err
	}
	if err := controller.Setup(ctx, mgr, controller.Options{
		Renderer:                renderer{pool},
		Measurer:                prom.NewMeasurer(sources),
		Promotion:               asked,
		Notifier:                told,
		Hooks:                   hooks,
		MaxConcurrentReconciles: o.concurrency,
	}); err != nil {
		return err
	}
	if err := controller.SetupTemplates(ctx, mgr, controller.TemplateOptions{Compile: renderer{pool}.compile, Permit: asked.Permit}); err != nil {
		return err
	}
	if err := controller.SetupMetricSources(mgr, controller.MetricSourceOptions{Prober: sources}); err != nil {
		return err
	}
	exemptions := &exemption.Loop{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("tidegate"),
		Clock: clock.RealClock{}, ManagerNamespace: o.namespace,
	}
	if err := exemptions.SetupWithManager(mgr); err != nil {
		return err
	}
	loop := &gates.Loop{
		Client: mgr.GetClient(),
		Live:   mgr.GetAPIReader(),
		Clock:  clock.RealClock{},
		Options: gates.Options{
			Identity:         identity,
			ManagerNamespace: o.namespace,
			URL:              o.webhookURL,
		},
		CASecret: types.NamespacedName{Namespace: o.namespace, Name: o.certSecret},
		Chart:    types.NamespacedName{Namespace: o.namespace, Name: gates.DefaultChart},
		Shared:   gates.SharedIdentity(mgr.GetAPIReader()),
	}
	if o.webhookURL == "" {
		loop.Options.Service = &gates.Service{Namespace: o.namespace, Name: certs.DefaultService, Port: 443}
	}
	return loop.SetupWithManager(mgr)
}
