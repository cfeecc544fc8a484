package tree

import (
	"fmt"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// sizeText says which size a Rollout was given under way; empty where it has the first.
func sizeText(spec v1alpha1.RolloutSpec) string {
	n := len(spec.Resized)
	if n == 0 {
		return ""
	}
	last := spec.Resized[n-1]
	return fmt.Sprintf("size: %d pods since %s, %d before", spec.Replicas, last.Until.UTC().Format(time.RFC3339), last.Replicas)
}
