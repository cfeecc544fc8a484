package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// summary waits for the last requests and prints what became of all of them, then the outcomes.
func (d *demo) summary(ctx context.Context) error {
	d.act("Summary")
	if d.recorder != nil {
		wait, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := d.recorder.Wait(wait); err != nil {
			return err
		}
		d.requests()
	}
	d.printf("\n")
	for _, o := range d.outcomes {
		mark := d.paint(green, "✔")
		if !o.ok {
			mark = d.paint(red, "✘")
		}
		d.printf("  %s %s\n", mark, o.what)
	}
	d.printf("\n  %d of %d outcomes were what the story says, after %.0f s\n",
		len(d.outcomes)-d.failed(), len(d.outcomes), time.Since(d.start).Seconds())
	return nil
}

// requests prints the load generator's count, and the shares against the approved weights.
func (d *demo) requests() {
	all := d.recorder.Snapshot()
	d.printf("  requests sent %d, answered %d, errors of the application %d, lost %d\n", all.Sent, all.Answered, all.AppErrors, all.Lost)
	for reason, n := range all.Reasons {
		d.printf("    lost: %d, %s\n", n, reason)
	}
	for _, r := range slices.Sorted(maps.Keys(all.Revisions)) {
		c := all.Revisions[r]
		d.printf("    revision %s: %d requests, %d errors\n", r, c.Requests, c.Errors)
	}
	d.printf("\n  approved weight against the share that was served:\n")
	worst := 0.0
	for _, e := range d.exposed {
		span := d.recorder.Between(e.from, e.to)
		share := span.Share(e.revision)
		worst = math.Max(worst, share-float64(e.weight))
		d.printf("    revision %s at %3d %%: %5.2f %% of %d requests in %.0f s\n",
			e.revision, e.weight, share, span.Sent, e.to.Sub(e.from).Seconds())
	}
	d.expect(len(d.exposed) >= 4, "every step was served long enough to count", fmt.Sprintf("%d spans", len(d.exposed)))
	d.expect(worst <= 1, "no revision got more than its approved weight, to a percentage point", fmt.Sprintf("%.2f points over", worst))
	d.expect(all.Lost == 0 && all.Skipped == 0, "not one request was lost", fmt.Sprintf("%d were lost, %d were not sent", all.Lost, all.Skipped))
}
