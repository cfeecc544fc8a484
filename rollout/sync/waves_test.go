package sync

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// members returns how many Releases each wave has, the rest last.
func members(t *testing.T, waves []v1alpha1.SyncWave, releases []Release) []int {
	t.Helper()
	all := wavesOf(staged(waves...), false)
	place, err := divide(all, releases, rank(releases, "web-2"))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]int, len(all))
	for _, w := range place {
		if w > 0 {
			out[w-1]++
		}
	}
	return out
}

func TestWaves(t *testing.T) {
	t.Parallel()
	var releases []Release
	for i := range 100 {
		releases = append(releases, of(fmt.Sprintf("team-%d/x%d", i%10, i), "web-1"))
	}
	for i := range 10 {
		releases = append(releases, of(fmt.Sprintf("team-1/pin%d", i), "web-1", pinned))
	}
	label := func(value string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"team": value}}
	}
	for name, c := range map[string]struct {
		waves []v1alpha1.SyncWave
		want  []int
	}{
		"without waves all is rest":                                {nil, []int{100}},
		"by namespace, pins left out":                              {[]v1alpha1.SyncWave{team("team-1")}, []int{10, 90}},
		"by a pattern of namespaces":                               {[]v1alpha1.SyncWave{team("team-*")}, []int{100, 0}},
		"by label":                                                 {[]v1alpha1.SyncWave{{Name: "a", Selector: label("team-2")}}, []int{10, 90}},
		"the first wave that selects has it":                       {[]v1alpha1.SyncWave{team("team-1"), team("team-*")}, []int{10, 90, 0}},
		"by a share of all":                                        {[]v1alpha1.SyncWave{share("a", 7)}, []int{7, 93}},
		"a share is rounded up":                                    {[]v1alpha1.SyncWave{{Name: "a", Percent: 1, Namespaces: []string{"team-1"}}}, []int{1, 99}},
		"shares count those of earlier waves in":                   {[]v1alpha1.SyncWave{share("a", 10), share("b", 25), share("c", 20)}, []int{10, 15, 0, 75}},
		"a share of what the selector selects":                     {[]v1alpha1.SyncWave{{Name: "a", Percent: 50, Selector: label("team-2")}}, []int{5, 95}},
		"a share counts only those in that it is a share of":       {[]v1alpha1.SyncWave{team("team-1"), {Name: "b", Percent: 50, Namespaces: []string{"team-2"}}}, []int{10, 5, 85}},
		"label and namespace must both fit":                        {[]v1alpha1.SyncWave{{Name: "a", Selector: label("team-2"), Namespaces: []string{"team-3"}}}, []int{0, 100}},
		"the whole share takes all that is left":                   {[]v1alpha1.SyncWave{share("a", 10), share("b", 100)}, []int{10, 90, 0}},
		"a share after a namespace counts the namespace's own in":  {[]v1alpha1.SyncWave{team("team-1"), share("b", 15)}, []int{10, 5, 85}},
		"a share that an earlier wave fills already takes nothing": {[]v1alpha1.SyncWave{team("team-1"), share("b", 5)}, []int{10, 0, 90}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, members(t, c.waves, releases)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestANewReleasePushesNobodyOutOfAWave(t *testing.T) {
	t.Parallel()
	waves := wavesOf(staged(share("a", 10)), false)
	var releases []Release
	for i := range 40 {
		releases = append(releases, of(fmt.Sprintf("a/x%d", i), "web-1"))
	}
	// Those that would come last have been given the target: the others are new.
	order := rank(releases, "web-2")
	early := map[int]bool{}
	for i, place := range order[len(order)-4:] {
		early[place.index] = true
		given("web-2")(&releases[place.index])
		releases[place.index].Assigned.At = *at(time.Duration(i) * time.Second)
	}
	place, err := divide(waves, releases, rank(releases, "web-2"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range releases {
		if (place[i] == 1) != early[i] {
			t.Errorf("%s, which has the target: %t, is in wave %d", releases[i].Name, early[i], place[i])
		}
	}
	// And of those that have it, the first ones.
	for _, place := range order[:8] {
		given("web-2")(&releases[place.index])
		releases[place.index].Assigned.At = *at(time.Hour)
	}
	if place, err = divide(waves, releases, rank(releases, "web-2")); err != nil {
		t.Fatal(err)
	}
	for i := range releases {
		if (place[i] == 1) != early[i] {
			t.Errorf("%s, which had the target first: %t, is in wave %d", releases[i].Name, early[i], place[i])
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"shop", "shop", true},
		{"shop", "shop-1", false},
		{"shop-*", "shop-1", true},
		{"shop-*", "shop", false},
		{"*-prod", "shop-prod", true},
		{"*-prod", "shop-prod-2", false},
		{"a*b*c", "a-b-c", true},
		{"a*b*c", "ac", false},
		{"a*a", "a", false},
		{"*", "", true},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%q matches %q: %t", c.pattern, c.name, got)
		}
	}
}
