package prom

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Measured answers the queries that MetricSources list, about one Release, by
// "source/query". What cannot be measured is left out and logged: a policy that rests on it
// holds then.
func (s *Sources) Measured(ctx context.Context, namespace, release string, now time.Time) map[string]float64 {
	var list v1alpha1.MetricSourceList
	if err := s.reader.List(ctx, &list); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list MetricSources")
		return nil
	}
	out := map[string]float64{}
	for i := range list.Items {
		source := &list.Items[i]
		for _, q := range source.Spec.Queries {
			value, err := s.measured(ctx, source.Name, q.Query, subject{namespace: namespace, release: release}, now)
			if err != nil {
				log.FromContext(ctx).Info("Not measured", "source", source.Name, "query", q.Name, "why", err.Error())
				continue
			}
			out[source.Name+"/"+q.Name] = value
		}
	}
	return out
}

func (s *Sources) measured(ctx context.Context, source, query string, about subject, now time.Time) (float64, error) {
	expr, err := expand(query, about)
	if err != nil {
		return 0, err
	}
	client, err := s.Client(ctx, source)
	if err != nil {
		return 0, err
	}
	sample := client.Query(ctx, expr, now)
	if sample.Cause != "" {
		return 0, fmt.Errorf("asking %s: %s %s", source, sample.Cause, sample.Detail)
	}
	return sample.Value, nil
}
