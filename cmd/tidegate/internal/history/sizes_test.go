package history

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestTheSizesOfARolloutAreTold(t *testing.T) {
	t.Parallel()
	r := rollout(2, "bbbbbbbbbb", v1alpha1.RolloutProgressing, func(r *v1alpha1.Rollout) {
		r.Spec.Replicas, r.Spec.Stable = 6, &v1alpha1.StableReference{Replicas: 3}
		r.Spec.Resized = []v1alpha1.FormerSize{
			{Replicas: 4, StableReplicas: 2, Until: metav1.NewTime(noon)}, {Replicas: 8, StableReplicas: 4, Until: metav1.NewTime(noon.Add(time.Minute))},
		}
	})
	lines := entryOf(&r, nil).Lines(term.Style{}, noon)
	at := slices.Index(lines, "  size: 4 pods over 2 until 2026-05-04T12:00:00Z")
	if at < 0 || at+3 > len(lines) {
		t.Fatalf("found %q", lines)
	}
	want := []string{"  size: 8 pods over 4 until 2026-05-04T12:01:00Z", "  size: 6 pods over 3 since then"}
	if diff := cmp.Diff(want, lines[at+1:at+3]); diff != "" {
		t.Error(diff)
	}
	first := rollout(1, "aaaaaaaaaa", v1alpha1.RolloutProgressing, func(r *v1alpha1.Rollout) {
		r.Spec.Replicas, r.Spec.Resized = 6, []v1alpha1.FormerSize{{Replicas: 4, Until: metav1.NewTime(noon)}}
	})
	if diff := cmp.Diff([]string{"  size: 4 pods until 2026-05-04T12:00:00Z", "  size: 6 pods since then"}, entryOf(&first, nil).sizeLines()); diff != "" {
		t.Error(diff)
	}
	if one := rollout(3, "cccccccccc", v1alpha1.RolloutProgressing, nil); len(entryOf(&one, nil).sizeLines()) > 0 {
		t.Error("a Rollout of one size is told to have others")
	}
}
