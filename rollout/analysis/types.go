package analysis

import (
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Sample is the answer to one query: a finite Value, or the Cause why there is none.
type Sample struct {
	// Value is finite and meaningful only where Cause is empty.
	Value float64
	// Cause is why there is no value; empty when there is one.
	Cause v1alpha1.UnknownCause
	// Detail is the source's own words, for Cause QueryError and SourceDown.
	Detail string
}

// Arm is what was measured of one revision.
type Arm struct {
	// Value answers the metric's query.
	Value Sample
	// Samples answers the metric's samples query: how many observations Value rests on.
	Samples Sample
}

// Measurement is what was measured for one metric, both arms at the same evaluation
// time.
type Measurement struct {
	Metric v1alpha1.Metric
	Canary Arm
	// Stable is nil where there is no stable revision.
	Stable *Arm
}
