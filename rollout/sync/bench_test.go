package sync

import (
	"fmt"
	"testing"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// BenchmarkNext decides about 5,000 Releases in the middle of a staged sync.
func BenchmarkNext(b *testing.B) {
	spec := staged(team("team-1"), share("tenth", 10), share("half", 50))
	var releases []Release
	for i := range 5000 {
		r := of(fmt.Sprintf("team-%d/x%d", i%100, i), "web-1")
		if i%3 == 0 {
			given("web-2")(&r)
		}
		releases = append(releases, r)
	}
	o := observation(spec, underWay(3, v1alpha1.SyncSyncing, "team-1", "tenth", "half"), releases...)
	b.ReportAllocs()
	for b.Loop() {
		Next(o, start)
	}
}
