package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Outcome is what became of a request.
type Outcome int

const (
	// Answered means that an application answered, and not with an error of its own.
	Answered Outcome = iota
	// AppError means that an application answered with a status of 500 or more.
	AppError
	// Lost means that no application answered: the connection failed, the time ran out, or the
	// gateway answered in its own name.
	Lost
)

// String returns the outcome in words.
func (o Outcome) String() string {
	switch o {
	case Answered:
		return "answered"
	case AppError:
		return "application error"
	case Lost:
		return "lost"
	default:
		return fmt.Sprintf("Outcome(%d)", int(o))
	}
}

// Record is one request.
type Record struct {
	// At is when the request was due.
	At time.Time
	// Latency counts from At to the end of the answer.
	Latency time.Duration
	// Outcome says what became of it, and Lost why it is lost, if it is.
	Outcome Outcome
	Lost    string
	// Code is the status code, 0 without an answer.
	Code int
	// Revision and Pod answered; empty if they do not say or nobody did.
	Revision string
	Pod      string
}

// Summary counts the requests that were due in a span of time and have ended.
type Summary struct {
	// From and To are the borders: From is in it, To is not. Zero means open.
	From, To time.Time
	// Sent is the number of requests: Answered + AppErrors + Lost.
	Sent, Answered, AppErrors, Lost int
	// Revisions counts by the revision that answered, "" for answers that named none.
	Revisions map[string]Count
	// Codes counts by status code; 0 stands for none.
	Codes map[int]int
	// Reasons counts lost requests by reason.
	Reasons map[string]int
	// P50, P99 and Max are latencies of the requests that were not lost, 0 if there are none.
	P50, P99, Max time.Duration

	// InFlight and Skipped describe the whole run, now: requests not ended yet, and requests not
	// sent since all workers were busy.
	InFlight, Skipped int
}

// Count is one revision's part of a summary.
type Count struct {
	// Requests were answered by the revision; Errors of them with a status of 500 or more.
	Requests, Errors int
}

// Share is the percentage of the answered requests that a revision answered, 0 to 100.
func (s Summary) Share(revision string) float64 {
	if all := s.Answered + s.AppErrors; all > 0 {
		return 100 * float64(s.Revisions[revision].Requests) / float64(all)
	}
	return 0
}

// String is the summary for people, in one line.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sent, %d lost, %d application errors", s.Sent, s.Lost, s.AppErrors)
	for _, revision := range slices.Sorted(maps.Keys(s.Revisions)) {
		c := s.Revisions[revision]
		fmt.Fprintf(&b, "; %s %d (%.1f %%)", nameOf(revision), c.Requests, s.Share(revision))
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Reasons)) {
		fmt.Fprintf(&b, "; lost %d: %s", s.Reasons[reason], reason)
	}
	if s.Skipped > 0 {
		fmt.Fprintf(&b, "; %d not sent, all workers busy", s.Skipped)
	}
	return b.String()
}

func nameOf(revision string) string {
	if revision == "" {
		return "(no revision)"
	}
	return revision
}

// Snapshot sums up the whole run so far.
func (r *Recorder) Snapshot() Summary { return r.Between(time.Time{}, time.Time{}) }

// Since sums up the requests due at t or later.
func (r *Recorder) Since(t time.Time) Summary { return r.Between(t, time.Time{}) }

// Between sums up the requests due at from or later and before to.
func (r *Recorder) Between(from, to time.Time) Summary {
	s := Summary{
		From: from, To: to,
		Revisions: map[string]Count{}, Codes: map[int]int{}, Reasons: map[string]int{},
		Skipped: int(r.skipped.Load()),
	}
	r.mu.Lock()
	s.InFlight = int(r.inFlight.Load())
	records := slices.Clip(r.records) // Only ever appended to.
	r.mu.Unlock()

	var latencies []time.Duration
	for _, rec := range records {
		if rec.At.Before(from) || (!to.IsZero() && !rec.At.Before(to)) {
			continue
		}
		s.count(rec)
		if rec.Outcome != Lost {
			latencies = append(latencies, rec.Latency)
		}
	}
	slices.Sort(latencies)
	s.P50, s.P99, s.Max = quantile(latencies, 50), quantile(latencies, 99), quantile(latencies, 100)
	return s
}

// Records returns a copy of every record, in the order in which the requests ended.
func (r *Recorder) Records() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

func (s *Summary) count(rec Record) {
	s.Sent++
	s.Codes[rec.Code]++
	switch rec.Outcome {
	case Lost:
		s.Lost++
		s.Reasons[rec.Lost]++
		return
	case AppError:
		s.AppErrors++
	case Answered:
		s.Answered++
	}
	c := s.Revisions[rec.Revision]
	c.Requests++
	if rec.Outcome == AppError {
		c.Errors++
	}
	s.Revisions[rec.Revision] = c
}

// quantile is the smallest latency that at least percent of the sorted ones do not exceed
// (nearest rank), 0 of none.
func quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}
