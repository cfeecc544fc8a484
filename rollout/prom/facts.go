package prom

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// factsTimeout bounds all that is measured for one question to the policies.
const factsTimeout = 5 * time.Second

// Measured answers the queries that MetricSources list, about one Release, by
// "source/query", within 5 seconds. All are asked at once, so that a source that hangs costs
// the others nothing; a MetricSource lists few. What cannot be measured is left out, and why says why: a policy
// that rests on it holds then.
func (s *Sources) Measured(ctx context.Context, namespace, release string, now time.Time) (values map[string]float64, why map[string]string) {
	var list v1alpha1.MetricSourceList
	if err := s.reader.List(ctx, &list); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list MetricSources")
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, factsTimeout)
	defer cancel()
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	values, why = map[string]float64{}, map[string]string{}
	about := subject{namespace: namespace, release: release}
	for i := range list.Items {
		source := &list.Items[i]
		for _, q := range source.Spec.Queries {
			wg.Go(func() {
				value, err := s.measured(ctx, source.Name, q.Query, about, now)
				if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
					err = fmt.Errorf("asking %s: no answer within %s", source.Name, factsTimeout)
				}
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					values[source.Name+"/"+q.Name] = value
					return
				}
				why[source.Name+"/"+q.Name] = err.Error()
				log.FromContext(ctx).Info("Not measured", "source", source.Name, "query", q.Name, "why", err.Error())
			})
		}
	}
	wg.Wait()
	return values, why
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
