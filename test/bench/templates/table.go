package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const median = 50

// table prints what was measured, a line for each, block by block.
type table struct{ out io.Writer }

var head = []string{"WHAT", "MEDIAN", "P10", "P90", "PROCESSOR", "RATIO", "DIFFERENCE", "AGAINST", "TARGET", "MET"}

func (t *table) block(rows ...[]string) error {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	for _, cells := range append([][]string{head}, rows...) {
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_, _ = fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// measured is one thing that is measured, maybe against another of the same run.
type measured struct {
	name    string
	work    func() error
	against *measured
	// ratio and more are the most that it may cost against the other: so many times the
	// processor time, or so much longer; 0 is no target.
	ratio float64
	more  time.Duration
	// elsewhere is true where most of the work is another process's, so that its processor
	// time is not known here.
	elsewhere bool

	took, processor []time.Duration
}

// measure lets all take turns of so many times in a row, so that what slows the machine slows
// all of them, each turn in another order. In a row, since the garbage of one is collected
// while the next works, and what slept a while wakes late. What one costs against another is
// found out within each turn, and the median of these is told: the ratio of processor time,
// since on a machine with other work the longer of two is held up more often, and the
// difference of time.
func (t *table) measure(times, row int, all ...*measured) error {
	warmup := times/10 + 1
	order := rand.New(rand.NewPCG(1, 2)) // the same in every run
	for round := range warmup + times {
		for _, i := range order.Perm(len(all)) {
			m := all[i]
			before, err := used()
			if err != nil {
				return err
			}
			start := time.Now()
			for range row {
				if err := m.work(); err != nil {
					return fmt.Errorf("%s: %w", m.name, err)
				}
			}
			took := time.Since(start)
			after, err := used()
			if err != nil {
				return err
			}
			if round >= warmup {
				m.took = append(m.took, took/time.Duration(row))
				m.processor = append(m.processor, (after.processor-before.processor)/time.Duration(row))
			}
		}
	}
	var rows [][]string
	for _, m := range all {
		processor := "-"
		if !m.elsewhere {
			processor = short(at(m.processor, median))
		}
		rows = append(rows, slices.Concat([]string{m.name, short(at(m.took, median)), short(at(m.took, 10)), short(at(m.took, 90)), processor}, m.compared()))
	}
	return t.block(rows...)
}

// compared are the cells about what m costs against the other.
func (m *measured) compared() []string {
	if m.against == nil {
		return []string{"", "", "", "", ""}
	}
	ratios, differences := make([]float64, len(m.took)), make([]time.Duration, len(m.took))
	one, other := m.processor, m.against.processor
	if m.elsewhere {
		one, other = m.took, m.against.took
	}
	for i := range m.took {
		ratios[i] = float64(one[i]) / float64(max(other[i], 1))
		differences[i] = m.took[i] - m.against.took[i]
	}
	ratio, difference := at(ratios, median), at(differences, median)
	cells := []string{fmt.Sprintf("%.2fx", ratio), fmt.Sprintf("%+.2fms", float64(difference)/1e6), m.against.name}
	switch {
	case m.ratio > 0:
		return append(cells, fmt.Sprintf("%.1fx", m.ratio), yes(ratio <= m.ratio))
	case m.more > 0:
		return append(cells, "+"+m.more.String(), yes(difference <= m.more))
	}
	return append(cells, "", "")
}

// at returns the value below which so many percent of all are. It leaves all as they are:
// their order is that of the turns.
func at[T time.Duration | float64](all []T, percent int) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

func short(d time.Duration) string { return fmt.Sprintf("%.2fms", float64(d)/1e6) }

func yes(met bool) string {
	if met {
		return "yes"
	}
	return "NO"
}
