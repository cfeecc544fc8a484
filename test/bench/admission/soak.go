package main

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"tidegate.io/tidegate/webhook"
)

const (
	soakConnections = 64
	soakPolicies    = 20
	// reloadEvery is how often a policy is brought into force while others ask.
	reloadEvery = 100 * time.Millisecond
	// mostGrowth is how much the memory may grow from the first third to the end.
	mostGrowth = 1.15
)

// soaked is what the long run came to.
type soaked struct {
	Seconds   float64 `json:"seconds"`
	Reviews   int     `json:"reviews"`
	PerSecond float64 `json:"reviewsPerSecond"`
	Median    float64 `json:"medianMs"`
	P99       float64 `json:"p99Ms"`
	Longest   float64 `json:"longestMs"`
	// Quiet are the same of the turn before the first reload.
	QuietP99     float64 `json:"quietP99Ms"`
	QuietLongest float64 `json:"quietLongestMs"`
	Errors       int     `json:"errors"`
	Error        string  `json:"error,omitempty"`
	Reloads      int64   `json:"reloads"`
	// Resident and Live are of the server's memory, in MiB, at each third of the run.
	Resident []float64 `json:"residentMiB"`
	Live     []float64 `json:"liveMiB"`
	Met      bool      `json:"met"`
}

// soak asks on many connections for so long, most of it while policies are replaced all the
// time.
func (b *bench) soak(ctx context.Context, length time.Duration) (*soaked, error) {
	s, err := b.start(ctx, part{Role: roleGate, Policies: soakPolicies})
	if err != nil {
		return nil, err
	}
	defer b.leave(s)
	review, err := request{user: writer, kind: "Deployment", operation: admissionv1.Create, size: 2 << 10}.review()
	if err != nil {
		return nil, err
	}
	clients, err := (&subject{server: s, path: webhook.PathGate}).dial(ctx, review, soakConnections)
	if err != nil {
		return nil, err
	}
	defer closeAll(clients)
	out := &soaked{}
	quiet := turn(ctx, clients, length/6, true)
	out.QuietP99, out.QuietLongest = ms(at(quiet.took, 99)), ms(at(quiet.took, 100))
	if err := out.memory(ctx, s); err != nil {
		return nil, err
	}
	if err := s.reload(ctx, min(reloadEvery, length/20)); err != nil {
		return nil, err
	}
	var sum answered
	began := time.Now()
	for range 2 {
		a := turn(ctx, clients, length*5/12, true)
		sum.took = append(sum.took, a.took...)
		sum.other += a.other
		sum.broken += a.broken
		if a.failed != nil {
			sum.failed = a.failed
		}
		if sum.example == "" {
			sum.example = a.example
		}
		if err := out.memory(ctx, s); err != nil {
			return nil, err
		}
	}
	out.Seconds = time.Since(began).Seconds()
	u, err := s.used(ctx, false)
	if err != nil {
		return nil, err
	}
	out.sum(sum, quiet, u)
	return out, nil
}

// sum fills in what the turns came to.
func (o *soaked) sum(all, quiet answered, u used) {
	o.Reviews, o.Reloads = len(all.took), u.Reloads
	o.PerSecond = float64(o.Reviews) / o.Seconds
	o.Median, o.P99, o.Longest = ms(at(all.took, 50)), ms(at(all.took, 99)), ms(at(all.took, 100))
	for _, a := range []answered{quiet, all} {
		o.Errors += a.other + a.broken
		if a.example != "" {
			o.Error = a.example
		}
		if a.failed != nil {
			o.Error = a.failed.Error()
		}
	}
	if u.Failed != "" {
		o.Errors++
		o.Error = "a reload: " + u.Failed
	}
	last := len(o.Live) - 1
	o.Met = o.Errors == 0 && o.Reloads > 0 && o.Live[last] <= o.Live[0]*mostGrowth+1
}

// memory notes what the server holds once its garbage is collected.
func (o *soaked) memory(ctx context.Context, s *server) error {
	before, err := s.used(ctx, false)
	if err != nil {
		return err
	}
	after, err := s.used(ctx, true)
	if err != nil {
		return err
	}
	o.Resident = append(o.Resident, float64(before.Resident)/(1<<20))
	o.Live = append(o.Live, float64(after.Live)/(1<<20))
	return nil
}

func (o *soaked) String() string {
	met := "met"
	if !o.Met {
		met = "NOT MET"
	}
	text := fmt.Sprintf("%d connections for %.0f s, %d policies, one replaced every %s: %d reviews (%.0f/s), median %.1f ms, p99 %.1f ms, longest %.0f ms "+
		"(before the first reload: p99 %.1f ms, longest %.0f ms), %d reloads, %d errors; memory in use after collection %.1f MiB, resident %.0f MiB: no error and flat memory: %s",
		soakConnections, o.Seconds, soakPolicies, reloadEvery, o.Reviews, o.PerSecond, o.Median, o.P99, o.Longest, o.QuietP99, o.QuietLongest, o.Reloads, o.Errors, o.Live, o.Resident, met)
	if o.Error != "" {
		text += "\n  " + o.Error
	}
	return text
}
