package controller

import (
	"testing"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestARolloutPinsWhoMadeTheChange(t *testing.T) {
	t.Parallel()
	by := func(author string) func(*v1alpha1.Rollout) {
		return func(r *v1alpha1.Rollout) {
			if author != "" {
				r.Annotations = map[string]string{v1alpha1.AnnotationAuthor: author}
			}
		}
	}
	for name, c := range map[string]struct {
		// release is who is stamped on the Release, source on the Rollout that is made once more.
		release, source string
		again           bool
		want            string
	}{
		"of a Release it is who is stamped on it":                             {release: "alice", want: "alice"},
		"nobody is stamped":                                                   {},
		"of what is made once more it is who it was, whoever came since":      {release: "bob", source: "alice", again: true, want: "alice"},
		"of what is made once more and is older than the pin, nobody is said": {release: "bob", again: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := asked(2, "two", full("web-1"))
			if c.release != "" {
				w.release.Annotations = map[string]string{v1alpha1.AnnotationAuthor: c.release}
			}
			if c.again {
				source := attempt(1, "two", v1alpha1.RolloutAborted, by(c.source))
				w.source = &source
			}
			if got := newRollout(w, nil, 2).Annotations[v1alpha1.AnnotationAuthor]; got != c.want {
				t.Errorf("it pins %q, want %q", got, c.want)
			}
		})
	}
}
