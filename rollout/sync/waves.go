package sync

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Rest is the name of the wave that takes the Releases that no other one selects.
const Rest = "rest"

// defaultPatience is for a wave that does not say how long it waits.
const defaultPatience = 2 * time.Hour

// wavesOf returns the waves in order, the rest last. Where the sync is not staged all is
// rest.
func wavesOf(spec v1alpha1.TemplateSync, atOnce bool) []v1alpha1.SyncWave {
	rest := v1alpha1.SyncWave{Name: Rest}
	if spec.Type != v1alpha1.SyncStaged || atOnce {
		return []v1alpha1.SyncWave{rest}
	}
	return append(slices.Clone(spec.Waves), rest)
}

// ranked is a Release and its place in the order in which shares are taken.
type ranked struct {
	index int
	// since is when it was given the target; those that have it come first, so that a
	// Release that is new does not push another out of its wave.
	since time.Time
	hash  [sha256.Size]byte
}

// rank puts the Releases into an order that is arbitrary and always the same. Those that
// are not free are left out.
func rank(releases []Release, target string) []ranked {
	out := make([]ranked, 0, len(releases))
	for i := range releases {
		r := &releases[i]
		if !r.Free {
			continue
		}
		place := ranked{index: i, hash: sha256.Sum256([]byte(r.Namespace + "/" + r.Name))}
		if r.Assigned != nil && r.Assigned.Name == target {
			place.since = r.Assigned.At.Time
		}
		out = append(out, place)
	}
	slices.SortFunc(out, func(a, b ranked) int {
		if a.since.IsZero() != b.since.IsZero() {
			if a.since.IsZero() {
				return 1
			}
			return -1
		}
		return cmp.Or(a.since.Compare(b.since), bytes.Compare(a.hash[:], b.hash[:]))
	})
	return out
}

// divide returns the wave of each Release, counted from 1; 0 for those that are not free.
func divide(waves []v1alpha1.SyncWave, releases []Release, order []ranked) ([]int, error) {
	out := make([]int, len(releases))
	for w := range waves {
		selects, err := selector(&waves[w])
		if err != nil {
			return nil, err
		}
		var candidates, taken int
		for _, place := range order {
			if selects(&releases[place.index]) {
				candidates++
				if out[place.index] > 0 {
					taken++
				}
			}
		}
		quota := candidates - taken
		if p := int(waves[w].Percent); p > 0 {
			quota = (p*candidates+99)/100 - taken
		}
		for _, place := range order {
			if quota <= 0 {
				break
			}
			if out[place.index] == 0 && selects(&releases[place.index]) {
				out[place.index] = w + 1
				quota--
			}
		}
	}
	return out, nil
}

// selector returns what a wave selects, its percentage aside.
func selector(wave *v1alpha1.SyncWave) (func(*Release) bool, error) {
	byLabel := labels.Everything()
	if wave.Selector != nil {
		var err error
		if byLabel, err = metav1.LabelSelectorAsSelector(wave.Selector); err != nil {
			return nil, fmt.Errorf("the selector of wave %s: %w", wave.Name, err)
		}
	}
	return func(r *Release) bool {
		if len(wave.Namespaces) > 0 && !slices.ContainsFunc(wave.Namespaces, func(p string) bool { return matches(p, r.Namespace) }) {
			return false
		}
		return byLabel.Matches(labels.Set(r.Labels))
	}, nil
}

// matches compares a name with a pattern in which * stands for any characters.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	last := len(parts) - 1
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1:last] {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[last])
}

// patience is how long a Release of the wave may be under way.
func patience(wave *v1alpha1.SyncWave) time.Duration {
	if d := wave.Patience.Duration; d > 0 {
		return d
	}
	return defaultPatience
}
