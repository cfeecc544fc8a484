package main

import (
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/webhook/auditing"
)

// auditOptions are the flags of the audit.
type auditOptions struct {
	enabled  bool
	interval time.Duration
	qps      float32
	outside  bool
}

// Bounds of the audit.
const (
	minAuditInterval = 10 * time.Second
	maxAuditQPS      = 100
)

func (o *auditOptions) addTo(fs *pflag.FlagSet) {
	fs.BoolVar(&o.enabled, "audit", o.enabled, "look at what exists already, in the background, on the leader")
	fs.DurationVar(&o.interval, "audit-interval", o.interval, "time from the end of one audit to the beginning of the next")
	fs.Float32Var(&o.qps, "audit-qps", o.qps, "requests to the API server a second that the audit makes")
	fs.BoolVar(&o.outside, "audit-ungoverned", o.outside, "ask policies about namespaces that no Gate governs too, where admission never asks them")
}

func (o *auditOptions) validate() error {
	if o.interval < minAuditInterval {
		return wrong("audit-interval", "wanted at least %s, found %s", minAuditInterval, o.interval)
	}
	if o.qps <= 0 || o.qps > maxAuditQPS {
		return wrong("audit-qps", "wanted more than 0 and at most %d, found %v", maxAuditQPS, o.qps)
	}
	return nil
}

// auditParts are what the audit judges by.
type auditParts struct {
	policies    *eval.Store
	constraints *gatekeeper.Store
	// ready is nil once both are loaded.
	ready func() error
	pool  *worker.Pool
}

// addAudit adds what looks at what exists already.
func addAudit(mgr manager.Manager, o *options, parts auditParts, log logr.Logger) error {
	if !o.audit.enabled {
		return nil
	}
	numbers := auditing.NewMetrics()
	if err := numbers.Register(ctrlmetrics.Registry); err != nil {
		return err
	}
	// A client of its own: it waits for its own turn, and keeps nothing in memory.
	config := rest.CopyConfig(mgr.GetConfig())
	config.QPS, config.Burst = o.audit.qps, max(1, int(o.audit.qps))
	config.RateLimiter = nil
	live, err := client.New(config, client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("making the client of the audit: %w", err)
	}
	auditor := &auditing.Auditor{
		Client: live, Policies: parts.policies.Set, Constraints: parts.constraints, Renderer: rendering{parts.pool},
		ManagerNamespace: o.namespace, Clock: clock.RealClock{},
	}
	loop := &auditing.Loop{
		Auditor: auditor, Interval: o.audit.interval, Scope: auditing.Scope{Outside: o.audit.outside}, Ready: parts.ready,
		Metrics: numbers, Clock: clock.RealClock{}, Log: log.WithName("audit"),
	}
	if err := mgr.Add(loop); err != nil {
		return fmt.Errorf("adding the audit: %w", err)
	}
	return nil
}
