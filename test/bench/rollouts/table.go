package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// result is all that a run found.
type result struct {
	About  string   `json:"about"`
	Blocks []*block `json:"blocks"`
	// Replicas is how many pods each Release has, Limits what the measured manager was started with.
	Replicas int    `json:"replicas"`
	Limits   string `json:"limits"`
	Go       string `json:"go"`
	Cores    int    `json:"cores"`
}

// block is what one phase found.
type block struct {
	Phase    string   `json:"phase"`
	Releases int      `json:"releases"`
	Figures  []figure `json:"figures"`
	// Requests are those of the manager that the figures count.
	Requests []tally `json:"requests,omitempty"`
	// Load is that of the machine over the last minute, before and after.
	Load [2]string `json:"load"`
}

// figure is one number.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Most is the target; nil is none.
	Most *float64 `json:"most,omitempty"`
	Met  *bool    `json:"met,omitempty"`
}

func (b *block) add(name string, value float64, unit string) {
	b.Figures = append(b.Figures, figure{Name: name, Value: value, Unit: unit})
}

// target is a figure that is to be at most so much.
func (b *block) target(name string, value float64, unit string, most float64) {
	met := value <= most
	b.Figures = append(b.Figures, figure{Name: name, Value: value, Unit: unit, Most: &most, Met: &met})
}

// durations adds what some took, the 99th percentile with a target where most is not 0.
func (b *block) durations(name string, took []time.Duration, most time.Duration) {
	b.add(name+", p50", at(took, 50).Seconds(), "s")
	if most > 0 {
		b.target(name+", p99", at(took, 99).Seconds(), "s", most.Seconds())
	} else {
		b.add(name+", p99", at(took, 99).Seconds(), "s")
	}
	b.add(name+", longest", at(took, 100).Seconds(), "s")
}

const about = `Tidegate's rollout engine on a local Kubernetes: etcd, API server, controllers and scheduler are the real programs, pods are
kwok's and ready at once. A canary has two weights, one route, no analysis and no hold. Routes are accepted at once by the
bench itself, whose requests do not count. Requests of the manager are taken from the API server's audit log; those about
its lease do not count, and watches are told apart. Memory and processor time are from /proc, the processor's with the
workers that render. A rollout is done when its Rollout says Succeeded: the old set is gone by then.
`

func (r *result) describe() {
	r.About, r.Go, r.Cores = about, runtime.Version(), runtime.NumCPU()
}

// write writes it as tables.
func (r *result) write(out io.Writer) error {
	var b strings.Builder
	b.WriteString(r.About + "\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, block := range r.Blocks {
		_, _ = fmt.Fprintf(w, "%s, %d Releases (load %s, then %s)\tFOUND\t\tTARGET\tMET\n", strings.ToUpper(block.Phase), block.Releases, block.Load[0], block.Load[1])
		for _, f := range block.Figures {
			most, met := "", ""
			if f.Most != nil {
				most, met = number(*f.Most), "yes"
				if !*f.Met {
					met = "NO"
				}
			}
			_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", f.Name, number(f.Value), f.Unit, most, met)
		}
		for _, t := range block.Requests {
			refused := ""
			if t.Refused > 0 {
				refused = fmt.Sprintf("%d refused", t.Refused)
			}
			_, _ = fmt.Fprintf(w, "    %s: %s %s\t%d\t%s\t\t\n", t.Sort, t.Verb, t.Resource, t.Count, refused)
		}
		_, _ = fmt.Fprintln(w, "\t\t\t\t")
	}
	_ = w.Flush() // into memory
	fmt.Fprintf(&b, "%s, %d cores, %d pods a Release, %s.\n", r.Go, r.Cores, r.Replicas, r.Limits)
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// number writes three digits, or all before the point.
func number(v float64) string {
	switch size := math.Abs(v); {
	case v == math.Trunc(v) || size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// at is the least value that so many percent of all do not exceed: the nearest rank, so that the
// 99th percentile of fewer than 100 is the largest.
func at(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}

// load is that of the machine over the last minute, where it tells.
func load() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := bytes.Cut(raw, []byte(" "))
	return string(one)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
