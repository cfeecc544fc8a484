package record

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of reviews that were to be recorded.
const (
	outcomeWritten = "written"
	// outcomeDropped is: the queue was full.
	outcomeDropped = "dropped"
	// outcomeTooLarge is: the record is larger than one may be.
	outcomeTooLarge = "too-large"
	// outcomeFailed is: it could not be made, freed of its secrets or written.
	outcomeFailed = "failed"
)

// Metrics count records.
type Metrics struct {
	reviews *prometheus.CounterVec
	removed prometheus.Counter
}

// NewMetrics returns metrics that are 0.
func NewMetrics() *Metrics {
	m := &Metrics{
		reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_record_reviews_total",
			Help: "Reviews that were to be recorded, by what became of it.",
		}, []string{"outcome"}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidegate_record_removed_total",
			Help: "Records that were removed because newer ones needed their place.",
		}),
	}
	for _, o := range []string{outcomeWritten, outcomeDropped, outcomeTooLarge, outcomeFailed} {
		m.reviews.WithLabelValues(o)
	}
	return m
}

// Register adds the metrics to a registry.
func (m *Metrics) Register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.reviews, m.removed} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering the metrics of records: %w", err)
		}
	}
	return nil
}
