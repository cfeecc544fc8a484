package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// subject is one server that is asked one thing.
type subject struct {
	name   string
	server *server
	path   string
	// allowed is the answer that is wanted.
	allowed bool
	request request
}

// cell is a place in the table: subjects that are asked by so many connections, in turns.
type cell struct {
	title       string
	size        string
	connections int
	policies    int
	subjects    []*subject
	// targets are what every subject but the first has to keep.
	targets []target
}

// row is what was measured of one subject of a cell.
type row struct {
	Cell        string  `json:"cell"`
	Size        string  `json:"size"`
	Connections int     `json:"connections"`
	Policies    int     `json:"policies"`
	Subject     string  `json:"subject"`
	Reviews     int     `json:"reviews"`
	PerSecond   float64 `json:"reviewsPerSecond"`
	// Times in milliseconds.
	Median    float64 `json:"medianMs"`
	P99       float64 `json:"p99Ms"`
	Processor float64 `json:"processorMs"`
	// Allocations are objects a review.
	Allocations float64 `json:"allocations"`
	// Resident is the memory of the process after the cell, in MiB.
	Resident float64 `json:"residentMiB"`
	// MedianRatio and ProcessorRatio are against the first subject of the cell, each the
	// median over the rounds.
	MedianRatio    float64 `json:"medianRatio,omitempty"`
	ProcessorRatio float64 `json:"processorRatio,omitempty"`
	// Errors is how many requests had no answer, and Error the first of them.
	Errors  int       `json:"errors"`
	Error   string    `json:"error,omitempty"`
	Targets []verdict `json:"targets,omitempty"`
}

// target is what a row has to keep.
type target struct {
	Name string  `json:"name"`
	Most float64 `json:"most"`
	of   func(row) float64
}

type verdict struct {
	target
	Found float64 `json:"found"`
	Met   bool    `json:"met"`
}

// pace is how long things take.
type pace struct {
	// turn is how long one subject is asked at a time, rounds how many turns each has.
	turn   time.Duration
	rounds int
	// most is how long a cell may take before it is left with the rounds that it has.
	most time.Duration
}

// series are the turns of one subject.
type series struct {
	took               []time.Duration
	lasted, processor  time.Duration
	allocations        uint64
	medians, processed []float64
	errors             int
	first              string
}

// measure gives each subject its turns, in another order each round, so that what slows the
// machine slows all alike.
func (c cell) measure(ctx context.Context, p pace) ([]row, error) {
	reviews := make([][]byte, len(c.subjects))
	clients := make([][]*connection, len(c.subjects))
	defer func() {
		for _, list := range clients {
			closeAll(list)
		}
	}()
	for i, s := range c.subjects {
		var err error
		if reviews[i], err = s.request.review(); err != nil {
			return nil, err
		}
		if clients[i], err = s.dial(ctx, reviews[i], c.connections); err != nil {
			return nil, err
		}
		// What is done once, such as growing a stack, is not what is measured.
		if a := turn(ctx, clients[i][:1], p.turn/4, s.allowed); a.other > 0 {
			return nil, fmt.Errorf("%s: %s: wanted answers with allowed=%v, found: %.400s", c.title, s.name, s.allowed, a.example)
		}
	}
	all := make([]series, len(c.subjects))
	order := rand.New(rand.NewPCG(1, 2))
	began := time.Now()
	for range p.rounds {
		if time.Since(began) > p.most || ctx.Err() != nil {
			break
		}
		for _, i := range order.Perm(len(c.subjects)) {
			broken, err := all[i].turn(ctx, c.subjects[i], clients[i], p.turn)
			if broken && err == nil {
				closeAll(clients[i])
				clients[i], err = c.subjects[i].dial(ctx, reviews[i], c.connections)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", c.title, c.subjects[i].name, err)
			}
		}
	}
	return c.rows(ctx, all)
}

// dial opens so many connections to the subject.
func (s *subject) dial(ctx context.Context, review []byte, n int) ([]*connection, error) {
	out := make([]*connection, 0, n)
	for range n {
		one, err := s.server.dial(ctx, s.path, review)
		if err != nil {
			closeAll(out)
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func closeAll(list []*connection) {
	for _, c := range list {
		_ = c.conn.Close()
	}
}

// turn is one turn of a subject. That a request had no answer is no reason to end: it counts.
func (s *series) turn(ctx context.Context, of *subject, clients []*connection, length time.Duration) (broken bool, err error) {
	before, err := of.server.used(ctx, false)
	if err != nil {
		return false, err
	}
	began := time.Now()
	a := turn(ctx, clients, length, of.allowed)
	s.lasted += time.Since(began)
	after, err := of.server.used(ctx, false)
	if err != nil {
		return false, err
	}
	if a.failed != nil || a.other > 0 {
		s.errors += a.other + a.broken
		if s.first == "" {
			s.first = fmt.Sprintf("%v %.300s", a.failed, a.example)
		}
	}
	if n := len(a.took); n > 0 {
		s.took = append(s.took, a.took...)
		s.processor += after.Processor - before.Processor
		s.allocations += after.Allocations - before.Allocations
		s.medians = append(s.medians, float64(at(a.took, 50)))
		s.processed = append(s.processed, float64(after.Processor-before.Processor)/float64(n))
	}
	return a.broken > 0, nil
}

func (c cell) rows(ctx context.Context, all []series) ([]row, error) {
	rows := make([]row, 0, len(all))
	for i, s := range all {
		u, err := c.subjects[i].server.used(ctx, false)
		if err != nil {
			return nil, err
		}
		n := float64(max(len(s.took), 1))
		r := row{
			Cell: c.title, Size: c.size, Connections: c.connections, Policies: c.subjects[i].server.Judges, Subject: c.subjects[i].name, Reviews: len(s.took),
			PerSecond: n / s.lasted.Seconds(), Median: ms(at(s.took, 50)), P99: ms(at(s.took, 99)),
			Processor: ms(s.processor) / n, Allocations: float64(s.allocations) / n, Resident: float64(u.Resident) / (1 << 20), Errors: s.errors, Error: s.first,
		}
		if i > 0 {
			r.MedianRatio = ratio(s.medians, all[0].medians)
			r.ProcessorRatio = ratio(s.processed, all[0].processed)
		}
		r.Targets = c.judge(r, i)
		rows = append(rows, r)
	}
	return rows, nil
}

// judge says which targets a subject keeps, the first being what others are compared with.
func (c cell) judge(r row, subject int) []verdict {
	var out []verdict
	for _, t := range c.targets {
		if subject > 0 {
			found := t.of(r)
			out = append(out, verdict{t, found, found <= t.Most && r.Errors == 0})
		}
	}
	return out
}

// ratio is the median of the ratios, round by round.
func ratio(one, other []float64) float64 {
	var list []float64
	for i := range min(len(one), len(other)) {
		list = append(list, one[i]/max(other[i], 1))
	}
	return at(list, 50)
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// at is the value below which so many percent of all are; 0 of none.
func at[T time.Duration | float64](all []T, percent int) T {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}
