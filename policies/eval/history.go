package eval

import (
	"cmp"
	"slices"
	"time"
)

// Past is another Rollout in the namespace, of any Release.
type Past struct {
	Release string `json:"release"`
	Rollout string `json:"rollout"`
	// Started is when it was made, RFC 3339 in UTC.
	Started string `json:"started"`
	// Raised is when it was first allowed to take exposure from what served, RFC 3339 in UTC;
	// empty where it never was, as of a first install.
	Raised string `json:"raised,omitempty"`
	// Waits is true where it has begun, has not been raised, and policies hold it.
	Waits bool   `json:"waits,omitempty"`
	Phase string `json:"phase"`
	// First is true of the first Rollout of a Release.
	First bool `json:"first"`
}

// Elsewhere is what a Release of the same name is at in another namespace, such as the
// environment before.
type Elsewhere struct {
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels,omitempty"`
	// Rollout is the newest one, and Phase its phase.
	Rollout string `json:"rollout"`
	Phase   string `json:"phase"`
	// Template is the name of the TemplateRevision that it was rendered with.
	Template string `json:"template"`
	// Values are those of the Release that it was made from; may be shared with others and
	// are never to be changed.
	Values any `json:"values,omitempty"`
	// Succeeded is when it came into service as a whole, RFC 3339 in UTC; empty where it has
	// not.
	Succeeded string `json:"succeeded,omitempty"`
}

const (
	// maxPast is how many other Rollouts a policy is told of, the newest.
	maxPast = 200
	// maxElsewhere is how many other namespaces it is told of.
	maxElsewhere = 50
)

// Newest sorts other Rollouts by when they were raised, or else made, from the newest to the
// oldest, and leaves out the oldest where there are too many.
func Newest(all []Past) []Past {
	when := func(p Past) string { return cmp.Or(p.Raised, p.Started) }
	slices.SortFunc(all, func(a, b Past) int {
		return cmp.Or(cmp.Compare(when(b), when(a)), cmp.Compare(a.Rollout, b.Rollout))
	})
	return all[:min(len(all), maxPast)]
}

// ByNamespace sorts what is so elsewhere and leaves out what is too much.
func ByNamespace(all []Elsewhere) []Elsewhere {
	slices.SortFunc(all, func(a, b Elsewhere) int { return cmp.Compare(a.Namespace, b.Namespace) })
	return all[:min(len(all), maxElsewhere)]
}

// Moment is a time as policies are told it.
func Moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
