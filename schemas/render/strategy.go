package render

import (
	"tidegate.io/tidegate/schemas/render/internal/manifest"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// CheckStrategy reads the JSON of a strategy as that of a template's rollout field is read:
// it is checked, and completed with the defaults. It returns a line for each mistake, which
// begins with its path and says what was wanted and found.
func CheckStrategy(json []byte) (v1alpha1.Strategy, []string) {
	s, _, lines := manifest.Strategy(json)
	return s, lines
}
