package worker

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidegate.io/tidegate/schemas/render"
)

var soak = flag.Bool("soak", false, "render 100,000 times with a million names; by default 5,000 times with 50,000")

// namesEach is how many names of fields, seen never before, each render brings.
const namesEach = 10

// The engine keeps the name of every field it ever saw, for the life of the process. So it
// is in the workers that it grows, and they are replaced; this process stays as it is.
func TestSoak(t *testing.T) {
	o := Options{Workers: 2, MaxRequests: 1000, MaxIdle: 64 << 20}
	renders := int64(5_000)
	if *soak {
		renders, o.MaxRequests = 100_000, DefaultMaxRequests
	}
	if raceDetector {
		renders, o.MaxRequests = 600, 100
	}
	p := newPool(t, o)
	s := plain(t, "")
	// A first part, so that what is made once is there.
	for i := range int64(200) {
		soaked(t, p, s, -1-i)
	}
	before := heap()
	var next, failed atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := next.Add(1); i <= renders; i = next.Add(1) {
				if soaked(t, p, s, i) {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	grown := heap() - before
	recycled := testutil.ToFloat64(p.options.Metrics.recycled.WithLabelValues(recycledRequests)) +
		testutil.ToFloat64(p.options.Metrics.recycled.WithLabelValues(recycledMemory))
	died := count(t, p, CauseCrash) + count(t, p, CauseDeadline) + count(t, p, CauseMemory)
	p.Close()
	t.Logf("%d renders, %d of them failing, %d names: %+d KiB in this process, %v workers replaced, at most %d MiB in one",
		renders, failed.Load(), renders*namesEach, grown>>10, recycled, largestChild()>>20)
	if grown > 4<<20 {
		t.Errorf("wanted the memory of this process to stay as it was, found %d bytes more", grown)
	}
	if want := float64(renders / int64(o.MaxRequests) / 2); recycled < want || died > 0 {
		t.Errorf("wanted at least %v workers to be replaced and none to die, found %v and %d", want, recycled, died)
	}
	if largest := largestChild(); *soak && largest > p.options.Memory {
		t.Errorf("wanted at most %d bytes in a worker, found %d", p.options.Memory, largest)
	}
}

// soaked renders values that were never there before; every third are wrong, each in a way
// of its own.
func soaked(t *testing.T, p *Pool, s Source, i int64) (failed bool) {
	var env strings.Builder
	for n := range namesEach {
		fmt.Fprintf(&env, `"name %d of %d, long enough to be kept on its own": "x",`, n, i)
	}
	values := fmt.Sprintf(`{"image": "a:%d", "env": {%s "LAST": "y"}}`, i, env.String())
	if i%3 == 0 {
		values = strings.Replace(values, `"image"`, fmt.Sprintf(`"imag%d": 1, "replicas": "x%d", "image"`, i, i), 1)
	}
	_, err := p.Render(t.Context(), s, []byte(values), release(fmt.Sprintf("r%d", i&7)))
	var wrong *render.ValuesError
	if errors.As(err, &wrong) != (i%3 == 0) || err != nil && wrong == nil {
		t.Errorf("render %d: %v", i, err)
	}
	return err != nil
}
