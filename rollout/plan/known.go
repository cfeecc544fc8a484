package plan

import (
	"slices"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Served is what is known of a Rollout that has come into service.
type Served struct {
	// Digest of all that was rendered.
	Digest string
	// Known is true where it has walked no steps, Restored where somebody has brought it back.
	Known, Restored bool
}

// KnownGood says whether a digest was in service lately, and is what the window lets return without
// steps. What somebody returned from was in service too; it walks its steps, until it has come into
// service by them. The oldest of served is the first.
func KnownGood(digest string, window *v1alpha1.RollbackWindow, served []Served) bool {
	if window == nil {
		return false
	}
	seen, left := map[string]bool{}, map[string]bool{}
	var order []string // of what came into service, the last last
	for _, s := range served {
		// Trying what was left once more is no return from what serves meanwhile.
		if n := len(order); n > 0 && order[n-1] != s.Digest && !left[s.Digest] && (seen[s.Digest] || s.Restored) {
			left[order[n-1]] = true
		}
		if !s.Known {
			left[s.Digest] = false
		}
		seen[s.Digest] = true
		order = append(order, s.Digest)
	}
	if len(order) == 0 || left[digest] || order[len(order)-1] == digest {
		return false
	}
	return slices.Contains(LastServed(order, window.Revisions), digest)
}

// LastServed returns the last n different digests before the one that serves, which is the last.
func LastServed(order []string, n int32) []string {
	if len(order) == 0 {
		return nil
	}
	var out []string
	serves := order[len(order)-1]
	for i := len(order) - 1; i >= 0 && len(out) < int(n); i-- {
		if order[i] != serves && !slices.Contains(out, order[i]) {
			out = append(out, order[i])
		}
	}
	return out
}
