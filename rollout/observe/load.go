package observe

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// loadOf is how many pods, in thousandths, a HorizontalPodAutoscaler would want for what the
// pods of its workload have to do now: their number times the ratio of what it measures to what
// it aims at, the greatest of all metrics, as its own controller has it. 0 where scaler is nil, or
// nothing says so.
//
// Metrics that are not of the pods, such as the length of a queue, tell nothing of the share that
// one revision has of it, and memory tells little of the requests. They are left out.
func loadOf(scaler *unstructured.Unstructured, available int32) int64 {
	if scaler == nil {
		return 0
	}
	a, err := typed[autoscalingv2.HorizontalPodAutoscaler](scaler)
	if err != nil || a.Status.ObservedGeneration != nil && *a.Status.ObservedGeneration < a.Generation {
		return 0 // what it measures is a help, and no fact that anything waits for
	}
	var most int64
	for i := range a.Spec.Metrics {
		if i < len(a.Status.CurrentMetrics) { // they are in the order of the spec
			most = max(most, ratio(a.Spec.Metrics[i], a.Status.CurrentMetrics[i]))
		}
	}
	// Pods that have come since it looked did not do their part of it, and those that are not
	// available yet do none.
	return most * int64(min(a.Status.CurrentReplicas, available))
}

// ratio is what is measured in thousandths of what is aimed at; 0 where it is not of the pods.
func ratio(want autoscalingv2.MetricSpec, now autoscalingv2.MetricStatus) int64 {
	switch {
	case want.Type != now.Type:
	case want.Resource != nil && now.Resource != nil && want.Resource.Name == now.Resource.Name && want.Resource.Name != corev1.ResourceMemory:
		return thousandths(want.Resource.Target, now.Resource.Current)
	case want.ContainerResource != nil && now.ContainerResource != nil &&
		want.ContainerResource.Name == now.ContainerResource.Name && want.ContainerResource.Name != corev1.ResourceMemory:
		return thousandths(want.ContainerResource.Target, now.ContainerResource.Current)
	case want.Pods != nil && now.Pods != nil && want.Pods.Metric.Name == now.Pods.Metric.Name:
		return thousandths(want.Pods.Target, now.Pods.Current)
	}
	return 0
}

// maxRatio bounds what is believed of a measurement, as a bound against nonsense.
const maxRatio = 100_000

func thousandths(want autoscalingv2.MetricTarget, now autoscalingv2.MetricValueStatus) int64 {
	var out float64
	switch {
	case want.AverageUtilization != nil && now.AverageUtilization != nil && *want.AverageUtilization > 0:
		out = float64(*now.AverageUtilization) * 1000 / float64(*want.AverageUtilization)
	case want.AverageValue != nil && now.AverageValue != nil && want.AverageValue.Sign() > 0:
		out = number(now.AverageValue) * 1000 / number(want.AverageValue)
	}
	return int64(max(0, min(out, maxRatio)))
}

func number(q *resource.Quantity) float64 { return q.AsApproximateFloat64() }
