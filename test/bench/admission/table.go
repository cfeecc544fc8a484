package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

const about = `CPU is the processor time of the server a review, in ms, all threads and the collection of garbage included. What is in
one block takes turns, in another order each round. MEDIAN x and CPU x are against the first line of the block, each the
median over the rounds. RSS is the server's memory after the block, in MiB. On a machine that does other work besides, times say
little, ratios more, allocations all.

`

var head = []string{"WHAT", "SIZE", "CONN", "POLICIES", "SUBJECT", "REVIEWS/S", "P50 ms", "P99 ms", "CPU ms", "ALLOCS", "RSS", "MEDIAN x", "CPU x", "TARGETS"}

// table prints what was measured, block by block, as it comes.
type table struct {
	out    io.Writer
	quiet  bool
	titled bool
}

func (t *table) begin(text string) error {
	return t.write(text + "\n\n" + about)
}

func (t *table) write(text string) error {
	if t.quiet {
		return nil
	}
	if _, err := io.WriteString(t.out, text); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// widths keep the columns of all blocks below each other.
var widths = []int{22, 20, 4, 8, 12, 9, 8, 8, 8, 8, 5, 8, 6, 0}

func (t *table) rows(rows []row) error {
	var b strings.Builder
	line := func(cells []string) {
		for i, c := range cells {
			fmt.Fprintf(&b, "%-*s  ", widths[i], c)
		}
		b.WriteString("\n")
	}
	if !t.titled {
		t.titled = true
		line(head)
	}
	for _, r := range rows {
		var median, processor string
		if r.MedianRatio > 0 {
			median, processor = fmt.Sprintf("%.2f", r.MedianRatio), fmt.Sprintf("%.2f", r.ProcessorRatio)
		}
		var targets []string
		for _, v := range r.Targets {
			targets = append(targets, v.String())
		}
		if r.Errors > 0 {
			targets = append(targets, fmt.Sprintf("%d ERRORS: %s", r.Errors, r.Error))
		}
		line([]string{
			r.Cell, r.Size, fmt.Sprint(r.Connections), fmt.Sprint(r.Policies), r.Subject, fmt.Sprintf("%.0f", r.PerSecond), fmt.Sprintf("%.2f", r.Median),
			fmt.Sprintf("%.2f", r.P99), fmt.Sprintf("%.3f", r.Processor), fmt.Sprintf("%.0f", r.Allocations), fmt.Sprintf("%.0f", r.Resident), median, processor,
			strings.Join(targets, "; "),
		})
	}
	return t.write(b.String())
}

func (v verdict) String() string {
	met := "met"
	if !v.Met {
		met = "NOT MET"
	}
	return fmt.Sprintf("%s <= %v: %s", v.Name, v.Most, met)
}

// end sums up by target.
func (t *table) end(r *result) error {
	type sum struct{ met, all int }
	sums, order := map[string]*sum{}, []string{}
	for _, row := range r.Rows {
		for _, v := range row.Targets {
			name := fmt.Sprintf("%s: %s <= %v", row.Cell, v.Name, v.Most)
			if sums[name] == nil {
				sums[name] = &sum{}
				order = append(order, name)
			}
			sums[name].all++
			if v.Met {
				sums[name].met++
			}
		}
	}
	var b strings.Builder
	b.WriteString("\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, name := range order {
		_, _ = fmt.Fprintf(w, "%s\tmet in %d of %d\n", name, sums[name].met, sums[name].all)
	}
	_ = w.Flush() // into memory
	if r.Soak != nil {
		fmt.Fprintf(&b, "\n%s\n", r.Soak)
	}
	fmt.Fprintf(&b, "\n%s, %d cores; load %s before and %s after.\n", r.Go, r.Cores, r.Load[0], r.Load[1])
	return t.write(b.String())
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
