package manifest

import "testing"

func TestAnAutoscalerLeavesMorePodsWithinItsBounds(t *testing.T) {
	t.Parallel()
	const (
		hpa  = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: cart-aaaaaaaaaa, namespace: shop}\n"
		keda = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: cart-aaaaaaaaaa, namespace: shop}\n"
	)
	for name, c := range map[string]struct {
		text   string
		least  int32
		lifted int32
	}{
		"more than was rendered":                   {hpa + "spec: {minReplicas: 2, maxReplicas: 9}", 5, 5},
		"no more than it lets the workload have":   {hpa + "spec: {minReplicas: 2, maxReplicas: 9}", 50, 9},
		"as many as was rendered":                  {hpa + "spec: {minReplicas: 2, maxReplicas: 9}", 2, 0},
		"fewer than was rendered":                  {hpa + "spec: {minReplicas: 2, maxReplicas: 9}", 1, 0},
		"nothing is asked for":                     {hpa + "spec: {minReplicas: 2, maxReplicas: 9}", 0, 0},
		"where nothing is said it is one":          {hpa + "spec: {maxReplicas: 9}", 1, 0},
		"where nothing is said there can be more":  {hpa + "spec: {maxReplicas: 9}", 2, 2},
		"KEDA's kind":                              {keda + "spec: {minReplicaCount: 2, maxReplicaCount: 9}", 50, 9},
		"KEDA's kind has a bound of its own":       {keda + "spec: {minReplicaCount: 2}", 500, 100},
		"a workload is no autoscaler":              {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cart-aaaaaaaaaa}\nspec: {minReplicas: 2}", 5, 0},
		"numbers of another decoder are as good":   {hpa + "spec: {minReplicas: 2.0, maxReplicas: 9.0}", 5, 5},
		"a bound that is no number bounds nothing": {hpa + "spec: {minReplicas: many, maxReplicas: many}", 5, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rendered := object(t, c.text)
			live := rendered.DeepCopy()
			if err := WithLeast(live, c.least); err != nil {
				t.Fatal(err)
			}
			if got := Lifted(live); got != c.lifted {
				t.Errorf("lifted to %d, want %d", got, c.lifted)
			}
			if got := Lifted(rendered); got != 0 {
				t.Errorf("as rendered it is lifted to %d", got)
			}
		})
	}
}
