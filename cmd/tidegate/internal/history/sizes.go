package history

import (
	"fmt"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Size is how many pods a Rollout was about, for a time.
type Size struct {
	Replicas int32 `json:"replicas"`
	// Stable is the size of the set that it was over; 0 where there was none.
	Stable int32 `json:"stable,omitempty"`
	// Until is when it was given another size; nil for the last.
	Until *time.Time `json:"until,omitempty"`
}

// sizesOf are the sizes of a Rollout, oldest first; none where it had one size all along.
func sizesOf(spec v1alpha1.RolloutSpec) []Size {
	if len(spec.Resized) == 0 {
		return nil
	}
	var out []Size
	for _, f := range spec.Resized {
		until := f.Until.Time
		out = append(out, Size{Replicas: f.Replicas, Stable: f.StableReplicas, Until: &until})
	}
	last := Size{Replicas: spec.Replicas}
	if spec.Stable != nil {
		last.Stable = spec.Stable.Replicas
	}
	return append(out, last)
}

func (e Entry) sizeLines() []string {
	var out []string
	for _, s := range e.Sizes {
		text := fmt.Sprintf("%d pods", s.Replicas)
		if s.Stable > 0 {
			text += fmt.Sprintf(" over %d", s.Stable)
		}
		if s.Until == nil {
			text += " since then"
		} else {
			text += " until " + s.Until.UTC().Format(time.RFC3339)
		}
		out = append(out, "  size: "+text)
	}
	return out
}
