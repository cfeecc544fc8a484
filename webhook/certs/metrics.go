package certs

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// expiry is when the served certificate ends.
var expiry = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "tidegate_webhook_cert_expiry_timestamp_seconds",
	Help: "Time at which the served webhook certificate expires, in seconds since the epoch; 0 before one is served.",
})

func init() {
	metrics.Registry.MustRegister(expiry)
}
