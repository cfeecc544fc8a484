package notify

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"tidegate.io/tidegate/rollout/notify/news"
)

// Outcomes of events for a sink.
const (
	outcomeDelivered = "delivered"
	// outcomeFailed is: every attempt failed, or one for good.
	outcomeFailed = "failed"
	// outcomeDropped is: the queue was full, and this was the oldest.
	outcomeDropped = "dropped"
)

// Metrics count events. The label sink has the names in the platform's file, at most 50.
type Metrics struct {
	valid      prometheus.Gauge
	loads      *prometheus.CounterVec
	events     *prometheus.CounterVec
	unrouted   prometheus.Counter
	unknown    prometheus.Counter
	deliveries *prometheus.CounterVec
	queued     *prometheus.GaugeVec
}

// NewMetrics returns metrics that are 0.
func NewMetrics() *Metrics {
	m := &Metrics{
		valid: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidegate_notify_file_valid",
			Help: "1 while the file of notifications, as it is now, is in use; 0 while it cannot be used.",
		}),
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_notify_file_loads_total",
			Help: "Changes of the file of notifications, by outcome (taken, refused).",
		}, []string{"outcome"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_notify_events_total",
			Help: "Events that were worth telling, by kind.",
		}, []string{"kind"}),
		unrouted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidegate_notify_unrouted_total",
			Help: "Events of at least the severity info that no route sent to a sink.",
		}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidegate_notify_unknown_sink_total",
			Help: "Events of steps that asked for a sink that there is not.",
		}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_notify_deliveries_total",
			Help: "Events for sinks, by sink and outcome (delivered, failed, dropped).",
		}, []string{"sink", "outcome"}),
		queued: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidegate_notify_queue_events",
			Help: "Events that wait for a sink.",
		}, []string{"sink"}),
	}
	m.loads.WithLabelValues("taken")
	m.loads.WithLabelValues("refused")
	for _, k := range news.Kinds() {
		m.events.WithLabelValues(string(k))
	}
	return m
}

// Register adds the metrics to a registry.
func (m *Metrics) Register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.valid, m.loads, m.events, m.unrouted, m.unknown, m.deliveries, m.queued} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering the metrics of notifications: %w", err)
		}
	}
	return nil
}

func (m *Metrics) loaded(taken bool) {
	if taken {
		m.valid.Set(1)
		m.loads.WithLabelValues("taken").Inc()
		return
	}
	m.valid.Set(0)
	m.loads.WithLabelValues("refused").Inc()
}

func (m *Metrics) event(kind news.Kind) { m.events.WithLabelValues(string(kind)).Inc() }

// begin shows a sink at 0.
func (m *Metrics) begin(sink string) {
	for _, outcome := range []string{outcomeDelivered, outcomeFailed, outcomeDropped} {
		m.deliveries.WithLabelValues(sink, outcome)
	}
	m.queued.WithLabelValues(sink)
}

// forget takes a sink out.
func (m *Metrics) forget(sink string) {
	m.deliveries.DeletePartialMatch(prometheus.Labels{"sink": sink})
	m.queued.DeletePartialMatch(prometheus.Labels{"sink": sink})
}

func (m *Metrics) delivery(sink, outcome string) { m.deliveries.WithLabelValues(sink, outcome).Inc() }

func (m *Metrics) waiting(sink string, events int) {
	m.queued.WithLabelValues(sink).Set(float64(events))
}
